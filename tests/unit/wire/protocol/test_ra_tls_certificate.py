"""Certificates taken apart: as cryptography, which others wrote, takes them apart."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from casemate.wire.errors import WireError
from casemate.wire.protocol.ra_tls import EVIDENCE_OID, GRAMINE_OID, LEGACY_OID
from casemate.wire.protocol.ra_tls_certificate import RaTlsCertificate

KEY = ec.generate_private_key(ec.SECP384R1())
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HASHES: dict[str, hashes.SHA256 | hashes.SHA384] = {"2": hashes.SHA256(), "3": hashes.SHA384()}


def made(
    *extensions: tuple[str, bytes, bool], serial: int = 1, end: datetime = START + timedelta(days=1), bits: str = "3"
) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    builder = x509.CertificateBuilder(name, name, KEY.public_key(), serial, START, end)
    for oid, value, critical in extensions:
        builder = builder.add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value), critical)
    return builder.sign(KEY, HASHES[bits]).public_bytes(Encoding.DER)


@given(
    st.binary(min_size=1, max_size=300),
    st.one_of(st.none(), st.binary(max_size=300)),
    st.integers(1, (1 << 159) - 1),
    st.datetimes(datetime(2026, 1, 3), datetime(2120, 1, 1)),
    st.sampled_from("23"),
)
def test_agrees_with_cryptography(evidence: bytes, legacy: bytes | None, serial: int, end: datetime, bits: str) -> None:
    end = end.replace(tzinfo=UTC, microsecond=0)
    listed = [(EVIDENCE_OID, evidence, False), *([] if legacy is None else [(LEGACY_OID, legacy, False)])]
    data = made(*listed, serial=serial, end=end, bits=bits)
    ours, theirs = RaTlsCertificate.parse(data), x509.load_der_x509_certificate(data)
    assert ours.signed == theirs.tbs_certificate_bytes
    assert ours.signature == theirs.signature
    assert ours.signature_algorithm == theirs.signature_algorithm_oid.dotted_string
    assert (ours.not_before, ours.not_after) == (theirs.not_valid_before_utc, theirs.not_valid_after_utc)
    assert ours.public_key == KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert (ours.evidence, ours.legacy_quote) == (evidence, legacy)


@given(st.binary(max_size=200))
def test_random_bytes_are_refused_by_a_typed_error(data: bytes) -> None:
    with pytest.raises(WireError):
        RaTlsCertificate.parse(data)


GOOD = made((EVIDENCE_OID, b"evidence", False), (GRAMINE_OID, b"quote", False))


@given(st.data())
def test_changed_certificates_are_a_value_or_a_typed_error(data: st.DataObject) -> None:
    changed = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    try:
        RaTlsCertificate.parse(bytes(changed))
    except WireError:
        return


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (made((EVIDENCE_OID, b"x", True)), "critical"),
        (made(("1.2.3.4", b"x", True)), "critical"),
        (made() + b"\x00", "after its end"),
        (b"\x30" + bytes(70_000), "70001 bytes"),
        (made(*((f"1.2.3.{number}", b"x", False) for number in range(33))), "at most 32"),
    ],
)
def test_refuses(data: bytes, words: str) -> None:
    with pytest.raises(WireError, match=words):
        RaTlsCertificate.parse(data)


def test_refuses_a_signature_that_is_not_ecdsa() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, START, START + timedelta(days=1))
    with pytest.raises(WireError, match="wants ECDSA"):
        RaTlsCertificate.parse(builder.sign(key, None).public_bytes(Encoding.DER))


def test_a_certificate_without_extensions_has_no_evidence() -> None:
    parsed = RaTlsCertificate.parse(made())
    assert parsed.evidence is None
    assert parsed.legacy_quote is None
