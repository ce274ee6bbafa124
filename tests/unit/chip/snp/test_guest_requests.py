from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.rigs.chip.snp_guest import opened_with, seal_with

from casemate.chip.fuses import Fuses
from casemate.chip.snp.errors import FirmwareError, FirmwareStatus
from casemate.chip.snp.guest_context import Command, GuestContext, GuestIdentity
from casemate.chip.snp.guest_requests import LAST_NUMBER, answer
from casemate.chip.snp.platform import SnpPlatform
from casemate.chip.snp.platform_state import ChipKind
from casemate.makers.amd.levels import first_levels, recover
from casemate.wire.snp.cpuid_messages import CpuidRequest, CpuidResponse
from casemate.wire.snp.cpuid_page import CpuidFunction
from casemate.wire.snp.guest_message import (
    ALL_GUEST_FIELDS,
    GuestField,
    KeyRequest,
    KeyRequest2,
    KeyResponse,
    KeySelect,
    MessageHeader,
    MessageStatus,
    MessageType,
    ReportRequest,
    ReportResponse,
    RootKeySelect,
)
from casemate.wire.snp.id_block import IdBlock
from casemate.wire.snp.mode import VmMode
from casemate.wire.snp.report import SIGNED_SIZE, SigningKey, SnpReport
from casemate.wire.snp.tcb import Product

DATA = bytes(range(64))
BLOCK = IdBlock(ld=b"L" * 48, policy=0x30000, guest_svn=7, family_id=b"F" * 16, image_id=b"I" * 16)


def seal(guest: GuestContext, payload: bytes, *, vmpl: int = 0, key: bytes | None = None, **fields: Any) -> bytes:
    return seal_with(key or guest.vmpcks[vmpl].reveal(), payload, vmpl=vmpl, **fields)


def opened(guest: GuestContext, response: bytes) -> bytes:
    return opened_with(guest.vmpcks[MessageHeader.parse(response[:0x60]).msg_vmpck].reveal(), response)


@pytest.fixture
def running(guest: GuestContext) -> GuestContext:
    guest.digest = BLOCK.ld
    guest.identity = GuestIdentity(b"H" * 32, BLOCK, b"D" * 48, b"A" * 48, author_key=True)
    guest.step(Command.LAUNCH_FINISH)
    return guest


Ask = Callable[..., KeyResponse]


@pytest.fixture
def ask(running: GuestContext, platform: SnpPlatform) -> Ask:
    """Asks for a key, with numbers as they should be."""

    def asked(speaks: int = 0, context: GuestContext = running, **changes: Any) -> KeyResponse:
        request = replace(KeyRequest(RootKeySelect.VCEK, 0, 0, 0, bytes(8)), **changes)
        number = context.message_counts[speaks] + 1
        sealed = seal(context, request.encode(), number=number, kind=MessageType.KEY_REQ, vmpl=speaks)
        return KeyResponse.parse(opened(context, answer(context, platform, sealed)))

    return asked


def reported(guest: GuestContext, platform: SnpPlatform, request: ReportRequest, vmpl: int = 0) -> ReportResponse:
    number = guest.message_counts[vmpl] + 1
    response = answer(guest, platform, seal(guest, request.encode(), number=number, vmpl=vmpl))
    header = MessageHeader.parse(response[:0x60])
    assert (header.msg_seqno, header.msg_type, header.msg_vmpck) == (number + 1, MessageType.REPORT_RSP, vmpl)
    return ReportResponse.parse(opened(guest, response))


def test_a_report_says_what_the_guest_is(running: GuestContext, platform: SnpPlatform) -> None:
    response = reported(running, platform, ReportRequest(DATA, 2), vmpl=1)
    report = SnpReport.parse(response.report)
    assert (report.report_data, report.vmpl, report.measurement, report.policy) == (DATA, 2, b"L" * 48, 0x30000)
    assert (report.host_data, report.guest_svn, report.family_id, report.image_id) == (
        b"H" * 32,
        7,
        b"F" * 16,
        b"I" * 16,
    )
    assert (report.id_key_digest, report.author_key_digest, report.has_author_key) == (b"D" * 48, b"A" * 48, True)
    assert (report.report_id, report.report_id_ma) == (running.report_id, b"\xff" * 32)
    assert report.launch_tcb == running.launch_tcb.encode()
    assert report.signing_key is SigningKey.VCEK
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), platform.vcek().public_key)
    public.verify(encode_dss_signature(*report.signature()), response.report[:SIGNED_SIZE], ec.ECDSA(SHA384()))


