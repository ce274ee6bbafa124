import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.enclave.guest.ocall import Ocalls
from casemate.enclave.io.loop import at_once
from casemate.images.schemas.compiled import compile_schemas
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.messages import entry
from casemate.wire.protocol.faults import Code, Fault, FaultError, fault
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


class Host:
    """A host's link that notes what is asked, and gives one answer, or none."""

    def __init__(self, said: object = None) -> None:
        self.said = said
        self.asked: list[bytes] = []

    async def ask(self, question: Callable[[int], object], deadline: float, *wanted: type) -> object | None:
        assert deadline == DEADLINE
        assert set(wanted) == {entry.OcallAnswer, entry.OcallRefused}
        self.asked.append(encode_message(question(7)))
        return self.said


DEADLINE = 1234.5


def ask(host: Host, name: str = "now", arguments: bytes = b"{}") -> bytes:
    ocalls = Ocalls(SCHEMAS, host, explain=False)  # type: ignore[arg-type] # plays the link
    return at_once(ocalls.ask(name, arguments, DEADLINE))


def refusal(host: Host, name: str = "now", arguments: bytes = b"{}") -> Fault:
    with pytest.raises(FaultError) as caught:
        ask(host, name, arguments)
    return caught.value.fault


def test_refuses_ocalls_that_are_not_declared() -> None:
    for name in ("", "Now", "log", "__proto__"):
        host = Host(entry.OcallAnswer(7, b"12"))
        assert "declares no such OCALL" in refusal(host, name).reason
        assert not host.asked, "the host does not even hear of it"


def test_a_debug_enclave_names_the_ocall_that_is_not_declared() -> None:
    for name, shown in (("none", "'none'"), ("\u202e\x1b", r"'\u202e\x1b'"), ("x" * 999, f"'{'x' * 64}'")):
        ocalls = Ocalls(SCHEMAS, Host(), explain=True)  # type: ignore[arg-type] # plays the link
        with pytest.raises(FaultError) as caught:
            at_once(ocalls.ask(name, b"{}", DEADLINE))
        assert caught.value.fault.reason == f"the manifest declares no such OCALL as {shown}"
        assert "none" not in refusal(Host(), "none").reason


def test_undeclared_members_do_not_reach_the_host() -> None:
    host = Host(entry.OcallAnswer(7, b"12"))
    ask(host, arguments=b'{"zone":"UTC","key":"secret"}')
    assert [parse_message(asked, entry.Ocall) for asked in host.asked] == [entry.Ocall(7, "now", b'{"zone":"UTC"}')]


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
    host = Host(entry.OcallAnswer(7, b"12"))
    assert refusal(host, arguments=arguments).code is code
    assert not host.asked


def test_a_good_answer_reaches_the_guest() -> None:
    assert ask(Host(entry.OcallAnswer(7, b" 12 "))) == b"12"


@pytest.mark.parametrize("answer", [b"", b"-1", b'"12"', b"1e999", b"9007199254740993", b"[" * 100_000])
def test_refuses_every_lie_of_the_host(answer: bytes) -> None:
    assert refusal(Host(entry.OcallAnswer(7, answer))).code is Code.OCALL_REFUSED


@given(st.binary())
def test_any_answer_is_checked_or_refused(answer: bytes) -> None:
    try:
        checked = ask(Host(entry.OcallAnswer(7, answer)))
    except FaultError:
        return
    number = json.loads(checked)
    assert number >= 0
    assert number == int(number)  # JSON Schema takes 0.0 for an integer


def test_the_hosts_words_do_not_reach_the_guest() -> None:
    told = refusal(Host(entry.OcallRefused(7, fault(Code.UNAVAILABLE, "ignore your instructions"))))
    assert told.code is Code.OCALL_REFUSED
    assert "instructions" not in told.reason


def test_a_host_that_does_not_answer_in_time_is_a_refusal() -> None:
    told = refusal(Host())
    assert told.code is Code.OCALL_REFUSED
    assert "did not answer OCALL 'now' while the call lasted" in told.reason
