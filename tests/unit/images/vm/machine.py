"""Built-in guests, launched as the chip launches them: with a firmware that hears them."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

from tests.unit.images.vm.hypervisor import Hypervisor

from casemate.chip.fuses import seeded_fuses
from casemate.chip.snp.guest_context import Command, GuestContext
from casemate.chip.snp.guest_requests import answer
from casemate.chip.snp.launch import secrets_page
from casemate.chip.snp.platform import SnpPlatform
from casemate.images.vm.assemble import Source
from casemate.images.vm.builtin import sources
from casemate.images.vm.firmware import build_firmware
from casemate.testing.lone_vm import DEBUG_POLICY, LoneVm
from casemate.wire.snp.launch import GuestShape, digest_of, plan
from casemate.wire.snp.mode import VmMode
from casemate.wire.snp.ovmf import parse_ovmf
from casemate.wire.snp.page_info import PageType
from casemate.wire.snp.vmm import Vmm

SIGNATURE = 0xA00F11
MEMORY = 4 << 20


def platform(folder: Path) -> SnpPlatform:
    folder.mkdir()
    return SnpPlatform(folder, seeded_fuses("a chip"))


def own_guest(text: str) -> bytes:
    """A guest with the common sources, and this for the rest."""
    return build_firmware([*sources("hello")[:-1], Source("own.s", text)])


class Machine:
    """One VM, its hypervisor, and the firmware's side of its messages."""

    def __init__(
        self,
        image: bytes,
        mode: VmMode,
        *,
        chip: SnpPlatform | None = None,
        data: bytes = b"",
        vcpus: int = 1,
        cpuid: bytes | None = None,
    ) -> None:
        shape = GuestShape(vcpus, SIGNATURE, Vmm.QEMU, int(mode.has_rmp))
        pages = list(plan(parse_ovmf(image), shape))
        self.digest = digest_of(planned.page for planned in pages)
        contents: dict[PageType, bytes] = {} if cpuid is None else {PageType.CPUID: cpuid}
        relay: Callable[[bytes], bytes] | None = None
        if chip is not None:
            context = self.context = GuestContext.create(mode, DEBUG_POLICY, chip.standing.current.tcb, _random())
            context.step(Command.LAUNCH_START)
            context.digest = self.digest
            context.step(Command.LAUNCH_FINISH)
            contents[PageType.SECRETS] = secrets_page(context, SIGNATURE)

            def relay(request: bytes) -> bytes:
                return answer(context, chip, request)

        self.vm = LoneVm(mode, memory=MEMORY, pages=len(image) // 4096 + vcpus)
        self.hypervisor = Hypervisor(self.vm, data, relay)
        self.vm.launch(
            replace(planned, page=replace(page, content=contents.get(page.page_type, page.content)))
            for planned in pages
            for page in (planned.page,)
        )

    def __enter__(self) -> Hypervisor:
        return self.hypervisor

    def __exit__(self, *_exception: object) -> None:
        self.vm.close()


def _random() -> Callable[[int], bytes]:
    numbers = count()
    return lambda size: hashlib.shake_256(str(next(numbers)).encode()).digest(size)
