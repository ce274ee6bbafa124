import asyncio
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.rigs.workshop import ANYTHING, ANYTHING_OUT, SEED, PolicyFor, Workshop

from casemate.client import CallerKey, Client, EnclaveRefusedError, ReceiptBundle, check_receipt, connect
from casemate.client.aio import connect as connect_async
from casemate.client.local import LocalMachine, WrongMachineError, local_machine
from casemate.testing.independent import available
from casemate.verifier.roots import INTEL_SGX_ROOT_CA
from casemate.wire.protocol.faults import Code
from casemate.wire.protocol.lifecycle import State
from casemate.wire.protocol.manifest import Engine
from casemate.wire.protocol.sandbox_layers import LayerState
from casemate.wire.sgx.collateral import Collateral

pytestmark = pytest.mark.machine

ECHO = {
    Engine.JAVASCRIPT: """
export function main(input, context) { return {input, entry: context.entry, caller: context.caller}; }
""",
    Engine.PYTHON: """
def main(input, context):
    caller = context.caller
    return {"input": input, "entry": context.entry, "caller": caller and {"name": caller.name, "key": caller.key}}
""",
}
LEAKS = {
    Engine.JAVASCRIPT: "export function main(input) { return {n: input.n, undeclared: 'leak'}; }",
    Engine.PYTHON: "def main(input, context):\n    return {'n': input['n'], 'undeclared': 'leak'}\n",
}
ASKS = {
    Engine.JAVASCRIPT: """
export function main(input, context) {
    const said = context.ocall("echo", {x: input});
    try { context.ocall("time", {}); } catch (error) { return {said, other: error.name}; }
}
""",
    Engine.PYTHON: """
from casemate.guest import EnclaveError

def main(input, context):
    said = context.ocall("echo", {"x": input})
    try:
        context.ocall("time", {})
    except EnclaveError as error:
        return {"said": said, "other": error.code}
""",
}


def test_a_call_gives_the_result_and_a_receipt_that_holds_offline(
    workshop: Workshop, engine: Engine, client: Client, policy_for: PolicyFor
) -> None:
    image = workshop.image(ECHO[engine], engine=engine)
    policy = policy_for(image)
    enclave = client.attest(client.launch(image), policy)
    result = enclave.call("main", {"question": 7})
    assert result.value == {"input": {"question": 7}, "entry": "main", "caller": None}
    later = check_receipt(ReceiptBundle.parse(result.receipt.encode()), policy)
    assert later.receipt.measurement == image.mr_enclave
    assert later.receipt.counter == 1
    assert json.loads(later.input or "") == {"question": 7}
    assert enclave.call("main", None).receipt.receipt.counter == 2
    assert client.destroy(enclave.number).state is State.DESTROYED


@pytest.mark.skipif(sys.platform != "linux", reason="these are Linux's layers")
def test_evidence_names_the_layers_around_guests(
    workshop: Workshop, engine: Engine, client: Client, policy_for: PolicyFor
) -> None:
    image = workshop.image(ECHO[engine], engine=engine)
    enclave = client.attest(client.launch(image), policy_for(image))
    applied = {layer.name for layer in enclave.attested.binding.layers.guest if layer.state is LayerState.APPLIED}
    assert {"rlimits", "no-new-privs", "landlock", "seccomp", "watchdog"} <= applied
    client.destroy(enclave.number)


def test_the_live_quote_passes_independent_verifiers_and_fails_under_intels_root(
    workshop: Workshop, client: Client, policy_for: PolicyFor, machine: LocalMachine
) -> None:
    image = workshop.image(ECHO[Engine.JAVASCRIPT])
    enclave = client.attest(client.launch(image), policy_for(image))
    quote, collateral = enclave.attested.proof.evidence, enclave.attested.proof.endorsements
    assert isinstance(collateral, Collateral)
    judges = available()
    assert judges
    for judge in judges.values():
        now = datetime.now(UTC)
        assert judge(quote, collateral, machine.status.root_certificate, now).status == "UpToDate"
        assert judge(quote, collateral, INTEL_SGX_ROOT_CA, now).status is None
    client.destroy(enclave.number)


def test_named_callers_alone_may_call_and_the_guest_knows_them(
    workshop: Workshop, engine: Engine, client: Client, policy_for: PolicyFor
) -> None:
    alice, mallory = CallerKey.generate(), CallerKey.generate()
    image = workshop.image(
        ECHO[engine],
        engine=engine,
        callers={"alice": alice.manifest_value},
        entries={"main": {"input": ANYTHING, "output": ANYTHING_OUT, "callers": ["alice"]}},
    )
    enclave = client.attest(client.launch(image), policy_for(image))
    result = enclave.call("main", 1, caller=alice)
    assert result.value["caller"]["name"] == "alice"
    assert result.receipt.receipt.caller == alice.public_key
    for somebody in (mallory, None):
        with pytest.raises(EnclaveRefusedError) as refused:
            enclave.call("main", 1, caller=somebody)
        assert refused.value.fault.code is Code.CALLER_REFUSED
    client.destroy(enclave.number)


