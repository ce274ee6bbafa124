import contextlib
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from casemate.verifier.crypto import parse_certificate, parse_revocation_list
from casemate.verifier.roots import INTEL_SGX_ROOT_CA
from casemate.verifier.snp.certificates import parse_amd_certificate, parse_amd_revocation_list
from casemate.wire.encodings import der
from casemate.wire.encodings.der import DerReader
from casemate.wire.encodings.x509 import (
    CRL_SIGN,
    DIGITAL_SIGNATURE,
    KEY_CERT_SIGN,
    CertificateParts,
    RevocationListParts,
)
from casemate.wire.errors import WireError

CA = CertificateParts.parse(INTEL_SGX_ROOT_CA)


def _rebuilt(*, serial: bytes | None = None, subject: bytes | None = None, extensions: bytes | None = None) -> bytes:
    """The root's certificate with another serial number, name or extensions; its signature holds no more."""
    whole = DerReader("certificate", INTEL_SGX_ROOT_CA).inside("Certificate")
    tbs = whole.inside("tbs")
    rest = [whole.whole("algorithm", der.SEQUENCE), whole.whole("signature", der.BIT_STRING)]
    parts = [der.element(0xA0, tbs.contents("version", 0xA0))]
    number = tbs.contents("serial", der.INTEGER)
    parts.append(der.element(der.INTEGER, number if serial is None else serial))
    parts += [tbs.whole(name, der.SEQUENCE) for name in ("algorithm", "issuer", "validity", "subject", "key")]
    if subject is not None:
        parts[5] = subject
    listed = tbs.contents("extensions", 0xA3)
    parts.append(der.element(0xA3, listed if extensions is None else extensions))
    return der.element(der.SEQUENCE, der.element(der.SEQUENCE, *parts), *rest)


def _name(country: bytes) -> bytes:
    pair = der.element(der.SEQUENCE, der.oid("2.5.4.6"), der.element(der.PRINTABLE_STRING, country))
    return der.element(der.SEQUENCE, der.element(der.SET, pair))


def _extension(oid: bytes, value: bytes = b"\x05\x00") -> bytes:
    return der.element(der.SEQUENCE, der.element(der.OBJECT_IDENTIFIER, oid), der.element(der.OCTET_STRING, value))


ZERO, NEGATIVE, LONG_COUNTRY = _rebuilt(serial=b"\x00"), _rebuilt(serial=b"\xff" * 20), _rebuilt(subject=_name(b"USA"))


def test_parts_are_those_that_the_library_finds() -> None:
    parsed = x509.load_der_x509_certificate(INTEL_SGX_ROOT_CA)
    assert CA.signed == parsed.tbs_certificate_bytes
    assert CA.serial == parsed.serial_number
    assert (CA.subject, CA.issuer) == (parsed.subject.public_bytes(), parsed.issuer.public_bytes())
    assert CA.common_name == "Intel SGX Root CA"
    assert (CA.is_ca, CA.path_length, CA.key_usage) == (True, 1, KEY_CERT_SIGN | CRL_SIGN)
    assert list(CA.extensions) == [extension.oid.dotted_string for extension in parsed.extensions]
    assert CA.readable == INTEL_SGX_ROOT_CA
    assert not (CA.key_usage or 0) & DIGITAL_SIGNATURE


def test_a_certificate_numbered_zero_is_read() -> None:
    assert parse_amd_certificate(ZERO).serial == 0
    assert parse_certificate(ZERO).serial == 0
    assert parse_certificate(ZERO).signed == CertificateParts.parse(ZERO).signed != CA.signed
    assert x509.load_der_x509_certificate(CertificateParts.parse(ZERO).readable).serial_number == 1


@pytest.mark.parametrize("serial", [b"\xff", b"\xff" * 20, b"\x80" + bytes(19)])
def test_a_negative_serial_number_is_refused_by_verifiers_and_read_by_who_explains(serial: bytes) -> None:
    odd = _rebuilt(serial=serial)
    for parse in (parse_certificate, parse_amd_certificate):
        with pytest.raises(WireError, match=r"certificate.serialNumber is -0x"):
            parse(odd)
    assert CertificateParts.parse(odd).serial == int.from_bytes(serial, signed=True)


@pytest.mark.parametrize("country", [b"USA", b"", b"U" * 100])
def test_names_of_odd_lengths_are_bytes_to_compare(country: bytes) -> None:
    odd = _rebuilt(subject=_name(country))
    assert parse_certificate(odd).subject == parse_amd_certificate(odd).subject == _name(country)
    assert parse_certificate(odd).common_name == ""


