"""Another enclave is what a manifest's table demands, or is refused by the rule that the verifier would name."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from casemate.enclave.appraisal import appraise_peer
from casemate.enclave.peer_policy import (
    PeerIdentity,
    PeerPolicy,
    PeerRefusedError,
    UnresolvedServiceError,
    compile_policy,
    named_caller,
)
from casemate.testing.forge import PRODUCT_ID, SVN, Forged, honest, honest_body
from casemate.wire.protocol.capabilities.uses import (
    DeploymentDemand,
    EnclaveCaller,
    EvidenceDemand,
    LayersDemand,
    MakerRoot,
    MeasurementDemand,
    PeerDemands,
    Same,
    ServiceDemand,
    SignerDemand,
    SimulatedRoot,
)
from casemate.wire.protocol.deployment import NO_DEPLOYMENT, deployment_id
from casemate.wire.protocol.runtime_lock import RuntimeLock
from casemate.wire.protocol.sandbox_layers import Layer, LayerName, LayerState, SandboxLayers
from casemate.wire.protocol.tee import Tee
from casemate.wire.sgx.attributes import AttributeFlag
from casemate.wire.sgx.report import ReportBody
from casemate.wire.sgx.tcb_info import TcbStatus

NOW = datetime(2026, 11, 1, tzinfo=UTC)
OWNER = hashlib.sha256(b"an owner").digest()
SECCOMP = (Layer(LayerName.SECCOMP, LayerState.APPLIED, ""),)
LAYERS = SandboxLayers(SECCOMP, SECCOMP)
DEMANDS = PeerDemands(
    SignerDemand(Same.SIGNER, PRODUCT_ID, SVN),
    LayersDemand(frozenset({LayerName.SECCOMP}), frozenset({LayerName.SECCOMP})),
    None,
    None,
)
BODY = replace(honest_body(), report_data=b"\x05" * 64)
SERVICE = RuntimeLock().with_services({"crypto": BODY.mr_enclave})


def _policy(demands: PeerDemands = DEMANDS) -> PeerPolicy:
    return compile_policy(demands, own_signer=BODY.mr_signer, lock=SERVICE)


def _of(identity: SignerDemand | MeasurementDemand | ServiceDemand) -> PeerPolicy:
    return _policy(replace(DEMANDS, identity=identity))


def _configured(config_id: bytes) -> ReportBody:
    return replace(BODY, config_id=config_id)


@pytest.mark.parametrize(
    "identity",
    [
        DEMANDS.identity,
        SignerDemand(BODY.mr_signer, PRODUCT_ID, 0),
        MeasurementDemand(BODY.mr_enclave),
        ServiceDemand("crypto"),
    ],
)
def test_what_meets_its_demands_is_told_by_its_identity(
    identity: SignerDemand | MeasurementDemand | ServiceDemand,
) -> None:
    assert _of(identity).judge(BODY, LAYERS) == PeerIdentity(
        Tee.SGX, BODY.mr_enclave, BODY.mr_signer, PRODUCT_ID, SVN, debug=False, deployment=NO_DEPLOYMENT
    )


def _debugged(body: ReportBody) -> ReportBody:
    flags = body.attributes.flags | AttributeFlag.DEBUG
    return replace(body, attributes=replace(body.attributes, flags=flags))


HOSTILE: list[tuple[str, PeerPolicy, Callable[[ReportBody], ReportBody]]] = [
    ("enclave.debug", _policy(), _debugged),
    ("enclave.debug", _of(MeasurementDemand(BODY.mr_enclave)), _debugged),
    ("enclave.mr-enclave", _of(MeasurementDemand(bytes(32))), lambda body: body),
    ("enclave.mr-enclave", _of(ServiceDemand("crypto")), lambda body: replace(body, mr_enclave=bytes(32))),
    ("enclave.mr-signer", _policy(), lambda body: replace(body, mr_signer=bytes(32))),
    ("enclave.product-id", _policy(), lambda body: replace(body, isv_prod_id=PRODUCT_ID + 1)),
    ("enclave.svn", _policy(), lambda body: replace(body, isv_svn=SVN - 1)),
    (
        "enclave.config-id",
        _policy(replace(DEMANDS, deployment=DeploymentDemand(OWNER, "billing"))),
        lambda body: replace(body, config_id=deployment_id(OWNER, "shop") + bytes(32)),
    ),
]
"""A REPORT that is not what the table demands: same signer but older, a debug build, another image or deployment."""


@pytest.mark.parametrize(("rule", "policy", "change"), HOSTILE)
def test_refuses_a_report_by_the_rule_that_it_breaks(
    rule: str, policy: PeerPolicy, change: Callable[[ReportBody], ReportBody]
) -> None:
    with pytest.raises(PeerRefusedError) as refused:
        policy.judge(change(BODY), LAYERS)
    assert refused.value.rule == rule


@pytest.mark.parametrize("state", [LayerState.OFF, LayerState.UNAVAILABLE])
def test_refuses_layers_that_are_not_applied(state: LayerState) -> None:
    without = (Layer(LayerName.SECCOMP, state, ""),)
    for rule, layers in (
        ("sandbox.enclave", SandboxLayers(without, SECCOMP)),
        ("sandbox.guest", SandboxLayers(SECCOMP, without)),
    ):
        with pytest.raises(PeerRefusedError, match=f"{rule}: got none, want seccomp"):
            _policy().judge(BODY, layers)


def test_a_deployment_is_its_owners_and_of_its_name() -> None:
    wanted = deployment_id(OWNER, "billing")
    policy = _policy(replace(DEMANDS, deployment=DeploymentDemand(OWNER, "billing")))
    assert policy.judge(_configured(wanted + bytes(32)), LAYERS).deployment == wanted
    for other in (bytes(64), deployment_id(bytes(32), "billing") + bytes(32), wanted + b"\1" * 32):
        with pytest.raises(PeerRefusedError, match=r"enclave\.config-id"):
            policy.judge(_configured(other), LAYERS)
    assert _policy().judge(_configured(b"\1" * 64), LAYERS).deployment == NO_DEPLOYMENT


def test_a_service_that_the_lock_does_not_have_is_named() -> None:
    with pytest.raises(UnresolvedServiceError, match="casemate:storage"):
        _of(ServiceDemand("storage"))


def test_a_caller_has_the_first_name_whose_demands_it_meets() -> None:
    strict = EnclaveCaller("strict", replace(DEMANDS, identity=MeasurementDemand(bytes(32))))
    signed, again = EnclaveCaller("signed", DEMANDS), EnclaveCaller("again", DEMANDS)
    callers = [(each, _policy(each.demands)) for each in (strict, signed, again)]
    assert named_caller(callers, BODY, LAYERS) == "signed"
    assert named_caller(callers, _debugged(BODY), LAYERS) is None
    assert named_caller([], BODY, LAYERS) is None


@pytest.fixture(scope="module")
def forged() -> Forged:
    forgery = honest(NOW)
    forgery.body = BODY
    return forgery.sign()


def _with_evidence(policy: PeerPolicy, forged: Forged, **changes: object) -> PeerPolicy:
    root = SimulatedRoot(hashlib.sha256(forged.root).digest())
    demand = EvidenceDemand(root, (TcbStatus.UP_TO_DATE,), min_evaluation_number=0, max_age_days=30)
    return replace(policy, evidence=replace(demand, **changes))  # type: ignore[arg-type] # its fields


def _appraised(policy: PeerPolicy, forged: Forged, **changes: object) -> PeerIdentity:
    given = {"report_data": BODY.report_data, "layers": LAYERS, "now": NOW, **changes}
    return appraise_peer(policy, forged.evidence.quote, forged.collateral, **given)  # type: ignore[arg-type]


def test_evidence_of_another_chip_gives_the_same_identity(forged: Forged) -> None:
    assert _appraised(_with_evidence(_policy(), forged), forged) == _policy().judge(BODY, LAYERS)


@pytest.mark.parametrize(("rule", "policy", "change"), HOSTILE)
def test_evidence_is_refused_by_the_same_rule_as_a_report(
    rule: str, policy: PeerPolicy, change: Callable[[ReportBody], ReportBody]
) -> None:
    forgery = honest(NOW)
    forgery.body = change(BODY)
    evidence = forgery.sign()
    with pytest.raises(PeerRefusedError) as refused:
        _appraised(_with_evidence(policy, evidence), evidence)
    assert refused.value.rule == rule


@pytest.mark.parametrize(
    ("rule", "demand", "given"),
    [
        ("chain.simulated", {"root": MakerRoot.INTEL_SGX_ROOT}, {}),
        ("chain.root", {"root": SimulatedRoot(bytes(32))}, {}),
        ("tcb.status", {"tcb_statuses": (TcbStatus.SW_HARDENING_NEEDED,)}, {}),
        ("tcb-info.evaluation-number", {"min_evaluation_number": 1 << 20}, {}),
        ("collateral.age", {"max_age_days": 1}, {"now": NOW + timedelta(days=3)}),
        ("binding.report-data", {}, {"report_data": bytes(64)}),
        ("sandbox.guest", {}, {"layers": SandboxLayers(SECCOMP, ())}),
    ],
)
def test_evidence_is_held_against_all_that_the_table_says(
    rule: str, demand: dict[str, object], given: dict[str, object], forged: Forged
) -> None:
    with pytest.raises(PeerRefusedError) as refused:
        _appraised(_with_evidence(_policy(), forged, **demand), forged, **given)
    assert refused.value.rule == rule


def test_collateral_of_last_year_is_refused(forged: Forged) -> None:
    with pytest.raises(PeerRefusedError) as refused:
        _appraised(_with_evidence(_policy(), forged), forged, now=NOW + timedelta(days=366))
    assert refused.value.rule == "crl.window"


def test_evidence_counts_for_nothing_where_no_table_says_what_it_must_show(forged: Forged) -> None:
    with pytest.raises(PeerRefusedError, match=r"evidence\.kind: got evidence of another chip, want a REPORT"):
        _appraised(_policy(), forged)
