"""The counter on a machine: its limits, its callers, restarts, and an operator who puts an older disk back."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.rigs.examples import EXAMPLES, Built, BuiltExample
from tests.rigs.older_disk import copied, put_back
from tests.rigs.workshop import SEED, PolicyFor, exact_policy
from typer.testing import CliRunner

from casemate.cli.app import app
from casemate.client import CallerKey, Client, EnclaveRefusedError, Result, connect
from casemate.client.local import local_machine
from casemate.wire.protocol.call import StateMark
from casemate.wire.protocol.faults import Code

pytestmark = pytest.mark.machine

EXAMPLE = EXAMPLES / "integrity-counter"


def committed(name: str) -> Any:
    return json.loads((EXAMPLE / name).read_bytes())


def test_each_caller_counts_up_to_their_limit(example: BuiltExample, client: Client, policy_for: PolicyFor) -> None:
    counter = example("integrity-counter")
    alice, bob = counter.callers["alice"], counter.callers["bob"]
    enclave = client.attest(client.launch(counter.image), policy_for(counter.image))
    first = enclave.call("increment", committed("input.json"), caller=alice)
    assert first.value == committed("expected.json")
    assert enclave.call("read", None, caller=bob).value == {"value": 0, "limit": 3, "left": 3}
    refused = enclave.call("increment", {"by": 4}, caller=bob)
    assert refused.value["refused"]["code"] == "limit-reached"
    assert enclave.call("read", None, caller=bob).value["value"] == 0
    assert enclave.call("increment", {"by": 3}, caller=bob).value["left"] == 0
    marks = [result.receipt.receipt.state for result in (first, refused)]
    assert [mark and mark.epoch for mark in marks] == [1, 1]
    client.destroy(enclave.number)


def test_wrong_callers_and_bad_inputs_count_nothing(
    example: BuiltExample, client: Client, policy_for: PolicyFor
) -> None:
    counter = example("integrity-counter")
    alice = counter.callers["alice"]
    enclave = client.attest(client.launch(counter.image), policy_for(counter.image))
    for somebody in (None, CallerKey.generate()):
        for entry, value in (("increment", {}), ("read", None)):
            with pytest.raises(EnclaveRefusedError) as refused:
                enclave.call(entry, value, caller=somebody)
            assert refused.value.fault.code is Code.CALLER_REFUSED
    for wrong in ({"by": 0}, {"by": -1}, {"by": 1.5}, {"by": "1"}, {"value": 0}, None, [1], {"__proto__": {"by": 1}}):
        with pytest.raises(EnclaveRefusedError) as refused:
            enclave.call("increment", wrong, caller=alice)
        assert refused.value.fault.code is Code.ARGUMENTS_REFUSED
    assert enclave.call("read", None, caller=alice).value["value"] == 0
    client.destroy(enclave.number)


def test_a_count_outlives_its_enclave(example: BuiltExample, client: Client, policy_for: PolicyFor) -> None:
    counter = example("integrity-counter")
    alice = counter.callers["alice"]
    policy = policy_for(counter.image)
    enclave = client.attest(client.launch(counter.image), policy)
    enclave.call("increment", {"by": 2}, caller=alice)
    client.stop(enclave.number)
    client.start(enclave.number)
    again = client.attest(enclave.number, policy)
    assert again.call("increment", {}, caller=alice).value["value"] == 3
    client.destroy(enclave.number)
    other = client.attest(client.launch(counter.image), policy)
    assert other.call("read", None, caller=alice).value["value"] == 3
    client.destroy(other.number)


def test_two_enclaves_of_one_image_count_together(example: BuiltExample, client: Client, policy_for: PolicyFor) -> None:
    counter = example("integrity-counter")
    alice = counter.callers["alice"]
    policy = policy_for(counter.image)
    enclaves = [client.attest(client.launch(counter.image), policy) for _ in range(2)]
    values = [enclaves[turn % 2].call("increment", {}, caller=alice).value["value"] for turn in range(5)]
    assert values == [1, 2, 3, 4, 5]
    for enclave in enclaves:
        assert enclave.call("increment", {}, caller=alice).value["refused"]["code"] == "limit-reached"
        client.destroy(enclave.number)


def counted(folder: Path, counter: Built, entry: str, value: Any) -> Result:
    """One call of Alice's on a machine that runs for it alone, as `casemate run` does."""
    with local_machine(folder, seed=SEED) as machine, connect(machine.host_socket) as client:
        enclave = client.attest(client.launch(counter.image), exact_policy(machine, counter.image))
        try:
            return enclave.call(entry, value, caller=counter.callers["alice"])
        finally:
            client.destroy(enclave.number)


def test_an_older_disk_gives_no_use_back_unless_its_owner_says_so_in_the_open(
    example: BuiltExample, tmp_path: Path
) -> None:
    counter = example("integrity-counter")
    machine, backup = tmp_path / "machine", tmp_path / "backup"
    assert counted(machine, counter, "increment", {"by": 2}).receipt.receipt.state == StateMark(1, 0)
    copied(machine / "host", backup)
    assert counted(machine, counter, "increment", {"by": 3}).value["left"] == 0
    put_back(backup, machine / "host")
    with pytest.raises(EnclaveRefusedError) as refused:
        counted(machine, counter, "increment", {})
    assert refused.value.fault.code is Code.STATE_ROLLED_BACK
    for older in (machine / "host").glob("records.db*"):
        older.unlink()
    with pytest.raises(EnclaveRefusedError) as refused:
        counted(machine, counter, "read", None)
    assert refused.value.fault.code is Code.STATE_ROLLED_BACK
    put_back(backup, machine / "host")
    with local_machine(machine, seed=SEED):
        state = ["--json", "--state", str(machine)]
        (shown,) = json.loads(CliRunner().invoke(app, ["state", "show", *state]).stdout)["states"]
        assert (shown["epoch"], shown["host"]["newest_epoch"], shown["recoveries"]) == (2, 1, 0)
        accepted = CliRunner().invoke(
            app, ["state", "accept-rollback", shown["namespace"], "--reason", "the disk died", *state]
        )
        assert accepted.exit_code == 0, accepted.output
        again = counted(machine, counter, "increment", {})
        assert again.value == {"value": 3, "limit": 5, "left": 2}
        mark = again.receipt.receipt.state
        assert mark is not None
        assert mark.recoveries == 1
        assert mark.epoch > 2
        log = [json.loads(line) for line in (machine / "chip" / "audit.log").read_text().splitlines()]
        assert [(entry["what"], entry["details"]) for entry in log] == [("rollback accepted", "the disk died")]
        assert counted(machine, counter, "read", None).receipt.receipt.state == mark
