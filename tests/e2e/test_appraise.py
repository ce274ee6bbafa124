"""A function appraises other enclaves' evidence on a whole machine, and seals a secret for those that pass."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest
from tests.rigs.workshop import ANYTHING, ANYTHING_OUT, NEEDS_LINUX, Workshop, exact_policy

from casemate.client import Client, EnclaveRefusedError, connect
from casemate.client.local import LocalMachine
from casemate.images.image import Image
from casemate.images.keys import DeveloperKey
from casemate.verifier import Rule, SgxPolicy, print_policy
from casemate.wire.messages.presented_evidence import evidence_document
from casemate.wire.protocol.faults import Code
from casemate.wire.protocol.manifest import Engine

pytestmark = [pytest.mark.machine, NEEDS_LINUX]

SOURCES = {
    Engine.JAVASCRIPT: """
export const nonce = (_, context) => context.nonce();
export function judge({ evidence, policy, nonce, secret }, context) {
    let claims;
    try {
        claims = context.appraise(evidence, policy, nonce);
    } catch (error) {
        if (error.name !== "appraisal-refused") throw error;
        return { rule: error.rule, got: error.got, want: error.want };
    }
    return { claims: JSON.stringify(claims), sealed: secret === undefined ? null : claims.seal(secret) };
}
export const reveal = (text, context) => JSON.stringify(context.open(text));
""",
    Engine.PYTHON: """
import json
from casemate.guest import AppraisalError

def nonce(_, context):
    return context.nonce()

def judge(input, context):
    try:
        claims = context.appraise(input["evidence"], input["policy"], input.get("nonce"))
    except AppraisalError as error:
        return {"rule": error.rule, "got": error.got, "want": error.want}
    return {"claims": json.dumps(claims), "sealed": claims.seal(input["secret"]) if "secret" in input else None}

def reveal(text, context):
    return json.dumps(context.open(text))
""",
}
APPRAISE: dict[str, Any] = {"built": "2026-12-01", "policies": {"partner": "schemas/partner.policy.toml"}}
ANY_CODE = "export const main = () => 1;"
ENTRY: dict[str, Any] = {"input": ANYTHING, "output": ANYTHING_OUT, "callers": "anyone"}
TEXT: dict[str, Any] = {"input": {}, "output": {"type": "string"}, "callers": "anyone"}
ENTRIES = {"nonce": TEXT, "judge": ENTRY, "reveal": TEXT}


class Deployed(NamedTuple):
    client: Client
    machine: LocalMachine
    workshop: Workshop
    number: int
    image: Image
    enclave: Any

    @property
    def policy(self) -> SgxPolicy:
        return exact_policy(self.machine, self.image)

    @contextmanager
    def launched(self, image: Image) -> Iterator[int]:
        number = self.client.launch(image)
        try:
            yield number
        finally:
            self.client.destroy(number)

    def signed_alike(self, **manifest: Any) -> AbstractContextManager[int]:
        """Another enclave of the same signer."""
        return self.launched(self.workshop.image(ANY_CODE, **manifest))

    def other(self, source: str) -> AbstractContextManager[int]:
        """An enclave of somebody else's."""
        stranger = replace(self.workshop, key=DeveloperKey.generate())
        return self.launched(stranger.image(source))

    @contextmanager
    def again(self) -> Iterator[Any]:
        """Another launch of the same image."""
        with self.launched(self.image) as number:
            yield self.client.attest(number, self.policy)

    def judge(self, **asked: Any) -> Any:
        return self.enclave.call("judge", asked).value

    def evidence(self, nonce: str) -> dict[str, object]:
        """What its host gives for it."""
        return evidence_document(self.client.evidence(self.number, bytes.fromhex(nonce)))


@pytest.fixture(scope="module")
def deployed(machine: LocalMachine, workshop: Workshop, engine: Engine) -> Iterator[Deployed]:
    partner = _of_signer(machine, workshop.image(ANY_CODE))
    image = workshop.image(
        SOURCES[engine],
        engine=engine,
        entries=ENTRIES,
        appraise={**APPRAISE, "unsafe": True},  # the machine's makers are made of a seed that everybody knows
        schemas={"partner.policy.toml": print_policy(partner)},
        state={"policy": "mrenclave", "recovery": "never", "max_kib": 64},
        time_ms=20_000,
    )
    with connect(machine.host_socket) as client:
        number = client.launch(image)
        enclave = client.attest(number, exact_policy(machine, image))
        yield Deployed(client, machine, workshop, number, image, enclave)
        client.destroy(number)