@pytest.mark.parametrize(
    ("entry", "value", "code"),
    [
        ("main", {"n": "text"}, Code.ARGUMENTS_REFUSED),
        ("main", {}, Code.ARGUMENTS_REFUSED),
        ("main", {"n": -1}, Code.RESULT_REFUSED),
        ("toString", {"n": 1}, Code.ENTRY_UNKNOWN),
        ("__proto__", {"n": 1}, Code.ENTRY_UNKNOWN),
    ],
)
def test_what_the_manifest_does_not_declare_is_refused(
    workshop: Workshop, engine: Engine, client: Client, policy_for: PolicyFor, entry: str, value: Any, code: Code
) -> None:
    number = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    positive = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 0}}}
    image = workshop.image(
        LEAKS[engine],
        engine=engine,
        entries={"main": {"input": number, "output": positive, "callers": "anyone"}},
    )
    enclave = client.attest(client.launch(image), policy_for(image))
    with pytest.raises(EnclaveRefusedError) as refused:
        enclave.call(entry, value)
    assert refused.value.fault.code is code
    assert enclave.call("main", {"n": 3}).value == {"n": 3}
    client.destroy(enclave.number)


def test_ocalls_reach_the_host_as_declared(
    workshop: Workshop, engine: Engine, client: Client, policy_for: PolicyFor
) -> None:
    image = workshop.image(
        ASKS[engine],
        engine=engine,
        ocalls={"echo": {"input": ANYTHING_OUT, "output": ANYTHING}},
    )
    enclave = client.attest(client.launch(image), policy_for(image))
    assert enclave.call("main", 5).value == {"said": {"x": 5}, "other": "ocall-refused"}
    client.destroy(enclave.number)


LONG_CALLS = {
    Engine.JAVASCRIPT: """
export function main(ms) { const end = Date.now() + ms; while (Date.now() < end); return ms; }
""",
    Engine.PYTHON: """
import time

def main(ms, context):
    end = time.monotonic() + ms / 1000
    while time.monotonic() < end:
        pass
    return ms
""",
}


def test_a_call_that_computes_holds_up_no_other_caller(
    workshop: Workshop, engine: Engine, machine: LocalMachine, client: Client, policy_for: PolicyFor
) -> None:
    image = workshop.image(LONG_CALLS[engine], engine=engine, time_ms=20_000)
    number = client.launch(image)
    quick = client.attest(number, policy_for(image))
    assert quick.call("main", 0).value == 0  # so that its guest is there
    with connect(machine.host_socket) as other, ThreadPoolExecutor(1) as pool:
        slow = other.attest(number, policy_for(image))
        assert slow.call("main", 0).value == 0
        under_way = pool.submit(slow.call, "main", 1500)
        assert [quick.call("main", 0).value for _ in range(3)] == [0] * 3
        assert not under_way.done()
        assert under_way.result().value == 1500
    client.destroy(number)


def test_a_stopped_enclave_starts_with_fresh_keys(workshop: Workshop, client: Client, policy_for: PolicyFor) -> None:
    image = workshop.image(ECHO[Engine.JAVASCRIPT])
    policy = policy_for(image)
    before = client.attest(client.launch(image), policy)
    assert client.stop(before.number).state is State.STOPPED
    assert client.start(before.number).state is State.RUNNING
    after = client.attest(before.number, policy)
    assert after.attested.binding.hpke_key != before.attested.binding.hpke_key
    assert after.attested.binding.receipt_key != before.attested.binding.receipt_key
    client.destroy(before.number)


def test_the_asynchronous_client_does_the_same(
    workshop: Workshop, machine: LocalMachine, policy_for: PolicyFor
) -> None:
    image = workshop.image(ECHO[Engine.JAVASCRIPT])

    async def journey() -> list[Any]:
        client = await connect_async(machine.host_socket)
        number = await client.launch(image)
        sessions = [await client.attest(number, policy_for(image)) for _ in range(4)]
        results = await asyncio.gather(*(session.call("main", index) for index, session in enumerate(sessions)))
        await client.destroy(number)
        await client.close()
        return [result.value["input"] for result in results]

    assert asyncio.run(journey()) == [0, 1, 2, 3]


def test_another_seed_is_another_machine(machine: LocalMachine) -> None:
    for seed, kind in (("another", "an otherwise seeded"), (None, "a seeded")):
        with pytest.raises(WrongMachineError, match=f"^{kind} machine runs"), local_machine(machine.state, seed=seed):
            pass
    with local_machine(machine.state, seed=SEED) as same:
        assert same.status.supervisor_pid == machine.status.supervisor_pid
