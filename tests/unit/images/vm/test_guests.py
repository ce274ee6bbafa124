"""The built-in guests in every mode, on the vCPU that they are made for."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.rigs.images.own_guest import own_guest, platform

from casemate.chip.snp.platform import SnpPlatform
from casemate.images.vm.builtin import firmware
from casemate.testing.lone_guest import LoneGuest
from casemate.testing.lone_hypervisor import Relay
from casemate.wire.messages.vm.hypervisor import DebugLoad, Done, ExitReason, MemoryIs, RmpUpdate
from casemate.wire.snp.cpuid_page import CpuidFunction, CpuidPage
from casemate.wire.snp.ghcb import ExitCode
from casemate.wire.snp.ghcb_msr import GhcbAddress, PageStateRequest, RegisterGpaRequest
from casemate.wire.snp.mode import VmMode
from casemate.wire.snp.report import REPORT_SIZE, SnpReport

ALL_MODES = pytest.mark.parametrize("mode", VmMode)
SNP_MODES = pytest.mark.parametrize("mode", [VmMode.SEV_SNP, VmMode.AUTHENTICATED])
NAMES = {VmMode.SEV: "SEV", VmMode.SEV_ES: "SEV-ES", VmMode.SEV_SNP: "SEV-SNP", VmMode.AUTHENTICATED: "SEV-SNP"}
PAGE_A, PAGE_B, COUNTERS = 0x20_0000, 0x20_1000, 0x6_0000
AS_WRITTEN = "all as it was written"


@pytest.fixture
def chip(tmp_path: Path) -> SnpPlatform:
    return platform(tmp_path / "chip")


@ALL_MODES
def test_hello_greets_and_halts(mode: VmMode) -> None:
    with LoneGuest(firmware("hello"), mode) as host:
        ended = host.run()
        assert ended is not None
        assert ended.reason is ExitReason.HALT
        assert host.lines == [
            "Hello from a confidential VM.",
            f"mode: {NAMES[mode]}",
            "processor: AuthenticAMD, 0x0000000000a00f11",
        ]
        assert (ExitReason.PORT in host.seen) is (mode is VmMode.SEV)
        assert (ExitCode.IOIO in host.seen) is mode.has_encrypted_registers
        assert ({RegisterGpaRequest, PageStateRequest} <= host.seen) is mode.has_rmp


@SNP_MODES
def test_cpuid_is_answered_by_the_page_that_the_firmware_has_checked(mode: VmMode) -> None:
    name = [int.from_bytes(part, "little") for part in (b"From", b"the ", b"page")]
    functions = (
        CpuidFunction(eax_in=0, eax=1, ebx=name[0], edx=name[1], ecx=name[2]),
        CpuidFunction(eax_in=1, eax=0x1234),
    )
    with LoneGuest(firmware("hello"), mode, cpuid=CpuidPage(functions).encode()) as host:
        host.run()
        assert host.lines[-1] == "processor: Fromthe page, 0x0000000000001234"
        assert ExitCode.CPUID not in host.seen


@ALL_MODES
def test_other_vcpus_wait_for_the_first_and_have_a_ghcb_of_their_own(mode: VmMode) -> None:
    with LoneGuest(firmware("hello"), mode, vcpus=3) as host:
        early = host.run(1, instructions=5000)
        assert early is not None
        assert early.reason is ExitReason.INSTRUCTIONS
        assert host.lines == []
        for vcpu in (0, 2, 1):
            ended = host.run(vcpu)
            assert ended is not None
            assert ended.reason is ExitReason.HALT
        assert host.lines[-2:] == ["one more vCPU: 1", "one more vCPU: 2"]


@ALL_MODES
def test_count_counts_on_each_vcpu_in_memory_that_the_host_cannot_read(mode: VmMode) -> None:
    with LoneGuest(firmware("count"), mode, vcpus=2) as host:
        host.run(0, exits=200)
        host.run(1, exits=200)
        assert "vCPU 0 has counted to 262144" in host.lines
        assert any(line.endswith("vCPU 1 has counted to 262144") for line in host.lines)
        for page in (COUNTERS, COUNTERS + 0x1000):
            plain = host.vm.ask(DebugLoad(page, 16), MemoryIs).content
            assert int.from_bytes(plain, "little") >= 262144
            assert host.vm.load(page, 16) != plain


@ALL_MODES
def test_walk_shows_which_pages_are_private(mode: VmMode) -> None:
    with LoneGuest(firmware("walk"), mode) as host:
        host.run()
        places = re.findall(r"(my \w+), 0x\w+\n((?:  .*\n)+)", host.console.decode())
        leaves = {name: entries.splitlines()[-1] for name, entries in places}
        assert leaves["my stack"] == "  level 1, entry 32: 0x0008000000020063, private"
        assert leaves["my code"] == "  level 2, entry 511: 0x00080000ffe000e3, private"
        assert leaves.get("my GHCB") == (
            "  level 1, entry 24: 0x0000000000018063, shared" if mode.has_encrypted_registers else None
        )


@SNP_MODES
def test_report_hands_out_what_the_firmware_has_signed(mode: VmMode, chip: SnpPlatform) -> None:
    machine = LoneGuest(firmware("report"), mode, chip=chip, data=bytes(range(64)) + b"\xff" * 64)
    with machine as host:
        assert host.run() is None
        assert len(host.sent) == 2 * REPORT_SIZE
        first, second = (SnpReport.parse(bytes(host.sent[at : at + REPORT_SIZE])) for at in (0, REPORT_SIZE))
        assert (first.report_data, second.report_data) == (bytes(range(64)), b"\xff" * 64)
        assert first.measurement == second.measurement == machine.digest
        assert first.vmpl == 0
        assert host.lines == [
            "waiting for 64 bytes of report data",
            f"report data: {bytes(range(64)).hex()}",
            f"handed out a report that says measurement {machine.digest.hex()}",
            "waiting for 64 bytes of report data",
            f"report data: {'ff' * 64}",
            f"handed out a report that says measurement {machine.digest.hex()}",
            "waiting for 64 bytes of report data",
        ]


@pytest.mark.parametrize("mode", [VmMode.SEV, VmMode.SEV_ES])
@pytest.mark.parametrize("name", ["report", "seal"])
def test_guests_that_need_the_firmware_say_that_it_does_not_hear_them(name: str, mode: VmMode) -> None:
    with LoneGuest(firmware(name), mode) as host:
        host.run()
        assert host.lines == [f"the firmware hears guests under SEV-SNP alone, and this is {NAMES[mode]}"]


def changed_at(at: int) -> Callable[[bytes], bytes]:
    return lambda response: response[:at] + bytes([response[at] ^ 1]) + response[at + 1 :]


@pytest.mark.parametrize(
    "change",
    [changed_at(at) for at in (0, 0x20, 0x28, 0x31, 0x34, 0x36, 0x3C, 0x60, 0x300)],
    ids=["tag", "number", "number's end", "version", "type", "size", "key", "payload", "report"],
)
def test_report_takes_no_answer_but_the_firmware_s(chip: SnpPlatform, change: Callable[[bytes], bytes]) -> None:
    with LoneGuest(firmware("report"), VmMode.SEV_SNP, chip=chip, data=bytes(64)) as host:
        honest = host.relay
        assert honest is not None
        host.relay = lambda request: change(honest(request))
        ended = host.run()
        assert ended is not None
        assert ended.reason is ExitReason.HALT
        assert host.lines[-1] == "the answer is not the firmware's"
        assert not host.sent


def test_report_takes_no_answer_twice(chip: SnpPlatform) -> None:
    with LoneGuest(firmware("report"), VmMode.SEV_SNP, chip=chip, data=bytes(128)) as host:
        host.relay = first_answer(host.relay)
        host.run()
        assert host.lines[-1] == "the answer is not the firmware's"
        assert len(host.sent) == REPORT_SIZE


def first_answer(honest: Relay | None) -> Relay:
    assert honest is not None
    answers: list[bytes] = []

    def relay(request: bytes) -> bytes:
        answers.append(honest(request))
        return answers[0]

    return relay


@SNP_MODES
def test_seal_opens_what_it_has_sealed_on_the_same_chip_and_nothing_else(mode: VmMode, chip: SnpPlatform) -> None:
    with LoneGuest(firmware("seal"), mode, chip=chip) as host:
        host.run()
        sealed = bytes(host.sent)
        assert host.lines == [f"sealed: {sealed.hex()}"]
        assert b"only this guest" not in sealed
    with LoneGuest(firmware("seal"), mode, chip=chip, data=sealed) as host:
        host.run()
        assert host.lines[1:] == ["unsealed: what only this guest on this chip can read"]
    with LoneGuest(firmware("seal"), mode, chip=chip, data=sealed[:-1] + b"\0") as host:
        host.run()
        assert host.lines[1:] == ["cannot unseal: another key, or changed"]
    with LoneGuest(firmware("seal"), mode, chip=chip, data=sealed, vcpus=2) as host:
        host.run()
        assert host.lines[0] != f"sealed: {sealed.hex()}"
        assert host.lines[1:] == ["cannot unseal: another key, or changed"]


@ALL_MODES
def test_victim_reads_what_it_has_written(mode: VmMode) -> None:
    with LoneGuest(firmware("victim"), mode, data=b"wrebh") as host:
        ended = host.run()
        assert ended is not None
        assert ended.reason is ExitReason.HALT
        read = [line for line in host.lines if line.startswith(("A: ", "B: "))]
        assert len(read) == 4
        assert all(line.endswith(AS_WRITTEN) for line in read)
        assert read[2].startswith(f"A: {b'page A, '.hex()}02")
        assert read[3].startswith(f"B: {b'both are'.hex()}03")


@pytest.mark.parametrize("mode", [VmMode.SEV, VmMode.SEV_ES, VmMode.SEV_SNP])
def test_victim_shows_a_replay_of_dram(mode: VmMode) -> None:
    with LoneGuest(firmware("victim"), mode) as host:
        assert host.run() is None
        old = read_dram(host.vm.dram.fileno(), PAGE_A)
        host.waiting.extend(b"w")
        assert host.run() is None
        write_dram(host.vm.dram.fileno(), PAGE_A, old)
        host.waiting.extend(b"r")
        assert host.run() is None
        assert host.lines[-2].startswith(f"A: {b'page A, '.hex()}01")
        assert "CHANGED: byte 0 on is" in host.lines[-2]


@pytest.mark.parametrize("mode", [VmMode.SEV, VmMode.SEV_ES, VmMode.SEV_SNP])
def test_victim_tells_by_itself_what_has_changed_and_that_it_is_as_before(mode: VmMode) -> None:
    with LoneGuest(firmware("victim"), mode) as host:
        assert host.run() is None
        dram = host.vm.dram.fileno()
        honest = read_dram(dram, PAGE_B)
        write_dram(dram, PAGE_B, changed_at(0x123)(honest))
        assert host.run() is None
        write_dram(dram, PAGE_B, honest)
        assert host.run() is None
        assert re.fullmatch(r"B: \w{32}, CHANGED: byte 288 on is \w{32}", host.lines[-2])
        assert host.lines[-1] == f"B: {b'page B, '.hex()}0100000000000000, {AS_WRITTEN}"


def test_victim_ends_with_a_replay_in_authenticated() -> None:
    with LoneGuest(firmware("victim"), VmMode.AUTHENTICATED) as host:
        assert host.run() is None
        old = read_dram(host.vm.dram.fileno(), PAGE_A)
        host.waiting.extend(b"w")
        assert host.run() is None
        write_dram(host.vm.dram.fileno(), PAGE_A, old)
        host.waiting.extend(b"r")
        ended = host.run()
        assert ended is not None
        assert (ended.reason, ended.info_2) == (ExitReason.INTEGRITY, PAGE_A)


@pytest.mark.parametrize("mode", [VmMode.SEV, VmMode.SEV_ES, VmMode.SEV_SNP])
def test_victim_shows_swapped_pages_and_that_equal_pages_differ_in_dram(mode: VmMode) -> None:
    with LoneGuest(firmware("victim"), mode, data=b"e") as host:
        assert host.run() is None
        dram = host.vm.dram.fileno()
        page_a, page_b = read_dram(dram, PAGE_A), read_dram(dram, PAGE_B)
        assert page_a != page_b
        write_dram(dram, PAGE_A, page_b)
        host.waiting.extend(b"r")
        assert host.run() is None
        assert "CHANGED: byte 0 on is" in host.lines[-2]


@SNP_MODES
def test_victim_ends_when_a_page_is_no_longer_validated(mode: VmMode) -> None:
    with LoneGuest(firmware("victim"), mode) as host:
        assert host.run() is None
        host.vm.ask(RmpUpdate(spa=PAGE_A, count=1, assigned=False, gpa=PAGE_A, immutable=False), Done)
        host.vm.ask(RmpUpdate(spa=PAGE_A, count=1, assigned=True, gpa=PAGE_A, immutable=False), Done)
        host.run()
        assert re.fullmatch(
            r"unexpected exception 29, error code 0x0{13}404, at 0x0{8}ffff\w{4}, touching 0x0{10}200000",
            host.lines[-1],
        )
        assert host.terminated is not None


@ALL_MODES
def test_an_unexpected_exception_is_told_and_ends_the_guest(mode: VmMode) -> None:
    guest = own_guest("main: mov rax, 0x8000000000\nmov rbx, [rax]\nap_main: ret\n")
    with LoneGuest(guest, mode) as host:
        ended = host.run()
        assert ended is not None
        assert host.lines[0].startswith("unexpected exception 14, error code 0x0000000000000000, at 0x00000000ffff")
        assert host.lines[0].endswith("touching 0x0000008000000000")
        assert (host.terminated is not None) is mode.has_encrypted_registers
        assert ended.reason is (ExitReason.VMGEXIT if mode.has_encrypted_registers else ExitReason.HALT)


@SNP_MODES
@pytest.mark.parametrize("refused", ["page state", "registration"])
def test_a_host_that_gives_a_guest_no_ghcb_gets_no_guest(mode: VmMode, refused: str) -> None:
    with LoneGuest(firmware("hello"), mode) as host:
        host.refuses_page_state = refused == "page state"
        host.refuses_registration = refused == "registration"
        host.run()
        assert host.terminated is not None
        assert host.lines == []


@SNP_MODES
def test_a_page_that_is_validated_already_ends_the_guest(mode: VmMode) -> None:
    guest = own_guest(
        'main: mov edi, PAGE_A\ncall validate_page\ncall validate_page\ncall say\n.asciz "missed"\nap_main: ret\n'
    )
    with LoneGuest(guest, mode) as host:
        host.run()
        assert host.lines == ["the state of a page is not what it has to be: 0x0000000000200000"]
        assert host.terminated is not None


@ALL_MODES
def test_ports_of_every_width_and_msrs_go_through_vc(mode: VmMode) -> None:
    guest = own_guest(
        """
