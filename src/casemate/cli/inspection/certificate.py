"""X.509 certificates of the SGX PKI, element by element (RFC 5280, section 4.1, and Intel's PCK profile)."""

import hashlib
from collections.abc import Iterator

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from casemate.cli.inspection.der_tree import BOOLEAN, ENUMERATED, INTEGER, SEQUENCE, Element, element_at
from casemate.cli.inspection.field import Field, Inspection
from casemate.wire.encodings.spans import as_hex
from casemate.wire.encodings.x509 import EC_PUBLIC_KEY, RSA_PUBLIC_KEY, CertificateParts
from casemate.wire.errors import WireError
from casemate.wire.protocol.simulated_mark import SIMULATED_OIDS, SimulatedMark, SimulatedSerial
from casemate.wire.sgx.pck import SGX_EXTENSION_OID, PckExtension

_PROFILE = "Intel SGX PCK Certificate and CRL Profile 1.5, 1.3.5"
_VERSION_TAG = 0xA0
_EXTENSIONS_TAG = 0xA3
_TBS_PARTS = 6
"""Serial number, signature, issuer, validity, subject, key; version and extensions may be around them."""
_DEEPEST = 6
"""Nesting of the SGX extension that is followed; Intel's is two deep."""

_LONGEST_NUMBER = 32
"""Bytes of an integer that is written out in digits; longer ones are shown in hexadecimal."""

_EXTENSIONS = {
    "2.5.29.14": ("subjectKeyIdentifier", "RFC 5280, 4.2.1.2"),
    "2.5.29.15": ("keyUsage", "RFC 5280, 4.2.1.3"),
    "2.5.29.19": ("basicConstraints", "RFC 5280, 4.2.1.9"),
    "2.5.29.31": ("cRLDistributionPoints", "RFC 5280, 4.2.1.13"),
    "2.5.29.35": ("authorityKeyIdentifier", "RFC 5280, 4.2.1.1"),
    SGX_EXTENSION_OID: ("SGX extensions", _PROFILE),
    **dict.fromkeys(SIMULATED_OIDS, ("SIMULATED", "Casemate, docs/simulated.md")),
}

