"""Certificates with evidence: an honest one, one thing changed and all signed again; another's evidence is refused."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.rigs.verifier.ra_tls import NOW, Draft, draft, forged_quote, legacy, policy_of, spki, tagged

from casemate.testing.forge import Forged
from casemate.verifier import (
    CheckOutcome,
    RefusedError,
    Rule,
    SgxPolicy,
    VerifiedCertificate,
    appraise_certificate,
    explain_certificate,
)
from casemate.verifier.common_demands import ExpectedReportData
from casemate.verifier.rules import RA_TLS_RULES
from casemate.wire.protocol.ra_tls import (
    EVIDENCE_OID,
    GRAMINE_OID,
    LEGACY_OID,
    HashAlgorithm,
    TaggedEvidence,
    report_data_of_claims,
)
from casemate.wire.sgx.quote import Quote

NONCE = b"n" * 32


def appraised(
    certificate: bytes, forged: Forged, policy: SgxPolicy | None = None, now: datetime = NOW
) -> VerifiedCertificate:
    """By appraise, after explain has said the same."""
    judged_by = policy or policy_of(forged)
    tree = explain_certificate(certificate, judged_by, forged.collateral, now, layers=None)
    expected = None if tree.refusal is None else (tree.refusal.rule, tree.refusal.got)
    said: tuple[Rule, str] | None = None
    try:
        return appraise_certificate(certificate, judged_by, forged.collateral, now, layers=None)
    except RefusedError as error:
        said = (error.rule, error.got)
        raise
    finally:
        assert said == expected


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1()])
@pytest.mark.parametrize("algorithm", HashAlgorithm)
def test_accepts_tagged_evidence_for_the_certificates_key(curve: ec.EllipticCurve, algorithm: HashAlgorithm) -> None:
    made = draft(ec.generate_private_key(curve), algorithm=algorithm)
    verified = appraised(made.sign(), made.forged)
    assert verified.public_key == spki(made.key)
    assert verified.enclave.mr_enclave == Quote.parse(made.forged.evidence.quote).body.mr_enclave
    assert verified.enclave.binding is None


@pytest.mark.parametrize("oid", [LEGACY_OID, GRAMINE_OID])
def test_accepts_a_legacy_quote_where_there_is_no_other(oid: str) -> None:
    made = draft()
    made.extensions = lambda draft: [(oid, draft.legacy.evidence.quote, False)]
    assert appraised(made.sign(), made.legacy).public_key == spki(made.key)


def test_accepts_a_nonce_that_the_claims_hold() -> None:
    made = draft(nonce=NONCE)
    appraised(made.sign(), made.forged, policy_of(made.forged).with_nonce(NONCE))


def swapped_evidence(made: Draft) -> None:
    """A relay attack: another enclave's good evidence in a certificate of one's own."""
    other = draft()
    made.forged, made.evidence_claims, made.legacy = other.forged, other.claims, other.legacy


def claims_of_own_with_anothers_quote(made: Draft) -> None:
    made.forged = draft().forged


def legacy_quote_of_another(made: Draft) -> None:
    made.legacy, made.extensions = draft().legacy, legacy


def tagged_quote_as_legacy(made: Draft) -> None:
    made.legacy, made.extensions = made.forged, legacy


def legacy_quote_as_tagged(made: Draft) -> None:
    made.forged = made.legacy


def signed_by_another(made: Draft) -> None:
    made.signer = ec.generate_private_key(ec.SECP384R1())


def evidence_is_absent(made: Draft) -> None:
    made.extensions = lambda _: []


def evidence_is_garbage(made: Draft) -> None:
    made.extensions = lambda _: [(EVIDENCE_OID, b"garbage", False)]


def evidence_is_garbage_beside_a_good_legacy_quote(made: Draft) -> None:
    made.extensions = lambda draft: [(EVIDENCE_OID, b"garbage", False), *legacy(draft)]


def claims_are_garbage(made: Draft) -> None:
    made.evidence_claims = b"\xa1\x65nonce\x40"


def extension_is_critical(made: Draft) -> None:
    made.extensions = lambda draft: [(oid, value, True) for oid, value, _ in tagged(draft)]


def not_valid_yet(made: Draft) -> None:
    made.not_before = NOW + timedelta(seconds=1)


def not_valid_any_more(made: Draft) -> None:
    made.not_before, made.not_after = NOW - timedelta(days=2), NOW - timedelta(seconds=1)


def key_of_another_curve(made: Draft) -> None:
    fresh = draft(ec.generate_private_key(ec.SECP521R1()))
    made.key, made.claims, made.evidence_claims, made.forged = fresh.key, fresh.claims, fresh.claims, fresh.forged


def quote_is_garbage(made: Draft) -> None:
    made.extensions = lambda draft: [(EVIDENCE_OID, TaggedEvidence(b"q" * 500, draft.claims).encode(), False)]


def other_code(made: Draft) -> None:
    made.forged = forged_quote(report_data_of_claims(made.claims), b"\x01" * 32)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (swapped_evidence, Rule.RA_TLS_PUBLIC_KEY),
        (claims_of_own_with_anothers_quote, Rule.BINDING_REPORT_DATA),
        (legacy_quote_of_another, Rule.BINDING_REPORT_DATA),
        (tagged_quote_as_legacy, Rule.BINDING_REPORT_DATA),
        (legacy_quote_as_tagged, Rule.BINDING_REPORT_DATA),
        (signed_by_another, Rule.RA_TLS_SIGNATURE),
        (key_of_another_curve, Rule.RA_TLS_SIGNATURE),
        (evidence_is_absent, Rule.RA_TLS_EVIDENCE),
        (evidence_is_garbage, Rule.RA_TLS_EVIDENCE),
        (evidence_is_garbage_beside_a_good_legacy_quote, Rule.RA_TLS_EVIDENCE),
        (claims_are_garbage, Rule.RA_TLS_EVIDENCE),
        (extension_is_critical, Rule.RA_TLS_FORMAT),
        (not_valid_yet, Rule.RA_TLS_VALIDITY),
        (not_valid_any_more, Rule.RA_TLS_VALIDITY),
        (quote_is_garbage, Rule.QUOTE_FORMAT),
        (other_code, Rule.ENCLAVE_MR_ENCLAVE),
    ],
)
def test_refuses(change: Callable[[Draft], None], rule: Rule) -> None:
    made = draft()
    forged = made.forged
    change(made)
    policy = policy_of(forged)
    if rule is not Rule.ENCLAVE_MR_ENCLAVE:  # each forgery has makers of its own
        policy = policy_of(made.forged if made.extensions is not legacy else made.legacy)
        forged = made.forged if made.extensions is not legacy else made.legacy
    else:
        policy = replace(policy_of(made.forged), mr_enclave=policy.mr_enclave)
        forged = made.forged
    with pytest.raises(RefusedError) as refused:
        appraised(made.sign(), forged, policy)
    assert refused.value.rule is rule


def test_every_rule_of_certificates_refuses_something_in_this_file() -> None:
    marks = {mark.args[1][at][1] for mark in test_refuses.pytestmark for at in range(len(mark.args[1]))}  # type: ignore[attr-defined] # pytest puts it there
    assert marks >= RA_TLS_RULES - {Rule.RA_TLS_NONCE}  # the next test's


def test_refuses_a_certificate_for_another_nonce_or_for_none() -> None:
    for made in (draft(nonce=b"m" * 32), draft()):
        with pytest.raises(RefusedError) as refused:
            appraised(made.sign(), made.forged, policy_of(made.forged).with_nonce(NONCE))
        assert refused.value.rule is Rule.RA_TLS_NONCE
    made = draft()
    made.extensions = legacy
    with pytest.raises(RefusedError) as refused:
        appraised(made.sign(), made.legacy, policy_of(made.legacy).with_nonce(NONCE))
    assert refused.value.rule is Rule.RA_TLS_NONCE


@pytest.mark.parametrize("demand", ["UNSAFE_ANY_REPORT_DATA", ExpectedReportData(bytes(64))])
def test_no_policy_waives_that_report_data_binds_the_key(demand: object) -> None:
    made = draft()
    policy = replace(policy_of(made.forged), report_data=demand)  # type: ignore[arg-type] # each is one
    appraised(made.sign(), made.forged, policy)
    claims_of_own_with_anothers_quote(made)
    policy = replace(policy_of(made.forged), report_data=demand)  # type: ignore[arg-type] # each is one
    with pytest.raises(RefusedError) as refused:
        appraised(made.sign(), made.forged, policy)
    assert refused.value.rule is Rule.BINDING_REPORT_DATA


def test_layers_are_demanded_of_whoever_has_heard_them() -> None:
    made = draft()
    policy = replace(made.forged.policy, report_data="FRESH_NONCE")
    bound = made.forged.evidence.bound
    assert bound is not None
    verified = appraise_certificate(made.sign(), policy, made.forged.collateral, NOW, layers=bound.layers)
    assert verified.layers == bound.layers
    with pytest.raises(RefusedError) as refused:
        appraise_certificate(made.sign(), policy, made.forged.collateral, NOW, layers=None)
    assert refused.value.rule is Rule.SANDBOX_ENCLAVE
    with pytest.raises(RefusedError):
        appraise_certificate(made.sign(), policy, made.forged.collateral, NOW, layers=replace(bound.layers, guest=()))


def test_flipped_bits_are_refused_and_nothing_else_is_raised() -> None:
    made = draft()
    certificate = made.sign()
    policy = policy_of(made.forged)
    for at in range(0, len(certificate), 13):
        changed = bytearray(certificate)
        changed[at] ^= 1 << at % 8
        with pytest.raises(RefusedError):
            appraise_certificate(bytes(changed), policy, made.forged.collateral, NOW, layers=None)


def test_explains_every_check_of_a_good_one() -> None:
    made = draft()
    tree = explain_certificate(made.sign(), policy_of(made.forged), made.forged.collateral, NOW, layers=None)
    assert tree.refusal is None
    assert {check.rule for check in tree.checks() if check.outcome is CheckOutcome.PASSED} >= RA_TLS_RULES
