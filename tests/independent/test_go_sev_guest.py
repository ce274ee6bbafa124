"""Reports of a simulated maker before go-sev-guest: it accepts the honest one, and refuses each field that it checks.

Each case changes one thing and signs everything again, so that no signature but the one under test is bad. It is held
against our own verifier, too: ``ours`` is the rule by which that refuses, None where its policies have no such demand.
"""

import asyncio
import base64
import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from tests.rigs.independent_verifiers import Ask
from tests.rigs.verifier.snp import strict

from casemate.makers.amd.keys import AmdRole
from casemate.makers.amd.maker import publish_crl
from casemate.testing import forge_snp
from casemate.testing.forge_snp import CHIP_ID, KEY_SERIAL, ForgedSnp, honest_snp
from casemate.testing.snp_maker import SnpMaker, snp_chip, snp_guest, snp_office
from casemate.verifier import PlatformDemand, RefusedError, Rule, SnpPolicy, appraise_snp
from casemate.verifier.snp.policy import AbiVersion
from casemate.wire.encodings.pem import parse_chain
from casemate.wire.snp.guest_message import KeySelect
from casemate.wire.snp.id_block import EcdsaPublicKey
from casemate.wire.snp.key_certificate import CSP_ID_OID, HW_ID_OID, PRODUCT_NAME_OID, SPL_OIDS, name_extension
from casemate.wire.snp.report import GuestPolicy, PlatformInfo, SigningKey
from casemate.wire.snp.simulated_platform import REPORT_VERSIONS
from casemate.wire.snp.tcb import Product

NOW = datetime(2026, 6, 1, tzinfo=UTC)
POLICY = 0x0137 | int(
    GuestPolicy.RESERVED_ONE
    | GuestPolicy.SINGLE_SOCKET
    | GuestPolicy.MEM_AES_256_XTS
    | GuestPolicy.RAPL_DIS
    | GuestPolicy.CIPHERTEXT_HIDING_DRAM
    | GuestPolicy.PAGE_SWAP_DISABLE
)
"""What the guest demands of its firmware, ABI 1.55 among it; all of it is demanded of the report."""
PLATFORM = int(
    PlatformInfo.ECC_EN
    | PlatformInfo.RAPL_DIS
    | PlatformInfo.CIPHERTEXT_HIDING_DRAM_EN
    | PlatformInfo.ALIAS_CHECK_COMPLETE
)
KINDS = [SigningKey.VCEK, SigningKey.VLEK]
READ = [Product.MILAN, Product.GENOA]
"""Products whose keys' certificates they read: of Turin's they know neither chip ids of 8 bytes nor the FMC level."""

Demands = dict[str, Any]


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def number(tcb: bytes) -> int:
    return int.from_bytes(tcb, "little")


@functools.cache
def base(product: Product = Product.MILAN, kind: SigningKey = SigningKey.VCEK, version: int | None = None) -> ForgedSnp:
    """The honest report, with something in each field that they look at."""
    forged = honest_snp(NOW, product, kind)
    written = version or forged.report.version
    named: dict[str, Any] = {} if written > 2 else {"cpuid_family": None, "cpuid_model": None, "cpuid_stepping": None}
    vectors = 0b11 if written >= 5 else None
    return forged.change(
        lambda report: replace(
            report,
            version=written,
            policy=POLICY,
            platform_info=PLATFORM,
            launch_mitigations=vectors,
            current_mitigations=vectors,
            **named,
        )
    )