_ATTRIBUTES = {"2.5.4.3": "CN", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.10": "O", "2.5.4.11": "OU"}

_SGX_MEMBERS = {
    "1": "PPID",
    "2": "TCB",
    **{f"2.{number}": f"SGX TCB component {number:02} SVN" for number in range(1, 17)},
    "2.17": "PCESVN",
    "2.18": "CPUSVN",
    "3": "PCE-ID",
    "4": "FMSPC",
    "5": "SGX type",
    "6": "platform instance id",
    "7": "configuration",
    "7.1": "dynamic platform",
    "7.2": "cached keys",
    "7.3": "SMT enabled",
}


def inspect_certificate(der: bytes) -> Inspection:
    """A certificate in DER, whoever issued it; :class:`WireError` if it is none."""
    facts = _facts(der)
    root = element_at(der, 0, len(der))
    return Inspection(
        "certificate",
        "X.509 certificate",
        len(der),
        (*facts, *_marks(root)),
        tuple(_certificate(root)),
        many_sources=True,
    )


def simulated_mark(der: bytes) -> SimulatedMark | None:
    """The mark in a certificate (DER) of a simulated maker; None in others."""
    inspect_certificate(der)
    for extension in _extensions(element_at(der, 0, len(der))):
        oid, value = _oid_and_value(extension)
        if oid in SIMULATED_OIDS:
            return SimulatedMark.parse(value.contents)
    return None


def _facts(der: bytes) -> tuple[tuple[str, str], ...]:
    """The contents of a certificate as `cryptography` parses it; raises if it is not valid X.509."""
    parts = CertificateParts.parse(der)
    try:
        certificate = x509.load_der_x509_certificate(parts.readable)
        return (
            ("subject", _distinguished_name(parts.subject)),
            ("issuer", _distinguished_name(parts.issuer)),
            ("serial number", f"{parts.serial:x}"),
            *_said_by(parts.serial),
            ("valid from", certificate.not_valid_before_utc.isoformat()),
            ("valid until", certificate.not_valid_after_utc.isoformat()),
            ("public key", _key(certificate, parts.public_key_algorithm)),
            ("SHA-256", hashlib.sha256(der).hexdigest()),
            ("key's SHA-256", hashlib.sha256(parts.public_key).hexdigest()),
        )
    except (ValueError, TypeError, OverflowError, x509.InvalidVersion) as error:
        raise WireError("certificate", got=f"no X.509: {str(error)[:120]}", want="one certificate in DER") from None


def _said_by(serial: int) -> tuple[tuple[str, str], ...]:
    """The claims that the serial number of a simulated chip's certificate encodes; unverified."""
    match SimulatedSerial.find(serial):
        case SimulatedSerial.MADE_BY_SOFTWARE:
            return (("simulated", "SIMULATED, by its serial number"),)
        case SimulatedSerial.FROM_PUBLIC_SEED:
            return (("simulated", "SIMULATED from a public seed, by its serial number"),)
        case None:
            return ()


def _key(certificate: x509.Certificate, algorithm: str) -> str:
    if algorithm not in (EC_PUBLIC_KEY, RSA_PUBLIC_KEY):
        return f"of a kind that is not known here: {algorithm}"
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        return f"of a kind that is not known here: {str(error)[:120]}"
    if isinstance(key, EllipticCurvePublicKey):
        return f"ECDSA on {key.curve.name}"
    return type(key).__name__.removesuffix("PublicKey")


def _marks(root: Element) -> tuple[tuple[str, str], ...]:
    """The contents of Casemate's and Intel's extensions."""
    found: list[tuple[str, str]] = []
    for extension in _extensions(root):
        oid, value = _oid_and_value(extension)
        try:
            if oid in SIMULATED_OIDS:
                found.append(("simulated", SimulatedMark.parse(value.contents).text))
            elif oid == SGX_EXTENSION_OID:
                found += _platform(PckExtension.parse(value.contents))
        except WireError as error:  # show the certificate all the same
            found.append(("malformed", str(error)))
    return tuple(found)


def _platform(pck: PckExtension) -> tuple[tuple[str, str], ...]:
    return (
        ("FMSPC", pck.fmspc.hex()),
        ("TCB components", pck.tcb.components.hex(" ")),
        ("PCESVN", str(pck.tcb.pce_svn)),
        ("SGX type", pck.sgx_type.name.lower().replace("_", " ")),
    )


def _extensions(root: Element) -> Iterator[Element]:
    for element in root.first().children():
        if element.tag == _EXTENSIONS_TAG:
            yield from element.inside().children()


def _oid_and_value(extension: Element) -> tuple[str, Element]:
    parts = tuple(extension.children())
    if len(parts) < 2:
        raise WireError("DER", got=f"{len(parts)} elements at {extension.start}", want="an OID and a value")
    return parts[0].oid(), parts[-1]


def _certificate(root: Element) -> Iterator[Field]:
    """The certificate's elements, outer before inner."""
    tbs, algorithm, signature = root.exactly(3)
    yield _field("certificate", root, "SEQUENCE", "RFC 5280, 4.1", 0)
    yield _field("tbsCertificate", tbs, "what the issuer signed", "RFC 5280, 4.1.2", 1)
    yield from _tbs(tbs)
    yield _field("signatureAlgorithm", algorithm, _algorithm(algorithm), "RFC 5280, 4.1.1.2", 1)
    yield _field("signatureValue", signature, as_hex(signature.contents[1:]), "RFC 5280, 4.1.1.3", 1)


def _tbs(tbs: Element) -> Iterator[Field]:
    parts = list(tbs.children())
    if parts and parts[0].tag == _VERSION_TAG:
        version = parts.pop(0)
        yield _field("version", version, f"v{version.contents[-1] + 1}", "RFC 5280, 4.1.2.1", 2)
    if len(parts) < _TBS_PARTS:
        raise WireError("tbsCertificate", got=f"{len(parts)} elements", want=f"at least {_TBS_PARTS}")
    serial, algorithm, issuer, validity, subject, key, *rest = parts
    yield _field("serialNumber", serial, serial.contents.hex(), "RFC 5280, 4.1.2.2", 2)
    yield _field("signature", algorithm, _algorithm(algorithm), "RFC 5280, 4.1.2.3", 2)
    yield _field("issuer", issuer, _name(issuer), "RFC 5280, 4.1.2.4", 2)
    for name, time in zip(("notBefore", "notAfter"), validity.exactly(2), strict=True):
        yield _field(f"validity.{name}", time, time.contents.decode("ascii", "replace"), "RFC 5280, 4.1.2.5", 2)
    yield _field("subject", subject, _name(subject), "RFC 5280, 4.1.2.6", 2)
    yield _field("subjectPublicKeyInfo", key, as_hex(key.exactly(2)[1].contents[1:]), "RFC 5280, 4.1.2.7", 2)
    for element in rest:
        if element.tag == _EXTENSIONS_TAG:
            for extension in element.inside().children():
                yield from _extension(extension)
        else:
            yield _field("uniqueID", element, as_hex(element.contents), "RFC 5280, 4.1.2.8", 2)


def _extension(extension: Element) -> Iterator[Field]:
    oid, value = _oid_and_value(extension)
    name, source = _EXTENSIONS.get(oid, (oid, "RFC 5280, 4.1.2.9"))
    critical = any(part.tag == BOOLEAN and any(part.contents) for part in extension.children())
    meaning = f"{'critical' if critical else 'not critical'}: {as_hex(value.contents)}"
    yield _field(f"extension {name}", extension, meaning, source, 2)
    if oid == SGX_EXTENSION_OID:
        yield from _sgx_members(value.inside(), 3)


def _sgx_members(members: Element, depth: int) -> Iterator[Field]:
    """SEQUENCE of SEQUENCE { OBJECT IDENTIFIER, value }; two of the values are such sequences again."""
    for member in members.children():
        oid, value = _oid_and_value(member)
        suffix = oid.removeprefix(f"{SGX_EXTENSION_OID}.")
        nested = value.tag == SEQUENCE and depth < _DEEPEST
        meaning = f"{len(list(value.children()))} members" if nested else _value(value)
        yield _field(_SGX_MEMBERS.get(suffix, oid), member, meaning, f"{_PROFILE}, OID .{suffix}", depth)
        if nested:
            yield from _sgx_members(value, depth + 1)


def _value(element: Element) -> str:
    if element.tag in (INTEGER, ENUMERATED) and len(element.contents) <= _LONGEST_NUMBER:
        return str(int.from_bytes(element.contents, signed=True))
    if element.tag == BOOLEAN:
        return "true" if any(element.contents) else "false"
    return as_hex(element.contents)


def _algorithm(element: Element) -> str:
    oid = element.first().oid()
    return {"1.2.840.10045.4.3.2": "ecdsa-with-SHA256"}.get(oid, oid)


def _name(name: Element) -> str:
    """A name in the order of the file, with attribute types by their OIDs where they are unknown."""
    return ", ".join(text for relative in name.children() for text in _attributes(relative))


def _distinguished_name(name: bytes) -> str:
    """A name in the form of RFC 4514: the last part first."""
    relatives = list(element_at(name, 0, len(name)).children())
    return ",".join("+".join(_attributes(relative)) for relative in reversed(relatives))


def _attributes(relative: Element) -> Iterator[str]:
    for pair in relative.children():
        kind, value = pair.exactly(2)
        text = value.contents.decode("utf-8", "replace")
        for special in '\\,+"<>;':
            text = text.replace(special, f"\\{special}")
        yield f"{_ATTRIBUTES.get(kind.oid(), kind.oid())}={text}"


def _field(name: str, element: Element, meaning: str, source: str, depth: int) -> Field:
    return Field(name, element.start, element.raw, meaning, source, depth)
