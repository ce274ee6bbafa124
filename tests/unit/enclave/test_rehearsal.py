import subprocess
import sys

import pytest

from casemate.enclave import rehearsal
from casemate.enclave.keys import EnclaveKeys, SessionKeys
from casemate.enclave.rehearsal import RehearsalError, rehearse
from casemate.wire.protocol.call import CallBinding

LIFE = """
import sys, threading
from casemate.enclave.rehearsal import rehearse
from casemate.client.errors import EnclaveRefusedError
from casemate.engines.frames import FrameKind
from casemate.wire.messages.entry import PlainEnter
from tests.rigs.channel import rig as rigs
from tests.rigs.channel.steps import Steps
from tests.channel.test_state import STATEFUL, Host, get, put

met = []

def hook(event, arguments):
    if event in ("import", "open") and threading.current_thread() is machine._enclave:
        met.append((event, str(arguments[0])))

class Hooked(rigs.Rig):
    def _live(self, *ends):
        global machine
        machine = self
        sys.addaudithook(hook)
        super()._live(*ends)

rehearse()
def everything(called):
    if called.kind in (FrameKind.CALL, FrameKind.OPEN):
        put(called, {"a": [1.5]})
        get(called)
        called.wants({"do": "compare-and-set", "key": "k", "expected": 1, "value": None}, b"1")
        called.wants({"do": "list", "prefix": "", "after": None, "limit": 5})
        called.wants({"do": "get", "key": "k"}, b"")
        sealed = called.wants({"do": "seal", "policy": "mrsigner"}, b"1")[1]
        called.wants({"do": "unseal"}, sealed[1:-1])
        called.wants({"do": "unseal"}, b"?")
        called.wants({"do": "put", "key": "k"}, b"?")
    if called.kind == FrameKind.CALL:
        called.returns(b"1")
    elif called.kind == FrameKind.END:
        called.ends(b"1")
    else:
        called.pauses(called.arguments)

with Hooked(manifest=STATEFUL) as machine:
    session = machine.attest()
    machine.call(session, "echo", {"secret": "x"}, rigs.ALICE)
    machine.send(b"nonsense")
    machine.receive()
    for name, value in (("absent", 1), ("private", 1), ("number", {"n": "x"})):
        pending = rigs.seal(session, name, value)
        try:
            pending.open(machine.enter(pending.envelope).sealed)
        except EnclaveRefusedError:
            continue
        raise AssertionError(name)
    machine.script = lambda called: called.returns(b'{"entry": 7}')
    pending = rigs.seal(session, "echo", None)
    machine.enter(pending.envelope)
    machine.script = lambda called: called.line.raw(b"garbage garbage garbage")
    pending = rigs.seal(session, "echo", None)
    machine.enter(pending.envelope)
    machine.script = rigs.echo
    machine.call(session, "echo", None)
    machine.ask(PlainEnter("any", b"null"))
    machine.script = everything
    host = Host(machine)
    host.call(session)
    stream = Steps(host.enter, session, "flow")
    stream.open()
    stream.chunk(b"x")
    stream.end()
print(sorted(set(met)))
"""


def test_an_enclave_that_has_rehearsed_imports_and_opens_nothing_more() -> None:
    """A confined one could not: good calls and bad find everything in place."""
    run = subprocess.run([sys.executable, "-c", LIFE], capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "[]"


def test_libraries_that_work_pass() -> None:
    rehearse()


def test_a_library_that_has_stopped_refusing_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "check_signature", lambda *_: None)
    with pytest.raises(RehearsalError, match="signature of zeros"):
        rehearse()


def test_a_public_key_cipher_that_ignores_its_binding_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = EnclaveKeys.open_session
    monkeypatch.setattr(EnclaveKeys, "open_session", lambda keys, sealed, _: real(keys, sealed, CALL.of_session))
    with pytest.raises(RehearsalError, match="another session"):
        rehearse()


def test_a_cipher_that_ignores_its_nonce_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = SessionKeys.open
    monkeypatch.setattr(SessionKeys, "open", lambda keys, sealed, _: real(keys, sealed, CALL))
    with pytest.raises(RehearsalError, match="another number"):
        rehearse()


def test_a_comparison_that_finds_everything_alike_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "is_same_hash", lambda *_: True)
    with pytest.raises(RehearsalError, match="two hashes"):
        rehearse()


CALL = CallBinding(bytes(32), 1, 1, "rehearse")
"""The binding that the rehearsal uses."""
