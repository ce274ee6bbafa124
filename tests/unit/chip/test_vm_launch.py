"""The real chip and the real process of a VM: what one measures is what the other has encrypted."""

import contextlib
import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from tests.rigs.chip.process import Process, started

from casemate.link.calls import answer_of
from casemate.link.channel import Channel
from casemate.link.errors import PeerGoneError
from casemate.link.numbered_frames import numbered, split
from casemate.wire.messages.snp_firmware import (
    DestroyVm,
    LaunchDigest,
    LaunchFinish,
    LaunchStart,
    LaunchStarted,
    LaunchUpdate,
    PlatformIs,
    PlatformStatus,
    VmProcessIs,
)
from casemate.wire.messages.vm.hypervisor import Done, HostLoad, MemoryIs, RmpUpdate
from casemate.wire.protocol.faults import Code, FaultError
from casemate.wire.snp.cpuid_page import CpuidFunction, CpuidPage
from casemate.wire.snp.launch import digest_of
from casemate.wire.snp.mode import VmMode
from casemate.wire.snp.page_info import PAGE_SIZE, LaunchPage, PageType
from casemate.wire.snp.vmm import Vmm
from casemate.wire.snp.vmsa import BSP_EIP, reset_state

pytestmark = pytest.mark.machine
PATIENCE = 30.0
PAGES = 64
POLICY = 0x30000
CPUID = CpuidPage((CpuidFunction(eax_in=0x8000_001F, eax=0x3A, ebx=51),)).encode()
REGISTERS = reset_state(BSP_EIP, Vmm.QEMU, 0xA00F11, 1).encode()
T = TypeVar("T")


class Host:
    """A host's two links, one question at a time."""

    def __init__(self, chip: Channel, memory: int, mode: VmMode) -> None:
        self.chip = chip
        self.memory = memory
        self.number = 0
        self.has_rmp = mode.has_rmp
        self.started, (door,) = self.ask(LaunchStart(mode, POLICY, PAGES, 1 << 32), LaunchStarted, memory)
        self.door = Channel(socket.socket(fileno=door))

    def ask(self, question: object, wanted: type[T], *descriptors: int) -> tuple[T, tuple[int, ...]]:
        return self._ask(self.chip, question, wanted, descriptors)

    def ask_vm(self, question: object, wanted: type[T]) -> T:
        return self._ask(self.door, question, wanted, ())[0]

    def _ask(
        self, channel: Channel, question: object, wanted: type[T], descriptors: tuple[int, ...]
    ) -> tuple[T, tuple[int, ...]]:
        self.number += 1
        channel.send(numbered(self.number, question), descriptors, timeout=PATIENCE)
        frame = channel.receive(timeout=PATIENCE)
        number, message = split(frame.payload)
        assert number == self.number
        return answer_of(message, wanted), frame.descriptors

    def news(self) -> VmProcessIs:
        number, message = split(self.chip.receive(timeout=PATIENCE).payload)
        assert number == 0
        return answer_of(message, VmProcessIs)

    def add(self, kind: PageType, page: int, content: bytes) -> LaunchPage:
        os.pwrite(self.memory, content, page * PAGE_SIZE)
        spa = page * PAGE_SIZE
        if self.has_rmp:
            self.ask_vm(RmpUpdate(spa, 1, assigned=True, gpa=spa, immutable=True), Done)
        self.ask(LaunchUpdate(self.started.vm, kind, spa, spa, 1), LaunchDigest)
        return LaunchPage(kind, spa, content)


@contextlib.contextmanager
def launching(folder: Path, mode: VmMode) -> Iterator[tuple[Process, Host]]:
    with started(folder) as chip, tempfile.TemporaryFile() as memory:
        chip.certify()
        chip.ready()
        memory.truncate(PAGES * PAGE_SIZE)
        host = Host(chip.host, memory.fileno(), mode)
        try:
            yield chip, host
        finally:
            host.door.close()


@pytest.mark.parametrize("mode", VmMode)
def test_the_digest_is_of_what_was_encrypted(tmp_path: Path, mode: VmMode) -> None:
    with launching(tmp_path, mode) as (_, host):
        code = b"\xf4" * PAGE_SIZE
        cpuid = CPUID if mode.has_rmp else bytes(PAGE_SIZE)
        pages = [
            host.add(PageType.NORMAL, 1, code),
            host.add(PageType.ZERO, 2, b"not to be seen".ljust(PAGE_SIZE, b"\0")),
            host.add(PageType.SECRETS, 3, bytes(PAGE_SIZE)),
            host.add(PageType.CPUID, 4, cpuid),
            host.add(PageType.UNMEASURED, 5, code),
            host.add(PageType.VMSA, 6, REGISTERS),
        ]
        finished, _ = host.ask(LaunchFinish(host.started.vm, bytes(32)), LaunchDigest)
        assert finished.digest == digest_of(pages)
        assert host.ask_vm(HostLoad(PAGE_SIZE, PAGE_SIZE), MemoryIs).content != code
        secrets = host.ask_vm(HostLoad(3 * PAGE_SIZE, PAGE_SIZE), MemoryIs).content
        assert any(secrets[-16:])  # the page ends with zeros: what is here is ciphertext


def test_what_the_memory_controller_refuses_is_not_measured(tmp_path: Path) -> None:
    with launching(tmp_path, VmMode.SEV_SNP) as (_, host):
        with pytest.raises(FaultError, match="INVALID_PAGE_STATE") as refusal:
            host.ask(LaunchUpdate(1, PageType.NORMAL, 0, 0, 1), LaunchDigest)
        assert refusal.value.fault.code is Code.FIRMWARE_REFUSED
        assert host.ask(LaunchFinish(1, bytes(32)), LaunchDigest)[0].digest == bytes(48)


def test_a_page_is_measured_where_the_guest_will_see_it(tmp_path: Path) -> None:
    with launching(tmp_path, VmMode.SEV_SNP) as (_, host):
        host.ask_vm(RmpUpdate(0, 1, assigned=True, gpa=0x5000, immutable=True), Done)
        with pytest.raises(FaultError, match="INVALID_PAGE_STATE"):
            host.ask(LaunchUpdate(1, PageType.NORMAL, 0, 0x6000, 1), LaunchDigest)


def test_dram_that_is_cut_short_ends_no_chip(tmp_path: Path) -> None:
    with launching(tmp_path, VmMode.SEV) as (_, host):
        os.ftruncate(host.memory, 0)
        with pytest.raises(FaultError):
            host.ask(LaunchUpdate(1, PageType.NORMAL, 0, 0, 1), LaunchDigest)
        assert host.ask(PlatformStatus(), PlatformIs)[0].guests == 1
        host.ask(DestroyVm(1), VmProcessIs)
        assert host.ask(PlatformStatus(), PlatformIs)[0].guests == 0


def test_a_vm_ends_with_its_hypervisor(tmp_path: Path) -> None:
    with launching(tmp_path, VmMode.SEV_SNP) as (_, host):
        host.door.close()
        assert host.news().vm == 1


def test_a_vm_ends_with_its_chip(tmp_path: Path) -> None:
    with launching(tmp_path, VmMode.SEV_SNP) as (chip, host):
        chip.process.send_signal(signal.SIGKILL)
        with pytest.raises(PeerGoneError):
            host.door.receive(timeout=PATIENCE)
