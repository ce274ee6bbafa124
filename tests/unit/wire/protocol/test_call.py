import json
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.wire.encodings.message import encode_fields, encode_message, parse_message
from casemate.wire.errors import WireError
from casemate.wire.protocol.call import (
    TAG_SIZE,
    CallBinding,
    CallContent,
    CallMetrics,
    CallRequest,
    CallResult,
    Envelope,
    Receipt,
    StateMark,
    StepKind,
    StreamEnded,
    StreamStep,
    caller_transcript,
    commitment,
    refused_text,
)
from casemate.wire.protocol.isolation import Isolation
from casemate.wire.protocol.report_data import ReportDataBinding
from casemate.wire.protocol.sandbox_layers import Layer, LayerName, LayerState, SandboxLayers

KEY, HASH = b"k" * 32, b"h" * 32
BINDING = CallBinding(bytes(32), session=7, sequence=1, entry="search")
CONTENT = CallContent(bytes(32), bytes(32), b"{}", StreamStep(StepKind.CHUNK, 1))
RECEIPT = Receipt(
    bytes(32), bytes(32), 7, 1, "search", None, bytes(32), bytes(32), 1, StateMark(1, 0), Isolation.SHARED
)
METRICS = CallMetrics(1500, 900, 40_000, 12, 1, cold=True)
LAYERS = SandboxLayers((Layer(LayerName.SECCOMP, LayerState.APPLIED, ""),), ())
REPORT_DATA = ReportDataBinding(bytes(32), bytes(32), bytes(32), LAYERS)


def _others(value: object) -> object:
    """Another value of the same kind."""
    match value:
        case Isolation():
            return Isolation.CALLER
        case bytes() if value:
            return b"\x01" + value[1:]
        case bytes():
            return b"\x01"
        case int():
            return value + 1
        case str():
            return value + "x"
        case None:
            return bytes(32)
        case StreamStep(kind, stream):
            return StreamStep(kind, stream + 1)
        case StateMark(epoch, recoveries):
            return StateMark(epoch, recoveries + 1)
    return SandboxLayers((), ())


def _bound_to(binding: CallBinding, hpke_key: bytes = KEY) -> tuple[bytes, ...]:
    """All that a session's secret, its keys, a request and its response are bound to."""
    session = binding.of_session
    request, response = binding.request_aad(), binding.response_aad(b"sealed, and its tag of 16 bytes")
    return session.encapsulation_info(hpke_key), session.keys_info(hpke_key), request, response, binding.nonce


@pytest.mark.parametrize("field", [field.name for field in fields(CallBinding)])
def test_a_request_and_its_response_are_bound_to_quote_session_number_and_entry_point(field: str) -> None:
    other = replace(BINDING, **{field: _others(getattr(BINDING, field))})  # type: ignore[arg-type]
    changed = [one != another for one, another in zip(_bound_to(other), _bound_to(BINDING), strict=True)]
    by_session = [True, True, False, False, False]
    by_call = [False, False, True, True, field == "sequence"]
    assert changed == (by_session if field in ("quote_hash", "session") else by_call)
    assert caller_transcript(other, KEY, HASH, CONTENT) != caller_transcript(BINDING, KEY, HASH, CONTENT)


def test_a_session_is_bound_to_the_enclaves_own_key() -> None:
    other = b"x" * 32
    assert _bound_to(BINDING, other)[0] != _bound_to(BINDING)[0]
    assert _bound_to(BINDING, other)[1] != _bound_to(BINDING)[1]
    assert caller_transcript(BINDING, other, HASH, CONTENT) != caller_transcript(BINDING, KEY, HASH, CONTENT)


def test_a_caller_signs_for_one_secret_of_the_session() -> None:
    assert caller_transcript(BINDING, KEY, b"x" * 32, CONTENT) != caller_transcript(BINDING, KEY, HASH, CONTENT)


def test_a_response_is_bound_to_the_tag_of_its_request() -> None:
    tag = b"t" * TAG_SIZE
    assert BINDING.response_aad(b"one text" + tag) == BINDING.response_aad(b"another" + tag)
    assert BINDING.response_aad(tag) != BINDING.response_aad(b"x" + tag[1:])


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_each_number_has_a_nonce_of_its_own(one: int, other: int) -> None:
    nonces = [replace(BINDING, sequence=number).nonce for number in (one, other)]
    assert [len(nonce) for nonce in nonces] == [12, 12]
    assert (nonces[0] == nonces[1]) == (one == other)


@pytest.mark.parametrize("field", [field.name for field in fields(CallContent)])
def test_a_caller_signs_all_of_the_content(field: str) -> None:
    other = replace(CONTENT, **{field: _others(getattr(CONTENT, field))})  # type: ignore[arg-type]
    assert caller_transcript(BINDING, KEY, HASH, other) != caller_transcript(BINDING, KEY, HASH, CONTENT)


@pytest.mark.parametrize("field", [field.name for field in fields(Receipt)])
def test_a_receipt_signs_all_its_fields(field: str) -> None:
    changed = {"error": "an-error", "metrics": METRICS}.get(field) or _others(getattr(RECEIPT, field))
    other = replace(RECEIPT, **{field: changed})  # type: ignore[arg-type]
    assert other.signed_bytes() != RECEIPT.signed_bytes()