@pytest.mark.parametrize(("speaks", "asks"), [(0, 4), (0, 0xFFFF_FFFF), (1, 0), (3, 2), (2, 1)])
def test_nobody_reports_more_privileges_than_their_own(
    running: GuestContext, platform: SnpPlatform, speaks: int, asks: int
) -> None:
    response = reported(running, platform, ReportRequest(DATA, asks), vmpl=speaks)
    assert response == ReportResponse(MessageStatus.INVALID_PARAM)


def test_a_vlek_that_is_not_loaded_signs_nothing(running: GuestContext, platform: SnpPlatform) -> None:
    response = reported(running, platform, ReportRequest(DATA, 0, KeySelect.VLEK))
    assert response == ReportResponse(MessageStatus.INVALID_KEY)
    assert reported(running, platform, ReportRequest(DATA, 0, KeySelect.VCEK)).status is MessageStatus.SUCCESS


@pytest.mark.parametrize("payload", [b"", bytes(95), bytes(97), bytes(0x44) + b"\x03" + bytes(27), b"\xff" * 96])
def test_a_payload_that_is_none_is_told_to_the_guest(
    running: GuestContext, platform: SnpPlatform, payload: bytes
) -> None:
    response = answer(running, platform, seal(running, payload))
    assert ReportResponse.parse(opened(running, response)) == ReportResponse(MessageStatus.INVALID_PARAM)


def test_numbers_go_up_for_each_key_by_itself(running: GuestContext, platform: SnpPlatform) -> None:
    for vmpl in range(4):
        for number in (1, 3, 5):
            answer(running, platform, seal(running, ReportRequest(DATA, 3).encode(), number=number, vmpl=vmpl))
    assert running.message_counts == [6, 6, 6, 6]


@pytest.mark.parametrize("number", [0, 1, 2, 4, 5, 2**64 - 1])
def test_a_replayed_or_skipped_number_is_refused_and_changes_nothing(
    running: GuestContext, platform: SnpPlatform, number: int
) -> None:
    payload = ReportRequest(DATA, 0).encode()
    answer(running, platform, seal(running, payload))
    with pytest.raises(FirmwareError, match=f"INVALID_PARAM: message {number} under VMPCK0, the next one is 3"):
        answer(running, platform, seal(running, payload, number=number))
    answer(running, platform, seal(running, payload, number=3))


def test_a_key_that_has_sealed_all_it_may_is_of_no_use(running: GuestContext, platform: SnpPlatform) -> None:
    running.message_counts[0] = LAST_NUMBER - 1
    with pytest.raises(FirmwareError, match="AEAD_OFLOW"):
        answer(running, platform, seal(running, ReportRequest(DATA, 0).encode(), number=LAST_NUMBER))


def test_a_message_of_another_key_is_refused(running: GuestContext, platform: SnpPlatform) -> None:
    payload = ReportRequest(DATA, 0).encode()
    for key in (running.vmpcks[1].reveal(), bytes(32)):
        with pytest.raises(FirmwareError, match="BAD_MEASUREMENT"):
            answer(running, platform, seal(running, payload, key=key))
    assert running.message_counts == [0, 0, 0, 0]
    answer(running, platform, seal(running, payload))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 0x60 + 95), st.integers(1, 255))
def test_a_message_that_was_changed_is_refused(
    running: GuestContext, platform: SnpPlatform, at: int, flip: int
) -> None:
    running.message_counts[:] = [0, 0, 0, 0]
    message = bytearray(seal(running, ReportRequest(DATA, 0).encode()))
    message[at] ^= flip
    with pytest.raises(FirmwareError) as refusal:
        answer(running, platform, bytes(message))
    assert refusal.value.status in (
        FirmwareStatus.BAD_MEASUREMENT,
        FirmwareStatus.INVALID_PARAM,
        FirmwareStatus.UNSUPPORTED,
    )
    assert running.message_counts == [0, 0, 0, 0]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=4096))
def test_any_bytes_are_refused(running: GuestContext, platform: SnpPlatform, message: bytes) -> None:
    with pytest.raises(FirmwareError, match=r"INVALID_PARAM|BAD_MEASUREMENT"):
        answer(running, platform, message)


@pytest.mark.parametrize("kind", [kind for kind in MessageType if kind not in (1, 3, 5)])
def test_messages_that_nobody_answers_are_unsupported(
    running: GuestContext, platform: SnpPlatform, kind: MessageType
) -> None:
    with pytest.raises(FirmwareError, match=f"UNSUPPORTED: no answer to {kind.name}"):
        answer(running, platform, seal(running, bytes(32), kind=kind))


def test_another_version_is_unsupported(running: GuestContext, platform: SnpPlatform) -> None:
    with pytest.raises(FirmwareError, match="UNSUPPORTED"):
        answer(running, platform, seal(running, ReportRequest(DATA, 0).encode(), version=2))


