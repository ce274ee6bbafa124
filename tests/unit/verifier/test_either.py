"""Evidence of functions, on either kind of TEE: what it binds, and policies of the other kind."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from tests.rigs.verifier.snp import strict

from casemate.testing.forge import honest
from casemate.testing.forge_snp import honest_snp
from casemate.verifier import (
    AnyEndorsements,
    AnyEvidence,
    AnyPolicy,
    BoundValues,
    CheckOutcome,
    PolicyError,
    RefusedError,
    RequiredLayers,
    Rule,
    SnpEndorsements,
    SnpEvidence,
    SnpPolicy,
    appraise_any,
    explain_snp,
    parse_any_policy,
    print_policy,
    print_snp_policy,
)
from casemate.wire.protocol.report_data import ReportDataBinding
from casemate.wire.protocol.sandbox_layers import Layer, LayerName, LayerState, SandboxLayers
from casemate.wire.snp.paravirtual import FAMILY_ID

NOW = datetime(2026, 11, 1, tzinfo=UTC)
NONCE = b"n" * 32
LAYERS = SandboxLayers((Layer(LayerName.SECCOMP, LayerState.APPLIED, ""),), ())
BOUND = BoundValues(b"h" * 32, b"r" * 32, LAYERS)
SECCOMP = frozenset({LayerName.SECCOMP})


def function() -> tuple[SnpEvidence, SnpPolicy, SnpEndorsements]:
    """A report whose REPORT_DATA binds these, a policy that demands it, and who endorses it."""
    binding = ReportDataBinding(BOUND.hpke_key, BOUND.receipt_key, NONCE, LAYERS)
    forged = honest_snp(NOW).change(
        lambda report: replace(report, report_data=binding.report_data(), family_id=FAMILY_ID)
    )
    evidence, endorsements, root = forged.sign()
    policy = strict(root, report_data="FRESH_NONCE", family_id=frozenset({FAMILY_ID}))
    return SnpEvidence(evidence.report, BOUND), policy, endorsements


def test_binds_keys_nonce_and_layers_and_says_that_it_is_paravirtual() -> None:
    evidence, policy, endorsements = function()
    demands = replace(policy, layers=RequiredLayers(SECCOMP, frozenset())).with_nonce(NONCE)
    verified = appraise_any(evidence, demands, endorsements, NOW)
    assert verified.binding == ReportDataBinding(BOUND.hpke_key, BOUND.receipt_key, NONCE, LAYERS)
    assert getattr(verified, "is_paravirtual") is True  # noqa: B009 - of one kind alone
    tree = explain_snp(evidence, demands, endorsements, NOW)
    assert tree.refusal is None
    assert {Rule.BINDING_REPORT_DATA, Rule.SANDBOX_ENCLAVE} <= {
        check.rule for check in tree.checks() if check.outcome is CheckOutcome.PASSED
    }


@pytest.mark.parametrize(
    ("bound", "nonce", "layers", "rule"),
    [
        (replace(BOUND, hpke_key=b"x" * 32), NONCE, None, Rule.BINDING_REPORT_DATA),
        (replace(BOUND, layers=SandboxLayers((), ())), NONCE, None, Rule.BINDING_REPORT_DATA),
        (BOUND, b"o" * 32, None, Rule.BINDING_REPORT_DATA),
        (None, NONCE, None, Rule.BINDING_VALUES),
        (replace(BOUND, receipt_key=b"short"), NONCE, None, Rule.BINDING_VALUES),
        (BOUND, None, None, Rule.BINDING_NONCE),
        (BOUND, NONCE, RequiredLayers(SECCOMP, SECCOMP), Rule.SANDBOX_GUEST),
    ],
)
def test_refuses_what_the_report_does_not_bind(
    bound: BoundValues | None, nonce: bytes | None, layers: RequiredLayers | None, rule: Rule
) -> None:
    evidence, policy, endorsements = function()
    demands = policy if layers is None else replace(policy, layers=layers)
    demands = demands if nonce is None else demands.with_nonce(nonce)
    with pytest.raises(RefusedError) as refused:
        appraise_any(replace(evidence, bound=bound), demands, endorsements, NOW)
    assert refused.value.rule is rule


def test_a_policy_of_the_other_kind_refuses() -> None:
    evidence, policy, endorsements = function()
    forged = honest(NOW).sign()
    given: tuple[tuple[AnyEvidence, AnyPolicy, AnyEndorsements], ...] = (
        (evidence, forged.policy, endorsements),
        (forged.evidence, policy, forged.collateral),
        (evidence, policy.with_nonce(NONCE), forged.collateral),
    )
    for one, demands, vouching in given:
        with pytest.raises(RefusedError) as refused:
            appraise_any(one, demands, vouching, NOW)
        assert refused.value.rule is Rule.EVIDENCE_KIND


def test_a_policys_text_tells_its_kind() -> None:
    _, policy, _ = function()
    confined = replace(policy, layers=RequiredLayers(SECCOMP, SECCOMP), minimum_guest_svn=1, sockets=1)
    for each in (policy, confined, policy.with_nonce(NONCE), honest(NOW).sign().policy):
        text = print_snp_policy(each) if isinstance(each, SnpPolicy) else print_policy(each)
        assert parse_any_policy(text) == each
    for text in ("", "measurement = [", "[]", "{", "measurement = 7"):
        with pytest.raises(PolicyError):
            parse_any_policy(text)


def test_layers_are_required_only_where_something_vouches_for_them() -> None:
    _, policy, _ = function()
    with pytest.raises(PolicyError, match="vouches"):
        replace(policy.with_report_data(bytes(64)), layers=RequiredLayers(SECCOMP, SECCOMP))