def demands(forged: ForgedSnp) -> Demands:
    """Everything that they let a caller demand, of the honest report."""
    report = base(forged.product, forged.kind).report
    return {
        "guest_policy": POLICY,
        "minimum_guest_svn": 2,
        "report_data": text(report.report_data),
        "host_data": text(report.host_data),
        "image_id": text(report.image_id),
        "family_id": text(report.family_id),
        "report_id": text(report.report_id),
        "report_id_ma": text(report.report_id_ma),
        "measurement": text(report.measurement),
        "chip_id": text(report.chip_id),
        "minimum_build": 29,
        "minimum_version": 0x0137,
        "minimum_tcb": number(report.reported_tcb),
        "minimum_launch_tcb": number(report.launch_tcb),
        "platform_info": PLATFORM,
        "require_author_key": True,
        "author_key_hashes": [text(report.author_key_digest)],
        "vmpl": 0,
    }


def list_url(product: Product, service: str = "vcek") -> str:
    return f"https://casemate.invalid/simulated/{service}/v1/{product}/crl"


def question(forged: ForgedSnp, **other: Any) -> dict[str, Any]:
    """Report, chain and revocation list; a VLEK's has an ASK as well, since they take the list's place from that."""
    evidence, given, _ = forged.sign()
    issuer, ark = (block.der for block in parse_chain("chain", given.chain))
    vlek = forged.kind is SigningKey.VLEK
    ask = issuer_of_vceks(forged) if vlek else issuer
    assert given.revocation_list is not None
    asked = {
        "report": text(evidence.report),
        "key": text(given.key_certificate),
        "ask": text(ask),
        "asvk": text(issuer) if vlek else None,
        "ark": text(ark),
        "product": forged.product,
        "now": int(NOW.timestamp()),
        "lists": {list_url(forged.product): text(given.revocation_list)},
        "demands": demands(forged),
    }
    return {"report": asked | other}


@functools.cache
def ask_of(product: Product) -> bytes:
    return parse_chain("chain", honest_snp(NOW, product).sign()[1].chain)[0].der


def issuer_of_vceks(forged: ForgedSnp) -> bytes:
    return ask_of(forged.product)


def our_policy(forged: ForgedSnp) -> SnpPolicy:
    """The same demands, in our words."""
    _, _, root = base(forged.product, forged.kind).sign()
    flags = frozenset(flag for flag in PlatformInfo if flag & PLATFORM)
    others = frozenset({PlatformInfo.SMT_EN, PlatformInfo.TSME_EN, PlatformInfo.TIO_EN})
    policy = strict(
        root,
        forged.product,
        signing_keys=frozenset({forged.kind}),
        minimum_abi=AbiVersion(1, 55),
        platform_info=PlatformDemand(flags, others),
        mitigations=0b11 if forged.report.version >= 5 else "ANY_MITIGATIONS",
    )
    return policy if forged.kind is SigningKey.VCEK else replace(policy, chip_id="ANY_CHIP")


def our_refusal(forged: ForgedSnp, policy: SnpPolicy | None = None) -> Rule | None:
    evidence, given, _ = forged.sign()
    try:
        appraise_snp(evidence, policy or our_policy(forged), given, NOW)
    except RefusedError as refusal:
        return refusal.rule
    return None


@dataclass(frozen=True)
class Case:
    """One thing that is otherwise than in the honest evidence."""

    name: str
    stage: str
    says: str
    """In their refusal."""
    ours: Rule | None
    change: Callable[[ForgedSnp], ForgedSnp]
    demands: Demands
    version: int | None = None


def field(name: str, says: str, ours: Rule | None, /, stage: str = "validate", **values: Any) -> Case:
    """Fields of the report that have other values."""
    return Case(
        name, stage, says, ours, lambda forged: forged.change(lambda report: replace(report, **values)), demands={}
    )


def raw(name: str, says: str, ours: Rule | None, at: int, content: bytes, stage: str = "parse") -> Case:
    """Bytes of the report that are what no field can be."""
    return Case(name, stage, says, ours, lambda forged: replace(forged, patches=((at, content),)), demands={})


def made(
    name: str, stage: str, says: str, ours: Rule | None, change: Callable[[ForgedSnp], ForgedSnp], **wanted: Any
) -> Case:
    """Anything else."""
    return Case(name, stage, says, ours, change, wanted)


