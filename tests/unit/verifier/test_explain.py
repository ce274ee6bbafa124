from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from casemate.testing.forge import Forged, honest
from casemate.verifier import INTEL_SGX_ROOT, CheckOutcome, CheckTree, Rule, SgxEvidence, appraise, explain
from casemate.verifier.checks import RefusedError
from casemate.verifier.rules import COMPOSITION_RULES, RA_TLS_RULES, SNP_RULES
from casemate.verifier.sgx.policy import SgxPolicy
from casemate.wire.sgx.quote import Quote

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def forged() -> Forged:
    return honest(NOW).sign()


def tree_of(forged: Forged, policy: SgxPolicy, now: datetime = NOW) -> CheckTree:
    return explain(forged.evidence, policy, forged.collateral, now)


def outcomes(tree: CheckTree, outcome: CheckOutcome) -> list[Rule]:
    return [check.rule for check in tree.checks() if check.outcome is outcome]


def test_byte_ranges_hold_what_was_compared(forged: Forged) -> None:
    tree = tree_of(forged, forged.policy)
    spans = {check.rule: check.spans for check in tree.checks() if check.spans}
    body = Quote.parse(forged.evidence.quote).body
    (span,) = spans[Rule.ENCLAVE_MR_ENCLAVE]
    assert span.cut(forged.evidence.quote) == body.mr_enclave
    assert "MRENCLAVE" in next(check.text.source for check in tree.checks() if check.rule is Rule.ENCLAVE_MR_ENCLAVE)
    (span,) = spans[Rule.BINDING_REPORT_DATA]
    assert span.cut(forged.evidence.quote) == body.report_data
    assert len(spans) > 20


def test_a_wrong_root_is_the_one_thing_that_is_wrong(forged: Forged) -> None:
    tree = tree_of(forged, replace(forged.policy, root=INTEL_SGX_ROOT))
    assert set(outcomes(tree, CheckOutcome.REFUSED)) == {Rule.CHAIN_SIMULATED, Rule.CHAIN_ROOT}
    assert set(outcomes(tree, CheckOutcome.NOT_REACHED)) == {Rule.BINDING_NONCE, Rule.BINDING_VALUES}


def test_all_that_is_wrong_is_shown_not_only_the_first(forged: Forged) -> None:
    policy = replace(
        forged.policy, mr_enclave=frozenset({bytes(32)}), minimum_svn=9, product_id=9, layers="UNSAFE_ANY_SANDBOX"
    )
    refused = outcomes(tree_of(forged, policy, NOW + timedelta(days=31)), CheckOutcome.REFUSED)
    assert refused == [
        Rule.CRL_WINDOW, Rule.CRL_WINDOW, Rule.TCB_INFO_WINDOW, Rule.QE_IDENTITY_WINDOW,
        Rule.ENCLAVE_MR_ENCLAVE, Rule.ENCLAVE_PRODUCT_ID, Rule.ENCLAVE_SVN,
    ]  # fmt: skip


def test_what_stands_on_missing_things_is_not_reached(forged: Forged) -> None:
    tree = explain(SgxEvidence(b"", None), forged.policy, None, NOW)
    assert outcomes(tree, CheckOutcome.REFUSED) == [Rule.QUOTE_FORMAT, Rule.COLLATERAL_PRESENT]
    assert outcomes(tree, CheckOutcome.PASSED) == []
    assert {check.rule for check in tree.checks()} == set(Rule) - SNP_RULES - RA_TLS_RULES - COMPOSITION_RULES


def test_explanation_says_what_was_wanted(forged: Forged) -> None:
    late = NOW + timedelta(days=31)
    refusal = tree_of(forged, forged.policy, late).refusal
    assert refusal is not None
    assert refusal.got == "2026-04-01T12:00:00Z, 24 hours too late"
    assert refusal.want == "2026-03-01T12:00:00Z to 2026-03-31T12:00:00Z (Intel SGX Root CA)"
    with pytest.raises(
        RefusedError, match=r"crl\.window: got 2026-04-01T12:00:00Z, 24 hours too late, want 2026-03-01T12:00:00Z to"
    ):
        appraise(forged.evidence, forged.policy, forged.collateral, late)


def test_time_without_zone_is_misuse(forged: Forged) -> None:
    naive = NOW.replace(tzinfo=None)
    for judge in (appraise, explain):
        with pytest.raises(TypeError, match="time zone"):
            judge(forged.evidence, forged.policy, forged.collateral, naive)


def test_times_are_shown_in_utc(forged: Forged) -> None:
    late = (NOW + timedelta(days=31)).astimezone(timezone(timedelta(hours=2)))
    refusal = tree_of(forged, forged.policy, late).refusal
    assert refusal is not None
    assert refusal.got == "2026-04-01T12:00:00Z, 24 hours too late"
