"""A confidential VM's process without a machine; the test acts as its chip and its hypervisor."""

import itertools
import os
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from types import TracebackType
from typing import Self, TypeVar

from casemate.link.calls import answer_of
from casemate.link.channel import Channel
from casemate.link.numbered_frames import NUMBER_SIZE, numbered, split
from casemate.wire.encodings.message import encode_message
from casemate.wire.messages.vm.hypervisor import (
    UNLIMITED,
    Done,
    HostLoad,
    HostStore,
    MapNested,
    MemoryIs,
    RmpUpdate,
    VcpuExit,
    Vmrun,
)
from casemate.wire.messages.vm.silicon import AddPages, Finish, Finished, PagesAdded, PowerOn, Ready
from casemate.wire.snp.launch import GuestShape, Part, PlannedPage, plan
from casemate.wire.snp.mode import VmMode
from casemate.wire.snp.ovmf import Ovmf
from casemate.wire.snp.page_info import PAGE_SIZE, PageType

FOUR_GIB = 1 << 32
SPARE_PAGES = 64
DEBUG_POLICY = 0xB_0000
"""SMT and debugging allowed."""
_WAIT = 30.0
T = TypeVar("T")


class LoneVm:
    """A VM's process. Its DRAM holds RAM (GPA 0 at SPA 0), then firmware, registers, and spare pages."""

    def __init__(
        self, mode: VmMode, *, memory: int, pages: int = 0, policy: int = DEBUG_POLICY, folder: str | None = None
    ) -> None:
        """Starts the process; nothing is launched.

        Args:
            mode: how memory is protected.
            memory: bytes of RAM.
            pages: DRAM pages for firmware and registers, beside the RAM and the spare pages.
            policy: AMD's GUEST_POLICY.
            folder: for the DRAM file; None: the system's folder for temporary files.
        """
        self.mode = mode
        self.memory = memory
        self.dram = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed with this object
        self.size = memory + (pages + SPARE_PAGES) * PAGE_SIZE
        self.dram.truncate(self.size)
        chip, chip_theirs = socket.socketpair()
        hypervisor, hypervisor_theirs = socket.socketpair()
        with chip_theirs, hypervisor_theirs:
            numbers = [chip_theirs.fileno(), hypervisor_theirs.fileno(), self.dram.fileno()]
            words = [
                word
                for name, number in zip(("--chip-fd", "--hypervisor-fd", "--dram-fd"), numbers, strict=True)
                for word in (name, str(number))
            ]
            self.process = subprocess.Popen([sys.executable, "-I", "-m", "casemate.vm", *words], pass_fds=numbers)
        self._chip, self._hypervisor = Channel(chip), Channel(hypervisor)
        self._numbers = itertools.count(1)
        self.vmsas: list[int] = []
        """SPAs of the registers that were launched, in order."""
        power = PowerOn(
            mode=mode,
            key=secrets.token_bytes(32),
            tweak_key=secrets.token_bytes(32),
            asid=1,
            pages=self.size // PAGE_SIZE,
            top=FOUR_GIB,
            policy=policy,
            layers=(),
        )
        self.layers = self.ask_chip(power, Ready).layers

    @classmethod
    def launched(cls, mode: VmMode, ovmf: Ovmf, shape: GuestShape, *, memory: int, policy: int = DEBUG_POLICY) -> Self:
        """A VM with this firmware after its launch; the rest of its RAM is assigned and not validated."""
        vm = cls(mode, memory=memory, pages=len(ovmf.content) // PAGE_SIZE + shape.vcpus, policy=policy)
        try:
            vm.launch(plan(ovmf, shape))
        except BaseException:
            vm.close()
            raise
        return vm

    def launch(self, pages: Iterable[PlannedPage]) -> None:
        """Adds the pages and finishes the launch."""
        after_ram, launched = self.memory, [self.memory]
        self.ask(MapNested(0, 0, self.memory // PAGE_SIZE), Done)
        for planned in pages:
            page = planned.page
            is_vmsa = planned.part is Part.VMSA
            spa = page.gpa if page.gpa < self.memory and not is_vmsa else after_ram
            after_ram += PAGE_SIZE * (spa == after_ram)
            gpa = FOUR_GIB + spa if is_vmsa else page.gpa
            os.pwrite(self.dram.fileno(), page.content, spa)
            if spa >= self.memory and not is_vmsa:
                self.ask(MapNested(gpa, spa, 1), Done)
            if self.mode.has_rmp:
                self.ask(RmpUpdate(spa=spa, count=1, assigned=True, gpa=gpa, immutable=True), Done)
            own = page.content if page.page_type in (PageType.SECRETS, PageType.CPUID) else None
            self.add(AddPages(page.page_type, spa, page.gpa, 1, 0, 0, 0, own))
            launched.append(spa)
            if is_vmsa:
                self.vmsas.append(spa)
        if self.mode.has_rmp:
            self._give_the_rest(sorted(spa for spa in launched if spa <= self.memory))
        self.ask_chip(Finish(), Finished)

    def _give_the_rest(self, launched: list[int]) -> None:
        start = 0
        for spa in launched:
            if spa > start:
                count = (spa - start) // PAGE_SIZE
                self.ask(RmpUpdate(spa=start, count=count, assigned=True, gpa=start, immutable=False), Done)
            start = spa + PAGE_SIZE

    def add(self, pages: AddPages) -> bytes:
        """Does SNP_LAUNCH_UPDATE; returns the pages' digests."""
        return self.ask_chip(pages, PagesAdded).digests

    def run(
        self, vcpu: int = 0, *, instructions: int = UNLIMITED, time_ms: int = 5000, ghcb: int | None = None
    ) -> VcpuExit:
        """Runs a launched vCPU once (VMRUN)."""
        return self.ask(Vmrun(self.vmsas[vcpu], instructions, time_ms, ghcb), VcpuExit)

    def load(self, spa: int, size: int) -> bytes:
        """The bytes that the host's CPU reads there."""
        return self.ask(HostLoad(spa, size), MemoryIs).content

    def store(self, spa: int, content: bytes) -> None:
        """Writes as the host's CPU does."""
        self.ask(HostStore(spa, content), Done)

    def ask_chip(self, question: object, wanted: type[T]) -> T:
        """Sends a request as the chip; FaultError if it is refused."""
        self._chip.send(encode_message(question), timeout=_WAIT)
        return answer_of(self._chip.receive(timeout=_WAIT).payload, wanted)

    def ask(self, question: object, wanted: type[T]) -> T:
        """Sends a request as the hypervisor; FaultError if it is refused."""
        number = self.send(question)
        answered, message = self.receive()
        assert answered == number  # noqa: S101 - one at a time
        return answer_of(message, wanted)

    def send(self, question: object) -> int:
        """Sends a request as the hypervisor without waiting; returns the request's number."""
        number = next(self._numbers)
        self._hypervisor.send(numbered(number, question), timeout=_WAIT)
        return number

    def send_raw(self, message: bytes, *, to_chip: bool) -> None:
        """Sends any bytes, over the chip's link or as the hypervisor's next request."""
        if to_chip:
            self._chip.send(message, timeout=_WAIT)
        else:
            self._hypervisor.send(next(self._numbers).to_bytes(NUMBER_SIZE, "little") + message, timeout=_WAIT)

    def receive(self) -> tuple[int, bytes]:
        """The next answer to the hypervisor: its request's number, and the message."""
        number, message = split(self._hypervisor.receive(timeout=_WAIT).payload)
        return number, bytes(message)

    def close(self) -> None:
        """Ends the process."""
        self._chip.close()
        self._hypervisor.close()
        self.process.wait(timeout=_WAIT)
        self.dram.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