def extension(oid: str, value: bytes) -> Callable[[ForgedSnp], ForgedSnp]:
    return lambda forged: replace(forged, key_extensions={oid: value})


def with_tcbs(**levels: int) -> Callable[[ForgedSnp], ForgedSnp]:
    """TCB fields of the report with another SNP level each, and the key's."""

    def change(forged: ForgedSnp) -> ForgedSnp:
        raised = {name: replace(forged.key_tcb, snp=level) for name, level in levels.items()}
        key = raised.pop("key", forged.key_tcb)
        fields: dict[str, Any] = {name: tcb.encode() for name, tcb in raised.items()}
        return replace(forged.change(lambda report: replace(report, **fields)), key_tcb=key)

    return change


def same(forged: ForgedSnp) -> ForgedSnp:
    return forged


ANOTHER_CHIP = b"\x01" * 64
CASES = [
    # What they parse.
    raw("version 6", "report version is: 6", Rule.SNP_REPORT_FORMAT, 0, b"\x06", "verify"),
    replace(raw("version 1", "report version is: 1", Rule.SNP_REPORT_FORMAT, 0, b"\x01", "verify"), version=2),
    raw("no algorithm", "unknown signature algorithm: 0", Rule.SNP_SIGNATURE_ALGORITHM, 0x34, b"\0", "verify"),
    raw("another algorithm", "unknown signature algorithm: 2", Rule.SNP_SIGNATURE_ALGORITHM, 0x34, b"\2", "verify"),
    raw("key_info's reserved bits", "mbz range data[0x48:0x4C]", Rule.SNP_REPORT_FORMAT, 0x48, b"\x21"),
    raw("a signing key of no kind", "signing_key values 2-6 are reserved", Rule.SNP_SIGNING_KEY, 0x48, b"\x09"),
    *(
        raw(f"reserved byte {at:#x}", "mbz range", Rule.SNP_REPORT_FORMAT, at, b"\x01")
        for at in (0x4C, 0x18B, 0x19F, 0x1EB, 0x1EF, 0x208, 0x29F, 0x330, 0x49F)
    ),
    field("policy without bit 17", "reserved, must be 1", Rule.SNP_GUEST_POLICY, "parse", policy=POLICY & ~(1 << 17)),
    field("a policy bit of no meaning", "mbz range policy", Rule.SNP_GUEST_POLICY, "parse", policy=POLICY | 1 << 26),
    # The guest.
    field("debugging allowed", "unauthorized debug", Rule.SNP_DEBUG, policy=POLICY | int(GuestPolicy.DEBUG)),
    field("migration allowed", "migration agent", Rule.SNP_MIGRATION, policy=POLICY | int(GuestPolicy.MIGRATE_MA)),
    field("SMT allowed", "symmetric multithreading", Rule.SNP_SMT, policy=POLICY | int(GuestPolicy.SMT)),
    field("any sockets", "single socket", Rule.SNP_SOCKET, policy=POLICY & ~int(GuestPolicy.SINGLE_SOCKET)),
    field("CXL allowed", "unauthorized CXL", None, policy=POLICY | int(GuestPolicy.CXL_ALLOW)),
    field("any cipher of memory", "memory encryption mode", None, policy=POLICY & ~int(GuestPolicy.MEM_AES_256_XTS)),
    field("RAPL allowed", "unauthorized RAPL", None, policy=POLICY & ~int(GuestPolicy.RAPL_DIS)),
    field("ciphertext shown", "in DRAM isn't enforced", None, policy=POLICY & ~int(GuestPolicy.CIPHERTEXT_HIDING_DRAM)),
    field("page swap allowed", "unauthorized page swap", None, policy=POLICY & ~int(GuestPolicy.PAGE_SWAP_DISABLE)),
    field("an older ABI, minor", "ABI version (1.55) is greater", Rule.SNP_ABI, policy=POLICY & ~0xFF | 54),
    field("an older ABI, major", "ABI version (1.55) is greater", Rule.SNP_ABI, policy=POLICY & ~0xFF00),
    field("an older guest", "GUEST_SVN 1 is less", Rule.SNP_GUEST_SVN, guest_svn=1),
    field("VMPL 1", "report VMPL 1 is not 0", Rule.SNP_VMPL, vmpl=1),
    field("other code", "field MEASUREMENT", Rule.SNP_MEASUREMENT, measurement=b"\x09" * 48),
    field("other host data", "field HOST_DATA", Rule.SNP_HOST_DATA, host_data=b"\x09" * 32),
    field("other report data", "field REPORT_DATA", Rule.BINDING_REPORT_DATA, report_data=b"\x09" * 64),
    field("another family", "field FAMILY_ID", Rule.SNP_FAMILY_ID, family_id=b"\x09" * 16),
    field("another image", "field IMAGE_ID", Rule.SNP_IMAGE_ID, image_id=b"\x09" * 16),
    field("another launch", "field REPORT_ID ", Rule.SNP_REPORT_ID, report_id=b"\x09" * 32),
    field("a migration agent", "field REPORT_ID_MA", Rule.SNP_MIGRATION, report_id_ma=b"\x09" * 32),
    field("another author", "author key not trusted", Rule.SNP_AUTHOR_KEY, author_key_digest=b"\x09" * 48),
    field("no author", "author key missing", Rule.SNP_AUTHOR_KEY, key_info=0),
    made(
        "another id key",
        "validate",
        "ID key not trusted",
        Rule.SNP_ID_KEY,
        lambda forged: forged.change(lambda report: replace(report, id_key_digest=b"\x09" * 48)),
        require_author_key=False,
        author_key_hashes=[],
        require_id_block=True,
        id_key_hashes=[text(b"\x03" * 48)],
    ),
    # The platform.
    field("SMT on", "SMT enabled", Rule.SNP_PLATFORM_INFO, platform_info=PLATFORM | 1 << 0),
    field("TSME on", "TSME enabled", Rule.SNP_PLATFORM_INFO, platform_info=PLATFORM | 1 << 1),
    field("no ECC", "ECC not enabled", Rule.SNP_PLATFORM_INFO, platform_info=PLATFORM & ~(1 << 2)),
    field("RAPL on", "RAPL enabled", Rule.SNP_PLATFORM_INFO, platform_info=PLATFORM & ~(1 << 3)),
    field("ciphertext not hidden", "DRAM not enforced", Rule.SNP_PLATFORM_INFO, platform_info=PLATFORM & ~(1 << 4)),
    field("no alias check", "alias check", Rule.SNP_PLATFORM_INFO, platform_info=PLATFORM & ~(1 << 5)),
    field("TIO on", "SEV-TIO enabled", Rule.SNP_PLATFORM_INFO, platform_info=PLATFORM | 1 << 7),
    field("an unknown platform bit", "unrecognized platform", Rule.SNP_PLATFORM_INFO, platform_info=PLATFORM | 1 << 8),
    # The firmware.
    made("an older TCB", "validate", "lower than the policy minimum TCB", Rule.SNP_TCB_REPORTED, with_tcbs(
        key=23, reported_tcb=23)),
    made("launched at an older TCB", "validate", "minimum launch TCB", Rule.SNP_TCB_LAUNCH, with_tcbs(launch_tcb=23)),
    made("a key of an older TCB", "validate", "does not match the TCB of the V", Rule.SNP_KEY_TCB, with_tcbs(key=23)),
    made("a key of a newer TCB", "validate", "does not match the TCB of the V", Rule.SNP_KEY_TCB, with_tcbs(key=25)),
    made("uncommitted TCB", "validate", "COMMITTED_TCB", Rule.SNP_PROVISIONAL, with_tcbs(current_tcb=25)),
    field("another build is committed", "committed build number 28", Rule.SNP_PROVISIONAL, committed_build=28),
    field("another version is committed", "committed API version (1.54)", Rule.SNP_PROVISIONAL, committed_minor=54),
    field("an older build", "build number 28 is less", None, current_build=28, committed_build=28),
    field("an older version", "API version (1.54) is less", None, current_minor=54, committed_minor=54),
    # The key and its certificate.
    field("another chip", "CHIP_ID", Rule.SNP_CHIP_ID, chip_id=ANOTHER_CHIP),
    made("a key of another chip", "validate", "CHIP_ID", Rule.SNP_CHIP_ID, extension(HW_ID_OID, ANOTHER_CHIP)),
    made(
        "a key of no chip",
        "verify",
        "missing HWID",
        Rule.SNP_KEY_EXTENSIONS,
        extension(HW_ID_OID, b""),
    ),
    made(
        "a key of chip and provider",
        "verify",
        "both HWID",
        Rule.SNP_KEY_EXTENSIONS,
        extension(CSP_ID_OID, name_extension("CN=x")),
    ),
    made(
        "a level left out", "verify", "UcodeSpl", Rule.SNP_KEY_EXTENSIONS, extension(SPL_OIDS["microcode"], b"")
    ),
    made("no product", "verify", "ProductName1", Rule.SNP_KEY_EXTENSIONS, extension(PRODUCT_NAME_OID, b"")),
    made(
        "the mark on the key's certificate",
        "verify",
        "not an AMD KDS OID",
        None,
        lambda forged: replace(forged, marked=(True, True, True)),
    ),
    made(
        "a key by another name",
        "verify",
        "subject common name",
        Rule.CHAIN_ROLE,
        lambda forged: replace(forged, names=("SEV-XCEK", "SEV-Milan", "ARK-Milan")),
    ),
    made(
        "an issuer by another name",
        "verify",
        "issuer common name",
        Rule.CHAIN_ROLE,
        lambda forged: replace(forged, names=("SEV-VCEK", "SEV-Genoa", "ARK-Milan")),
    ),
    field("another processor", "any trusted roots", Rule.SNP_PRODUCT, "verify", cpuid_model=0x11),
    field("a processor of no product", "any trusted roots", Rule.SNP_PRODUCT, "verify", cpuid_family=0x17),
    made(
        "the issuer revoked",
        "verify",
        "ASK was revoked",
        Rule.REVOKED_SNP_SIGNER,
        lambda forged: replace(forged, revoked=(2,)),
    ),
    replace(
        field("a mitigation missing at launch", "launch mitigation vector", Rule.SNP_MITIGATIONS, launch_mitigations=1),
        demands={"launch_mitigations": 3},
        version=5,
    ),
    replace(
        field("a mitigation missing now", "current mitigation vector", Rule.SNP_MITIGATIONS, current_mitigations=1),
        demands={"current_mitigations": 3},
        version=5,
    ),
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("product", READ)
@pytest.mark.parametrize("version", [3, 5])
def test_the_honest_report_is_accepted(judges: Ask, product: Product, kind: SigningKey, version: int) -> None:
    forged = base(product, kind, version)
    assert judges(question(forged)) == {"refused": "", "stage": "", "asked": [list_url(product)], "pck": None}
    assert our_refusal(forged) is None


@pytest.mark.parametrize("kind", KINDS)
def test_the_honest_report_of_version_2_is_accepted(judges: Ask, kind: SigningKey) -> None:
    """It does not name the processor; the certificate's product name does. They know Genoa's by its stepping alone."""
    assert judges(question(base(Product.MILAN, kind, 2)))["refused"] == ""
    genoa = judges(question(base(Product.GENOA, kind, 2)))["refused"]
    assert genoa == ("" if kind is SigningKey.VLEK else 'unknown product name (new stepping published?): "Genoa"')


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_field_that_was_changed_and_signed_again_is_refused(judges: Ask, case: Case) -> None:
    forged = case.change(base(version=case.version))
    wanted = demands(forged) | case.demands
    said = judges(question(forged, demands=wanted))
    assert (said["stage"], case.says in said["refused"]) == (case.stage, True), said
    if case.demands:  # it is the change that they refuse, not the demand
        assert judges(question(base(version=case.version), demands=wanted))["refused"] == ""
    assert our_refusal(forged) is case.ours


@pytest.mark.parametrize("product", READ)
def test_a_report_signed_by_another_key_is_refused(judges: Ask, product: Product) -> None:
    forged = base(product)
    report = bytearray(base64.b64decode(question(forged)["report"]["report"]))
    for at in (0x50, 0x90, 0x2A0, 0x2E8):
        changed = bytearray(report)
        changed[at] ^= 1
        said = judges(question(forged, report=text(bytes(changed))))
        assert (said["stage"], "signature verification error" in said["refused"]) == ("verify", True), said


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (with_tcbs(current_tcb=25), ""),
        (with_tcbs(committed_tcb=25), "is lower than the report's COMMITTED_TCB"),
        (lambda forged: forged.change(lambda report: replace(report, committed_build=30)), "is greater than"),
        (lambda forged: forged.change(lambda report: replace(report, committed_minor=56)), "is greater than"),
        (with_tcbs(reported_tcb=25, key=25), "is lower than the TCB of the V"),
    ],
)
def test_provisional_firmware_may_be_permitted_within_bounds(
    judges: Ask,
    change: Callable[[ForgedSnp], ForgedSnp],
    says: str,
) -> None:
    forged = change(base())
    said = judges(question(forged, demands=demands(forged) | {"permit_provisional_firmware": True}))
    assert says in said["refused"], said
    assert bool(said["refused"]) is bool(says)


