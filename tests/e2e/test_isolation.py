"""What a caller's call leaves in a guest, and who finds it: all isolation modes, with each engine."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from tests.rigs.ra_tls_clients import POST, Party, curl, url
from tests.rigs.workshop import ANYTHING, ANYTHING_OUT, Workshop, exact_policy

from casemate.client import Client, Enclave, HostRefusedError, connect
from casemate.client.caller_keys import CallerKey
from casemate.client.core import AttestedEnclave
from casemate.testing.served import Served, served_machine
from casemate.wire.protocol.faults import Code
from casemate.wire.protocol.isolation import Isolation
from casemate.wire.protocol.manifest import Engine

pytestmark = pytest.mark.machine

SOURCES = {
    Engine.JAVASCRIPT: """
let kept = "the module's own";
const pushed = Array.prototype.push;
const stringify = JSON.stringify;

export function plant(mark) {
  globalThis.planted = mark;
  Object.prototype.planted = mark;
  Array.prototype.push = function (...all) { globalThis.pushed = mark; return pushed.apply(this, all); };
  JSON.stringify = function (value, ...rest) { globalThis.stringified = mark; return stringify(value, ...rest); };
  String.prototype.toJSON = function () { return `${mark} was here`; };
  setInterval(() => { globalThis.ticked = mark; }, 1);
  kept = mark;
  return null;
}

export async function* leaves(mark, context, pieces) {
  globalThis.opened = mark;
  for await (const piece of pieces) yield piece;
  return null;
}

let calls = 0;
export function count() { calls += 1; return calls; }

export async function look() {
  await new Promise((done) => setTimeout(done, 20));
  const changed = String.prototype.toJSON !== undefined;
  delete String.prototype.toJSON;  // else it would change this very answer
  const found = {
    global: globalThis.planted, prototype: ({}).planted, push: Array.prototype.push !== pushed,
    stringify: JSON.stringify !== stringify, toJSON: changed, timer: globalThis.ticked, module: kept,
    stream: globalThis.opened,
  };
  JSON.stringify = stringify;
  delete Object.prototype.planted;
  const said = {};
  for (const [name, value] of Object.entries(found)) if (value !== undefined) said[name] = String(value);
  return said;
}
""",
    Engine.PYTHON: """
import builtins
import gc
import json
import sys

kept = "the module's own"
length, dumps = len, json.dumps

def plant(mark, context):
    global kept
    builtins.planted = mark
    builtins.len = lambda things: length(things)
    json.dumps = lambda *args, **how: dumps(*args, **how)
    sys.modules["planted"] = mark
    type(context).planted = mark
    gc.callbacks.append(lambda phase, info: None)
    kept = mark

async def leaves(mark, context, pieces):
    builtins.opened = mark
    async for piece in pieces:
        yield piece

calls = 0

def count(input, context):
    global calls
    calls += 1
    return calls

def look(input, context):
    found = {
        "builtin": getattr(builtins, "planted", None), "len": str(builtins.len is not length),
        "json": str(json.dumps is not dumps), "modules": sys.modules.get("planted"),
        "context": getattr(context, "planted", None), "callbacks": str(bool(gc.callbacks)), "module": kept,
        "stream": getattr(builtins, "opened", None),
    }
    return {name: value for name, value in found.items() if value is not None}
""",
}
MARK = "the mark of the first caller"
CLEAN = {
    Engine.JAVASCRIPT: {"push": "false", "stringify": "false", "toJSON": "false", "module": "the module's own"},
    Engine.PYTHON: {"len": "False", "json": "False", "callbacks": "False", "module": "the module's own"},
}
PLANTED = {
    Engine.JAVASCRIPT: {
        "global": MARK,
        "prototype": MARK,
        "push": "true",
        "stringify": "true",
        "toJSON": "true",
        "timer": MARK,
        "module": MARK,
        "stream": MARK,
    },
    Engine.PYTHON: {
        "builtin": MARK,
        "len": "True",
        "json": "True",
        "modules": MARK,
        "context": MARK,
        "callbacks": "True",
        "module": MARK,
        "stream": MARK,
    },
}

ALICE, BOB = CallerKey.generate(), CallerKey.generate()


@dataclass(frozen=True)
class Running:
    """An enclave, and all ways into it."""

    client: Client
    served: Served
    image: Any
    engine: Engine
    number: int
    port: int
    party: Party

    def session(self) -> Enclave:
        return self.client.attest(self.number, exact_policy(self.served.machine, self.image))

    def look(self, caller: str, planter: Enclave) -> Any:
        """What this kind of caller finds."""
        match caller:
            case "another key":
                return self.session().call("look", None, caller=BOB).value
            case "another key in the same session":
                return planter.call("look", None, caller=BOB).value
            case "another session":
                return self.session().call("look", None).value
            case "no key in the session of a key":
                return planter.call("look", None).value
            case "a plain call":
                return self.plain("look")
            case "RA-TLS":
                return self._tls()
            case "RA-TLS with a certificate":
                return self._tls("--key", str(self.party.key), "--cert", str(self.party.certificate))
        raise AssertionError(caller)

    def plain(self, entry: str, arguments: Any = None) -> Any:
        """The result of a call in the clear, which goes through the gateway."""
        body = {"enclave": self.number, "entry": entry, "arguments": arguments}
        to = f"{self.served.url}/enclave/ecall"
        answer = httpx.post(to, json=body, headers=self.served.authorization, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()["result"]

    def _tls(self, *options: str) -> Any:
        status, _, answer = curl(*options, *POST, "null", url(self.port, "/entry/look"))
        assert status == 200, answer
        return answer


@pytest.fixture(scope="module")
def party(tmp_path_factory: pytest.TempPathFactory) -> Party:
    return Party(tmp_path_factory.mktemp("party"), "carol")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A machine with a gateway, for calls in the clear."""
    with served_machine(tmp_path_factory.mktemp("served")) as made:
        yield made


