"""SEV-SNP: real reports, and made-up ones with one thing changed and all signed again."""

import itertools
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.rigs.verifier.snp import NOW, lax, real, strict

from casemate.testing.forge_snp import CHIP_ID, KEY_SERIAL, ForgedSnp, honest_snp
from casemate.verifier import (
    AMD_GENOA_ROOT,
    AMD_MILAN_ROOT,
    CheckOutcome,
    GuestPolicyDemand,
    PlatformDemand,
    PolicyError,
    RefusedError,
    Rule,
    SimulatedRoot,
    SnpEndorsements,
    SnpEvidence,
    SnpPolicy,
    VendorRoot,
    appraise_snp,
    explain_snp,
    parse_snp_policy,
)
from casemate.verifier.demands import members_of
from casemate.verifier.rules import SNP_RULES
from casemate.wire.encodings.pem import encode_chain, read_certificates
from casemate.wire.protocol.simulated_mark import EARLIER_SIMULATED_OID, SimulatedSerial
from casemate.wire.snp.key_certificate import CSP_ID_OID, HW_ID_OID, PRODUCT_NAME_OID, SPL_OIDS, name_extension
from casemate.wire.snp.report import PlatformInfo, SigningKey, SnpReport
from casemate.wire.snp.tcb import Product, TcbVersion


@pytest.mark.parametrize(
    ("name", "needs"),
    [
        ("milan_v2", {"debug": "UNSAFE_ALLOW_DEBUG"}),
        ("milan_v3", {}),
        ("genoa_v3", {}),
        ("milan_v3_vlek", {"provisional": "ANY_PROVISIONAL"}),
    ],
)
def test_real_reports_verify_where_the_policy_allows_what_they_say(
    vectors: Path, name: str, needs: dict[str, Any]
) -> None:
    evidence, endorsements, root, at = real(vectors, name)
    verified = appraise_snp(evidence, lax(root, **needs), endorsements, at)
    assert not verified.simulated
    assert verified.measurement == SnpReport.parse(evidence.report).measurement
    assert explain_snp(evidence, lax(root, **needs), endorsements, at).refusal is None


@pytest.mark.parametrize(
    ("name", "rule", "change"),
    [
        ("milan_v2", Rule.SNP_DEBUG, {}),
        ("milan_v3_vlek", Rule.SNP_PROVISIONAL, {}),
        ("milan_v3_vlek", Rule.SNP_SIGNING_KEY, {"signing_keys": frozenset({SigningKey.VCEK})}),
        ("milan_v3_vlek", Rule.SNP_VMPL, {"vmpl": frozenset({0}), "provisional": "ANY_PROVISIONAL"}),
        ("milan_v3", Rule.CHAIN_ROOT, {"root": AMD_GENOA_ROOT}),
        ("milan_v3", Rule.CRL_FORMAT, {"revocation": "REQUIRE_REVOCATION_LIST"}),
        ("milan_v3", Rule.CHAIN_SIMULATED, {"root": SimulatedRoot(AMD_MILAN_ROOT.sha256)}),
    ],
)
def test_real_reports_are_refused_by_name_otherwise(
    vectors: Path, name: str, rule: Rule, change: dict[str, Any]
) -> None:
    evidence, endorsements, root, at = real(vectors, name)
    with pytest.raises(RefusedError) as refused:
        appraise_snp(evidence, replace(lax(root), **change), endorsements, at)
    assert refused.value.rule is rule


def test_a_certificate_that_has_run_out_is_refused(vectors: Path) -> None:
    evidence, endorsements, root, _ = real(vectors, "milan_v3_vlek")
    with pytest.raises(RefusedError) as refused:
        appraise_snp(evidence, lax(root, provisional="ANY_PROVISIONAL"), endorsements, NOW)
    assert refused.value.rule is Rule.CHAIN_VALIDITY


@given(at=st.integers(0, 0x2A0 + 144 - 1), bit=st.integers(0, 7))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bit_of_a_real_report_can_be_changed(vectors: Path, at: int, bit: int) -> None:
    evidence, endorsements, root, now = real(vectors, "milan_v3")
    damaged = bytearray(evidence.report)
    damaged[at] ^= 1 << bit
    with pytest.raises(RefusedError):
        appraise_snp(SnpEvidence(bytes(damaged)), lax(root), endorsements, now)


