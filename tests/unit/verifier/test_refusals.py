"""One honest platform, one field changed, everything signed again: only the rule under test can object."""

from datetime import datetime, timedelta

import pytest
from cryptography import x509
from tests.rigs.verifier.forged_cases import (
    NOW,
    RESIGNED,
    SEEDED_SERIAL,
    TAMPERED,
    Change,
    Tamper,
    body,
    platform,
    qe_report,
    svns,
    unmarked,
    with_collateral,
    with_evidence,
    with_policy,
)

from casemate.makers.intel.ledger import Ca
from casemate.testing.forge import Forged, honest
from casemate.verifier import (
    RULES,
    CheckOutcome,
    RefusedError,
    Rule,
    SgxEvidence,
    SgxPolicy,
    SimulatedRoot,
    appraise,
    explain,
)
from casemate.verifier.common_demands import ExpectedReportData, RequiredLayers
from casemate.verifier.demands import members_of
from casemate.verifier.roots import VendorRoot
from casemate.verifier.rules import COMPOSITION_RULES, RA_TLS_RULES, SNP_RULES
from casemate.verifier.sgx.policy import AcceptedStatus
from casemate.wire.protocol.sandbox_layers import LayerName
from casemate.wire.protocol.simulated_mark import (
    EARLIER_SIMULATED_OID,
    SIMULATED_OID,
    SIMULATED_OIDS,
)
from casemate.wire.sgx.attributes import AttributeFlag, AttributeMask, Attributes
from casemate.wire.sgx.tcb_info import TcbStatus


def refusal(forged: Forged, now: datetime = NOW) -> RefusedError:
    """The refusal; explanation and appraisal must agree about it."""
    tree = explain(forged.evidence, forged.policy, forged.collateral, now)
    with pytest.raises(RefusedError) as caught:
        appraise(forged.evidence, forged.policy, forged.collateral, now)
    assert tree.refusal is not None
    assert (tree.refusal.rule, tree.refusal.got, tree.refusal.want) == (
        caught.value.rule, caught.value.got, caught.value.want,
    )  # fmt: skip
    return caught.value


@pytest.fixture(params=[Ca.PLATFORM, Ca.PROCESSOR], ids=["platform", "processor"])
def ca(request: pytest.FixtureRequest) -> Ca:
    chosen: Ca = request.param
    return chosen


def test_accepts_the_honest_platform(ca: Ca) -> None:
    forged = honest(NOW, ca=ca).sign()
    verified = appraise(forged.evidence, forged.policy, forged.collateral, NOW)
    assert verified.tcb.status is TcbStatus.UP_TO_DATE
    assert verified.simulated
    assert verified.binding is not None
    assert verified.expires_at == NOW + timedelta(days=30)
    tree = explain(forged.evidence, forged.policy, forged.collateral, NOW)
    assert tree.refusal is None
    reached = {check.rule for check in tree.checks() if check.outcome is CheckOutcome.PASSED}
    assert set(RULES) - SNP_RULES - RA_TLS_RULES - COMPOSITION_RULES - reached == {
        Rule.BINDING_NONCE,
        Rule.BINDING_VALUES,
    }


@pytest.mark.parametrize("seed", [None, "a public seed"])
def test_accepts_certificates_marked_as_they_were_before(seed: str | None, ca: Ca) -> None:
    forgery = honest(NOW, ca=ca, seed=seed)
    assert not any(value.oid.dotted_string == SIMULATED_OID for value, _ in forgery.pck.extensions)
    for draft in (forgery.pck, forgery.pck_ca, forgery.root, forgery.tcb_signing):
        draft.mark(seeded=seed is not None, oid=EARLIER_SIMULATED_OID)
    forged = forgery.sign()
    verified = appraise(forged.evidence, forged.policy, forged.collateral, NOW)
    assert (verified.simulated, verified.seeded) == (True, seed is not None)


@pytest.mark.parametrize("oid", SIMULATED_OIDS)
@pytest.mark.parametrize("part", ["pck", "pck_ca", "root", "tcb_signing"])
def test_each_mark_is_refused_below_a_root_that_is_not_simulated(part: str, oid: str) -> None:
    forgery = honest(NOW)
    for each in ("root", "pck_ca", "tcb_signing"):
        unmarked(each)(forgery)
    getattr(forgery, part).mark(oid=oid)
    forged = forgery.sign()
    real = with_policy(root=VendorRoot("mine", SimulatedRoot.of(forged.root).sha256))
    assert refusal(real(forged)).rule is Rule.CHAIN_SIMULATED


