"""The enclave's TLS key and the certificate that carries the evidence for it.

The key is on P-384, signatures are ECDSA: of the stacks whose clients this is for, Gramine's and Intel's make such keys
themselves, and all accept them (Gramine's ra_tls_verify_common.c takes P-384 and P-256; the interoperability tests of
the CCC Attestation SIG show each with the others'). An Ed25519 key none of them takes.

A key is made anew with each certificate, never leaves the enclave, and signs handshakes and this certificate alone.
"""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from casemate.wire.errors import WireError
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.protocol.ra_tls import (
    EVIDENCE_OID,
    LEGACY_OID,
    Claims,
    PubkeyHash,
    TaggedEvidence,
    legacy_report_data,
    report_data_of_claims,
)
from casemate.wire.sgx.quote import Quote

VALIDITY = timedelta(hours=24)
"""How long a certificate is valid: the evidence in it says what the TCB was worth when it was made."""

LEEWAY = timedelta(minutes=5)
"""Most that clients' clocks may be behind."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A key with its certificate."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    def __repr__(self) -> str:
        """Without the key."""
        return f"Credentials({self.certificate.subject.rfc4514_string()})"


class KeyToCertify:
    """A new key, for which there are no quotes yet."""

    __slots__ = ("_claims", "_key", "_public_key")

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP384R1())
        self._public_key = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self._claims = Claims(PubkeyHash.of(self._public_key)).encode()

    def __repr__(self) -> str:
        """Without the key."""
        return f"KeyToCertify({self._public_key.hex()})"

    def report_datas(self) -> tuple[bytes, bytes]:
        """What the quotes must vouch for: the tagged evidence's first, then the legacy one's."""
        return report_data_of_claims(self._claims), legacy_report_data(self._public_key)

    def certify(self, quotes: tuple[bytes, ...], *, name: str, now: datetime) -> Credentials:
        """A self-signed certificate with both kinds of evidence.

        Args:
            quotes: over :meth:`report_datas`, in that order. They are the host's word, and not verified here: who
                connects does that. Quotes for something else are refused all the same, since no client could use them.
            name: the enclave's, for people.
            now: by a clock that nobody vouches for.

        Raises:
            FaultError: these are not the quotes.
        """
        wanted = self.report_datas()
        if len(quotes) != len(wanted):
            raise refuse(Code.MALFORMED, f"{len(quotes)} quotes, want {len(wanted)}")
        for quote, report_data in zip(quotes, wanted, strict=True):
            _check_quote(quote, report_data)
        evidence, legacy = TaggedEvidence(quotes[0], self._claims).encode(), quotes[1]
        names = x509.Name(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, name),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Casemate enclave"),
            ]
        )
        local = (
            x509.DNSName("localhost"),
            x509.IPAddress(IPv4Address("127.0.0.1")),
            x509.IPAddress(IPv6Address("::1")),
        )
        identifier = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        builder = (
            x509.CertificateBuilder()
            .subject_name(names)
            .issuer_name(names)
            .public_key(self._key.public_key())
            .serial_number(secrets.randbits(128) | 1)
            .not_valid_before(now - LEEWAY)
            .not_valid_after(now + VALIDITY)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_KEY_USAGE, critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName(local), critical=False)
            .add_extension(identifier, critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        )
        for oid, value in ((LEGACY_OID, legacy), (EVIDENCE_OID, evidence)):
            builder = builder.add_extension(
                x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value), critical=False
            )
        return Credentials(self._key, builder.sign(self._key, hashes.SHA384()))


_KEY_USAGE = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


def now() -> datetime:
    """The machine's clock, in whole seconds, as certificates have them."""
    return datetime.now(UTC).replace(microsecond=0)


def _check_quote(data: bytes, report_data: bytes) -> None:
    try:
        quote = Quote.parse(data)
    except WireError as error:
        raise refuse(Code.MALFORMED, f"no quote: {error}") from None
    if quote.body.report_data != report_data:
        raise refuse(Code.MALFORMED, "a quote for another key: REPORTDATA is not what was reported")