@pytest.mark.parametrize("field", [field.name for field in fields(ReportDataBinding)])
def test_report_data_vouches_for_keys_nonce_and_layers(field: str) -> None:
    other = replace(REPORT_DATA, **{field: _others(getattr(REPORT_DATA, field))})  # type: ignore[arg-type]
    assert other.report_data() != REPORT_DATA.report_data()
    assert len(other.report_data()) == 64


def test_what_is_signed_or_hashed_for_one_purpose_serves_no_other() -> None:
    made = [
        *_bound_to(BINDING)[:4],
        caller_transcript(BINDING, KEY, HASH, CONTENT),
        RECEIPT.signed_bytes(),
        replace(RECEIPT, isolation=None).signed_bytes(),
    ]
    labels = [text[: text.index(b"\x00") + 1] for text in made]
    assert len(set(labels)) == len(labels)


@given(st.binary(max_size=64), st.binary(max_size=64), st.binary(min_size=32, max_size=32))
def test_a_commitment_opens_to_one_content(first: bytes, second: bytes, blind: bytes) -> None:
    assert (commitment(blind, first) == commitment(blind, second)) == (first == second)
    assert commitment(bytes(reversed(blind)), first) != commitment(blind, first) or blind == blind[::-1]


def test_an_unsigned_request_is_written_as_such() -> None:
    request = CallRequest(CONTENT, caller=None)
    assert encode_message(request)[-1:] == b"\x00"
    assert parse_message(encode_message(request), CallRequest) == request


def test_a_receipt_without_an_error_signs_the_bytes_of_version_2() -> None:
    encoded = encode_fields(RECEIPT)
    assert encoded.endswith(b"\1" + len("shared").to_bytes(4, "little") + b"shared" + b"\0\0")
    assert RECEIPT.signed_bytes() == b"casemate receipt v2\0" + encoded[:-2]


def test_a_receipt_of_a_refusal_signs_its_error_under_a_label_of_its_own() -> None:
    refused = replace(RECEIPT, error="budget-spent")
    assert refused.signed_bytes() == b"casemate receipt v3\0" + encode_fields(refused)
    assert replace(refused, isolation=None).signed_bytes().startswith(b"casemate receipt v3\0")


@pytest.mark.parametrize("field", [field.name for field in fields(CallMetrics)])
def test_a_receipt_with_metrics_signs_all_of_them(field: str) -> None:
    measured = replace(RECEIPT, metrics=METRICS)
    assert measured.signed_bytes() == b"casemate receipt v3\0" + encode_fields(measured)
    others = replace(METRICS, **{field: not METRICS.cold if field == "cold" else 99})  # type: ignore[arg-type]
    assert replace(RECEIPT, metrics=others).signed_bytes() != measured.signed_bytes()


def test_no_refusal_commits_to_the_text_of_another() -> None:
    texts = [refused_text(code, details) for code in ("a", "a-b") for details in (b"null", b'"b"', b'{"a":"b"}')]
    assert len(set(texts)) == 6
    assert [json.loads(text)["error"] for text in texts] == ["a"] * 3 + ["a-b"] * 3


def test_a_receipt_without_an_isolation_mode_signs_the_bytes_of_protocol_1() -> None:
    """Written down by hand: labels, and fields in their order without anything for the mode."""
    old = replace(RECEIPT, state=None, isolation=None)
    hashes = bytes(32) + bytes(32)
    numbers = (7).to_bytes(8, "little") + (1).to_bytes(8, "little")
    measurement, entry = b"\x20\x00\x00\x00" + bytes(32), b"\x06\x00\x00\x00search"
    fields_of_v1 = bytes(32) + measurement + numbers + entry + b"\x00" + hashes + (1).to_bytes(8, "little") + b"\x00"
    assert old.signed_bytes() == b"casemate receipt v1\x00" + fields_of_v1
    mode = b"\x01" + (6).to_bytes(4, "little") + b"shared"
    assert replace(old, isolation=Isolation.SHARED).signed_bytes() == b"casemate receipt v2\x00" + fields_of_v1 + mode


@pytest.mark.parametrize(
    ("tag", "who"), [(0x10, "client"), (0x11, "client"), (0x12, "host"), (0x13, "host"), (0x14, "host"), (0x15, "host")]
)
def test_messages_of_protocol_1_are_refused_in_clear_words(tag: int, who: str) -> None:
    with pytest.raises(WireError, match=rf"protocol is 1, the format wants 2: update the {who}"):
        parse_message(bytes((tag,)) + bytes(100), Envelope, CallRequest, CallResult)


@pytest.mark.parametrize("tag", [0x1A, 0x1D])
def test_results_whose_receipts_have_no_place_for_an_error_are_refused_in_clear_words(tag: int) -> None:
    with pytest.raises(WireError, match="update the host"):
        parse_message(bytes((tag,)) + bytes(100), CallResult, StreamEnded)


@pytest.mark.parametrize("size", [0, 79, 81])
def test_a_sealed_secret_has_one_size(size: int) -> None:
    with pytest.raises(WireError, match="encapsulation"):
        encode_message(Envelope(BINDING, b"sealed", bytes(size)))
