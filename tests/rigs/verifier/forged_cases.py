"""Evidence of one honest platform with one thing changed, and the rule that objects: signed again, or not."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from casemate.testing.forge import CertificateDraft, Forged, Forgery
from casemate.verifier import (
    INTEL_SGX_ROOT,
    Rule,
    SimulatedRoot,
)
from casemate.verifier.common_demands import ExpectedNonce, ExpectedReportData
from casemate.verifier.roots import VendorRoot
from casemate.wire.protocol.sandbox_layers import LayerName, LayerState
from casemate.wire.protocol.simulated_mark import (
    SIMULATED_OID,
    SimulatedMark,
    SimulatedSerial,
)
from casemate.wire.sgx.attributes import AttributeFlag, Attributes, MiscSelect
from casemate.wire.sgx.pck import SGX_EXTENSION_OID, PckConfiguration, PckExtension, PckPlatform
from casemate.wire.sgx.quote import AttestationKeyType, CertificationDataType

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = timedelta(days=31)
NO_CA = x509.BasicConstraints(ca=False, path_length=None)
CA_WITHOUT_ROOM = x509.BasicConstraints(ca=True, path_length=0)
OTHER_ISSUER = x509.CertificateIssuer([x509.DNSName("example.com")])
PCK_LEAF = CertificationDataType.PCK_LEAF
SEEDED_SERIAL = SimulatedSerial.FROM_PUBLIC_SEED.number(bytes(10))
PAST = {"issueDate": "2026-01-01T00:00:00Z", "nextUpdate": "2026-03-01T11:59:59Z"}
Change = Callable[[Forgery], object]
Tamper = Callable[[Forged], Forged]


def other_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def set_on(part: str, **values: object) -> Change:
    """Sets attributes of a part of the forgery."""

    def change(forgery: Forgery) -> None:
        for name, value in values.items():
            setattr(getattr(forgery, part), name, value)

    return change


def put(name: str, value: object) -> Change:
    """Replaces a part of the forgery."""
    return lambda forgery: setattr(forgery, name, value)


def body(**values: Any) -> Change:
    return lambda forgery: setattr(forgery, "body", replace(forgery.body, **values))


def qe_report(**values: Any) -> Change:
    return lambda forgery: setattr(forgery, "qe_report", replace(forgery.qe_report, **values))


def header(**values: Any) -> Change:
    return lambda forgery: setattr(forgery, "header", replace(forgery.header, **values))


def tcb_info(**members: object) -> Change:
    return lambda forgery: forgery.tcb_info.update(members)


def qe_identity(**members: object) -> Change:
    return lambda forgery: forgery.qe_identity.update(members)


def extension(part: str, value: x509.ExtensionType, *, critical: bool) -> Change:
    """Adds an extension, or replaces the one of the same OID."""

    def change(forgery: Forgery) -> None:
        draft: CertificateDraft = getattr(forgery, part)
        draft.drop_extension(value.oid.dotted_string)
        draft.extensions.append((value, critical))

    return change


def unknown(dotted: str, value: bytes) -> x509.UnrecognizedExtension:
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(dotted), value)


def usage(*, data: bool, certificates: bool, crls: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=data,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=crls,
        encipher_only=False,
        decipher_only=False,
    )


def pck_of(forgery: Forgery) -> PckExtension:
    found = next(value for value, _ in forgery.pck.extensions if value.oid.dotted_string == SGX_EXTENSION_OID)
    assert isinstance(found, x509.UnrecognizedExtension)
    return PckExtension.parse(found.value)


def pck(**values: Any) -> Change:
    """Changes what the PCK certificate says of the platform."""

    def change(forgery: Forgery) -> None:
        changed = replace(pck_of(forgery), **values).encode()
        extension("pck", unknown(SGX_EXTENSION_OID, changed), critical=False)(forgery)

    return change


def platform(**flags: bool) -> Change:
    off = {"dynamic_platform": False, "cached_keys": False, "smt_enabled": False}
    return pck(platform=PckPlatform(bytes(16), PckConfiguration(**(off | flags))))


def svns(*components: int, pce_svn: int = 13) -> Change:
    def change(forgery: Forgery) -> None:
        padded = bytes((*components, *bytes(16 - len(components))))
        pck(tcb=replace(pck_of(forgery).tcb, components=padded, pce_svn=pce_svn))(forgery)

    return change


def best_level_only(forgery: Forgery) -> None:
    del forgery.tcb_info["tcbLevels"][1:]


def seeded_mark(part: str) -> Change:
    return extension(part, unknown(SIMULATED_OID, SimulatedMark.of(seeded=True).encode()), critical=False)


def unmarked(part: str) -> Change:
    return lambda forgery: getattr(forgery, part).drop_extension(SIMULATED_OID)


def marked(part: str) -> Change:
    return lambda forgery: getattr(forgery, part).mark()


def both(*changes: Change) -> Change:
    def change(forgery: Forgery) -> None:
        for one in changes:
            one(forgery)

    return change


def p384_ca(forgery: Forgery) -> None:
    forgery.pck_ca.key = forgery.pck.signer = ec.generate_private_key(ec.SECP384R1())


def rsa_root(forgery: Forgery) -> None:
    key = rsa.generate_private_key(65537, 2048)
    forgery.root.key = forgery.root.signer = forgery.pck_ca.signer = forgery.tcb_signing.signer = key


def layers(which: str, state: LayerState) -> Change:
    """Has one layer of the enclave or the guest not applied; the enclave reports it truthfully."""

    def change(forgery: Forgery) -> None:
        told = forgery.bound.layers
        changed = tuple(
            replace(layer, state=state) if layer.name is LayerName.SECCOMP else layer for layer in getattr(told, which)
        )
        forgery.bound = replace(forgery.bound, layers=replace(told, **{which: changed}))

    return change


RESIGNED: list[tuple[str, Rule, Change]] = [
    ("version 4", Rule.QUOTE_VERSION, header(version=4)),
    ("P-384 attestation key", Rule.QUOTE_KEY_TYPE, header(attestation_key_type=AttestationKeyType.ECDSA_P384)),
    ("TDX", Rule.QUOTE_TEE_TYPE, header(tee_type=0x81)),
    ("other QE vendor", Rule.QUOTE_QE_VENDOR, header(qe_vendor_id=bytes(16))),
    ("leaf instead of a chain", Rule.QUOTE_CERTIFICATION_DATA, put("certification_kind", PCK_LEAF)),
    ("no CA in the chain", Rule.CHAIN_PATH, put("order", lambda chain: (chain[0], chain[2]))),
    ("no root in the chain", Rule.CHAIN_PATH, put("order", lambda chain: chain[:2])),
    ("a certificate twice", Rule.CHAIN_PATH, put("order", lambda chain: (*chain, chain[1]))),
    ("CA issued by somebody else", Rule.CHAIN_PATH, set_on("pck_ca", issuer_name="Another Root CA")),
    ("unmarked CA", Rule.CHAIN_SIMULATED, unmarked("pck_ca")),
    ("unmarked CA above a marked leaf", Rule.CHAIN_SIMULATED, both(unmarked("pck_ca"), marked("pck"))),
    ("unmarked root", Rule.CHAIN_SIMULATED, unmarked("root")),
    ("unmarked TCB signing", Rule.CHAIN_SIMULATED, unmarked("tcb_signing")),
    ("unmarked all but the leaf", Rule.CHAIN_SIMULATED, both(unmarked("root"), unmarked("pck_ca"), marked("pck"))),
    ("seeded leaf", Rule.CHAIN_SEEDED, seeded_mark("pck")),
    ("leaf numbered as seeded", Rule.CHAIN_SEEDED, set_on("pck", serial=SEEDED_SERIAL)),
    ("seeded root", Rule.CHAIN_SEEDED, seeded_mark("root")),
    ("unreadable mark", Rule.CHAIN_SEEDED, extension("pck", unknown(SIMULATED_OID, b"?"), critical=False)),
    ("a TCB signing certificate as PCK", Rule.CHAIN_ROLE, set_on("pck", common_name="Intel SGX TCB Signing")),
    ("a PCK as TCB signing", Rule.CHAIN_ROLE, set_on("tcb_signing", common_name="Intel SGX PCK Certificate")),
    ("CA on P-384", Rule.CHAIN_ALGORITHM, p384_ca),
    ("RSA root", Rule.CHAIN_ALGORITHM, rsa_root),
    ("SHA-384", Rule.CHAIN_ALGORITHM, set_on("pck", hash=hashes.SHA384())),
    ("leaf signed by another CA key", Rule.CHAIN_SIGNATURE, set_on("pck", signer=other_key())),
    ("CA signed by another root key", Rule.CHAIN_SIGNATURE, set_on("pck_ca", signer=other_key())),
    ("root not signed by itself", Rule.CHAIN_SIGNATURE, set_on("root", signer=other_key())),
    ("TCB signing by another root key", Rule.CHAIN_SIGNATURE, set_on("tcb_signing", signer=other_key())),
    ("unknown critical extension", Rule.CHAIN_CRITICAL, extension("pck", unknown("1.2.3.4", b""), critical=True)),
    (
        "critical name constraints",
        Rule.CHAIN_CRITICAL,
        extension("pck_ca", x509.NameConstraints([x509.DNSName("example.com")], None), critical=True),
    ),
    ("CA that is none", Rule.CHAIN_CONSTRAINTS, extension("pck_ca", NO_CA, critical=True)),
    ("root that is none", Rule.CHAIN_CONSTRAINTS, extension("root", NO_CA, critical=True)),
    ("leaf that is a CA", Rule.CHAIN_CONSTRAINTS, extension("pck", CA_WITHOUT_ROOM, critical=True)),
    ("CA without constraints", Rule.CHAIN_CONSTRAINTS, lambda forgery: forgery.pck_ca.drop_extension("2.5.29.19")),
    ("root with no room", Rule.CHAIN_CONSTRAINTS, extension("root", CA_WITHOUT_ROOM, critical=True)),
    (
        "CA that may not issue",
        Rule.CHAIN_KEY_USAGE,
        extension("pck_ca", usage(data=True, certificates=False, crls=True), critical=True),
    ),
    (
        "CA that may not revoke",
        Rule.CHAIN_KEY_USAGE,
        extension("pck_ca", usage(data=False, certificates=True, crls=False), critical=True),
    ),
    (
        "leaf that may not sign",
        Rule.CHAIN_KEY_USAGE,
        extension("pck", usage(data=False, certificates=False, crls=True), critical=True),
    ),
    ("leaf without key usage", Rule.CHAIN_KEY_USAGE, lambda forgery: forgery.pck.drop_extension("2.5.29.15")),
    ("expired leaf", Rule.CHAIN_VALIDITY, set_on("pck", not_after=NOW - timedelta(seconds=1))),
    ("expired CA", Rule.CHAIN_VALIDITY, set_on("pck_ca", not_after=NOW - timedelta(seconds=1))),
    ("expired root", Rule.CHAIN_VALIDITY, set_on("root", not_after=NOW - timedelta(seconds=1))),
    ("leaf of tomorrow", Rule.CHAIN_VALIDITY, set_on("pck", not_before=NOW + timedelta(days=1))),
    ("expired TCB signing", Rule.CHAIN_VALIDITY, set_on("tcb_signing", not_after=NOW - timedelta(seconds=1))),
    ("no SGX extension", Rule.PCK_EXTENSION, lambda forgery: forgery.pck.drop_extension(SGX_EXTENSION_OID)),
    ("bad SGX extension", Rule.PCK_EXTENSION, extension("pck", unknown(SGX_EXTENSION_OID, b"0"), critical=False)),
    ("QE report by another key", Rule.QE_REPORT_SIGNATURE, put("report_signer", other_key())),
    ("QE report for another key", Rule.QE_ATTESTATION_KEY, qe_report(report_data=bytes(63) + b"\x01")),
    ("debug QE", Rule.QE_DEBUG, qe_report(attributes=Attributes(AttributeFlag.INIT | AttributeFlag.DEBUG, 3))),
    ("root list by the CA", Rule.CRL_ISSUER, set_on("root_crl", issuer_name="Intel SGX PCK Platform CA")),
    ("list of the Processor CA", Rule.CRL_ISSUER, set_on("pck_crl", issuer_name="Intel SGX PCK Processor CA")),
    ("root list by another key", Rule.CRL_SIGNATURE, set_on("root_crl", signer=other_key())),
    ("PCK list by another key", Rule.CRL_SIGNATURE, set_on("pck_crl", signer=other_key())),
    ("PCK list with SHA-384", Rule.CRL_SIGNATURE, set_on("pck_crl", hash=hashes.SHA384())),
    ("stale root list", Rule.CRL_WINDOW, set_on("root_crl", this_update=NOW - LATER, next_update=NOW - timedelta(1))),
    ("stale PCK list", Rule.CRL_WINDOW, set_on("pck_crl", this_update=NOW - LATER, next_update=NOW - timedelta(1))),
    ("PCK list of tomorrow", Rule.CRL_WINDOW, set_on("pck_crl", this_update=NOW + timedelta(1))),
    (
        "delta list",
        Rule.CRL_FORMAT,
        lambda forgery: forgery.pck_crl.extensions.append((x509.DeltaCRLIndicator(1), True)),
    ),
    (
        "list with entries of other issuers",
        Rule.CRL_FORMAT,
        set_on("pck_crl", serials=[7], entry_extensions=[(OTHER_ISSUER, True)]),
    ),
    ("revoked PCK", Rule.REVOKED_PCK, lambda forgery: forgery.pck_crl.serials.append(forgery.pck.serial)),
    ("revoked CA", Rule.REVOKED_PCK_CA, lambda forgery: forgery.root_crl.serials.append(forgery.pck_ca.serial)),
    (
        "revoked TCB signing",
        Rule.REVOKED_TCB_SIGNING,
        lambda forgery: forgery.root_crl.serials.append(forgery.tcb_signing.serial),
    ),
    ("TCB info by another key", Rule.TCB_INFO_SIGNATURE, put("document_signer", other_key())),
    ("TCB info without levels", Rule.TCB_INFO_FORMAT, tcb_info(tcbLevels=[])),
    ("TCB info with a float", Rule.TCB_INFO_FORMAT, tcb_info(tcbEvaluationDataNumber=17.5)),
    ("TCB info of TDX", Rule.TCB_INFO_ID, tcb_info(id="TDX")),
    ("TCB info version 4", Rule.TCB_INFO_VERSION, tcb_info(version=4)),
    ("TCB type 1", Rule.TCB_INFO_TYPE, tcb_info(tcbType=1)),
    ("stale TCB info", Rule.TCB_INFO_WINDOW, tcb_info(**PAST)),
    ("TCB info of tomorrow", Rule.TCB_INFO_WINDOW, tcb_info(issueDate="2026-03-01T12:00:01Z")),
    ("TCB info of another platform", Rule.TCB_INFO_FMSPC, tcb_info(fmspc="00906EA10000")),
    ("TCB info of another PCE", Rule.TCB_INFO_PCE_ID, tcb_info(pceId="0001")),
    ("QE identity without levels", Rule.QE_IDENTITY_FORMAT, qe_identity(tcbLevels=[])),
    ("QE identity of TDX", Rule.QE_IDENTITY_ID, qe_identity(id="TD_QE")),
    ("QE identity version 3", Rule.QE_IDENTITY_VERSION, qe_identity(version=3)),
    ("stale QE identity", Rule.QE_IDENTITY_WINDOW, qe_identity(**PAST)),
    ("QE by somebody else", Rule.QE_MR_SIGNER, qe_report(mr_signer=bytes(32))),
    ("another enclave as QE", Rule.QE_PRODUCT_ID, qe_report(isv_prod_id=2)),
    ("QE with other MISCSELECT", Rule.QE_MISC_SELECT, qe_report(misc_select=MiscSelect.EXINFO)),
    (
        "QE without provisioning key",
        Rule.QE_ATTRIBUTES,
        qe_report(attributes=Attributes(AttributeFlag.INIT | AttributeFlag.MODE64BIT, 3)),
    ),
    ("QE below all levels", Rule.QE_LEVEL, qe_report(isv_svn=0)),
    ("SVNs below all levels", Rule.TCB_LEVEL, both(best_level_only, svns(6))),
    ("platform out of date", Rule.TCB_STATUS, svns(6, 6, 2, 2, 255, 1, 3)),
    ("platform revoked", Rule.TCB_STATUS, svns(1)),
    ("PCE out of date", Rule.TCB_STATUS, svns(7, 7, 2, 2, 255, 1, 3, pce_svn=12)),
    ("QE out of date", Rule.TCB_STATUS, qe_report(isv_svn=6)),
    ("debug enclave", Rule.ENCLAVE_DEBUG, body(attributes=Attributes(AttributeFlag.INIT | AttributeFlag.DEBUG, 3))),
    ("other code", Rule.ENCLAVE_MR_ENCLAVE, body(mr_enclave=bytes(32))),
    ("other signer", Rule.ENCLAVE_MR_SIGNER, body(mr_signer=bytes(32))),
    ("other product", Rule.ENCLAVE_PRODUCT_ID, body(isv_prod_id=8)),
    ("older version", Rule.ENCLAVE_SVN, body(isv_svn=2)),
    ("other report data", Rule.BINDING_REPORT_DATA, body(report_data=bytes(63) + b"\x01")),
    ("enclave without seccomp", Rule.SANDBOX_ENCLAVE, layers("enclave", LayerState.UNAVAILABLE)),
    ("guest without seccomp", Rule.SANDBOX_GUEST, layers("guest", LayerState.OFF)),
]  # fmt: skip


def with_evidence(**values: Any) -> Tamper:
    return lambda forged: replace(forged, evidence=replace(forged.evidence, **values))


def with_collateral(**values: Any) -> Tamper:
    return lambda forged: replace(forged, collateral=replace(forged.collateral, **values))


def with_policy(**values: Any) -> Tamper:
    return lambda forged: replace(forged, policy=replace(forged.policy, **values))


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]


def flip_quote(at: int) -> Tamper:
    return lambda forged: replace(forged, evidence=replace(forged.evidence, quote=flip(forged.evidence.quote, at)))


def flip_pck_list(forged: Forged) -> Forged:
    pck_crl = forged.collateral.pck_crl
    return with_collateral(pck_crl=flip(pck_crl, len(pck_crl) - 1))(forged)


def swap_key(forged: Forged) -> Forged:
    """The host puts its own HPKE key beside an honest quote."""
    bound = forged.evidence.bound
    assert bound is not None
    return with_evidence(bound=replace(bound, hpke_key=bytes(32)))(forged)


TAMPERED: list[tuple[str, Rule, Tamper]] = [
    ("empty quote", Rule.QUOTE_FORMAT, with_evidence(quote=b"")),
    ("endless quote", Rule.QUOTE_FORMAT, with_evidence(quote=bytes(70_000))),
    ("cut quote", Rule.QUOTE_FORMAT, lambda forged: with_evidence(quote=forged.evidence.quote[:-1])(forged)),
    ("tail of a quote", Rule.QUOTE_FORMAT, lambda forged: with_evidence(quote=forged.evidence.quote + b"\x01")(forged)),
    ("reserved bit", Rule.QUOTE_FORMAT, flip_quote(48 + 100)),
    ("changed report", Rule.QUOTE_SIGNATURE, flip_quote(48 + 64)),
    ("changed header", Rule.QUOTE_SIGNATURE, flip_quote(30)),
    ("changed signature", Rule.QUOTE_SIGNATURE, flip_quote(440)),
    ("changed attestation key", Rule.QE_ATTESTATION_KEY, flip_quote(436 + 64)),
    ("changed QE report", Rule.QE_REPORT_SIGNATURE, flip_quote(436 + 128 + 64)),
    ("changed authentication data", Rule.QE_ATTESTATION_KEY, flip_quote(436 + 128 + 384 + 64 + 2)),
    ("changed chain", Rule.CHAIN_FORMAT, flip_quote(436 + 128 + 384 + 64 + 2 + 32 + 6 + 1)),
    ("no collateral", Rule.COLLATERAL_PRESENT, lambda forged: replace(forged, collateral=None)),  # type: ignore[arg-type]
    ("root list is none", Rule.CRL_FORMAT, with_collateral(root_ca_crl=b"?")),
    ("changed PCK list", Rule.CRL_SIGNATURE, flip_pck_list),
    (
        "chain for another list",
        Rule.CHAIN_ROLE,
        lambda forged: with_collateral(pck_crl_issuer_chain=forged.collateral.tcb_info_issuer_chain)(forged),
    ),
    ("TCB info chain is none", Rule.CHAIN_FORMAT, with_collateral(tcb_info_issuer_chain=b"")),
    (
        "changed TCB info",
        Rule.TCB_INFO_SIGNATURE,
        lambda forged: with_collateral(tcb_info=forged.collateral.tcb_info.replace(b"OutOfDate", b"UpToDate "))(forged),
    ),
    (
        "changed QE identity",
        Rule.QE_IDENTITY_SIGNATURE,
        lambda forged: with_collateral(qe_identity=forged.collateral.qe_identity + b" ")(forged),
    ),
    (
        "signature with a zero too many",
        Rule.TCB_INFO_SIGNATURE,
        lambda forged: with_collateral(
            tcb_info_signature=forged.collateral.tcb_info_signature[:32]
            + b"\x00"
            + forged.collateral.tcb_info_signature[32:]
        )(forged),
    ),
    ("Intel's root demanded", Rule.CHAIN_SIMULATED, with_policy(root=INTEL_SGX_ROOT)),
    (
        "simulated root named as a real one",
        Rule.CHAIN_SIMULATED,
        lambda forged: with_policy(root=VendorRoot("mine", SimulatedRoot.of(forged.root).sha256))(forged),
    ),
    ("another simulated root", Rule.CHAIN_ROOT, with_policy(root=SimulatedRoot(bytes(32)))),
    ("later evaluation demanded", Rule.TCB_INFO_EVALUATION, with_policy(minimum_evaluation_number=18)),
    ("newer TCB demanded", Rule.TCB_DATE, with_policy(minimum_tcb_date=NOW)),
    ("nonce still to be filled in", Rule.BINDING_NONCE, with_policy(report_data="FRESH_NONCE")),
    ("another challenge", Rule.BINDING_REPORT_DATA, with_policy(report_data=ExpectedNonce(bytes(32)))),
    (
        "other report data demanded",
        Rule.BINDING_REPORT_DATA,
        with_policy(report_data=ExpectedReportData(bytes(64)), layers="UNSAFE_ANY_SANDBOX"),
    ),
    ("nothing said to be bound", Rule.BINDING_VALUES, with_evidence(bound=None)),
    ("swapped HPKE key", Rule.BINDING_REPORT_DATA, swap_key),
]  # fmt: skip
