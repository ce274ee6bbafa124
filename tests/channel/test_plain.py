"""Calls in the clear: of declared entry points alone, by nobody, with the same checks."""

from typing import Any

import pytest
from tests.rigs.channel.guests import Called
from tests.rigs.channel.rig import ALICE, MANIFEST, Rig

from casemate.wire.encodings.json_text import encode_json, parse_json
from casemate.wire.encodings.message import encode_message
from casemate.wire.messages.entry import Ocall, OcallAnswer, PlainEnter, PlainLeft
from casemate.wire.protocol.call import MAX_ARGUMENTS
from casemate.wire.protocol.faults import Code, Fault

PLAIN = (
    MANIFEST
    + """
[entry.open]
plain = true
callers = "anyone"
input = { type = ["object", "string", "null"], maxLength = 9, additionalProperties = false }
[entry.open.output]
type = ["object", "null"]
[entry.open.output.properties]
n = { type = "integer" }
caller = { type = ["object", "null"], properties = { key = { type = "string" } } }
"""
)


def plain(rig: Rig, arguments: Any = None, name: str = "open") -> Any:
    reply = rig.ask(PlainEnter(name, encode_json(arguments)))
    return parse_json("output", reply.output, limit=1 << 20) if isinstance(reply, PlainLeft) else reply


@pytest.mark.parametrize("debug", [False, True])
def test_a_plain_call_has_a_result_and_no_caller(debug: bool) -> None:
    def tells(called: Called) -> None:
        called.returns(encode_json({"caller": called.caller, "n": 5, "undeclared": 1}))

    manifest = PLAIN.replace("debug = false", f"debug = {str(debug).lower()}")
    with Rig(script=tells, manifest=manifest, debug=debug) as rig:
        assert plain(rig) == {"caller": None, "n": 5}


@pytest.mark.parametrize(
    ("name", "arguments", "code"),
    [
        ("echo", {}, Code.CALLER_REFUSED),
        ("private", {}, Code.CALLER_REFUSED),
        ("absent", {}, Code.ENTRY_UNKNOWN),
        ("open", "too long a text", Code.ARGUMENTS_REFUSED),
        ("open", {"n": 1}, Code.ARGUMENTS_REFUSED),
    ],
)
def test_what_the_manifest_does_not_allow_is_refused_in_the_clear(name: str, arguments: Any, code: Code) -> None:
    with Rig(script=lambda called: called.returns(b"null"), manifest=PLAIN) as rig:
        reply = plain(rig, arguments, name)
        assert isinstance(reply, Fault)
        assert reply.code is code
        assert plain(rig) is None


@pytest.mark.parametrize(
    ("says", "code"),
    [
        (lambda called: called.returns(b'{"n": "x"}'), Code.RESULT_REFUSED),
        (lambda called: called.returns(b"1" * 5000), Code.OUTPUT_LIMIT),
        (lambda called: called.throws("Error", "secret"), Code.GUEST_ERROR),
        (lambda called: called.line.raw(b"garbage garbage garbage"), Code.GUEST_CRASHED),
    ],
)
def test_what_a_guest_does_wrong_is_refused_and_the_next_call_works(says: Any, code: Code) -> None:
    with Rig(script=says, manifest=PLAIN) as rig:
        reply = plain(rig)
        assert isinstance(reply, Fault)
        assert reply.code is code
        assert "secret" not in reply.reason
        rig.script = lambda called: called.returns(b'{"n": 1}')
        assert plain(rig) == {"n": 1}


def test_arguments_that_are_no_json_are_refused() -> None:
    with Rig(manifest=PLAIN) as rig:
        for garbage in (b"", b"{", b"\xff", b'{"a": 1, "a": 1}'):
            reply = rig.ask(PlainEnter("open", garbage))
            assert isinstance(reply, Fault)
            assert reply.code is Code.ARGUMENTS_REFUSED


def test_a_frame_of_more_than_the_longest_arguments_is_malformed() -> None:
    frame = bytearray(encode_message(PlainEnter("open", b"")))
    frame[-4:] = (MAX_ARGUMENTS + 1).to_bytes(4, "little")
    with Rig(manifest=PLAIN) as rig:
        rig.send(bytes(frame) + bytes(MAX_ARGUMENTS + 1))
        assert rig.receive().code is Code.MALFORMED
        assert plain(rig, name="echo").code is Code.CALLER_REFUSED


def test_a_plain_call_may_ask_the_host() -> None:
    def asks(called: Called) -> None:
        called.asks("now", b"{}")
        called.returns(b'{"n": 2}')

    with Rig(script=asks, manifest=PLAIN) as rig:
        asked = rig.ask(PlainEnter("open", b"null"))
        assert isinstance(asked, Ocall)
        assert rig.ask(OcallAnswer(asked.number, b"7")) == PlainLeft(b'{"n":2}')


def test_sealed_calls_of_a_plain_entry_point_have_their_callers_and_receipts() -> None:
    def tells(called: Called) -> None:
        called.returns(encode_json({"caller": called.caller}))

    with Rig(script=tells, manifest=PLAIN) as rig:
        session = rig.attest()
        result = rig.call(session, "open", None, ALICE)
        assert result.value == {"caller": {"key": ALICE.manifest_value}}
        assert plain(rig) == {"caller": None}
        assert rig.call(session, "open", None).receipt.receipt.counter == 2  # a plain call has no receipt