def _of_signer(machine: LocalMachine, any_image: Image) -> SgxPolicy:
    """Whatever the image's signer has signed, and no word that gives anything up."""
    return replace(
        exact_policy(machine, any_image),
        mr_enclave="ANY_MRENCLAVE",
        mr_signer=frozenset({any_image.mr_signer}),
        product_id=1,
        minimum_svn=1,
        minimum_evaluation_number=1,
        minimum_tcb_date=datetime(2020, 1, 1, tzinfo=UTC),
        dynamic_platform="MUST_BE_OFF",
        cached_keys="MUST_BE_OFF",
        smt="MUST_BE_OFF",
    )


def test_a_secret_goes_to_whom_the_policy_names_and_to_no_other(deployed: Deployed) -> None:
    nonce = deployed.enclave.call("nonce", None).value
    said = deployed.judge(evidence=deployed.evidence(nonce), policy="partner", nonce=nonce, secret={"key": 7})
    claims = json.loads(said["claims"])
    assert claims["nonce"] == nonce
    assert claims["mr_enclave"] == deployed.image.mr_enclave.hex()
    assert json.loads(deployed.enclave.call("reveal", said["sealed"]).value) == {"key": 7}
    with deployed.other(ANY_CODE) as other:
        assert rule_of(deployed, other) == Rule.ENCLAVE_MR_SIGNER
    with deployed.again() as next_launch, pytest.raises(EnclaveRefusedError) as raised:
        next_launch.call("reveal", said["sealed"])
    assert raised.value.fault.code is Code.CANNOT_OPEN


def rule_of(deployed: Deployed, number: int) -> str:
    """The rule by which an enclave's evidence is refused, that its host gives for a fresh nonce."""
    nonce = deployed.enclave.call("nonce", None).value
    evidence = evidence_document(deployed.client.evidence(number, bytes.fromhex(nonce)))
    return str(deployed.judge(evidence=evidence, policy="partner", nonce=nonce)["rule"])


def test_a_debug_build_an_older_version_and_an_older_answer_get_no_secret(deployed: Deployed) -> None:
    with deployed.signed_alike(debug=True) as number:
        assert rule_of(deployed, number) == Rule.ENCLAVE_DEBUG
    with deployed.signed_alike(security_version=0) as number:
        assert rule_of(deployed, number) == Rule.ENCLAVE_SVN
    nonce = deployed.enclave.call("nonce", None).value
    evidence = deployed.evidence(nonce)
    assert "claims" in deployed.judge(evidence=evidence, policy="partner", nonce=nonce)
    assert deployed.judge(evidence=evidence, policy="partner", nonce=nonce)["rule"] == "nonce.drawn"
    mine = deployed.enclave.call("nonce", None).value
    assert deployed.judge(evidence=evidence, policy="partner", nonce=mine)["rule"] == Rule.BINDING_REPORT_DATA
    stranger = deployed.client.attest(deployed.number, deployed.policy)
    theirs = stranger.call("nonce", None).value
    asked = {"evidence": deployed.evidence(theirs), "policy": "partner", "nonce": theirs}
    assert deployed.judge(**asked)["rule"] == "nonce.drawn"
    assert "claims" in stranger.call("judge", asked).value


def test_no_policy_gives_anything_up_where_the_manifest_does_not_say_so(deployed: Deployed) -> None:
    loose = print_policy(_of_signer(deployed.machine, deployed.image))
    assert "UNSAFE_PUBLIC_SEED" in loose
    image = deployed.workshop.image(
        SOURCES[Engine.JAVASCRIPT],
        entries=ENTRIES,
        appraise=APPRAISE,
        schemas={"partner.policy.toml": loose},
        debug=True,
    )
    with deployed.launched(image) as number:
        careful = deployed.client.attest(number, exact_policy(deployed.machine, image, debug=True))
        for policy in ("partner", loose):
            nonce = careful.call("nonce", None).value
            with pytest.raises(EnclaveRefusedError, match=r"UNSAFE_PUBLIC_SEED.*unsafe = true"):
                careful.call("judge", {"evidence": deployed.evidence(nonce), "policy": policy, "nonce": nonce})


def test_one_callers_evidence_does_not_hold_up_the_calls_of_others(deployed: Deployed) -> None:
    """Appraisals take turns with everything else: a call between two of them is answered before the second's end."""
    nonce = deployed.enclave.call("nonce", None).value
    evidence = deployed.evidence(nonce)
    asked = {"evidence": evidence, "policy": "partner", "nonce": nonce}
    other = deployed.client.attest(deployed.number, deployed.policy)
    other.call("nonce", None)

    def judge() -> Any:
        with connect(deployed.machine.host_socket) as client:
            return client.attest(deployed.number, deployed.policy).call("judge", asked).value

    with ThreadPoolExecutor(3) as pool:
        judging = [pool.submit(judge) for _ in range(3)]
        assert all(len(other.call("nonce", None).value) == 64 for _ in range(5))
        assert [each.result()["rule"] for each in judging] == ["nonce.drawn"] * 3
