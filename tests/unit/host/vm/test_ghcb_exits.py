"""What guests ask by VMGEXIT, sensible and hostile: always an answer or a stop, never an error."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.rigs.host.fake_guest import RAM, fake_guest

from casemate.host.vm.ghcb_exits import GhcbExits, Served
from casemate.wire.protocol.faults import Code, FaultError, refuse
from casemate.wire.snp import ghcb_msr as msr
from casemate.wire.snp.ghcb import SHARED_BUFFER, SHARED_BUFFER_SIZE, ExitCode, Ghcb, GhcbField
from casemate.wire.snp.page_info import PAGE_SIZE
from casemate.wire.snp.page_state import PageOperation, PageStateChange, PageStateEntry
from casemate.wire.snp.port_access import PortAccess, PortString

GHCB, REQUEST, RESPONSE = 0x8000, 0x9000, 0xA000
BUFFER = GHCB + SHARED_BUFFER
PRINT = PortString(PortAccess(0x3F8, 1, is_in=False), 1)
TABLE = b"certificates".ljust(5000, b".")
EMPTY = bytearray(PAGE_SIZE)
EMPTY[0xFFA] = 2


class Asked:
    """A guest whose exits are served by a firmware that turns messages round, or refuses them."""

    def __init__(self, folder: Path) -> None:
        self.guest, self.link = fake_guest(folder)
        self.refuses = False
        self.exits = GhcbExits(self.guest, self._firmware, self._certificates)

    async def _firmware(self, request: bytes) -> bytes:
        if self.refuses:
            raise refuse(Code.FIRMWARE_REFUSED, "INVALID_PARAM: no")
        return request[::-1]

    async def _certificates(self) -> bytes:
        return TABLE

    def msr(self, value: int) -> Served:
        return asyncio.run(self.exits.serve(value))

    def page(self, code: int, values: dict[GhcbField, int] | None = None, *, buffer: bytes | None = None) -> Ghcb:
        """The GHCB as it comes back."""
        fields = {GhcbField.SW_EXITCODE: code, **(values or {})}
        info = (fields.pop(GhcbField.SW_EXITINFO1, 0), fields.pop(GhcbField.SW_EXITINFO2, 0))
        padded = None if buffer is None else buffer.ljust(SHARED_BUFFER_SIZE, b"\0")
        asked = Ghcb(bytes(EMPTY)).answer(fields, info_1=info[0], info_2=info[1], shared_buffer=padded)
        self.link.memory[GHCB : GHCB + PAGE_SIZE] = asked.encode()
        assert self.msr(GHCB) == Served()
        return Ghcb.parse(bytes(self.link.memory[GHCB : GHCB + PAGE_SIZE]))


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
    return Asked(tmp_path)


def test_the_msr_protocol_answers(asked: Asked) -> None:
    assert asked.msr(msr.SevInfoRequest().encode()).ghcb == msr.SevInfo(2, 1, 51).encode()
    assert asked.msr(msr.RegisterGpaRequest(8).encode()).ghcb == msr.RegisterGpaResponse(8).encode()
    assert asked.msr(msr.CpuidRequest(0x8000_001F, 1).encode()).ghcb == msr.CpuidResponse(0x4073, 1).encode()
    answer = asked.msr(msr.PageStateRequest(5, PageOperation.SHARED).encode())
    assert answer.ghcb == msr.PageStateResponse(0).encode()
    assert [(update.spa, update.assigned) for update in asked.link.updates] == [(0x5000, False)]
    assert "ended itself" in str(asked.msr(msr.TerminateRequest(0, 1).encode()).stopped)


def test_ports_print(asked: Asked) -> None:
    for byte in b"hi":
        asked.page(
            ExitCode.IOIO, {GhcbField.RAX: byte, GhcbField.SW_EXITINFO1: PortAccess(0x3F8, 1, is_in=False).encode()}
        )
    status = asked.page(ExitCode.IOIO, {GhcbField.SW_EXITINFO1: PortAccess(0x3FD, 1, is_in=True).encode()})
    assert status.get(GhcbField.RAX) == 0x60
    assert asked.guest.devices.console.read(0, 100) == (0, b"hi")


def test_a_string_is_printed_by_one_exit(asked: Asked) -> None:
    out = {GhcbField.SW_EXITINFO1: PRINT.encode(), GhcbField.SW_EXITINFO2: 2, GhcbField.SW_SCRATCH: BUFFER + 1}
    assert asked.page(ExitCode.IOIO, out, buffer=b"-hi-").get(GhcbField.SW_EXITINFO1) == 0
    assert asked.guest.devices.console.read(0, 100) == (0, b"hi")


def test_a_string_is_read_into_the_guests_buffer(asked: Asked) -> None:
    asked.guest.devices.data.give(b"abc")
    read = PortString(PortAccess(0x2F8, 1, is_in=True), 3).encode()
    values = {GhcbField.SW_EXITINFO1: read, GhcbField.SW_EXITINFO2: 3, GhcbField.SW_SCRATCH: BUFFER + 0x7ED}
    answer = asked.page(ExitCode.IOIO, values, buffer=b"kept")
    assert (answer.shared_buffer[:4], answer.shared_buffer[-4:]) == (b"kept", b"\0abc")


@pytest.mark.parametrize(
    ("count", "scratch"),
    [
        (1, BUFFER - 1),
        (1, BUFFER + 0x7F0),
        (0x7F1, BUFFER),
        (0, BUFFER),
        (1 << 63, BUFFER),
        (2, BUFFER + 0x7EF),
        (1, 0),
    ],
)
def test_a_string_elsewhere_than_in_the_buffer_is_malformed(asked: Asked, count: int, scratch: int) -> None:
    values = {GhcbField.SW_EXITINFO1: PRINT.encode(), GhcbField.SW_EXITINFO2: count, GhcbField.SW_SCRATCH: scratch}
    answer = asked.page(ExitCode.IOIO, values, buffer=b"secret")
    assert (answer.get(GhcbField.SW_EXITINFO1), answer.get(GhcbField.SW_EXITINFO2)) == (2, 3)
    assert asked.guest.devices.console.read(0, 100) == (0, b"")


def test_cpuid_answers_in_registers(asked: Asked) -> None:
    answer = asked.page(ExitCode.CPUID, {GhcbField.RAX: 1, GhcbField.RCX: 0})
    assert answer.get(GhcbField.RAX) == 0xA00F11


def test_pages_change_their_state(asked: Asked) -> None:
    entries = (PageStateEntry(1, PageOperation.SHARED), PageStateEntry(2, PageOperation.PRIVATE))
    answer = asked.page(ExitCode.PAGE_STATE_CHANGE, buffer=PageStateChange(0, entries).encode())
    assert answer.get(GhcbField.SW_EXITINFO2) == 0
    assert [(update.spa, update.assigned) for update in asked.link.updates] == [(0x1000, False), (0x2000, True)]


def test_a_guest_request_is_relayed(asked: Asked) -> None:
    asked.link.memory[REQUEST : REQUEST + 3] = b"abc"
    where = {GhcbField.SW_EXITINFO1: REQUEST, GhcbField.SW_EXITINFO2: RESPONSE}
    assert asked.page(ExitCode.GUEST_REQUEST, where).get(GhcbField.SW_EXITINFO2) == 0
    assert asked.link.memory[RESPONSE + PAGE_SIZE - 3 : RESPONSE + PAGE_SIZE] == b"cba"
    asked.refuses = True
    assert asked.page(ExitCode.GUEST_REQUEST, where).get(GhcbField.SW_EXITINFO2) == 1


def test_an_extended_request_has_the_certificates_or_says_how_much_room_they_need(asked: Asked) -> None:
    where = {GhcbField.SW_EXITINFO1: REQUEST, GhcbField.SW_EXITINFO2: RESPONSE, GhcbField.RAX: 0x2_0000}
    refused = asked.page(ExitCode.EXTENDED_GUEST_REQUEST, {**where, GhcbField.RBX: 1})
    assert (refused.get(GhcbField.RBX), refused.get(GhcbField.SW_EXITINFO2)) == (2, 1 << 32)
    served = asked.page(ExitCode.EXTENDED_GUEST_REQUEST, {**where, GhcbField.RBX: 2})
    assert served.get(GhcbField.SW_EXITINFO2) == 0
    assert asked.link.memory[0x2_0000 : 0x2_0000 + len(TABLE)] == TABLE


def test_what_no_hypervisor_serves_is_malformed_to_the_guest(asked: Asked) -> None:
    assert asked.page(0x1234).get(GhcbField.SW_EXITINFO1) == 2
    assert asked.page(ExitCode.IOIO, {GhcbField.SW_EXITINFO1: 0xFFFF_FFFF}).get(GhcbField.SW_EXITINFO1) == 2


def test_a_process_that_is_gone_is_no_fault_of_the_guests(asked: Asked) -> None:
    asked.link.lost = True
    with pytest.raises(FaultError, match="gone"):
        asked.msr(GHCB)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.integers(0, (1 << 64) - 1) | st.integers(0, 0xFFF) | st.integers(0, RAM // PAGE_SIZE))
def test_no_value_of_the_msr_is_an_error(asked: Asked, value: int) -> None:
    served = asked.msr(value)
    assert served.stopped or served.ghcb is not None or served == Served()


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    code=st.sampled_from(ExitCode) | st.integers(0, (1 << 64) - 1),
    values=st.dictionaries(st.sampled_from(GhcbField), st.integers(0, 255) | st.integers(0, RAM)),
    noise=st.binary(max_size=0x7F0),
)
def test_no_ghcb_is_an_error(asked: Asked, code: int, values: dict[GhcbField, int], noise: bytes) -> None:
    values = {field: value % (1 << 8 * field.size) for field, value in values.items()}
    values[GhcbField.SW_EXITCODE] = code
    infos = (values.pop(GhcbField.SW_EXITINFO1, 0), values.pop(GhcbField.SW_EXITINFO2, 0))
    page = Ghcb(bytes(EMPTY)).answer(values, info_1=infos[0], info_2=infos[1], shared_buffer=noise.ljust(0x7F0, b"\0"))
    asked.link.memory[GHCB : GHCB + PAGE_SIZE] = page.encode()
    served = asked.msr(GHCB)
    assert served == Served() or served.stopped


def test_noise_for_a_ghcb_stops_the_guest(asked: Asked) -> None:
    asked.link.memory[GHCB : GHCB + PAGE_SIZE] = b"\xff" * PAGE_SIZE
    assert "GHCB" in str(asked.msr(GHCB).stopped)
