"""The verifier inside an enclave. No other module of this room imports it; :mod:`casemate.enclave.parts` loads it.

An enclave that appraises others' evidence runs the verifier that relying parties run, as part of its measured runtime.
"""

from contextlib import suppress
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from casemate.enclave.rehearsal import RehearsalError
from casemate.verifier import PolicyError, parse_any_policy
from casemate.verifier.crypto import certificate_issued_by, parse_certificate, parse_revocation_list, signed_by
from casemate.verifier.roots import INTEL_SGX_ROOT_CA
from casemate.verifier.snp.certificates import issued_by, parse_amd_certificate, report_signed_by
from casemate.wire.errors import WireError

_TIME = datetime(2026, 1, 1, tzinfo=UTC)
_RSA_BITS = 4096


def rehearse_appraisal() -> None:
    """Runs every kind of parser and signature check that the verifier uses, or raises :class:`RehearsalError`.

    Libraries import parts of themselves at first use, which a confined enclave cannot do any more.
    """
    _rehearse_intel()
    _rehearse_amd()
    with suppress(PolicyError):
        parse_any_policy("[policy]")


def _rehearse_intel() -> None:
    root = parse_certificate(INTEL_SGX_ROOT_CA)
    if root.point is None or not certificate_issued_by(root.point, root.signature, root.signed):
        raise RehearsalError("Intel's root certificate does not verify under its own key")
    if signed_by(root.point, bytes(64), root.signed):
        raise RehearsalError("a signature of zeros verified")
    with suppress(WireError):
        parse_certificate(b"")
        raise RehearsalError("nothing was parsed as a certificate")
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateRevocationListBuilder().issuer_name(_NAME).last_update(_TIME).next_update(_TIME)
    made = builder.add_extension(x509.CRLNumber(1), critical=False).sign(key, hashes.SHA256())
    parse_revocation_list(made.public_bytes(Encoding.DER))


def _rehearse_amd() -> None:
    """RSA with a key that nobody has, since to make one of 4096 bits takes seconds: what is to be seen is a refusal."""
    key = ec.generate_private_key(ec.SECP384R1())
    builder = x509.CertificateBuilder().subject_name(_NAME).issuer_name(_NAME).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(_TIME).not_valid_after(_TIME)
    parse_amd_certificate(builder.sign(key, hashes.SHA384()).public_bytes(Encoding.DER))
    point = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    modulus = (1 << _RSA_BITS) - 1
    public = rsa.RSAPublicNumbers(65537, modulus).public_key()
    encoded = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if issued_by(encoded, bytes(_RSA_BITS // 8), b"") or report_signed_by(point, 1, 1, b""):
        raise RehearsalError("a signature that nobody made verified")


_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "rehearsal")])
