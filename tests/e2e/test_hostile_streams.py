"""Streams through the whole chain: large ones in little memory, hostile ones without harm to others."""

import hashlib
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from tests.rigs.channel.steps import Steps
from tests.rigs.process_tree import descendants, is_alive
from tests.rigs.workshop import ANYTHING, ANYTHING_OUT, NEEDS_LINUX, PolicyFor, Workshop

from casemate.client import Client, Enclave, EnclaveRefusedError
from casemate.client.local import LocalMachine
from casemate.testing.hostile_guests import HOSTILE_STATES, HOSTILE_STREAMS, OK, HostileGuest
from casemate.testing.hostile_python_streams import HOSTILE_PYTHON_STATES, HOSTILE_PYTHON_STREAMS
from casemate.wire.messages.host import Call
from casemate.wire.protocol.call import MAX_CHUNK, Envelope, StepTaken, StreamEnded
from casemate.wire.protocol.isolation import Isolation
from casemate.wire.protocol.manifest import Engine

pytestmark = pytest.mark.machine

STREAM = {"input": ANYTHING, "output": ANYTHING_OUT, "callers": "anyone", "stream": True}
CALL = {"input": ANYTHING, "output": ANYTHING_OUT, "callers": "anyone"}
LIMIT, SLACK = 1.0, 0.85
"""A step's time, and what client, host and a busy machine may add (seconds)."""
STEPS = 30
"""As many steps as anybody cares to take with a hostile stream."""


def steps(client: Client, enclave: Enclave, entry: str = "main") -> Steps:
    def enter(envelope: Envelope) -> bytes:
        return client.relay(Call(enclave.number, envelope), 20)

    return Steps(enter, enclave.attested, entry)


def test_more_than_an_enclave_s_memory_passes_through_it(
    workshop: Workshop, client: Client, policy_for: PolicyFor, machine: LocalMachine
) -> None:
    source = """export async function* main(x, context, chunks) {
        let n = 0;
        for await (const piece of chunks) { n += piece.length; yield piece; }
        return n;
    }"""
    image = workshop.image(source, entries={"main": STREAM}, memory_mib=64, time_ms=5000)
    enclave = client.attest(client.launch(image), policy_for(image))
    stream = steps(client, enclave)
    assert stream.open({"a": 1}) == StepTaken(1, is_hungry=True, data=b"")
    piece, both = os.urandom(MAX_CHUNK), hashlib.sha256()
    rounds = 192
    for _ in range(rounds):
        said = stream.chunk(piece)
        both.update(piece)
        assert said == StepTaken(1, is_hungry=True, data=piece)
    assert isinstance(stream.end(), StreamEnded)
    assert stream.value == rounds * MAX_CHUNK
    passed = (both.digest(), rounds * MAX_CHUNK)
    assert stream.receipt_is_over(b'{"a":1}', passed, passed)
    peaks = {line: peak_of(pid) for pid, line in descendants(machine.status.supervisor_pid).items()}
    engines = [peak for line, peak in peaks.items() if "deno" in line]
    assert max(engines) < 200
    assert max(peak for line, peak in peaks.items() if "deno" not in line) < 120
    client.destroy(enclave.number)


def peak_of(pid: int) -> int:
    """The largest resident set of a process so far (MiB)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) // 1024
    return 0


def of_each_engine(javascript: Iterable[HostileGuest], python: Iterable[HostileGuest]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("engine", "guest"),
        [
            *(pytest.param(Engine.JAVASCRIPT, guest, id=f"javascript-{guest.name}") for guest in javascript),
            *(pytest.param(Engine.PYTHON, guest, id=f"python-{guest.name}", marks=NEEDS_LINUX) for guest in python),
        ],
    )


@of_each_engine(HOSTILE_STREAMS, HOSTILE_PYTHON_STREAMS)
def test_a_hostile_stream_harms_itself_alone(
    engine: Engine,
    guest: HostileGuest,
    workshop: Workshop,
    client: Client,
    policy_for: PolicyFor,
    machine: LocalMachine,
) -> None:
    image = workshop.image(
        guest.source,
        engine=engine,
        entries={"main": STREAM, "other": CALL},
        time_ms=int(LIMIT * 1000),
        isolation=Isolation.SHARED,
    )
    enclave = client.attest(client.launch(image), policy_for(image))
    for _ in range(2):
        assert outcome_of(steps(client, enclave), enclave) in guest.outcomes
        assert enclave.call("other", None).value == 1
    client.destroy(enclave.number)
    for pid in (machine.status.chip_pid, machine.status.host_pid, machine.status.supervisor_pid):
        assert is_alive(pid)


def outcome_of(stream: Steps, enclave: Enclave) -> str:
    try:
        said = timed(stream.open)
        for number in range(STEPS):
            if isinstance(said, StreamEnded):
                return OK
            if number == STEPS // 2:
                assert enclave.call("other", None).value == 1  # others get their turns
            said = timed(lambda: stream.chunk(bytes(65536))) if said.is_hungry else timed(stream.pull)
        if isinstance(said, StepTaken):
            timed(stream.cancel)
    except EnclaveRefusedError as refused:
        return refused.fault.code
    return OK


def timed(step: Any) -> Any:
    began = time.monotonic()
    try:
        return step()
    finally:
        assert time.monotonic() - began < LIMIT + SLACK


MARKS = {
    Engine.JAVASCRIPT: """
export function other(x, {state}) { return state.get("marker") ?? state.put("marker", 1) ?? 0; }
""",
    Engine.PYTHON: """
def other(input, context):
    return context.state.get("marker") or context.state.put("marker", 1) or 0
""",
}


@of_each_engine(HOSTILE_STATES, HOSTILE_PYTHON_STATES)
def test_a_function_that_abuses_its_state_harms_its_own_call_alone(
    engine: Engine, guest: HostileGuest, workshop: Workshop, client: Client, policy_for: PolicyFor
) -> None:
    image = workshop.image(
        guest.source + MARKS[engine],
        engine=engine,
        entries={"main": CALL, "other": CALL},
        state={"policy": "mrenclave", "recovery": "operator", "max_kib": 16},
        time_ms=int(LIMIT * 1000),
        isolation=Isolation.SHARED,
    )
    enclave = client.attest(client.launch(image), policy_for(image))
    assert timed(lambda: enclave.call("other", None)).value == 0
    code, value = timed(lambda: called(enclave))
    assert code in guest.outcomes
    assert guest.result is None or value == guest.result
    if guest.then:
        assert enclave.call("main", None).value == "this call is over"
    assert enclave.call("other", None).value == 1  # what was kept before is there, and nothing else is
    client.destroy(enclave.number)


def called(enclave: Enclave) -> tuple[str, Any]:
    try:
        return OK, enclave.call("main", None).value
    except EnclaveRefusedError as refused:
        return refused.fault.code, None
