"""A guest VM without a machine: launched as the chip launches it, with firmware that answers its requests."""

import secrets
from dataclasses import replace
from types import TracebackType

from casemate.chip.snp.guest_context import Command, GuestContext
from casemate.chip.snp.guest_requests import answer
from casemate.chip.snp.launch import identified, secrets_page
from casemate.chip.snp.platform import SnpPlatform
from casemate.testing.lone_hypervisor import LoneHypervisor
from casemate.testing.lone_vm import DEBUG_POLICY, LoneVm
from casemate.wire.messages.snp_firmware import LaunchFinish
from casemate.wire.snp.launch import GuestShape, digest_of, plan
from casemate.wire.snp.mode import VmMode
from casemate.wire.snp.ovmf import parse_ovmf
from casemate.wire.snp.page_info import PAGE_SIZE, PageType
from casemate.wire.snp.vmm import Vmm

SIGNATURE = 0xA00F11
"""CPUID Fn0000_0001_EAX of a Milan."""
MEMORY = 4 << 20
"""Bytes of RAM, enough for every built-in guest."""
NO_IDENTITY = LaunchFinish(vm=0, host_data=bytes(32))


class LoneGuest:
    """A VM; as a context manager, it gives the hypervisor that serves it."""

    def __init__(
        self,
        image: bytes,
        mode: VmMode,
        *,
        chip: SnpPlatform | None = None,
        data: bytes = b"",
        vcpus: int = 1,
        cpuid: bytes | None = None,
        policy: int = DEBUG_POLICY,
        finish: LaunchFinish = NO_IDENTITY,
    ) -> None:
        """Launches the VM without running it.

        Args:
            image: firmware in OVMF's shape.
            mode: how memory is protected.
            chip: answers the guest's requests; None: nothing answers them.
            data: input on COM2.
            vcpus: number of vCPUs.
            cpuid: the CPUID page; None: an empty one.
            policy: AMD's GUEST_POLICY.
            finish: identity and host data of the launch; used only with a chip.

        Raises:
            FirmwareError: the chip refuses ``finish``.
        """
        shape = GuestShape(vcpus, SIGNATURE, Vmm.QEMU, int(mode.has_rmp))
        pages = list(plan(parse_ovmf(image), shape))
        self.digest = digest_of(planned.page for planned in pages)
        contents: dict[PageType, bytes] = {} if cpuid is None else {PageType.CPUID: cpuid}
        context = None if chip is None else _context(chip, mode, policy, self.digest, finish)
        if context is not None:
            contents[PageType.SECRETS] = secrets_page(context, SIGNATURE)
        relay = None if chip is None or context is None else lambda request: answer(context, chip, request)
        self.vm = LoneVm(mode, memory=MEMORY, pages=len(image) // PAGE_SIZE + vcpus, policy=policy)
        self.hypervisor = LoneHypervisor(self.vm, data, relay)
        self.vm.launch(
            replace(planned, page=replace(page, content=contents.get(page.page_type, page.content)))
            for planned in pages
            for page in (planned.page,)
        )

    def __enter__(self) -> LoneHypervisor:
        return self.hypervisor

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.vm.close()


def _context(chip: SnpPlatform, mode: VmMode, policy: int, digest: bytes, finish: LaunchFinish) -> GuestContext:
    """The firmware's guest context after a launch that has measured ``digest``."""
    context = GuestContext.create(mode, policy, chip.state.current.tcb, secrets.token_bytes)
    context.step(Command.LAUNCH_START)
    context.digest = digest
    context.identity = identified(context, finish)
    context.step(Command.LAUNCH_FINISH)
    return context
