"""Functions that keep sealed state, and a host that answers an enclave's questions about it."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.rigs.channel.guests import Called
from tests.rigs.channel.rig import MANIFEST, Rig, seal

from casemate.client.core import AttestedEnclave, Result
from casemate.client.errors import EnclaveRefusedError
from casemate.engines.frames import FrameKind
from casemate.wire.encodings.json_text import encode_json, parse_json
from casemate.wire.encodings.message import encode_message
from casemate.wire.messages.entry import Enter, Left
from casemate.wire.messages.state import StateAppend, StateForget, StateRead, StateRecords, StateStored
from casemate.wire.protocol.call import Envelope
from casemate.wire.protocol.faults import Fault

STATEFUL = f"""{MANIFEST}
[entry.any]
plain = true
input = {{}}
output = {{ type = ["integer", "string", "boolean", "null"] }}
callers = "anyone"

[entry.flow]
stream = true
input = {{}}
output = {{ type = "integer" }}
callers = "anyone"

[state]
policy = "mrsigner"
recovery = "never"
max_kib = 4
"""


Answer = Callable[[Any], Any]


def stores(question: Any) -> Any:
    """An honest host: it stores, and has nothing of before."""
    match question:
        case StateAppend(number):
            return StateStored(number)
        case StateRead(number):
            return StateRecords(number, ())
    return None


class Host:
    """Relays, and answers the enclave's questions about its state."""

    def __init__(self, rig: Rig, answer: Answer = stores) -> None:
        self.rig = rig
        self.answer = answer
        self.asked: list[Any] = []

    def ask(self, message: object) -> Any:
        reply = self.rig.ask(message)
        while isinstance(reply, StateAppend | StateRead | StateForget):
            self.asked.append(reply)
            said = self.answer(reply)
            if said is not None:
                self.rig.send(encode_message(said))
            reply = self.rig.receive()
        return reply

    def enter(self, envelope: Envelope) -> bytes:
        reply = self.ask(Enter(envelope))
        assert isinstance(reply, Left), reply
        return reply.sealed

    def call(self, session: AttestedEnclave, value: Any = None, entry: str = "any") -> Result:
        pending = seal(session, entry, value)
        return pending.open(self.enter(pending.envelope))

    def refused(self, session: AttestedEnclave, value: Any = None, entry: str = "any") -> Fault:
        with pytest.raises(EnclaveRefusedError) as caught:
            self.call(session, value, entry)
        return caught.value.fault


def get(called: Called, key: str = "k") -> Any:
    kind, body = called.wants({"do": "get", "key": key})
    assert kind == FrameKind.ANSWER, body
    return parse_json("value", body, limit=1 << 20) if body else None


def put(called: Called, value: Any, key: str = "k") -> int:
    kind, _ = called.wants({"do": "put", "key": key}, encode_json(value))
    return kind


def counts(called: Called) -> None:
    value = (get(called) or 0) + 1
    assert put(called, value) == FrameKind.ANSWER
    called.returns(encode_json(value))


def gives_up(called: Called) -> None:
    """As a function does that catches nothing."""
    assert called.wants({"do": "get", "key": "k"})[0] == FrameKind.REFUSAL
    called.throws("state-rolled-back", "")