def test_what_follows_a_message_in_its_page_is_of_no_account(running: GuestContext, platform: SnpPlatform) -> None:
    answer(running, platform, seal(running, ReportRequest(DATA, 0).encode()).ljust(4096, b"\xaa"))


def test_no_guest_speaks_before_its_launch_is_over(guest: GuestContext, platform: SnpPlatform) -> None:
    with pytest.raises(FirmwareError, match="INVALID_GUEST_STATE"):
        answer(guest, platform, seal(guest, ReportRequest(DATA, 0).encode()))


@pytest.mark.parametrize("mode", [VmMode.SEV, VmMode.SEV_ES])
def test_there_are_no_reports_before_snp(running: GuestContext, platform: SnpPlatform, mode: VmMode) -> None:
    running.mode = mode
    with pytest.raises(FirmwareError, match="UNSUPPORTED"):
        answer(running, platform, seal(running, ReportRequest(DATA, 0).encode()))


@pytest.mark.parametrize(("bit", "status"), [(4, MessageStatus.SUCCESS), (14, MessageStatus.INVALID_PARAM)])
def test_what_a_guest_was_told_of_its_processor_is_checked(
    running: GuestContext, platform: SnpPlatform, bit: int, status: MessageStatus
) -> None:
    functions = (CpuidFunction(eax_in=0), CpuidFunction(eax_in=0x8000_001F, eax=1 << bit, ebx=51))
    sealed = seal(running, CpuidRequest(functions).encode(), kind=MessageType.CPUID_REQ)
    response = answer(running, platform, sealed)
    assert MessageHeader.parse(response[:0x60]).msg_type is MessageType.CPUID_RSP
    assert CpuidResponse.parse(opened(running, response)) == CpuidResponse(status, functions)


def test_a_question_about_the_processor_that_is_none_is_told_to_the_guest(
    running: GuestContext, platform: SnpPlatform
) -> None:
    response = answer(running, platform, seal(running, b"\x02" + bytes(15), kind=MessageType.CPUID_REQ))
    assert CpuidResponse.parse(opened(running, response)) == CpuidResponse(MessageStatus.INVALID_PARAM)


def test_the_same_request_gives_the_same_key(ask: Ask) -> None:
    first = ask()
    assert first.status is MessageStatus.SUCCESS
    assert any(first.derived_key)
    assert ask() == first


@pytest.mark.parametrize(
    "changes",
    [
        {"vmpl": 1},
        {"root_key_select": RootKeySelect.VMRK},
        *({"guest_field_select": field} for field in GuestField if field & ALL_GUEST_FIELDS),
        {"guest_field_select": GuestField.GUEST_SVN, "guest_svn": 7},
        {"guest_field_select": GuestField.TCB_VERSION, "tcb_version": bytes.fromhex("0100000000000100")},
    ],
)
def test_each_choice_gives_a_key_of_its_own(ask: Ask, changes: dict[str, Any]) -> None:
    assert ask(**changes).status is MessageStatus.SUCCESS
    assert ask(**changes).derived_key != ask().derived_key
    if len(changes) == 2:
        assert ask(**changes) != ask(guest_field_select=changes["guest_field_select"])


@pytest.mark.parametrize("changes", [{"guest_svn": 5}, {"tcb_version": bytes.fromhex("0100000000000100")}])
def test_what_is_not_selected_is_not_mixed_in(ask: Ask, changes: dict[str, Any]) -> None:
    assert ask(**changes) == ask()


@pytest.mark.parametrize(
    ("field", "change"),
    [
        (GuestField.GUEST_POLICY, {"policy": 0xB0000}),
        (GuestField.MEASUREMENT, {"digest": b"M" * 48}),
        (GuestField.IMAGE_ID, {"image_id": b"J" * 16}),
        (GuestField.FAMILY_ID, {"family_id": b"G" * 16}),
    ],
)
def test_a_key_is_another_guests_where_the_selected_field_differs(
    ask: Ask, running: GuestContext, field: GuestField, change: dict[str, Any]
) -> None:
    before, unbound = ask(guest_field_select=field), ask()
    for name, value in change.items():
        if hasattr(running, name):
            setattr(running, name, value)
        else:
            running.identity = replace(running.identity, block=replace(BLOCK, **change))
    assert ask(guest_field_select=field) != before
    assert ask() == unbound


def test_another_guest_has_the_same_key_from_the_chip_and_another_one_of_its_own(
    ask: Ask, running: GuestContext, random: Callable[[int], bytes]
) -> None:
    other = GuestContext.create(VmMode.SEV_SNP, running.policy, running.launch_tcb, random)
    other.state, other.digest, other.identity = running.state, running.digest, running.identity
    assert ask(context=other) == ask()
    assert ask(context=other, root_key_select=RootKeySelect.VMRK) != ask(root_key_select=RootKeySelect.VMRK)


