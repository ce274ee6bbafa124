from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.protocol.call import (
    RESPONSE_NONCE,
    CallBinding,
    CallContent,
    CallRequest,
    Envelope,
    Receipt,
    StateMark,
    StepKind,
    StreamStep,
    caller_transcript,
    commitment,
    response_aad,
)
from casemate.wire.protocol.report_data import ReportDataBinding
from casemate.wire.protocol.sandbox_layers import Layer, LayerName, LayerState, SandboxLayers

KEY = b"k" * 32
BINDING = CallBinding(bytes(32), session=7, sequence=1, entry="search")
CONTENT = CallContent(bytes(32), bytes(32), bytes(32), b"{}", StreamStep(StepKind.CHUNK, 1))
RECEIPT = Receipt(bytes(32), bytes(32), 7, 1, "search", None, bytes(32), bytes(32), 1, StateMark(1, 0))
LAYERS = SandboxLayers((Layer(LayerName.SECCOMP, LayerState.APPLIED, ""),), ())
REPORT_DATA = ReportDataBinding(bytes(32), bytes(32), bytes(32), LAYERS)


def _others(value: object) -> object:
    """Another value of the same kind."""
    match value:
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


@pytest.mark.parametrize("field", [field.name for field in fields(CallBinding)])
def test_a_request_is_bound_to_its_quote_session_number_and_entry_point(field: str) -> None:
    other = replace(BINDING, **{field: _others(getattr(BINDING, field))})  # type: ignore[arg-type]
    assert other.info(KEY) != BINDING.info(KEY)
    assert caller_transcript(other, KEY, CONTENT) != caller_transcript(BINDING, KEY, CONTENT)
    assert Envelope(other, b"sealed").request_hash() != Envelope(BINDING, b"sealed").request_hash()


def test_a_request_is_bound_to_the_enclaves_own_key() -> None:
    other = b"x" * 32
    assert BINDING.info(other) != BINDING.info(KEY)
    assert caller_transcript(BINDING, other, CONTENT) != caller_transcript(BINDING, KEY, CONTENT)


@pytest.mark.parametrize("field", [field.name for field in fields(CallContent)])
def test_a_caller_signs_all_of_the_content(field: str) -> None:
    other = replace(CONTENT, **{field: _others(getattr(CONTENT, field))})  # type: ignore[arg-type]
    assert caller_transcript(BINDING, KEY, other) != caller_transcript(BINDING, KEY, CONTENT)


@pytest.mark.parametrize("field", [field.name for field in fields(Receipt)])
def test_a_receipt_signs_all_its_fields(field: str) -> None:
    other = replace(RECEIPT, **{field: _others(getattr(RECEIPT, field))})  # type: ignore[arg-type]
    assert other.signed_bytes() != RECEIPT.signed_bytes()


@pytest.mark.parametrize("field", [field.name for field in fields(ReportDataBinding)])
def test_report_data_vouches_for_keys_nonce_and_layers(field: str) -> None:
    other = replace(REPORT_DATA, **{field: _others(getattr(REPORT_DATA, field))})  # type: ignore[arg-type]
    assert other.report_data() != REPORT_DATA.report_data()
    assert len(other.report_data()) == 64


def test_what_is_signed_or_hashed_for_one_purpose_serves_no_other() -> None:
    made = [
        BINDING.info(KEY),
        caller_transcript(BINDING, KEY, CONTENT),
        response_aad(bytes(32)),
        RECEIPT.signed_bytes(),
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


def test_the_response_nonce_is_that_of_a_key_used_once() -> None:
    assert bytes(12) == RESPONSE_NONCE
