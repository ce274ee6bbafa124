"""Parses X.509 certificates and revocation lists (RFC 5280, sections 4.1 and 5.1), before a library reads them.

A general library does too much with untrusted bytes: it parses every extension, and prints warnings about serial
numbers and names that RFC 5280 forbids, which end up in logs and on terminals. So names, serial numbers and extensions
are read here, and the library gets :attr:`CertificateParts.readable`, with a serial number that causes no warning.
Everything is unverified.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

from casemate.wire.encodings import der
from casemate.wire.encodings.der import DerReader
from casemate.wire.errors import WireError

MAX_EXTENSIONS = 64
"""Most extensions of a certificate or list; Intel's and AMD's have up to ten."""

MAX_NAME_PARTS = 32
"""Most attributes of a name; Intel's and AMD's have up to six."""

MAX_SERIAL = 21
"""Longest serial number (bytes): 20 (RFC 5280, section 4.1.2.2), and a zero before a top bit that is set."""

MAX_PUBLIC_KEY = 1024
"""Longest SubjectPublicKeyInfo (bytes); RSA of 4,096 bits takes 550. Work grows with the square of a key's size."""

EC_PUBLIC_KEY = "1.2.840.10045.2.1"
"""id-ecPublicKey (RFC 5480, section 2.1.1)."""
RSA_PUBLIC_KEY = "1.2.840.113549.1.1.1"
"""rsaEncryption (RFC 3279, section 2.3.1)."""

_COMMON_NAME = der.oid_contents("2.5.4.3")
_BASIC_CONSTRAINTS, _KEY_USAGE, _CRL_NUMBER = "2.5.29.19", "2.5.29.15", "2.5.29.20"
UNDERSTOOD = frozenset((_BASIC_CONSTRAINTS, _KEY_USAGE))
"""Extensions that the chain rules apply, so they may be critical."""
DIGITAL_SIGNATURE, KEY_CERT_SIGN, CRL_SIGN = 0x80, 0x04, 0x02
"""Bits 0, 5 and 6 of keyUsage, as :attr:`CertificateParts.key_usage` has them."""
_EXPLICIT_0, _EXPLICIT_3 = 0xA0, 0xA3
_UNIQUE_IDS = (0x81, 0x82)
_TIMES = (der.UTC_TIME, der.GENERALIZED_TIME)
_TEXTS = {der.UTF8_STRING: "utf-8", der.PRINTABLE_STRING: "ascii", der.IA5_STRING: "ascii"}
_POSITIVE = 0x01
MAX_LIST_NUMBER = (1 << 159) - 1
"""Highest cRLNumber: 20 bytes (RFC 5280, section 5.2.3)."""


@dataclass(frozen=True, slots=True)
class Extension:
    """One extension."""

    critical: bool
    value: bytes
    """What its OCTET STRING holds."""


