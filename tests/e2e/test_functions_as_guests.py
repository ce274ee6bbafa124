"""The image of a function as a paravirtual SEV-SNP guest: the same calls, another kind of evidence."""

import hashlib
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.rigs.workshop import Workshop, exact_policy

from casemate.cli.snp.policies import function_policy, maker_of
from casemate.client import (
    CallerKey,
    Client,
    EnclaveRefusedError,
    HostRefusedError,
    ReceiptBundle,
    appraise_answer,
    check_receipt,
    connect,
)
from casemate.client.local import LocalMachine, local_machine
from casemate.images.image import Image
from casemate.testing.served import served_machine
from casemate.verifier import (
    RefusedError,
    SgxPolicy,
    SnpEndorsements,
    SnpPolicy,
    VerifiedSnpEvidence,
    parse_any_policy,
    print_snp_policy,
)
from casemate.wire.encodings.pem import parse_chain
from casemate.wire.protocol.faults import Code
from casemate.wire.protocol.lifecycle import State
from casemate.wire.protocol.manifest import Engine
from casemate.wire.protocol.tee import Tee
from casemate.wire.snp.report import SnpReport

pytestmark = pytest.mark.machine

COUNT = """
export async function main(input, context) {
  const count = (context.state.get("count") ?? 0) + 1;
  context.state.put("count", count);
  return { count, caller: context.caller };
}
"""
ECHO = "export function main(input) { return input; }"
ECHOES = {Engine.JAVASCRIPT: ECHO, Engine.PYTHON: "def main(input, context):\n    return input\n"}
STATE = {"policy": "mrsigner", "recovery": "operator", "max_kib": 64}


@pytest.fixture(scope="module")
def guests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMachine]:
    with local_machine(tmp_path_factory.mktemp("guests")) as running:
        yield running


@pytest.fixture
def client(guests: LocalMachine) -> Iterator[Client]:
    with connect(guests.host_socket) as connected:
        yield connected


def policy_for(machine: LocalMachine, image: Image) -> SnpPolicy:
    return function_policy(image, maker_of(machine), confined=False)


def test_a_call_and_its_receipt_rest_on_a_report(
    guests: LocalMachine, client: Client, workshop: Workshop, engine: Engine
) -> None:
    alice = CallerKey.generate()
    image = workshop.image(
        ECHOES[engine],
        engine=engine,
        callers={"alice": alice.manifest_value},
        entries={"main": {"input": {}, "output": {"type": "string"}, "callers": ["alice"]}},
    )
    policy = policy_for(guests, image)
    enclave = client.attest(client.launch(image, tee=Tee.SNP), policy)
    evidence = enclave.evidence
    assert isinstance(evidence, VerifiedSnpEvidence)
    assert evidence.is_paravirtual
    assert evidence.measurement == image.launch_digest
    result = enclave.call("main", "a secret", caller=alice)
    assert result.value == "a secret"
    kept = ReceiptBundle.parse(result.receipt.encode())
    checked = check_receipt(kept, policy)
    assert checked.receipt.measurement == image.launch_digest
    assert checked.receipt.caller == alice.public_key
    with pytest.raises(RefusedError, match=r"snp\.measurement"):
        check_receipt(kept, replace(policy, measurement=frozenset({bytes(48)})))


def test_the_host_says_what_it_is_and_that_it_is_paravirtual(
    guests: LocalMachine, client: Client, workshop: Workshop
) -> None:
    image = workshop.image(ECHO)
    number = client.launch(image, tee=Tee.SNP)
    (shown,) = [each for each in client.enclaves() if each.enclave == number]
    assert (shown.tee, shown.launch_digest, shown.mr_enclave) == (Tee.SNP, image.launch_digest, image.mr_enclave)
    assert client.stop(number).state is State.STOPPED
    assert client.start(number).tee is Tee.SNP
    assert client.attest(number, policy_for(guests, image)).call("main", 7).value == 7


def test_a_policy_is_for_one_kind_of_evidence(guests: LocalMachine, client: Client, workshop: Workshop) -> None:
    image = workshop.image(ECHO)
    policy = parse_any_policy(print_snp_policy(policy_for(guests, image)))
    assert policy == policy_for(guests, image)
    with pytest.raises(RefusedError, match=r"evidence\.kind"):
        client.attest(client.launch(image), policy)
    with pytest.raises(RefusedError, match=r"snp\.measurement"):
        client.attest(client.launch(workshop.image(COUNT, state=STATE), tee=Tee.SNP), policy)


