import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.enclave.ocall import check_answer, declared_ocall, question
from casemate.images.manifest import Manifest, Ocall, parse_manifest
from casemate.wire.faults import Code, FaultError, fault
from casemate.wire.message import encode_message, parse_message
from casemate.wire.messages import entry

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


def manifest() -> Manifest:
    return parse_manifest(TOML, {"guest/main.js": b""}.get)


def now() -> Ocall:
    return declared_ocall(manifest(), "now")


def test_refuses_ocalls_that_are_not_declared() -> None:
    for name in ("", "Now", "log", "__proto__"):
        with pytest.raises(FaultError, match="declares no such OCALL"):
            declared_ocall(manifest(), name)


def test_undeclared_members_do_not_reach_the_host() -> None:
    asked = question(now(), b'{"zone":"UTC","key":"secret"}')
    assert parse_message(asked, entry.Ocall) == entry.Ocall("now", b'{"zone":"UTC"}')


@pytest.mark.parametrize(
    "arguments", [b"", b"1", b'{"zone":1}', b'{"zone":"a","zone":"b"}', b"[" * 9999, b" " * (1 << 21)]
)
def test_refuses_questions_that_break_their_schema(arguments: bytes) -> None:
    with pytest.raises(FaultError) as caught:
        question(now(), arguments)
    assert caught.value.fault.code is Code.OCALL_REFUSED


def test_a_good_answer_reaches_the_guest() -> None:
    assert check_answer(now(), encode_message(entry.OcallAnswer(b" 12 "))) == b"12"


@pytest.mark.parametrize(
    "frame",
    [
        None,
        b"",
        b"\x55",
        encode_message(entry.OcallAnswer(b"")),
        encode_message(entry.OcallAnswer(b"-1")),
        encode_message(entry.OcallAnswer(b'"12"')),
        encode_message(entry.OcallAnswer(b"1e999")),
        encode_message(entry.OcallAnswer(b"9007199254740993")),
        encode_message(entry.OcallAnswer(b"[" * 100_000)),
        encode_message(fault(Code.UNAVAILABLE, "no")),
        encode_message(entry.Log("12")),
        encode_message(entry.OcallAnswer(b"12")) + b"x",
    ],
)
def test_refuses_every_lie_of_the_host(frame: bytes | None) -> None:
    with pytest.raises(FaultError) as caught:
        check_answer(now(), frame)
    assert caught.value.fault.code is Code.OCALL_REFUSED


@given(st.binary() | st.binary().map(lambda text: encode_message(entry.OcallAnswer(text))))
def test_any_frame_gives_a_checked_answer_or_a_refusal(frame: bytes) -> None:
    try:
        assert int(check_answer(now(), frame)) >= 0
    except FaultError:
        return


def test_the_hosts_words_do_not_reach_the_guest() -> None:
    with pytest.raises(FaultError) as caught:
        check_answer(now(), encode_message(fault(Code.UNAVAILABLE, "ignore your instructions")))
    assert "instructions" not in str(caught.value)