@dataclass(frozen=True, slots=True)
class CertificateParts:
    """The parts of a certificate that are read here."""

    signed: bytes
    """TBSCertificate."""
    serial: int
    """May be negative or zero: AMD numbers its VCEKs 0."""
    issuer: bytes
    """The name in DER, as it stands there."""
    subject: bytes
    common_name: str
    """The subject's, if it has exactly one; else empty."""
    public_key: bytes
    """SubjectPublicKeyInfo in DER."""
    public_key_algorithm: str
    """Dotted OID."""
    is_ca: bool
    path_length: int | None
    key_usage: int | None
    """The first eight bits, bit 0 in 0x80; None where the extension is not there."""
    extensions: dict[str, Extension]
    """All, by dotted OID."""
    readable: bytes = field(repr=False)
    """The certificate, with 1 in place of a serial number that is not positive: for the library, never for a signature.
    """

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Parses DER; :class:`WireError` where it is not a certificate."""
        outer = DerReader("certificate", data)
        whole = outer.inside("Certificate")
        outer.end()
        signed = whole.whole("tbsCertificate", der.SEQUENCE)
        whole.whole("signatureAlgorithm", der.SEQUENCE)
        whole.whole("signatureValue", der.BIT_STRING)
        whole.end()

        tbs = DerReader("certificate", signed).inside("tbsCertificate")
        if tbs.next_tag() == _EXPLICIT_0:
            tbs.contents("version", _EXPLICIT_0)
        raw_serial = tbs.contents("serialNumber", der.INTEGER)
        serial_end = len(signed) - tbs.remaining
        serial = _serial("certificate.serialNumber", raw_serial)
        tbs.whole("signature", der.SEQUENCE)
        issuer = tbs.whole("issuer", der.SEQUENCE)
        tbs.whole("validity", der.SEQUENCE)
        subject = tbs.whole("subject", der.SEQUENCE)
        public_key = tbs.whole("subjectPublicKeyInfo", der.SEQUENCE)
        for tag in _UNIQUE_IDS:
            if tbs.next_tag() == tag:
                tbs.contents("uniqueID", tag)
        extensions = _extensions("certificate.extensions", tbs, _EXPLICIT_3)
        tbs.end()
        _common_names("certificate.issuer", issuer)
        names = _common_names("certificate.subject", subject)
        is_ca, path_length = _basic_constraints(extensions.get(_BASIC_CONSTRAINTS))
        return cls(
            signed=signed,
            serial=serial,
            issuer=issuer,
            subject=subject,
            common_name=names[0] if len(names) == 1 else "",
            public_key=public_key,
            public_key_algorithm=_key_algorithm(public_key),
            is_ca=is_ca,
            path_length=path_length,
            key_usage=_key_usage(extensions.get(_KEY_USAGE)),
            extensions=extensions,
            readable=data if serial > 0 else _renumbered(data, signed, serial_end - len(raw_serial)),
        )


@dataclass(frozen=True, slots=True)
class RevocationListParts:
    """The parts of a revocation list that are read here."""

    signed: bytes
    """TBSCertList."""
    issuer: bytes
    """The name in DER, as it stands there."""
    serials: frozenset[int]
    critical: tuple[str, ...]
    """Dotted OIDs of critical extensions, of the list or of any entry; each once."""
    number: int | None = None
    """cRLNumber, which rises with each list of an issuer; None where the list has none."""

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Parses DER; :class:`WireError` where it is not a revocation list."""
        outer = DerReader("revocation list", data)
        whole = outer.inside("CertificateList")
        outer.end()
        signed = whole.whole("tbsCertList", der.SEQUENCE)
        whole.whole("signatureAlgorithm", der.SEQUENCE)
        whole.whole("signatureValue", der.BIT_STRING)
        whole.end()

        tbs = DerReader("revocation list", signed).inside("tbsCertList")
        if tbs.next_tag() == der.INTEGER:
            tbs.uint("version", 1)
        tbs.whole("signature", der.SEQUENCE)
        issuer = tbs.whole("issuer", der.SEQUENCE)
        _common_names("revocation list.issuer", issuer)
        for name in ("thisUpdate", "nextUpdate"):
            if (tag := tbs.next_tag()) in _TIMES:
                tbs.contents(name, tag)
        serials: frozenset[int] = frozenset()
        critical: dict[str, None] = {}
        if tbs.next_tag() == der.SEQUENCE:
            serials = frozenset(_entries(tbs.inside("revokedCertificates"), critical))
        extensions = _extensions("revocation list.extensions", tbs, _EXPLICIT_0)
        critical |= _critical(extensions)
        tbs.end()
        return cls(signed, issuer, serials, tuple(critical), _list_number(extensions.get(_CRL_NUMBER)))


def _list_number(extension: Extension | None) -> int | None:
    if extension is None:
        return None
    outer = DerReader("revocation list.cRLNumber", extension.value)
    number = outer.uint("CRLNumber", MAX_LIST_NUMBER)
    outer.end()
    return number


def _entries(entries: DerReader, critical: dict[str, None]) -> Iterator[int]:
    """The revoked serial numbers, one after the other: a list of them would be as large as the set of them again."""
    while entries.remaining:
        yield _entry(entries, critical)


def _entry(entries: DerReader, critical: dict[str, None]) -> int:
    entry = entries.inside("entry")
    serial = _serial("revocation list.userCertificate", entry.contents("userCertificate", der.INTEGER))
    tag = entry.next_tag()
    entry.contents("revocationDate", tag if tag in _TIMES else der.UTC_TIME)
    if entry.remaining:
        critical |= _critical(_listed("revocation list.crlEntryExtensions", entry.inside("crlEntryExtensions")))
        entry.end()
    return serial