@pytest.mark.parametrize("kind", [SigningKey.VCEK, SigningKey.VLEK])
@pytest.mark.parametrize("product", list(Product))
def test_accepts_an_honest_guest(product: Product, kind: SigningKey) -> None:
    evidence, endorsements, root = honest_snp(NOW, product, kind).sign()
    other = {"signing_keys": frozenset({kind})} | ({"chip_id": "ANY_CHIP"} if kind is SigningKey.VLEK else {})
    policy = strict(root, product, **other)
    verified = appraise_snp(evidence, policy, endorsements, NOW)
    assert (verified.simulated, verified.product, verified.report.report_data) == (True, product, b"\x07" * 64)
    assert verified.expires_at == NOW + timedelta(days=30)
    tree = explain_snp(evidence, policy, endorsements, NOW)
    assert tree.refusal is None
    reached = {check.rule for check in tree.checks() if check.outcome is CheckOutcome.PASSED}
    assert {rule for rule in Rule if rule.startswith("snp.")} <= reached


def test_a_hidden_chip_is_that_of_its_key() -> None:
    evidence, endorsements, root = honest_snp(NOW).change(lambda report: replace(report, chip_id=bytes(64))).sign()
    assert appraise_snp(evidence, strict(root), endorsements, NOW).simulated


def older(part: str) -> bytes:
    tcb = TcbVersion(Product.MILAN, 4, 0, 24, 219)
    return replace(tcb, **{part: getattr(tcb, part) - 1}).encode()


def changed(**fields: Any) -> Callable[[ForgedSnp], ForgedSnp]:
    return lambda forged: forged.change(lambda report: replace(report, **fields))


def policy_bit(bit: int) -> Callable[[ForgedSnp], ForgedSnp]:
    return lambda forged: forged.change(lambda report: replace(report, policy=report.policy ^ 1 << bit))


def extension(oid: str, value: bytes) -> Callable[[ForgedSnp], ForgedSnp]:
    return lambda forged: replace(forged, key_extensions={oid: value})


def marked(*, key: bool, issuer: bool, root: bool) -> Callable[[ForgedSnp], ForgedSnp]:
    return lambda forged: replace(forged, marked=(key, issuer, root))


def above_current(forged: ForgedSnp) -> ForgedSnp:
    above = replace(forged.key_tcb, microcode=forged.key_tcb.microcode + 1)
    return replace(forged.change(lambda report: replace(report, reported_tcb=above.encode())), key_tcb=above)


PAGE = Path(__file__).resolve().parents[4] / "docs" / "snp.md"

UNKNOWN_BITS: list[tuple[str, str, Callable[[Any], Any]]] = [
    ("platform_info", "snp.platform-info", lambda bits: PlatformDemand(frozenset(), frozenset(), bits)),
    ("policy", "snp.guest-policy", GuestPolicyDemand),
]


@pytest.mark.parametrize(("field", "rule", "demand"), UNKNOWN_BITS)
@pytest.mark.parametrize(
    ("bits", "allowed", "accepted"),
    [
        (1 << 40, 0, False),
        (1 << 40, 1 << 40, True),
        (1 << 40, "UNSAFE_ANY_UNKNOWN_BITS", True),
        (1 << 40 | 1 << 41, 1 << 40, False),
        (1 << 40 | 1 << 63, 1 << 40 | 1 << 63, True),
        (0, 1 << 40, True),
    ],
)
def test_a_policy_names_the_unknown_bits_that_it_takes(
    field: str, rule: str, demand: Callable[[Any], Any], bits: int, allowed: Any, *, accepted: bool
) -> None:
    member = "guest_policy" if field == "policy" else field
    forged = honest_snp(NOW).change(lambda report: replace(report, **{field: getattr(report, field) | bits}))
    evidence, endorsements, root = forged.sign()
    policy = strict(root, **{member: demand(allowed)})
    if accepted:
        assert appraise_snp(evidence, policy, endorsements, NOW).simulated
        assert ("UNSAFE_ANY_UNKNOWN_BITS" in policy.weaknesses()) is (allowed == "UNSAFE_ANY_UNKNOWN_BITS")
        return
    with pytest.raises(RefusedError, match="unknown_bits") as refused:
        appraise_snp(evidence, policy, endorsements, NOW)
    assert refused.value.rule == rule
    assert f"{bits & ~allowed:#x} has no name here" in refused.value.got


