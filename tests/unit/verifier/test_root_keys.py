"""A policy may name a root by name and key: then another certificate of the same root will do, and nothing else."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from tests.rigs.verifier.earlier_roots import EARLIER_INTEL_ROOT
from tests.rigs.verifier.real_quotes import GOOD_TIME, load
from tests.rigs.verifier.real_quotes import policy as any_enclave
from tests.rigs.verifier.snp import lax, real, strict

from casemate.testing.forge import CertificateDraft, Forged, Forgery, honest
from casemate.testing.forge_snp import ForgedSnp, honest_snp
from casemate.verifier import (
    AMD_GENOA_ROOT,
    AMD_MILAN_ROOT,
    AMD_TURIN_ROOT,
    INTEL_SGX_ROOT,
    Anchor,
    RefusedError,
    Rule,
    SgxEvidence,
    SimulatedRoot,
    VendorKey,
    VendorRoot,
    appraise,
    appraise_snp,
    explain,
    parse_policy,
    parse_snp_policy,
    print_policy,
    print_snp_policy,
)
from casemate.verifier.crypto import parse_certificate
from casemate.verifier.roots import (
    AMD_GENOA_ROOT_KEY,
    AMD_MILAN_ROOT_KEY,
    AMD_TURIN_ROOT_KEY,
    INTEL_SGX_ROOT_CA,
    INTEL_SGX_ROOT_KEY,
)
from casemate.verifier.snp.certificates import parse_amd_certificate
from casemate.wire.encodings.pem import encode_chain, parse_chain
from casemate.wire.protocol.simulated_mark import SIMULATED_OID
from casemate.wire.sgx.quote import Quote

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def with_chain(quote: bytes, change: Callable[[list[bytes]], list[bytes]]) -> SgxEvidence:
    """The quote with another chain in it, which nothing signs."""
    parsed = Quote.parse(quote)
    signature = parsed.signature_data
    ders = [block.der for block in parse_chain("chain", signature.certification_data.data)]
    signature = replace(
        signature, certification_data=replace(signature.certification_data, data=encode_chain(*change(ders)))
    )
    return SgxEvidence(replace(parsed, signature_data=signature).encode(), None)


def advised_root(advice: str) -> str:
    """The line for a policy that an advice has in it."""
    return "root = " + advice.partition("root = ")[2]


def test_a_quote_with_intels_earlier_root_certificate_verifies_by_name_and_key(vectors: Path) -> None:
    evidence, collateral = load(vectors, "sgx_v3_processor_ca")
    old = with_chain(
        evidence.quote, lambda ders: [EARLIER_INTEL_ROOT if der == INTEL_SGX_ROOT_CA else der for der in ders]
    )
    with pytest.raises(RefusedError) as refused:
        appraise(old, any_enclave(), collateral, GOOD_TIME)
    assert refused.value.rule is Rule.CHAIN_ROOT
    said = print_policy(any_enclave()).replace('root = "INTEL_SGX_ROOT"', advised_root(refused.value.advice))
    advised = parse_policy(said)
    assert advised.root == INTEL_SGX_ROOT_KEY
    for each in (old, evidence):
        verified = appraise(each, advised, collateral, GOOD_TIME)
        assert (verified.root, verified.simulated) == ("Intel SGX Root CA", False)
    assert explain(old, advised, collateral, GOOD_TIME).refusal is None
    assert advised.weaknesses() == any_enclave().weaknesses()


def test_the_keys_that_are_built_in_are_those_of_the_certificates(vectors: Path) -> None:
    for der in (INTEL_SGX_ROOT_CA, EARLIER_INTEL_ROOT):
        intel = parse_certificate(der)
        assert VendorKey(intel.common_name, intel.key_sha256) == INTEL_SGX_ROOT_KEY
    for product, key in (("milan", AMD_MILAN_ROOT_KEY), ("genoa", AMD_GENOA_ROOT_KEY), ("turin", AMD_TURIN_ROOT_KEY)):
        pem = (vectors / "snp" / f"chain_{product}_vcek.pem").read_bytes()
        amd = parse_amd_certificate(parse_chain("chain", pem)[-1].der)
        assert VendorKey(amd.common_name, amd.key_sha256) == key


def unmarked() -> Forgery:
    """Of a maker whose certificates do not say that it is simulated."""
    forgery = honest(NOW)
    for part in (forgery.root, forgery.pck_ca, forgery.tcb_signing):
        part.drop_extension(SIMULATED_OID)
    return forgery


def earlier(root: CertificateDraft) -> CertificateDraft:
    """The same name and key in another certificate."""
    return replace(root, serial=root.serial + 1, not_after=NOW + timedelta(days=99), extensions=list(root.extensions))


def key_of(forged: Forged) -> VendorKey:
    root = parse_certificate(forged.root)
    return VendorKey(root.common_name, root.key_sha256)


def judged(forgery: Forgery, root: CertificateDraft | None, anchor: Callable[[Forged], Anchor]) -> Rule | None:
    """Which rule refuses a quote with that root's certificate (None: the forgery's), which the collateral has not."""
    if root is not None:
        der = root.sign()
        forgery.order = lambda chain: (chain[0], chain[1], der)
    forged = forgery.sign()
    policy = replace(forged.policy, root=anchor(forged))
    found = explain(forged.evidence, policy, forged.collateral, NOW).refusal
    if found is None:
        assert not appraise(forged.evidence, policy, forged.collateral, NOW).simulated
        return None
    with pytest.raises(RefusedError) as refused:
        appraise(forged.evidence, policy, forged.collateral, NOW)
    assert (found.rule, found.got, found.want) == (refused.value.rule, refused.value.got, refused.value.want)
    return refused.value.rule


def test_another_certificate_of_the_root_will_do_where_the_policy_names_its_key() -> None:
    forgery = unmarked()
    assert judged(forgery, earlier(forgery.root), key_of) is None
    assert judged(forgery, forgery.root, key_of) is None


def test_a_policy_that_names_a_certificate_takes_no_other() -> None:
    def by_certificate(forged: Forged) -> Anchor:
        return VendorRoot("mine", SimulatedRoot.of(forged.root).sha256)

    forgery = unmarked()
    assert judged(forgery, None, by_certificate) is None
    assert judged(forgery, earlier(forgery.root), by_certificate) is Rule.CHAIN_ROOT


def test_name_and_key_must_both_be_those_that_the_policy_names() -> None:
    forgery = unmarked()
    other = earlier(forgery.root)
    assert judged(forgery, other, lambda forged: replace(key_of(forged), name="Intel SGX root CA")) is Rule.CHAIN_ROOT
    assert judged(forgery, other, lambda forged: replace(key_of(forged), key_sha256=bytes(32))) is Rule.CHAIN_ROOT
    assert judged(forgery, other, lambda _: INTEL_SGX_ROOT_KEY) is Rule.CHAIN_ROOT
    assert judged(forgery, other, lambda _: INTEL_SGX_ROOT) is Rule.CHAIN_ROOT


def other_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def no_ca(root: CertificateDraft) -> CertificateDraft:
    root.drop_extension("2.5.29.19")
    root.extensions.append((x509.BasicConstraints(ca=False, path_length=None), True))
    return root


def marked(root: CertificateDraft) -> CertificateDraft:
    root.mark()
    return root


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        (Rule.CHAIN_SIGNATURE, lambda root: replace(root, signer=other_key())),
        (Rule.CHAIN_VALIDITY, lambda root: replace(root, not_after=NOW - timedelta(seconds=1))),
        (Rule.CHAIN_VALIDITY, lambda root: replace(root, not_before=NOW + timedelta(days=1))),
        (Rule.CHAIN_CONSTRAINTS, no_ca),
        (Rule.CHAIN_SIMULATED, marked),
    ],
)
def test_the_certificate_that_plays_the_root_is_held_to_all_other_rules(
    rule: Rule, change: Callable[[CertificateDraft], CertificateDraft]
) -> None:
    forgery = unmarked()
    assert judged(forgery, change(earlier(forgery.root)), key_of) is rule


def test_a_simulated_root_is_not_named_by_its_key() -> None:
    forgery = honest(NOW)
    assert judged(forgery, None, key_of) is Rule.CHAIN_SIMULATED


def test_a_root_of_the_same_name_and_another_key_is_no_other_certificate_of_it() -> None:
    forgery = unmarked()
    forged = forgery.sign()
    with pytest.raises(RefusedError) as refused:
        appraise(forged.evidence, replace(forged.policy, root=INTEL_SGX_ROOT), forged.collateral, NOW)
    assert refused.value.rule is Rule.CHAIN_ROOT
    assert refused.value.advice == "the evidence is of another maker than the policy names"
    assert "Intel SGX Root CA" in refused.value.got


def amd_key(forged: ForgedSnp) -> VendorKey:
    root = parse_amd_certificate(parse_chain("chain", forged.sign()[1].chain)[-1].der)
    return VendorKey(root.common_name, root.key_sha256)


def test_reports_verify_by_the_name_and_key_of_their_root() -> None:
    at = datetime(2026, 6, 1, tzinfo=UTC)
    forged = replace(honest_snp(at), marked=(False, False, False))
    again = replace(forged, root_life=timedelta(days=9))
    _, _, root = forged.sign()
    key = amd_key(forged)

    def refusal(evidence: ForgedSnp, anchor: Anchor, *, later: timedelta = timedelta()) -> Rule | None:
        report, given, _ = evidence.sign()
        try:
            appraise_snp(report, strict(anchor), given, at + later)
        except RefusedError as refused:
            return refused.rule
        return None

    assert refusal(forged, key) is None
    assert refusal(again, key) is None
    assert refusal(forged, VendorRoot("mine", root.sha256)) is None
    assert refusal(again, VendorRoot("mine", root.sha256)) is Rule.CHAIN_ROOT
    assert refusal(again, replace(key, name="ARK-Genoa")) is Rule.CHAIN_ROOT
    assert refusal(again, AMD_MILAN_ROOT_KEY) is Rule.CHAIN_ROOT
    assert refusal(replace(again, marked=(False, True, True)), key) is Rule.CHAIN_SIMULATED
    assert refusal(honest_snp(at), key) is Rule.CHAIN_SIMULATED
    assert refusal(again, key, later=timedelta(days=10)) is Rule.CHAIN_VALIDITY


@pytest.mark.parametrize(
    ("name", "key"),
    [("milan_v3", AMD_MILAN_ROOT_KEY), ("genoa_v3", AMD_GENOA_ROOT_KEY)],
)
def test_genuine_reports_verify_by_amds_keys(vectors: Path, name: str, key: VendorKey) -> None:
    evidence, endorsements, _, at = real(vectors, name)
    policy = parse_snp_policy(print_snp_policy(lax(key)))
    assert policy.root == key
    assert appraise_snp(evidence, policy, endorsements, at).root == key.name


@pytest.mark.parametrize("wanted", [AMD_MILAN_ROOT, AMD_MILAN_ROOT_KEY])
def test_a_report_of_another_product_is_told_from_one_of_another_maker(vectors: Path, wanted: Anchor) -> None:
    evidence, endorsements, _, at = real(vectors, "genoa_v3")
    with pytest.raises(RefusedError) as refused:
        appraise_snp(evidence, lax(wanted), endorsements, at)
    assert refused.value.rule is Rule.CHAIN_ROOT
    assert "another product" in refused.value.advice
    said = print_snp_policy(lax(AMD_MILAN_ROOT)).replace('root = "AMD_MILAN_ROOT"', advised_root(refused.value.advice))
    assert parse_snp_policy(said).root == AMD_GENOA_ROOT
    appraise_snp(evidence, parse_snp_policy(said), endorsements, at)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (AMD_TURIN_ROOT, "another maker"),
        (SimulatedRoot(bytes(32)), "another simulated machine"),
        (VendorRoot("mine", bytes(32)), "casemate inspect"),
    ],
)
def test_what_to_do_about_another_root_depends_on_what_the_policy_names(wanted: Anchor, words: str) -> None:
    at = datetime(2026, 6, 1, tzinfo=UTC)
    simulated = isinstance(wanted, SimulatedRoot)
    forged = replace(honest_snp(at), marked=(False, simulated, simulated))
    evidence, endorsements, _ = forged.sign()
    with pytest.raises(RefusedError) as refused:
        appraise_snp(evidence, strict(wanted), endorsements, at)
    assert refused.value.rule is Rule.CHAIN_ROOT
    assert words in refused.value.advice