@pytest.mark.parametrize(
    "changes",
    [
        {"vmpl": 4},
        {"guest_svn": 8, "guest_field_select": GuestField.GUEST_SVN},
        {"tcb_version": b"\xff" + bytes(7), "guest_field_select": GuestField.TCB_VERSION},
        {"tcb_version": bytes(3) + b"\x01" + bytes(4)},
        {"guest_field_select": 1 << 6},
    ],
)
def test_refuses_keys_that_the_guest_may_not_have(ask: Ask, changes: dict[str, Any]) -> None:
    assert ask(**changes) == KeyResponse(MessageStatus.INVALID_PARAM)


@pytest.fixture
def ask_2(running: GuestContext, tmp_path: Path, fuses: Fuses) -> Ask:
    """The same of a Turin, whose firmware is of ABI 1.58, in messages of version 2."""
    folder = tmp_path / "turin"
    folder.mkdir()
    turin = SnpPlatform(folder, fuses, ChipKind(Product.TURIN, 5))
    running.launch_mitigations = 0b101

    def asked(version: int = 2, **changes: Any) -> KeyResponse:
        request = replace(KeyRequest2(RootKeySelect.VCEK, 0, 0, 0, bytes(8)), **changes)
        payload = request.encode() if version == 2 else request.encode()[:32]
        number = running.message_counts[0] + 1
        sealed = seal(running, payload, number=number, kind=MessageType.KEY_REQ, version=version)
        response = answer(running, turin, sealed)
        assert MessageHeader.parse(response[:0x60]).msg_version == version
        return KeyResponse.parse(opened(running, response))

    return asked


def test_derived_key_depends_on_the_mitigations_that_are_selected(ask_2: Ask) -> None:
    selected = {"guest_field_select": GuestField.LAUNCH_MIT_VECTOR}
    answers = [ask_2(**selected, launch_mit_vector=vector) for vector in (0, 0b001, 0b100, 0b101)]
    assert {each.status for each in answers} == {MessageStatus.SUCCESS}
    keys = {each.derived_key for each in answers} | {ask_2(launch_mit_vector=0b101).derived_key}
    assert len(keys) == 5


def test_both_versions_give_the_same_key_where_no_mitigations_are_selected(ask_2: Ask) -> None:
    for select in (0, GuestField.MEASUREMENT | GuestField.TCB_VERSION):
        assert ask_2(guest_field_select=select) == ask_2(version=1, guest_field_select=select)


@pytest.mark.parametrize(
    "changes",
    [
        {"launch_mit_vector": 0b010},
        {"launch_mit_vector": 1 << 63},
        {"launch_mit_vector": 0b111, "guest_field_select": GuestField.LAUNCH_MIT_VECTOR},
        {"guest_field_select": 1 << 7},
        {"guest_field_select": GuestField.LAUNCH_MIT_VECTOR, "version": 1},
    ],
)
def test_refuses_mitigations_that_the_guest_was_not_launched_with(ask_2: Ask, changes: dict[str, Any]) -> None:
    assert ask_2(**changes) == KeyResponse(MessageStatus.INVALID_PARAM)


def test_firmware_of_an_older_interface_knows_no_version_2(running: GuestContext, platform: SnpPlatform) -> None:
    assert (platform.state.report_version, platform.state.current.minor) == (3, 55)
    request = KeyRequest2(RootKeySelect.VCEK, 0, 0, 0, bytes(8)).encode()
    sealed = seal(running, request, number=1, kind=MessageType.KEY_REQ, version=2)
    with pytest.raises(FirmwareError, match="UNSUPPORTED: no answer to KEY_REQ version 2"):
        answer(running, platform, sealed)
    assert running.message_counts[0] == 0


@pytest.mark.parametrize("product", Product)
@pytest.mark.parametrize("version", [3, 5])
def test_interface_is_of_the_revision_that_its_reports_are_of(
    tmp_path: Path, fuses: Fuses, product: Product, version: int
) -> None:
    platform = SnpPlatform(tmp_path, fuses, ChipKind(product, version))
    assert (platform.state.current.minor >= 58) is (version == 5)
    recovered = recover(first_levels(product), "SIM-SB-00001", datetime(2026, 6, 1, tzinfo=UTC))[0].firmware
    platform.update(recovered)
    assert (platform.state.current.minor >= 58) is (version == 5)
    assert platform.state.current.tcb == recovered.tcb


def test_nobody_derives_keys_of_more_privileges_than_their_own(ask: Ask) -> None:
    assert ask(1, vmpl=0) == KeyResponse(MessageStatus.INVALID_PARAM)
    assert ask(1, vmpl=1) == ask(0, vmpl=1)
