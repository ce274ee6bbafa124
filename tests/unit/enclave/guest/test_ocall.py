import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.enclave.guest.ocall import answer_to, check_answer, declared_ocall, question
from casemate.images.schemas.compiled import compile_schemas
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.messages import entry
from casemate.wire.protocol.faults import Code, FaultError, fault
from casemate.wire.protocol.manifest_text import parse_manifest

TOML = b"""
[enclave]
name = "t"
product_id = 1
security_version = 1
engine = "javascript"
main = "guest/main.js"
[limits]
memory_mib = 64
time_ms = 100
output_kib = 1
[entry.run]
input = {}
output = { type = "null" }
callers = "anyone"
[ocall.now]
input = { type = "object", properties = { zone = { type = "string" } } }
output = { type = "integer", minimum = 0 }
"""


SCHEMAS = compile_schemas(parse_manifest(TOML, {"guest/main.js": b""}.get))
NOW = declared_ocall(SCHEMAS, "now")


def test_refuses_ocalls_that_are_not_declared() -> None:
    for name in ("", "Now", "log", "__proto__"):
        with pytest.raises(FaultError, match="declares no such OCALL"):
            declared_ocall(SCHEMAS, name)


def test_undeclared_members_do_not_reach_the_host() -> None:
    asked = question("now", NOW.input, 7, b'{"zone":"UTC","key":"secret"}')
    assert parse_message(asked, entry.Ocall) == entry.Ocall(7, "now", b'{"zone":"UTC"}')


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (b"1", Code.OCALL_REFUSED),
        (b'{"zone":1}', Code.OCALL_REFUSED),
        (b"", Code.GUEST_ERROR),
        (b'{"zone":"a","zone":"b"}', Code.GUEST_ERROR),
        (b"[" * 9999, Code.GUEST_ERROR),
        (b'"\\ud800"', Code.GUEST_ERROR),
        (b" " * (1 << 21), Code.GUEST_ERROR),
    ],
)
def test_refuses_questions_that_break_their_schema_or_are_no_json(arguments: bytes, code: Code) -> None:
    with pytest.raises(FaultError) as caught:
        question("now", NOW.input, 7, arguments)
    assert caught.value.fault.code is code


def test_a_good_answer_reaches_the_guest() -> None:
    assert check_answer("now", NOW.output, entry.OcallAnswer(7, b" 12 ")) == b"12"


@pytest.mark.parametrize("answer", [b"", b"-1", b'"12"', b"1e999", b"9007199254740993", b"[" * 100_000])
def test_refuses_every_lie_of_the_host(answer: bytes) -> None:
    with pytest.raises(FaultError) as caught:
        check_answer("now", NOW.output, entry.OcallAnswer(7, answer))
    assert caught.value.fault.code is Code.OCALL_REFUSED


@given(st.binary())
def test_any_answer_is_checked_or_refused(answer: bytes) -> None:
    try:
        checked = check_answer("now", NOW.output, entry.OcallAnswer(7, answer))
    except FaultError:
        return
    number = json.loads(checked)
    assert number >= 0
    assert number == int(number)  # JSON Schema takes 0.0 for an integer


def test_the_hosts_words_do_not_reach_the_guest() -> None:
    with pytest.raises(FaultError) as caught:
        check_answer("now", NOW.output, entry.OcallRefused(7, fault(Code.UNAVAILABLE, "ignore your instructions")))
    assert caught.value.fault.code is Code.OCALL_REFUSED
    assert "instructions" not in str(caught.value)


@pytest.mark.parametrize("said", [entry.OcallAnswer(7, b"1"), entry.OcallRefused(7, fault(Code.UNAVAILABLE, "no"))])
def test_what_is_said_counts_for_its_own_number_alone(said: entry.OcallAnswer | entry.OcallRefused) -> None:
    frame = encode_message(said)
    assert answer_to(7, frame) == said
    assert answer_to(8, frame) is None
    assert answer_to(6, frame) is None


@pytest.mark.parametrize(
    "frame",
    [
        None,
        b"",
        b"\x55",
        b"\x57",
        encode_message(entry.OcallAnswer(7, b"1")) + b"x",
        encode_message(fault(Code.UNAVAILABLE, "no")),
        encode_message(entry.Ocall(7, "now", b"{}")),
        encode_message(entry.Challenge(bytes(32), bytes(512))),
    ],
)
def test_what_is_no_answer_is_none(frame: bytes | None) -> None:
    assert answer_to(7, frame) is None


@given(st.binary() | st.binary().map(b"\x55".__add__) | st.binary().map(b"\x57".__add__), st.integers(0, 2**64 - 1))
def test_any_frame_is_an_answer_of_that_number_or_none(frame: bytes, number: int) -> None:
    said = answer_to(number, frame)
    assert said is None or (said.number == number and encode_message(said) == frame)
