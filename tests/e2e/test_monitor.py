"""The behaviour monitor on a whole machine: guests are measured for real, and the operator sees what was found."""

import pytest
from tests.rigs.workshop import PolicyFor, Workshop

from casemate.client import Client, EnclaveRefusedError
from casemate.wire.protocol.faults import Code
from casemate.wire.protocol.manifest import Engine

pytestmark = pytest.mark.machine

SOURCES = {
    Engine.JAVASCRIPT: """
const kept = [];
export function main({ loop = false, grow = 0 }) {
    while (loop);
    for (let mib = 0; mib < grow; mib += 1) kept.push(new Uint8Array(1 << 20).fill(7));
    return kept.length;
}
""",
    Engine.PYTHON: """
kept = []

def main(input, context):
    while input.get("loop"):
        pass
    kept.extend(bytearray(b"x") * (1 << 20) for _ in range(input.get("grow", 0)))
    return len(kept)
""",
}


def reason(client: Client, number: int) -> str:
    return next(shown.reason for shown in client.enclaves() if shown.enclave == number)


def test_growth_is_shown_and_deaths_stop_all_calls_until_the_next_launch(
    client: Client, workshop: Workshop, engine: Engine, policy_for: PolicyFor
) -> None:
    image = workshop.image(
        SOURCES[engine],
        engine=engine,
        time_ms=1500,
        monitor={"memory_mib": {"most": 16, "then": "warn"}, "deaths": {"most": 1, "then": "stop"}},
    )
    number, policy = client.launch(image), policy_for(image)
    enclave = client.attest(number, policy)
    enclave.call("main", {"grow": 2})
    assert reason(client, number) == ""
    enclave.call("main", {"grow": 30})
    client.attest(number, policy)  # an answer that comes after the notice
    assert "its monitor found memory_mib = " in reason(client, number)
    for _ in range(2):
        with pytest.raises(EnclaveRefusedError) as caught:
            enclave.call("main", {"loop": True})
        assert caught.value.fault.code is Code.TIME_LIMIT
    with pytest.raises(EnclaveRefusedError) as caught:
        client.attest(number, policy).call("main", {})
    assert caught.value.fault.code is Code.STOPPED_BY_MONITOR
    assert "its monitor stopped all calls until the next launch: deaths = 2" in reason(client, number)
    client.stop(number)
    client.start(number)
    assert client.attest(number, policy).call("main", {}).value == 0
    assert reason(client, number) == ""
    client.destroy(number)