def test_a_leafs_mark_alone_is_refused_below_a_root_that_is_not_simulated() -> None:
    forgery = honest(NOW)
    for part in ("root", "pck_ca", "tcb_signing"):
        unmarked(part)(forgery)
    forged = forgery.sign()
    real = with_policy(root=VendorRoot("mine", SimulatedRoot.of(forged.root).sha256))
    assert not appraise(forged.evidence, real(forged).policy, forged.collateral, NOW).simulated
    forgery.pck.mark()
    assert refusal(real(forgery.sign())).rule is Rule.CHAIN_SIMULATED


def test_a_serial_number_says_nothing_below_a_root_that_is_not_simulated() -> None:
    forgery = honest(NOW)
    for part in ("root", "pck_ca", "tcb_signing"):
        unmarked(part)(forgery)
    forgery.pck.serial = SEEDED_SERIAL
    forged = forgery.sign()
    real = with_policy(root=VendorRoot("mine", SimulatedRoot.of(forged.root).sha256))(forged)
    verified = appraise(forged.evidence, real.policy, forged.collateral, NOW)
    assert (verified.simulated, verified.seeded) == (False, False)


@pytest.mark.parametrize(("rule", "change"), [case[1:] for case in RESIGNED], ids=[case[0] for case in RESIGNED])
def test_refuses_what_was_changed_and_signed_again(rule: Rule, change: Change) -> None:
    forgery = honest(NOW)
    change(forgery)
    assert refusal(forgery.sign()).rule is rule


@pytest.mark.parametrize(("rule", "tamper"), [case[1:] for case in TAMPERED], ids=[case[0] for case in TAMPERED])
def test_refuses_what_was_changed_after_it_was_signed(rule: Rule, tamper: Tamper) -> None:
    assert refusal(tamper(honest(NOW).sign())).rule is rule


@pytest.mark.parametrize(
    ("rule", "flags", "field"),
    [
        (Rule.PLATFORM_DYNAMIC, {"dynamic_platform": True}, "dynamic_platform"),
        (Rule.PLATFORM_CACHED_KEYS, {"cached_keys": True}, "cached_keys"),
        (Rule.PLATFORM_SMT, {"smt_enabled": True}, "smt"),
    ],
)
def test_refuses_a_platform_set_up_otherwise(rule: Rule, flags: dict[str, bool], field: str) -> None:
    forgery = honest(NOW)
    platform(**flags)(forgery)
    forged = forgery.sign()
    appraise(forged.evidence, forged.policy, forged.collateral, NOW)
    assert refusal(with_policy(**{field: "MUST_BE_OFF"})(forged)).rule is rule


def test_platform_flags_do_not_matter_where_the_certificate_has_none() -> None:
    forged = with_policy(dynamic_platform="MUST_BE_OFF", cached_keys="MUST_BE_OFF", smt="MUST_BE_OFF")(
        honest(NOW, ca=Ca.PROCESSOR).sign()
    )
    appraise(forged.evidence, forged.policy, forged.collateral, NOW)


def test_refuses_advisories_that_the_policy_does_not_accept() -> None:
    forgery = honest(NOW)
    svns(6, 6, 2, 2, 255, 1, 3)(forgery)
    forged = forgery.sign()
    some = with_policy(tcb=(AcceptedStatus(TcbStatus.OUT_OF_DATE, frozenset({"SIM-SA-00001"})),))(forged)
    assert refusal(some).rule is Rule.TCB_ADVISORIES
    right = with_policy(tcb=(AcceptedStatus(TcbStatus.OUT_OF_DATE, frozenset({"SIM-SA-00003"})),))(forged)
    verified = appraise(right.evidence, right.policy, right.collateral, NOW)
    assert verified.tcb.advisory_ids == ("SIM-SA-00003",)


def test_refuses_an_older_qe_identity_than_the_policy_wants() -> None:
    forgery = honest(NOW)
    forgery.qe_identity["tcbEvaluationDataNumber"] = 16
    forged = with_policy(minimum_evaluation_number=17)(forgery.sign())
    assert refusal(forged).rule is Rule.QE_IDENTITY_EVALUATION


def test_refuses_a_quote_whose_header_alone_is_a_quote() -> None:
    forged = honest(NOW).sign()
    assert refusal(with_evidence(quote=forged.evidence.quote[:48])(forged)).rule is Rule.QUOTE_FORMAT