def test_all_of_it_fails_under_amds_roots_and_under_another_makers(judges: Ask) -> None:
    """Simulated evidence cannot pass for AMD's: they have AMD's roots built in."""
    for product in READ:
        assert "any trusted roots" in judges(question(base(product), product=""))["refused"]
    asked = question(base())
    other = question(replace(base(), root_life=timedelta(days=9)))["report"]
    assert judges(question(base(), ark=other["ark"]))["refused"] == ""  # the same name and key, by another certificate
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    stranger = certificate(base(), "ARK-Milan", key.public_key(), "ARK-Milan", key, hashes.SHA384(), is_ca=True)
    said = judges({"report": asked["report"] | {"ark": text(stranger)}})
    assert "error verifying VCEK certificate" in said["refused"]


@pytest.mark.parametrize(
    ("now", "says"),
    [
        (NOW - timedelta(seconds=1), "not yet valid"),
        (NOW + timedelta(days=366), "has expired"),
    ],
)
def test_expired_certificates_are_refused(judges: Ask, now: datetime, says: str) -> None:
    said = judges(question(base(), now=int(now.timestamp())))
    assert (said["stage"], says in said["refused"]) == ("verify", True), said


def test_an_expired_root_alone_is_refused(judges: Ask) -> None:
    forged = replace(base(), root_life=timedelta(days=9))
    later = NOW + timedelta(days=10)
    assert "has expired" in judges(question(forged, now=int(later.timestamp())))["refused"]