main:
    mov rax, 0x1122334455667788
    mov edx, 0x3FD
    in al, dx
    call print_hex_number
    call newline
    mov rax, 0x1122334455667788
    in ax, dx
    call print_hex_number
    call newline
    mov rax, 0x1122334455667788
    in eax, dx
    call print_hex_number
    call newline
    mov edx, 0x3F8
    mov eax, 0x5858584F
    out dx, eax
    out dx, ax
    ret
ap_main:
    ret
"""
    )
    with LoneGuest(guest, mode) as host:
        host.run()
        assert host.lines == ["0x1122334455667720", "0x1122334455660020", "0x0000000000000020", "OO"]
        assert (GhcbAddress in host.seen) is mode.has_encrypted_registers


def read_dram(descriptor: int, spa: int) -> bytes:
    return os.pread(descriptor, 4096, spa)


def write_dram(descriptor: int, spa: int, content: bytes) -> None:
    os.pwrite(descriptor, content, spa)


@ALL_MODES
def test_flags_outlast_an_exit(mode: VmMode) -> None:
    guest = own_guest(
        """
main:
    mov edx, 0x3FD
    stc
    std
    in al, dx
    pushfq
    cld
    pop rax
    call print_hex_number
    call newline
    ret
ap_main:
    ret
"""
    )
    with LoneGuest(guest, mode) as host:
        host.run()
        flags = int(host.lines[0], 16)
        assert (flags & 1, flags & 1 << 10) == (1, 1 << 10)
