"""Drafts of RA-TLS certificates, to be changed before they are signed."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from casemate.testing.forge import Forged, honest
from casemate.verifier import SgxPolicy
from casemate.wire.protocol.ra_tls import (
    EVIDENCE_OID,
    LEGACY_OID,
    Claims,
    HashAlgorithm,
    PubkeyHash,
    TaggedEvidence,
    legacy_report_data,
    report_data_of_claims,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def forged_quote(report_data: bytes, mr_enclave: bytes | None = None) -> Forged:
    forgery = honest(NOW)
    forgery.body = replace(forgery.body, report_data=report_data)
    if mr_enclave is not None:
        forgery.body = replace(forgery.body, mr_enclave=mr_enclave)
    return forgery.sign()


PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@dataclass
class Draft:
    """A certificate that is still to be signed; change what you like."""

    key: PrivateKey
    claims: bytes
    evidence_claims: bytes
    forged: Forged
    legacy: Forged
    extensions: Callable[["Draft"], list[tuple[str, bytes, bool]]]
    signer: PrivateKey | None = None
    not_before: datetime = NOW - timedelta(minutes=1)
    not_after: datetime = NOW + timedelta(days=1)

    def sign(self) -> bytes:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
        builder = x509.CertificateBuilder(
            name, name, self.key.public_key(), 7, self.not_before, self.not_after
        ).add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        for oid, value, critical in self.extensions(self):
            extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value)
            builder = builder.add_extension(extension, critical=critical)
        signer = self.signer or self.key
        return builder.sign(
            signer, None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA384()
        ).public_bytes(Encoding.DER)


def both(draft: Draft) -> list[tuple[str, bytes, bool]]:
    return [*legacy(draft), *tagged(draft)]


def tagged(draft: Draft) -> list[tuple[str, bytes, bool]]:
    value = TaggedEvidence(draft.forged.evidence.quote, draft.evidence_claims).encode()
    return [(EVIDENCE_OID, value, False)]


def legacy(draft: Draft) -> list[tuple[str, bytes, bool]]:
    return [(LEGACY_OID, draft.legacy.evidence.quote, False)]


def spki(key: PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def draft(
    key: PrivateKey | None = None, nonce: bytes | None = None, algorithm: HashAlgorithm = HashAlgorithm.SHA_256
) -> Draft:
    key = key or ec.generate_private_key(ec.SECP384R1())
    claims = Claims(PubkeyHash.of(spki(key), algorithm), () if nonce is None else (("nonce", nonce),)).encode()
    return Draft(
        key,
        claims,
        claims,
        forged_quote(report_data_of_claims(claims)),
        forged_quote(legacy_report_data(spki(key))),
        both,
    )


def policy_of(forged: Forged) -> SgxPolicy:
    """As a relying party has it before there is a connection; the layers are judged elsewhere."""
    return replace(forged.policy, report_data="FRESH_NONCE", layers="UNSAFE_ANY_SANDBOX")