def certificate(
    forged: ForgedSnp,
    name: str,
    key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
    issuer: str,
    by: rsa.RSAPrivateKey,
    digest: hashes.SHA256 | hashes.SHA384,
    *,
    pss: bool = True,
    organisation: str = "Advanced Micro Devices",
    is_ca: bool = False,
) -> bytes:
    """A certificate that the forge does not make."""
    own = forge_snp._name(name)
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation)
            if part.oid == NameOID.ORGANIZATION_NAME
            else part
            for part in own
        ]
    )
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(forge_snp._name(issuer)).public_key(key)
    builder = builder.serial_number(9).not_valid_before(NOW).not_valid_after(NOW + timedelta(days=30))
    if is_ca:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    else:
        for oid, value in forged._key_extensions().items():
            builder = builder.add_extension(
                x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value), critical=False
            )
    salted = padding.PSS(mgf=padding.MGF1(digest), salt_length=digest.digest_size) if pss else padding.PKCS1v15()
    return builder.sign(by, digest, rsa_padding=salted).public_bytes(Encoding.DER)


def test_certificates_of_other_algorithms_and_names_are_refused(judges: Ask) -> None:
    forged = base()
    ask = forge_snp._ca_key(forge_snp._Role.ASK)
    good = forge_snp._report_key().public_key()

    def refusal(key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey, digest: Any, **other: Any) -> str:
        der = certificate(forged, "SEV-VCEK", key, "SEV-Milan", ask, digest, **other)
        said: str = judges(question(forged, key=text(der)))["refused"]
        return said

    assert refusal(good, hashes.SHA384()) == ""
    assert "signature algorithm is SHA256-RSAPSS" in refusal(good, hashes.SHA256())
    assert "signature algorithm is SHA384-RSA," in refusal(good, hashes.SHA384(), pss=False)
    assert "curve is P-256" in refusal(ec.generate_private_key(ec.SECP256R1()).public_key(), hashes.SHA384())
    assert "public key type is RSA" in refusal(ask.public_key(), hashes.SHA384())
    assert "not expected for AMD" in refusal(good, hashes.SHA384(), organisation="Advanced Micro Devises")
    other = certificate(forged, "SEV-VCEK", ec.generate_private_key(ec.SECP384R1()).public_key(), "SEV-Milan", ask,
        hashes.SHA384())  # fmt: skip
    assert "signature verification error" in judges(question(forged, key=text(other)))["refused"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_revocation_list_comes_from_where_the_ask_says(judges: Ask, kind: SigningKey) -> None:
    forged = base(kind=kind)
    honest = question(forged)["report"]
    url = list_url(Product.MILAN)
    said = judges(question(forged, lists={}))
    assert (said["asked"], "could not fetch product CRL" in said["refused"]) == ([url], True)
    said = judges(question(forged, lists={url: text(b"no list")}))
    assert (said["asked"], "could not fetch product CRL" in said["refused"]) == ([url], True)
    genoas = base64.b64decode(question(base(Product.GENOA))["report"]["lists"][list_url(Product.GENOA)])
    assert x509.load_der_x509_crl(genoas).issuer.rfc4514_string().startswith("CN=ARK-Genoa")
    damaged = bytearray(base64.b64decode(honest["lists"][url]))
    damaged[-1] ^= 1
    assert "not signed by ARK" in judges(question(forged, lists={url: text(bytes(damaged))}))["refused"]
    assert judges(question(forged, lists=None))["refused"] == ""
    assert our_refusal(forged, replace(our_policy(forged), revocation="UNSAFE_NO_REVOCATION_LIST")) is None


def test_a_revoked_key_is_refused_by_us_alone(judges: Ask) -> None:
    """They expect of AMD that it revokes no VCEK, and do not look for one in the list."""
    forged = replace(base(), revoked=(KEY_SERIAL,))
    assert judges(question(forged))["refused"] == ""
    assert our_refusal(forged) is Rule.REVOKED_SNP_SIGNER


def test_keys_may_be_trusted_by_certificate(judges: Ask) -> None:
    """The digests in the report are of the keys in AMD's own format: theirs equal ours."""
    keys = [ec.generate_private_key(ec.SECP384R1()) for _ in range(2)]
    points = [key.public_key().public_numbers() for key in keys]
    author, guest = (EcdsaPublicKey.of(point.x, point.y).digest for point in points)
    ask = forge_snp._ca_key(forge_snp._Role.ASK)
    certificates = [
        text(certificate(base(), "SEV-VCEK", key.public_key(), "SEV-Milan", ask, hashes.SHA384())) for key in keys
    ]
    forged = base().change(lambda report: replace(report, author_key_digest=author, id_key_digest=guest))
    wanted = demands(forged) | {"author_key_hashes": []}
    by_author = wanted | {"author_keys": certificates[:1]}
    by_id_key = wanted | {"require_author_key": False, "require_id_block": True, "id_keys": certificates[1:]}
    for good in (by_author, by_id_key):
        assert judges(question(forged, demands=good))["refused"] == ""
    assert (
        "author key not trusted"
        in judges(question(forged, demands=wanted | {"author_keys": certificates[1:]}))["refused"]
    )
    swapped = by_id_key | {"id_keys": certificates[:1]}
    assert "ID key not trusted" in judges(question(forged, demands=swapped))["refused"]


def test_of_turin_they_check_the_signature_and_stop_where_they_stop_at_genuine_keys(judges: Ask, vectors: Path) -> None:
    """They take a chip id of 64 bytes alone, and know no FMC level; Turin's certificates have 8 bytes and the level."""
    genuine = (vectors / "snp" / "turin_leaf_only.der").read_bytes()
    for kind in KINDS:
        forged = base(Product.TURIN, kind)
        asked = question(forged)["report"]
        assert judges({"report": asked | {"signature_alone": True}})["refused"] == ""
        changed = bytearray(base64.b64decode(asked["report"]))
        changed[0x90] ^= 1
        said = judges({"report": asked | {"signature_alone": True, "report": text(bytes(changed))}})
        assert "signature verification error" in said["refused"]
        refusal = judges({"report": asked})["refused"]
        assert "1.3.6.1.4.1.3704.1.3.9" in refusal
        if kind is SigningKey.VCEK:
            assert refusal == judges({"report": asked | {"key": text(genuine)}})["refused"]
        assert our_refusal(forged) is None


def test_a_hidden_chip_is_accepted(judges: Ask) -> None:
    forged = base().change(lambda report: replace(report, chip_id=bytes(64)))
    assert judges(question(forged, demands=demands(forged) | {"chip_id": None}))["refused"] == ""
    assert our_refusal(forged) is None


@pytest.mark.parametrize("product", READ)
def test_reports_of_our_own_chips_are_accepted(tmp_path: Path, judges: Ask, product: Product) -> None:
    maker = SnpMaker(snp_office(product, NOW), NOW)
    for version in REPORT_VERSIONS[product]:
        platform, certification = snp_chip(tmp_path / str(version), maker, version)
        for kind in KINDS:
            if kind is SigningKey.VLEK:
                asyncio.run(certification.load_vlek("CN=cloud.example"))
            leaf, issuer, ark = parse_chain("chain", asyncio.run(certification.certificates()))
            report = platform.report(snp_guest(platform), platform.choose(KeySelect.EITHER))
            asked = {
                "report": text(report.encode()),
                "key": text(leaf.der),
                "ask": text(maker.maker.cas[AmdRole.ASK].certificate),
                "asvk": text(issuer.der) if kind is SigningKey.VLEK else None,
                "ark": text(ark.der),
                "product": product,
                "now": int(NOW.timestamp()),
                "lists": {list_url(product): text(publish_crl(maker.maker, NOW))},
                "demands": {"guest_policy": report.policy, "measurement": text(report.measurement)},
            }
            said = judges({"report": asked})
            unknown = version == 2 and product is Product.GENOA and kind is SigningKey.VCEK
            assert said["refused"] == ('unknown product name (new stepping published?): "Genoa"' if unknown else "")
            assert said["asked"] == (None if unknown else [list_url(product)])


def test_our_chip_id_is_the_certificates(judges: Ask) -> None:
    assert base().report.chip_id == CHIP_ID
    wrapped = replace(base(), key_extensions={HW_ID_OID: b"\x04\x40" + CHIP_ID})
    assert judges(question(wrapped))["refused"] == ""