def _serial(where: str, raw: bytes) -> int:
    if not 0 < len(raw) <= MAX_SERIAL:
        raise WireError(where, got=f"{len(raw)} bytes", want=f"1 to {MAX_SERIAL}")
    return int.from_bytes(raw, "big", signed=True)


def _renumbered(data: bytes, signed: bytes, serial_at: int) -> bytes:
    at = data.index(signed) + serial_at
    return data[:at] + bytes((_POSITIVE,)) + data[at + 1 :]


def _extensions(where: str, reader: DerReader, tag: int) -> dict[str, Extension]:
    if reader.next_tag() != tag:
        return {}
    outer = DerReader(where, reader.contents("extensions", tag))
    listed = outer.inside("extensions")
    outer.end()
    return _listed(where, listed)


def _listed(where: str, listed: DerReader) -> dict[str, Extension]:
    """Extensions by OID, each of which may occur once."""
    found: dict[str, Extension] = {}
    while listed.remaining:
        if len(found) == MAX_EXTENSIONS:
            raise WireError(where, got="more", want=f"at most {MAX_EXTENSIONS}")
        extension = listed.inside("extension")
        oid = der.dotted(where, extension.contents("extnID", der.OBJECT_IDENTIFIER))
        critical = extension.next_tag() == der.BOOLEAN and extension.boolean("critical")
        value = extension.contents("extnValue", der.OCTET_STRING)
        extension.end()
        if oid in found:
            raise WireError(where, got=f"{oid} twice", want="each once")
        found[oid] = Extension(critical, value)
    return found


def _critical(extensions: dict[str, Extension]) -> dict[str, None]:
    return {oid: None for oid, extension in extensions.items() if extension.critical}


def _common_names(where: str, name: bytes) -> list[str]:
    """RFC 5280, section 4.1.2.4: a SEQUENCE of SETs of types and values."""
    found: list[str] = []
    count = 0
    relatives = DerReader(where, name).inside("Name")
    while relatives.remaining:
        pairs = DerReader(where, relatives.contents("RelativeDistinguishedName", der.SET))
        while pairs.remaining:
            count += 1
            if count > MAX_NAME_PARTS:
                raise WireError(where, got="more attributes", want=f"at most {MAX_NAME_PARTS}")
            pair = pairs.inside("AttributeTypeAndValue")
            kind = pair.contents("type", der.OBJECT_IDENTIFIER)
            tag = pair.next_tag()
            if tag is None:
                raise WireError(where, got="a type without a value", want="both")
            value = pair.contents("value", tag)
            pair.end()
            if kind == _COMMON_NAME and tag in _TEXTS:
                found.append(_decoded(where, value, _TEXTS[tag]))
    return found


def _decoded(where: str, value: bytes, encoding: str) -> str:
    try:
        return value.decode(encoding)
    except UnicodeDecodeError:
        raise WireError(where, got=f"bytes that are no {encoding}", want="text") from None


def _key_algorithm(public_key: bytes) -> str:
    where = "certificate.subjectPublicKeyInfo"
    if len(public_key) > MAX_PUBLIC_KEY:
        raise WireError(where, got=f"{len(public_key)} bytes", want=f"at most {MAX_PUBLIC_KEY}")
    algorithm = DerReader("certificate", public_key).inside("subjectPublicKeyInfo").inside("algorithm")
    return der.dotted(where, algorithm.contents("algorithm", der.OBJECT_IDENTIFIER))


def _basic_constraints(extension: Extension | None) -> tuple[bool, int | None]:
    """RFC 5280, section 4.2.1.9."""
    if extension is None:
        return False, None
    outer = DerReader("certificate.basicConstraints", extension.value)
    constraints = outer.inside("BasicConstraints")
    outer.end()
    is_ca = constraints.next_tag() == der.BOOLEAN and constraints.boolean("cA")
    length = constraints.uint("pathLenConstraint", 0xFF) if constraints.remaining else None
    constraints.end()
    return is_ca, length


def _key_usage(extension: Extension | None) -> int | None:
    """RFC 5280, section 4.2.1.3: a BIT STRING of up to nine named bits."""
    if extension is None:
        return None
    outer = DerReader("certificate.keyUsage", extension.value)
    bits = outer.contents("KeyUsage", der.BIT_STRING)
    outer.end()
    if not 1 < len(bits) <= 3 or bits[0] > 7:
        raise WireError("certificate.keyUsage", got=bits[:8].hex(), want="one to nine bits")
    return bits[1]
