"""What calls use, on a whole machine: an enclave that may do nearly nothing reads it of guests that may do less."""

import json
from pathlib import Path

import pytest
from tests.rigs.workshop import PolicyFor, Workshop
from typer.testing import CliRunner

from casemate.cli.app import app
from casemate.client import Client, EnclaveRefusedError, check_receipt
from casemate.client.local import LocalMachine
from casemate.verifier import print_policy
from casemate.wire.protocol.manifest import Engine

pytestmark = pytest.mark.machine

SOURCES = {
    Engine.JAVASCRIPT: """
let kept = [];
export function main({ spin = 0, grow = 0, fail = false }, context) {
    for (let turn = 0, x = 1; turn < spin * 1e6; turn += 1) x = (x * 48271) % 2147483647;
    for (let mib = 0; mib < grow; mib += 1) kept.push(new Uint8Array(1 << 20).fill(7));
    if (fail) throw new Error("in vain");
    return kept.length;
}
""",
    Engine.PYTHON: """
kept = []

def main(input, context):
    x = 1
    for _ in range(int(input.get("spin", 0) * 1e5)):
        x = (x * 48271) % 2147483647
    kept.extend(bytearray(b"x") * (1 << 20) for _ in range(input.get("grow", 0)))
    if input.get("fail"):
        raise ValueError("in vain")
    return len(kept)
""",
}


def test_the_caller_is_told_what_a_call_used(
    machine: LocalMachine,
    client: Client,
    workshop: Workshop,
    engine: Engine,
    policy_for: PolicyFor,
    tmp_path: Path,
) -> None:
    image = workshop.image(SOURCES[engine], engine=engine, receipt_metrics=True, time_ms=20_000)
    number, policy = client.launch(image), policy_for(image)
    enclave = client.attest(number, policy)
    idle = enclave.call("main", {}).metrics
    busy = enclave.call("main", {"spin": 15}).metrics
    grown = enclave.call("main", {"grow": 24})
    assert (idle.cold, busy.cold, grown.metrics.cold) == (True, False, False)
    assert idle.cpu_us is not None
    assert busy.cpu_us is not None
    assert busy.cpu_us >= 20_000 + idle.cpu_us
    assert busy.cpu_us <= 2 * busy.wall_us + 50_000  # more than its own thread: the engine compiles beside it
    assert busy.peak_kib is not None
    assert grown.metrics.peak_kib is not None
    assert grown.metrics.peak_kib >= busy.peak_kib + 12 * 1024
    checked = check_receipt(grown.receipt, policy)
    assert checked.receipt.metrics == grown.metrics
    given, written = tmp_path / "input.json", tmp_path / "policy.toml"
    given.write_text('{"spin": 1}')
    written.write_text(print_policy(policy))
    call = ("call", str(number), "main", "--input", str(given), "--policy", str(written), "--state", str(machine.state))
    said = CliRunner().invoke(app, [*call, "--metrics"])
    assert said.exit_code == 0
    assert "ms in the guest" in said.stderr
    assert "MiB at most" in said.stderr
    metrics = json.loads(CliRunner().invoke(app, [*call, "--json"]).stdout)["metrics"]
    assert metrics["wall_us"] >= metrics["cpu_us"] / 2 > 0
    with pytest.raises(EnclaveRefusedError, match="guest-error") as failed:
        enclave.call("main", {"spin": 15, "fail": True})
    used = failed.value.metrics
    assert used is not None
    assert used.cpu_us is not None
    assert used.cpu_us >= 20_000 + idle.cpu_us
    with pytest.raises(EnclaveRefusedError, match="entry-unknown") as early:
        enclave.call("other", {})
    assert early.value.metrics is None, "no guest was given it"
    given.write_text('{"spin": 1, "fail": true}')
    said = CliRunner().invoke(app, [*call, "--metrics"])
    assert said.exit_code == 4
    assert "ms in the guest" in said.stderr
    assert json.loads(CliRunner().invoke(app, [*call, "--json"]).stdout)["error"]["metrics"]["wall_us"] > 0
    client.destroy(number)