def test_refuses_an_attestation_key_that_is_not_on_the_curve() -> None:
    forgery = honest(NOW)
    forged = forgery.sign()
    quote = bytearray(forged.evidence.quote)
    quote[500:564] = bytes(64)
    assert refusal(with_evidence(quote=bytes(quote))(forged)).rule is Rule.QE_ATTESTATION_KEY


def test_every_rule_refuses_something_in_this_file() -> None:
    elsewhere = {
        Rule.PLATFORM_DYNAMIC, Rule.PLATFORM_CACHED_KEYS, Rule.PLATFORM_SMT, Rule.TCB_ADVISORIES,
        Rule.QE_IDENTITY_EVALUATION,
    }  # fmt: skip
    tried = {rule for _, rule, _ in (*RESIGNED, *TAMPERED)}
    elsewhere |= {member.demand.rule for member in members_of(SgxPolicy) if not member.is_required}
    assert tried | elsewhere == set(Rule) - SNP_RULES - RA_TLS_RULES - COMPOSITION_RULES
    assert not tried & elsewhere


def test_evidence_expires_with_what_it_stands_on() -> None:
    forged = honest(NOW).sign()
    last = NOW + timedelta(days=30)
    appraise(forged.evidence, forged.policy, forged.collateral, last)
    assert refusal(forged, last + timedelta(seconds=1)).rule is Rule.CRL_WINDOW
    assert refusal(forged, NOW - timedelta(seconds=1)).rule is Rule.CRL_WINDOW


@pytest.mark.parametrize("order", [(0, 2, 1), (2, 1, 0), (1, 0, 2)])
def test_takes_the_chain_in_any_order(order: tuple[int, ...]) -> None:
    forgery = honest(NOW)
    forgery.order = lambda chain: tuple(chain[at] for at in order)
    forged = forgery.sign()
    appraise(forged.evidence, forged.policy, forged.collateral, NOW)


def test_takes_seeded_evidence_where_the_policy_says_so() -> None:
    forged = honest(NOW, seed="public").sign()
    assert appraise(forged.evidence, forged.policy, forged.collateral, NOW).seeded


def test_takes_layers_that_nothing_vouches_for_as_none() -> None:
    forged = honest(NOW).sign()
    demanding = with_policy(layers=RequiredLayers(frozenset(LayerName), frozenset(LayerName)))(forged)
    appraise(demanding.evidence, demanding.policy, demanding.collateral, NOW)


def test_finds_the_best_level_whatever_their_order_in_the_document() -> None:
    forgery = honest(NOW)
    forgery.tcb_info["tcbLevels"].reverse()
    forged = forgery.sign()
    assert appraise(forged.evidence, forged.policy, forged.collateral, NOW).tcb.status is TcbStatus.UP_TO_DATE


def test_a_mask_lets_attributes_differ() -> None:
    forgery = honest(NOW)
    forgery.qe_identity["attributesMask"] = AttributeMask(0xFB, 0).encode().hex()
    qe_report(attributes=Attributes(AttributeFlag.INIT | AttributeFlag.PROVISIONKEY, 7))(forgery)
    forged = forgery.sign()
    appraise(forged.evidence, forged.policy, forged.collateral, NOW)


def test_evidence_without_binding_has_none_when_accepted() -> None:
    forgery = honest(NOW)
    body(report_data=bytes(range(64)))(forgery)
    forged = forgery.sign()
    loose = with_policy(report_data=ExpectedReportData(bytes(range(64))), layers="UNSAFE_ANY_SANDBOX")(forged)
    verified = appraise(SgxEvidence(loose.evidence.quote, None), loose.policy, loose.collateral, NOW)
    assert verified.binding is None


def test_refuses_a_revocation_list_with_bits_that_nobody_signed() -> None:
    """X.509 parsers pass over the count of unused bits in the signature."""
    forged = honest(NOW).sign()
    for name in ("pck_crl", "root_ca_crl"):
        crl: bytes = getattr(forged.collateral, name)
        signature = x509.load_der_x509_crl(crl).signature
        at = crl.index(signature) - 1
        assert crl[at] == 0
        changed = crl[:at] + b"\x01" + crl[at + 1 :]
        assert refusal(with_collateral(**{name: changed})(forged)).rule is Rule.CRL_FORMAT