PROGRAM = """
import sys, threading, warnings
from casemate.cli.inspection.certificate import inspect_certificate
from casemate.verifier import crypto
from casemate.verifier.snp import certificates as amd_certificates
from casemate.wire.errors import WireError

filters = list(warnings.filters)
certificates = [bytes.fromhex(line) for line in sys.stdin]

def parse():
    for _ in range(20):
        for data in certificates:
            for read in (crypto.parse_certificate.__wrapped__, amd_certificates.parse_amd_certificate.__wrapped__,
                         inspect_certificate):
                try:
                    read(data)
                except WireError:
                    pass
            assert warnings.filters == filters

threads = [threading.Thread(target=parse) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


@pytest.mark.parametrize("action", ["always", "error"])
def test_no_python_warning_is_printed_whatever_a_certificate_holds_with_threads(action: str) -> None:
    issuer_name = der.element(0x30, der.element(0xA1, der.element(0xA4, _name(b"USA"))))
    other = der.element(der.SEQUENCE, _extension(der.oid_contents("2.5.29.35"), issuer_name))
    given = "\n".join(data.hex() for data in (ZERO, NEGATIVE, LONG_COUNTRY, _rebuilt(extensions=other)))
    done = subprocess.run(
        [sys.executable, "-W", action, "-c", PROGRAM], input=given, capture_output=True, text=True, check=False
    )
    assert (done.stderr, done.stdout, done.returncode) == ("", "", 0)


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        (b"", "0 bytes"),
        (INTEL_SGX_ROOT_CA + b"\x00", "after its end"),
        (_rebuilt(serial=b""), "serialNumber is 0 bytes"),
        (_rebuilt(serial=b"\x01" * 22), "serialNumber is 22 bytes"),
        (_rebuilt(subject=der.element(der.SEQUENCE, *[_name(b"US")[2:]] * 33)), "subject is more attributes"),
        (_rebuilt(extensions=der.element(der.SEQUENCE, *[_extension(b"\x2a\x01")] * 2)), "1.2.1 twice"),
        (
            _rebuilt(extensions=der.element(der.SEQUENCE, *(_extension(bytes((0x2A, at))) for at in range(65)))),
            "extensions is more",
        ),
        (_rebuilt(extensions=der.element(der.SEQUENCE, _extension(b"\xff" * 5000 + b"\x01"))), "an OID of 5001 bytes"),
        (_rebuilt(extensions=der.element(der.SEQUENCE, _extension(b"\x2a\x80"))), "an OID of 2 bytes"),
    ],
)
def test_refuses_what_is_no_certificate_or_more_than_one_has(certificate: bytes, reason: str) -> None:
    with pytest.raises(WireError, match=reason) as refusal:
        CertificateParts.parse(certificate)
    assert len(str(refusal.value)) < 300


@given(st.integers(0, len(INTEL_SGX_ROOT_CA) - 1), st.binary(max_size=4))
def test_changed_certificates_are_parts_or_a_wire_error(at: int, change: bytes) -> None:
    changed = INTEL_SGX_ROOT_CA[:at] + change + INTEL_SGX_ROOT_CA[at + len(change) :]
    for parse in (CertificateParts.parse, RevocationListParts.parse):
        with contextlib.suppress(WireError):
            parse(changed)


def _list(*serials: int, critical: bool = False) -> bytes:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody")])
    made = x509.CertificateRevocationListBuilder(issuer, start, start + timedelta(days=30))
    for serial in serials:
        entry = x509.RevokedCertificateBuilder(serial, start)
        entry = entry.add_extension(x509.CRLReason(x509.ReasonFlags.key_compromise), critical=critical)
        made = made.add_revoked_certificate(entry.build())
    made = made.add_extension(x509.CRLNumber(7), critical=False)
    return made.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(Encoding.DER)


def test_a_list_is_its_issuer_and_its_serial_numbers() -> None:
    encoded = _list(1, 2**159 - 1)
    parts, parsed = RevocationListParts.parse(encoded), x509.load_der_x509_crl(encoded)
    assert parts.serials == {1, 2**159 - 1}
    assert parts.issuer == parsed.issuer.public_bytes()
    assert parts.signed == parsed.tbs_certlist_bytes
    assert parts.critical == ()
    assert RevocationListParts.parse(_list()).serials == frozenset()


def test_critical_extensions_of_entries_are_named() -> None:
    assert RevocationListParts.parse(_list(1, 2, critical=True)).critical == ("2.5.29.21",)
    for parse in (parse_revocation_list, parse_amd_revocation_list):
        with pytest.raises(WireError, match=r"critical 2.5.29.21"):
            parse(_list(1, critical=True))