def test_each_kind_keeps_a_state_of_its_own_over_restarts(tmp_path: Path, workshop: Workshop) -> None:
    image = workshop.image(COUNT, state=STATE)
    upgraded = workshop.image(COUNT + "\n// newer", state=STATE, security_version=2)

    def count(client: Client, number: int, policy: SnpPolicy | SgxPolicy) -> int:
        value: int = client.attest(number, policy).call("main", None).value["count"]
        return value

    with served_machine(tmp_path / "machine", ["--lasting"]) as served, connect(served.machine.host_socket) as client:
        policy = policy_for(served.machine, image)
        number = client.launch(image, tee=Tee.SNP)
        assert [count(client, number, policy) for _ in range(2)] == [1, 2]
        assert count(client, client.launch(image), exact_policy(served.machine, image)) == 1
        os.kill(served.machine.status.chip_pid, signal.SIGKILL)  # a power cut
    with served_machine(tmp_path / "machine", ["--lasting"]) as served, connect(served.machine.host_socket) as client:
        assert {each.tee for each in client.enclaves()} == {Tee.SGX, Tee.SNP}
        assert count(client, number, policy) == 3
        newer = client.launch(upgraded, tee=Tee.SNP)
        assert count(client, newer, policy_for(served.machine, upgraded)) == 4
        with pytest.raises(EnclaveRefusedError, match="version") as refused:
            count(client, number, policy)
        assert refused.value.fault.code is Code.STATE_REFUSED


def test_independent_verifier_takes_the_report_and_no_changed_one(machine: LocalMachine, workshop: Workshop) -> None:
    omne = pytest.importorskip("omne_attest.snp", reason="omne-attest is not installed")
    image = workshop.image(ECHO)
    # Seeded, so that the chip is the same each time: omne-attest misreads an id that begins with 0x04, one in 256.
    assert machine.status.seeded
    with connect(machine.host_socket) as client:
        policy = replace(policy_for(machine, image), public_seed="UNSAFE_PUBLIC_SEED")
        enclave = client.attest(client.launch(image, tee=Tee.SNP), policy)
    proof = enclave.attested.proof
    assert isinstance(proof.endorsements, SnpEndorsements)
    issuer, root = [found.der for found in parse_chain("chain", proof.endorsements.chain)]
    anchor = hashlib.sha256(root).digest()
    report = SnpReport.parse(proof.evidence)
    assert report.report_data == enclave.attested.binding.report_data()
    verified = omne.verify(proof.evidence, proof.endorsements.key_certificate, issuer, root, anchor, omne.Policy())
    assert verified is not None
    changed = bytearray(proof.evidence)
    changed[0x90] ^= 1
    with pytest.raises(Exception, match=r"(?i)signature"):
        omne.verify(bytes(changed), proof.endorsements.key_certificate, issuer, root, anchor, omne.Policy())


def test_a_revoked_chip_and_an_old_tcb_are_refused(tmp_path: Path, workshop: Workshop) -> None:
    image = workshop.image(ECHO)
    with local_machine(tmp_path / "machine") as machine, connect(machine.host_socket) as client:
        number = client.launch(image, tee=Tee.SNP)
        before = policy_for(machine, image)
        assert client.attest(number, before).call("main", 1).value == 1
        machine.snp.recover_tcb("SIM-SB-00001")
        newest = policy_for(machine, image)
        with pytest.raises(RefusedError, match=r"snp\.tcb-reported"):
            client.attest(number, newest)
        machine.snp.update_firmware(commit=True)
        client.stop(number)
        client.start(number)
        fresh = client.attest(number, newest)
        assert fresh.call("main", 2).value == 2
        machine.snp.revoke()
        with pytest.raises(RefusedError, match="revoked"):
            client.attest(number, newest)


def test_a_host_that_hands_on_another_guests_report_is_refused(
    guests: LocalMachine, client: Client, workshop: Workshop
) -> None:
    image = workshop.image(ECHO)
    policy = policy_for(guests, image)
    one, other = (client.launch(image, tee=Tee.SNP) for _ in range(2))
    nonce = bytes(range(32))
    mixed = replace(client.evidence(one, nonce), evidence=client.evidence(other, nonce).evidence)
    with pytest.raises(RefusedError, match=r"binding\.report-data"):
        appraise_answer(mixed, nonce, policy, datetime.now(UTC))


def test_an_image_that_the_chip_refuses_is_refused_as_a_guest_too(client: Client, workshop: Workshop) -> None:
    image = workshop.image(ECHO)
    forged = Image(image.name, image.sgxs, workshop.image(COUNT, state=STATE).sigstruct)
    with pytest.raises(HostRefusedError, match="measurement") as refused:
        client.launch(forged, tee=Tee.SNP)
    assert refused.value.fault.code is Code.LAUNCH_REFUSED
