"""Two owners have one image run on one machine, as enclaves or as guests: evidence and state tell them apart."""

from dataclasses import replace
from typing import Any

import pytest
from tests.rigs.workshop import NEEDS_LINUX, Workshop, exact_policy

from casemate.cli.snp.policies import function_policy, maker_of
from casemate.client import CallerKey, connect
from casemate.client.local import LocalMachine
from casemate.verifier import RefusedError
from casemate.wire.protocol.deployment import config_id, deployment_id
from casemate.wire.protocol.tee import Tee

pytestmark = [pytest.mark.machine, NEEDS_LINUX]

KEEPER = """
export function main({ put, seal, unseal }, context) {
    if (unseal) {
        try { return { opened: context.unseal(unseal) }; } catch (error) { return { error: error.name }; }
    }
    if (seal) return context.seal(seal, "mrsigner");
    if (put) context.state.put("kept", put);
    return context.state.get("kept") ?? null;
}
"""


@pytest.mark.parametrize("tee", Tee)
def test_two_owners_of_one_image_are_two_parties(machine: LocalMachine, workshop: Workshop, tee: Tee) -> None:
    state = {"policy": "mrsigner", "recovery": "never", "max_kib": 64}
    image = replace(workshop.image(KEEPER, state=state, time_ms=5000), name=f"keeper-{tee}")
    owners = [CallerKey.generate().public_key for _ in range(2)]

    def policy_of(owner: bytes) -> Any:
        whose = deployment_id(owner, image.name)
        if tee is Tee.SGX:
            return replace(exact_policy(machine, image), config_id=frozenset({config_id(whose)}))
        return replace(function_policy(image, maker_of(machine), confined=False), host_data=frozenset({whose}))

    with connect(machine.host_socket) as client:
        numbers = [client.launch(image, tee=tee, owner=owner) for owner in owners]
        try:
            ours, theirs = (
                client.attest(number, policy_of(owner)) for number, owner in zip(numbers, owners, strict=True)
            )
            for number, other in zip(numbers, reversed(owners), strict=True):
                with pytest.raises(RefusedError, match="config-id" if tee is Tee.SGX else "host-data"):
                    client.attest(number, policy_of(other))
            assert ours.call("main", {"put": "ours"}).value == "ours"
            assert theirs.call("main", {}).value is None
            assert theirs.call("main", {"put": "theirs"}).value == "theirs"
            assert ours.call("main", {}).value == "ours"
            sealed = ours.call("main", {"seal": "a secret"}).value
            assert ours.call("main", {"unseal": sealed}).value == {"opened": "a secret"}
            assert "error" in theirs.call("main", {"unseal": sealed}).value
        finally:
            for number in numbers:
                client.destroy(number)
