"""What is remembered of a maker's endorsements never outlives them, and never serves another demand."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from casemate.testing.forge import Forged, Forgery, honest
from casemate.verifier import RefusedError, Rule, SimulatedRoot, appraise
from casemate.verifier.common_demands import Terms
from casemate.verifier.sgx.endorsements import recall
from casemate.wire.sgx.quote import Quote

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SHORT = timedelta(hours=1)


def refusal(forged: Forged, now: datetime = NOW) -> Rule:
    with pytest.raises(RefusedError) as caught:
        appraise(forged.evidence, forged.policy, forged.collateral, now)
    return caught.value.rule


def short_pck(forgery: Forgery) -> None:
    forgery.pck.not_after = NOW + SHORT


def short_tcb_signing(forgery: Forgery) -> None:
    forgery.tcb_signing.not_after = NOW + SHORT


def short_root_list(forgery: Forgery) -> None:
    forgery.root_crl.next_update = NOW + SHORT


def short_pck_list(forgery: Forgery) -> None:
    forgery.pck_crl.next_update = NOW + SHORT


def short_tcb_info(forgery: Forgery) -> None:
    forgery.tcb_info["nextUpdate"] = "2026-03-01T13:00:00Z"


def short_qe_identity(forgery: Forgery) -> None:
    forgery.qe_identity["nextUpdate"] = "2026-03-01T13:00:00Z"


@pytest.mark.parametrize(
    ("shorten", "rule"),
    [
        (short_pck, Rule.CHAIN_VALIDITY),
        (short_tcb_signing, Rule.CHAIN_VALIDITY),
        (short_root_list, Rule.CRL_WINDOW),
        (short_pck_list, Rule.CRL_WINDOW),
        (short_tcb_info, Rule.TCB_INFO_WINDOW),
        (short_qe_identity, Rule.QE_IDENTITY_WINDOW),
    ],
)
def test_the_first_thing_to_run_out_ends_what_is_remembered(shorten: object, rule: Rule) -> None:
    assert callable(shorten)
    forgery = honest(NOW)
    shorten(forgery)
    forged = forgery.sign()
    for _ in range(2):
        verified = appraise(forged.evidence, forged.policy, forged.collateral, NOW)
        assert verified.expires_at == NOW + SHORT
        appraise(forged.evidence, forged.policy, forged.collateral, NOW + SHORT)
        assert refusal(forged, NOW + SHORT + timedelta(seconds=1)) is rule


def test_what_is_remembered_serves_no_other_demand() -> None:
    forged = honest(NOW).sign()
    appraise(forged.evidence, forged.policy, forged.collateral, NOW)
    other = replace(forged, policy=replace(forged.policy, root=SimulatedRoot(bytes(32))))
    assert refusal(other) is Rule.CHAIN_ROOT
    demanding = replace(forged, policy=replace(forged.policy, minimum_evaluation_number=99))
    assert refusal(demanding) is Rule.TCB_INFO_EVALUATION
    appraise(forged.evidence, forged.policy, forged.collateral, NOW)


def test_what_is_remembered_serves_no_other_collateral() -> None:
    forged = honest(NOW).sign()
    appraise(forged.evidence, forged.policy, forged.collateral, NOW)
    unsigned = replace(forged.collateral, tcb_info_signature=bytes(64))
    assert refusal(replace(forged, collateral=unsigned)) is Rule.TCB_INFO_SIGNATURE


def test_bad_endorsements_are_not_recalled() -> None:
    forgery = honest(NOW)
    forgery.pck_crl.serials.append(forgery.pck.serial)
    forged = forgery.sign()
    pem = Quote.parse(forged.evidence.quote).signature_data.certification_data.data
    terms = Terms(forged.policy.endorsement_demand(), NOW)
    assert recall(pem, forged.collateral, terms) is None
    assert recall(pem, None, terms) is None
    good = honest(NOW).sign()
    pem = Quote.parse(good.evidence.quote).signature_data.certification_data.data
    assert recall(pem, good.collateral, terms) is None  # another root
    assert recall(pem, good.collateral, Terms(good.policy.endorsement_demand(), NOW)) is not None


def test_a_quote_is_checked_however_well_its_platform_is_known() -> None:
    forged = honest(NOW).sign()
    appraise(forged.evidence, forged.policy, forged.collateral, NOW)
    quote = bytearray(forged.evidence.quote)
    quote[48 + 64] ^= 1
    changed = replace(forged, evidence=replace(forged.evidence, quote=bytes(quote)))
    assert refusal(changed) is Rule.QUOTE_SIGNATURE