def test_unknown_bits_waive_no_bit_that_is_known() -> None:
    """A mask of all bits is no permission to debug, nor to leave out bit 17, nor for what the policy forbids."""
    everything = (1 << 64) - 1
    for change, rule in (
        (changed(policy=0x2_0000 | 1 << 20 | 1 << 19 | 55), Rule.SNP_DEBUG),
        (changed(policy=1 << 20 | 55), Rule.SNP_GUEST_POLICY),
        (changed(platform_info=0x27), Rule.SNP_PLATFORM_INFO),
        (changed(platform_info=0x05), Rule.SNP_PLATFORM_INFO),
    ):
        evidence, endorsements, root = change(honest_snp(NOW)).sign()
        demand = replace(cast("PlatformDemand", strict(root).platform_info), unknown_bits=everything)
        policy = strict(root, platform_info=demand, guest_policy=GuestPolicyDemand(everything))
        with pytest.raises(RefusedError) as refused:
            appraise_snp(evidence, policy, endorsements, NOW)
        assert refused.value.rule is rule


def test_what_genuine_turin_says_of_its_platform_is_known() -> None:
    """0x65: ECC_EN, ALIAS_CHECK_COMPLETE and IOMMU_WRITE_SAFE, with SMT; the first demand is that of the documents."""
    evidence, endorsements, root = changed(platform_info=0x65)(honest_snp(NOW, Product.TURIN)).sign()
    found = re.search(r"```toml\n(.+?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    documented = parse_snp_policy(found[1]).platform_info
    assert isinstance(documented, PlatformDemand)
    safe = documented.required | {PlatformInfo.IOMMU_WRITE_SAFE}
    for demand in (documented, replace(documented, required=safe)):
        policy = strict(root, Product.TURIN, platform_info=demand)
        assert appraise_snp(evidence, policy, endorsements, NOW).product is Product.TURIN


CHANGES: list[tuple[str, Rule, Callable[[ForgedSnp], ForgedSnp]]] = [
    ("another algorithm", Rule.SNP_SIGNATURE_ALGORITHM, changed(signature_algo=2)),
    ("says VLEK", Rule.SNP_SIGNING_KEY, changed(key_info=1 << 2 | 1)),
    ("says no key", Rule.SNP_SIGNING_KEY, changed(key_info=7 << 2 | 1)),
    ("says a key of no kind", Rule.SNP_SIGNING_KEY, changed(key_info=3 << 2 | 1)),
    ("another processor", Rule.SNP_PRODUCT, changed(cpuid_family=0x1A)),
    ("another model", Rule.SNP_PRODUCT, changed(cpuid_model=0x11)),
    ("another chip", Rule.SNP_CHIP_ID, changed(chip_id=b"\x01" * 64)),
    ("a TCB of another layout", Rule.SNP_TCB_FORMAT, changed(launch_tcb=b"\x01" * 8)),
    ("reported TCB not the key's", Rule.SNP_KEY_TCB, changed(reported_tcb=older("snp"))),
    ("committed TCB old", Rule.SNP_TCB_COMMITTED, changed(committed_tcb=older("boot_loader"))),
    ("launched under an old TCB", Rule.SNP_TCB_LAUNCH, changed(launch_tcb=older("microcode"))),
    ("current TCB old", Rule.SNP_TCB_CURRENT, changed(current_tcb=older("snp"))),
    ("provisional firmware", Rule.SNP_PROVISIONAL, changed(current_build=30)),
    ("debugging", Rule.SNP_DEBUG, policy_bit(19)),
    ("migration", Rule.SNP_MIGRATION, policy_bit(18)),
    ("SMT", Rule.SNP_SMT, policy_bit(16)),
    ("several sockets", Rule.SNP_SOCKET, policy_bit(20)),
    ("an old ABI", Rule.SNP_ABI, policy_bit(0)),
    ("a policy bit of no meaning", Rule.SNP_GUEST_POLICY, policy_bit(40)),
    ("bit 17 not set", Rule.SNP_GUEST_POLICY, policy_bit(17)),
    ("another privilege level", Rule.SNP_VMPL, changed(vmpl=1)),
    ("asked by the host", Rule.SNP_VMPL, changed(vmpl=0xFFFF_FFFF)),
    ("an old guest", Rule.SNP_GUEST_SVN, changed(guest_svn=1)),
    ("another launch digest", Rule.SNP_MEASUREMENT, changed(measurement=b"\x09" * 48)),
    ("other host data", Rule.SNP_HOST_DATA, changed(host_data=b"\x09" * 32)),
    ("another id key", Rule.SNP_ID_KEY, changed(id_key_digest=b"\x09" * 48)),
    ("another author", Rule.SNP_AUTHOR_KEY, changed(author_key_digest=b"\x09" * 48)),
    ("no author", Rule.SNP_AUTHOR_KEY, changed(key_info=0)),
    ("a key that may not sign", Rule.SNP_SIGNING_KEY, changed(key_info=0b11)),
    ("a migration agent", Rule.SNP_MIGRATION, changed(report_id_ma=b"\x09" * 32)),
    ("another family", Rule.SNP_FAMILY_ID, changed(family_id=bytes(16))),
    ("another image", Rule.SNP_IMAGE_ID, changed(image_id=bytes(16))),
    ("another launch", Rule.SNP_REPORT_ID, changed(report_id=b"\x09" * 32)),
    ("aliases not looked for", Rule.SNP_PLATFORM_INFO, changed(platform_info=0x05)),
    ("memory of the host encrypted", Rule.SNP_PLATFORM_INFO, changed(platform_info=0x27)),
    ("a platform bit of no meaning", Rule.SNP_PLATFORM_INFO, changed(platform_info=0x125)),
    ("committed to more than it runs", Rule.SNP_FIRMWARE_ORDER, changed(committed_build=30)),
    ("reports a TCB above what it runs", Rule.SNP_TCB_ORDER, above_current),
    ("other report data", Rule.BINDING_REPORT_DATA, changed(report_data=b"\x09" * 64)),
    (
        "a key of an older TCB",
        Rule.SNP_KEY_TCB,
        lambda forged: replace(forged, key_tcb=replace(forged.key_tcb, snp=23)),
    ),
    ("a key of another product", Rule.SNP_PRODUCT, extension(PRODUCT_NAME_OID, name_extension("Genoa"))),
    ("a key of no product", Rule.SNP_KEY_EXTENSIONS, extension(PRODUCT_NAME_OID, name_extension("Naples"))),
    ("a key without a level", Rule.SNP_KEY_EXTENSIONS, extension(SPL_OIDS["microcode"], b"")),
    ("a key of another chip", Rule.SNP_CHIP_ID, extension(HW_ID_OID, b"\x01" * 64)),
    ("a key of no chip", Rule.SNP_KEY_EXTENSIONS, extension(HW_ID_OID, b"")),
    ("a key of chip and provider", Rule.SNP_KEY_EXTENSIONS, extension(CSP_ID_OID, name_extension("CN=x"))),
    ("a chip id of odd length", Rule.SNP_KEY_EXTENSIONS, extension(HW_ID_OID, b"\x01" * 63)),
    (
        "names of another role",
        Rule.CHAIN_ROLE,
        lambda forged: replace(forged, names=("SEV-VCEK", "SEV-Genoa", "ARK-Milan")),
    ),
    ("an unmarked maker", Rule.CHAIN_SIMULATED, marked(key=False, issuer=False, root=False)),
    ("an unmarked issuer", Rule.CHAIN_SIMULATED, marked(key=False, issuer=False, root=True)),
    ("an unmarked issuer of a marked key", Rule.CHAIN_SIMULATED, marked(key=True, issuer=False, root=True)),
    ("an unmarked root", Rule.CHAIN_SIMULATED, marked(key=False, issuer=True, root=False)),
    ("a marked key alone", Rule.CHAIN_SIMULATED, marked(key=True, issuer=False, root=False)),
    ("seeded marks", Rule.CHAIN_SEEDED, lambda forged: replace(forged, seeded=True)),
    (
        "a key numbered as seeded",
        Rule.CHAIN_SEEDED,
        lambda forged: replace(forged, key_serial=SimulatedSerial.FROM_PUBLIC_SEED.number(bytes(10))),
    ),
    ("the issuer revoked", Rule.REVOKED_SNP_SIGNER, lambda forged: replace(forged, revoked=(2,))),
    ("the key revoked", Rule.REVOKED_SNP_SIGNER, lambda forged: replace(forged, revoked=(KEY_SERIAL,))),
]


@pytest.mark.parametrize(("rule", "change"), [case[1:] for case in CHANGES], ids=[case[0] for case in CHANGES])
def test_refuses_what_was_changed_and_signed_again(rule: Rule, change: Callable[[ForgedSnp], ForgedSnp]) -> None:
    evidence, endorsements, root = change(honest_snp(NOW)).sign()
    policy = strict(root)
    with pytest.raises(RefusedError) as refused:
        appraise_snp(evidence, policy, endorsements, NOW)
    assert refused.value.rule is rule
    shown = explain_snp(evidence, policy, endorsements, NOW).refusal
    assert shown is not None
    assert shown.rule is rule


@pytest.mark.parametrize("kind", [SigningKey.VCEK, SigningKey.VLEK])
def test_a_key_with_the_mark_is_accepted_as_it_was_made_before(kind: SigningKey) -> None:
    forged = marked(key=True, issuer=True, root=True)(honest_snp(NOW, kind=kind))
    forged = replace(forged, mark_oid=EARLIER_SIMULATED_OID)
    evidence, endorsements, root = forged.sign()
    policy = strict(root, signing_keys=frozenset({kind}))
    if kind is SigningKey.VLEK:
        policy = replace(policy, chip_id="ANY_CHIP")
    assert appraise_snp(evidence, policy, endorsements, NOW).simulated


def test_a_keys_mark_alone_is_refused_below_a_root_that_is_not_simulated() -> None:
    evidence, endorsements, root = marked(key=False, issuer=False, root=False)(honest_snp(NOW)).sign()
    policy = strict(VendorRoot("mine", root.sha256))
    assert not appraise_snp(evidence, policy, endorsements, NOW).simulated
    evidence, endorsements, root = marked(key=True, issuer=False, root=False)(honest_snp(NOW)).sign()
    with pytest.raises(RefusedError) as refused:
        appraise_snp(evidence, strict(VendorRoot("mine", root.sha256)), endorsements, NOW)
    assert refused.value.rule is Rule.CHAIN_SIMULATED


def test_certificates_are_taken_in_any_order() -> None:
    evidence, endorsements, root = honest_snp(NOW).sign()
    ders = (endorsements.key_certificate, *read_certificates("chain", endorsements.chain))
    for order in itertools.permutations(ders):
        given = SnpEndorsements.of_certificates(order, endorsements.revocation_list)
        assert appraise_snp(evidence, strict(root), given, NOW).simulated
    repeated = replace(endorsements, chain=endorsements.chain + encode_chain(ders[0]) + endorsements.chain)
    assert appraise_snp(evidence, strict(root), repeated, NOW).simulated


def test_where_no_key_can_be_told_among_the_certificates_the_rules_refuse() -> None:
    evidence, endorsements, root = honest_snp(NOW).sign()
    other = honest_snp(NOW, kind=SigningKey.VLEK).sign()[1]
    for certificates in ((b"junk", b"more"), (endorsements.key_certificate, other.key_certificate)):
        given = SnpEndorsements.of_certificates(certificates, endorsements.revocation_list)
        with pytest.raises(RefusedError) as refused:
            appraise_snp(evidence, strict(root), given, NOW)
        assert refused.value.rule in (Rule.CHAIN_FORMAT, Rule.CHAIN_PATH)


def test_a_wrapped_chip_id_is_read() -> None:
    forged = replace(honest_snp(NOW), key_extensions={HW_ID_OID: b"\x04\x40" + CHIP_ID})
    evidence, endorsements, root = forged.sign()
    assert appraise_snp(evidence, strict(root), endorsements, NOW).simulated


@pytest.mark.parametrize(
    ("endorsements", "rule"),
    [
        (lambda given: replace(given, key_certificate=b""), Rule.CHAIN_FORMAT),
        (lambda given: replace(given, chain=b""), Rule.CHAIN_FORMAT),
        (lambda given: replace(given, chain=given.chain[: len(given.chain) // 2]), Rule.CHAIN_FORMAT),
        (lambda given: replace(given, revocation_list=b"\x30\x00"), Rule.CRL_FORMAT),
        (lambda given: replace(given, revocation_list=None), Rule.CRL_FORMAT),
    ],
)
def test_malformed_endorsements_are_refused_by_name(
    endorsements: Callable[[SnpEndorsements], SnpEndorsements], rule: Rule
) -> None:
    evidence, given, root = honest_snp(NOW).sign()
    with pytest.raises(RefusedError) as refused:
        appraise_snp(evidence, strict(root), endorsements(given), NOW)
    assert refused.value.rule is rule


@pytest.mark.parametrize(
    ("report", "demand", "rule"),
    [
        (lambda data: data[:-1], {}, Rule.SNP_REPORT_FORMAT),
        (lambda data: data + b"\x00\x01", {}, Rule.SNP_REPORT_FORMAT),
        (lambda data: b"\x06" + data[1:], {}, Rule.SNP_REPORT_FORMAT),
        (lambda data: data[:0x2A0] + bytes(144) + data[0x330:], {}, Rule.SNP_SIGNATURE),
        (lambda data: data[:0x2D0] + b"\x01" + data[0x2D1:], {}, Rule.SNP_SIGNATURE),
        (lambda data: data, {"reported_tcb": TcbVersion(Product.MILAN, 4, 0, 24, 220)}, Rule.SNP_TCB_REPORTED),
        (lambda data: data, {"reported_tcb": TcbVersion(Product.GENOA, 4, 0, 24, 219)}, Rule.SNP_TCB_REPORTED),
        (lambda data: data, {"chip_id": frozenset({bytes(64)})}, Rule.SNP_CHIP_ID),
        (lambda data: data, {"mitigations": 0b1}, Rule.SNP_MITIGATIONS),
        (lambda data: data, {"report_data": "FRESH_NONCE"}, Rule.BINDING_NONCE),
    ],
)
def test_refuses_what_the_policy_or_the_format_does_not_allow(
    report: Callable[[bytes], bytes], demand: dict[str, Any], rule: Rule
) -> None:
    evidence, endorsements, root = honest_snp(NOW).sign()
    with pytest.raises(RefusedError) as refused:
        appraise_snp(SnpEvidence(report(evidence.report)), strict(root, **demand), endorsements, NOW)
    assert refused.value.rule is rule


def test_every_rule_refuses_something_in_this_file() -> None:
    tried = {rule for _, rule, _ in CHANGES} | {
        Rule.SNP_REPORT_FORMAT, Rule.SNP_SIGNATURE, Rule.SNP_TCB_REPORTED, Rule.SNP_MITIGATIONS,
    }  # fmt: skip
    elsewhere = {member.demand.rule for member in members_of(SnpPolicy) if not member.is_required}
    assert tried | elsewhere >= SNP_RULES


def test_a_list_that_has_run_out_is_refused() -> None:
    evidence, endorsements, root = honest_snp(NOW).sign()
    with pytest.raises(RefusedError) as refused:
        appraise_snp(evidence, strict(root), endorsements, NOW + timedelta(days=31))
    assert refused.value.rule is Rule.CRL_WINDOW


@given(st.binary(max_size=2000), st.binary(max_size=300), st.binary(max_size=300))
def test_garbage_is_refused_and_explained(report: bytes, certificate: bytes, chain: bytes) -> None:
    policy = strict(AMD_MILAN_ROOT)
    given_ = SnpEndorsements(certificate, chain, chain)
    with pytest.raises(RefusedError):
        appraise_snp(SnpEvidence(report), policy, given_, NOW)
    assert explain_snp(SnpEvidence(report), policy, given_, NOW).refusal is not None


@pytest.mark.parametrize(
    "change",
    [
        {"measurement": frozenset()},
        {"measurement": frozenset({b"short"})},
        {"measurement": None},
        {"vmpl": frozenset()},
        {"vmpl": frozenset({4})},
        {"signing_keys": frozenset({SigningKey.NONE})},
        {"sockets": 2},
        {"debug": None},
        {"report_data": b"raw"},
        {"mitigations": 0},
        {"mitigations": 1 << 64},
        {"platform_info": 0x25},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(PolicyError):
        strict(AMD_MILAN_ROOT, **change)


def test_a_platform_cannot_have_and_lack_one_thing() -> None:
    with pytest.raises(PolicyError, match="both requires and forbids SMT_EN"):
        PlatformDemand(frozenset({PlatformInfo.SMT_EN}), frozenset({PlatformInfo.SMT_EN}))


def test_a_challenge_is_filled_in_once() -> None:
    evidence, endorsements, root = honest_snp(NOW).sign()
    asked = strict(root, report_data="FRESH_NONCE").with_report_data(b"\x07" * 64)
    assert appraise_snp(evidence, asked, endorsements, NOW).report.report_data == b"\x07" * 64
    with pytest.raises(PolicyError, match="only FRESH_NONCE"):
        asked.with_report_data(bytes(64))


def test_weaknesses_are_named() -> None:
    assert lax(AMD_MILAN_ROOT).weaknesses() == (
        "UNSAFE_NO_REVOCATION_LIST",
        "UNSAFE_ANY_GUEST",
        "UNSAFE_ANY_REPORT_DATA",
    )
    assert "SIMULATED_ROOT" in strict(SimulatedRoot(bytes(32))).weaknesses()