@pytest.fixture
def running(
    served: Served, workshop: Workshop, party: Party, engine: Engine
) -> Iterator[Callable[[Isolation], Running]]:
    started: list[int] = []

    def run(isolation: Isolation) -> Running:
        entry = {"input": ANYTHING, "output": ANYTHING_OUT, "callers": "anyone"}
        plain = entry | {"plain": True}
        image = workshop.image(
            SOURCES[engine],
            engine=engine,
            entries={"plant": plain, "look": plain, "count": entry, "leaves": entry | {"stream": True}},
            callers={"alice": ALICE.manifest_value, "bob": BOB.manifest_value, "carol": party.manifest_value},
            ra_tls=True,
            isolation=isolation,
            guests=None if isolation is Isolation.SHARED else 2,  # so that places are given from one to the other
        )
        number = client.launch(image)
        started.append(number)
        shown = next(shown for shown in client.enclaves() if shown.enclave == number)
        assert shown.ra_tls_port is not None
        return Running(client, served, image, engine, number, shown.ra_tls_port, party)

    with connect(served.machine.host_socket) as client:
        yield run
        for number in started:
            client.destroy(number)


def plant(session: Enclave, caller: CallerKey | None) -> Any:
    """Leaves everything that a call can leave; the stream stays open as long as what is returned is kept."""
    stream = session.stream("leaves", MARK, [b"first", b"never sent"], caller=caller)
    pieces = iter(stream)
    assert next(pieces) == b"first"
    session.call("plant", MARK, caller=caller)
    return stream, pieces


CALLERS = [
    "another key",
    "another key in the same session",
    "another session",
    "no key in the session of a key",
    "a plain call",
    "RA-TLS",
    "RA-TLS with a certificate",
]


@pytest.mark.parametrize("planter", [ALICE, None], ids=["a key plants", "an anonymous session plants"])
@pytest.mark.parametrize("isolation", list(Isolation))
def test_what_a_caller_leaves_meets_those_whom_the_mode_says(
    running: Callable[[Isolation], Running], isolation: Isolation, planter: CallerKey | None
) -> None:
    enclave = running(isolation)
    session = enclave.session()
    kept = plant(session, planter)
    expected = (PLANTED if isolation is Isolation.SHARED else CLEAN)[enclave.engine]
    for caller in CALLERS:
        if caller.startswith("no key") and planter is None:
            continue  # that is the planter itself
        kept_again = plant(session, planter) if isolation is Isolation.SHARED else None  # looking undoes some of it
        assert enclave.look(caller, session) == expected, caller
        if kept_again is not None:
            kept_again[0].close()
    kept[0].close()


@pytest.mark.parametrize("isolation", list(Isolation))
def test_the_same_caller_finds_its_own_where_the_mode_keeps_it(
    running: Callable[[Isolation], Running], isolation: Isolation
) -> None:
    enclave = running(isolation)
    session, other = enclave.session(), enclave.session()
    for planter, same in ((ALICE, other), (None, session)):
        kept = plant(session, planter)
        result = same.call("look", None, caller=planter)
        assert result.value == (CLEAN if isolation is Isolation.CALL else PLANTED)[enclave.engine]
        assert result.receipt.receipt.isolation is isolation, "the receipt names the mode"
        kept[0].close()


@pytest.mark.parametrize("isolation", list(Isolation))
def test_plain_calls_are_one_callers_and_meet_those_whom_the_mode_says(
    running: Callable[[Isolation], Running], isolation: Isolation
) -> None:
    enclave = running(isolation)
    clean = CLEAN[enclave.engine]
    planted = {name: value for name, value in PLANTED[enclave.engine].items() if name != "stream"}
    for caller in ("a plain call", "another session", "RA-TLS"):
        enclave.plain("plant", MARK)
        same = isolation is Isolation.SHARED or (isolation is Isolation.CALLER and caller == "a plain call")
        assert enclave.look(caller, enclave.session()) == (planted if same else clean), caller


@pytest.mark.parametrize("isolation", list(Isolation))
def test_of_two_anonymous_clients_with_one_session_number_the_second_never_meets_the_firsts_guest(
    running: Callable[[Isolation], Running], isolation: Isolation
) -> None:
    enclave = running(isolation)
    first, second = enclave.session(), enclave.session().attested
    assert first.call("count", None).value == 1
    # A hostile host has given out the first one's number again.
    misled = AttestedEnclave(second.evidence, second.binding, second.proof, first.attested.session)
    refusals = []
    for _ in range(3):
        with pytest.raises(HostRefusedError) as refused:
            Enclave(enclave.client, enclave.number, misled).call("count", None)
        refusals.append(refused.value.fault.code)
    assert refusals == [Code.SEQUENCE_USED, Code.SESSION_UNKNOWN, Code.SESSION_UNKNOWN]
    assert first.call("count", None).value == (1 if isolation is Isolation.CALL else 2)
