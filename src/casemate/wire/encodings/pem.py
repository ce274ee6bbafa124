"""Certificates in PEM (RFC 7468): strictly, as in quotes and collateral; and leniently, as people keep them in files.

Files have text around the blocks, which section 2 of the RFC allows and OpenSSL writes: ``# SEV-VCEK``, the output of
``openssl x509 -text`` or ``openssl s_client -showcerts``. :func:`read_certificates` and :func:`read_revocation_list`
skip it; :func:`parse_chain` refuses it.
"""

import base64
import binascii
import re
from dataclasses import dataclass

from casemate.wire.errors import WireError

MAX_CERTIFICATES = 8
"""Most certificates of a chain: bounds the work on hostile input. The longest chain of any format here has five."""

MAX_CERTIFICATE = 16 * 1024
"""Longest certificate (bytes of DER); real ones have about a thousand."""

_BEGIN = "-----BEGIN CERTIFICATE-----"
_END = "-----END CERTIFICATE-----"
_BLOCK = re.compile(rf"{_BEGIN}([A-Za-z0-9+/=\s]*){_END}\s*".encode(), re.ASCII)
_PADDING = b"\x00\r\n\t "
"""Real quotes end the chain with a NUL, with line feeds, or with both."""

_LINE = 64

_BOUNDARY = rb"-----BEGIN ([A-Z0-9][A-Z0-9 .]{0,60})-----"
_BLOCK_START = re.compile(rb"(?:\A|[\r\n])[\x00 \t]*(?:\xef\xbb\xbf)?" + _BOUNDARY, re.ASCII)
"""A block's first line, after an optional byte order mark or white space."""
_NEXT_BLOCK = re.compile(_BOUNDARY, re.ASCII)
"""Directly after another block's end, as in files that were joined without a line end."""
_CERTIFICATE_LABELS = ("CERTIFICATE", "X509 CERTIFICATE")
_REVOCATION_LABELS = ("X509 CRL",)
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_SEQUENCE = 0x30
_DER_SHORT = 0x80


@dataclass(frozen=True, slots=True)
class PemCertificate:
    """One certificate and where its block stands in the text that it came from."""

    der: bytes
    offset: int
    size: int


def parse_chain(what: str, text: bytes) -> tuple[PemCertificate, ...]:
    """The certificates of a chain, in their order; only white space and NULs may be around them."""
    offset = len(text) - len(text.lstrip(_PADDING))
    end = len(text.rstrip(_PADDING))
    found: list[PemCertificate] = []
    while offset < end:
        block = _BLOCK.match(text, offset)
        if block is None:
            raise WireError(what, got=f"something else at byte {offset}", want="PEM certificates")
        if len(found) == MAX_CERTIFICATES:
            raise WireError(what, got=f"more than {MAX_CERTIFICATES} certificates", want=f"at most {MAX_CERTIFICATES}")
        found.append(PemCertificate(_decode(what, block.group(1)), offset, block.end() - offset))
        offset = block.end()
    if not found:
        raise WireError(what, got="no certificate", want="PEM certificates")
    return tuple(found)


def read_certificates(what: str, data: bytes) -> tuple[bytes, ...]:
    """The certificates (DER) of a file that a person named: one in DER, or PEM with text around the blocks.

    Args:
        what: the file, for the error.
        data: all of it.

    Raises:
        WireError: it holds none, more than :data:`MAX_CERTIFICATES`, a damaged block, or a block of another kind, such
            as a private key, of which the error tells the label and nothing else.
    """
    return _read(what, data, _CERTIFICATE_LABELS, "certificate", MAX_CERTIFICATE)


def read_revocation_list(what: str, data: bytes, *, limit: int) -> bytes:
    """The revocation list (DER) of a file that a person named, as :func:`read_certificates`.

    Args:
        what: the file, for the error.
        data: all of it.
        limit: the longest list accepted (bytes of DER).

    Raises:
        WireError: it holds none, several, a damaged block, or a block of another kind.
    """
    found = _read(what, data, _REVOCATION_LABELS, "revocation list", limit)
    if len(found) != 1:
        raise WireError(what, got=f"{len(found)} revocation lists", want="one")
    return found[0]


def is_pem(data: bytes) -> bool:
    """Whether the text has the start of a block of any kind."""
    return _BLOCK_START.search(data) is not None


def pem_labels(data: bytes) -> tuple[str, ...]:
    """The labels of the blocks in the text, in their order, at most :data:`MAX_CERTIFICATES`."""
    found = (start[1].decode() for start in _BLOCK_START.finditer(data))
    return tuple(label for label, _ in zip(found, range(MAX_CERTIFICATES), strict=False))


def _without_zeros_after_der(data: bytes) -> bytes:
    """One DER value of 128 bytes or more without the zero bytes behind it; unchanged where others are behind it."""
    start = 2 + data[1] - _DER_SHORT
    size = int.from_bytes(data[2:start])
    return data[: start + size] if not any(data[start + size :]) else data


def _read(what: str, data: bytes, labels: tuple[str, ...], kind: str, limit: int) -> tuple[bytes, ...]:
    if len(data) > 1 and data[0] == _SEQUENCE and data[1] > _DER_SHORT:  # 0x30 is the digit 0 in a text, too
        return (_without_zeros_after_der(data),)
    if data.startswith(_UTF_16):
        raise WireError(what, got="text in UTF-16", want=f"a {kind} in PEM as ASCII or UTF-8, or in DER")
    found: list[bytes] = []
    at = 0
    while (start := _NEXT_BLOCK.match(data, at) or _BLOCK_START.search(data, at)) is not None:
        label = start[1].decode()
        if label not in labels:
            secret = "a private key, which belongs to nobody else: " if "PRIVATE KEY" in label else ""
            raise WireError(what, got=f"{secret}a block of {label}", want=f"blocks of {labels[0]} alone")
        if len(found) == MAX_CERTIFICATES:
            raise WireError(what, got=f"more than {MAX_CERTIFICATES} blocks", want=f"at most {MAX_CERTIFICATES}")
        end = f"-----END {label}-----".encode()
        stop = data.find(end, start.end())
        if stop < 0:
            raise WireError(what, got=f"a block of {label} without its end", want=f"{kind}s in PEM")
        found.append(_decode(what, data[start.end() : stop], kind, limit))
        at = stop + len(end)
    if not found:
        raise WireError(what, got=f"no {kind}", want=f"a {kind} in PEM or DER")
    return tuple(found)


def encode_chain(*certificates: bytes) -> bytes:
    """DER certificates as PEM, in the order given, each block ending in a line feed."""
    lines: list[str] = []
    for der in certificates:
        body = base64.b64encode(der).decode()
        lines += [_BEGIN, *(body[at : at + _LINE] for at in range(0, len(body), _LINE)), _END]
    return ("\n".join(lines) + "\n").encode()


def _decode(what: str, body: bytes, kind: str = "certificate", limit: int = MAX_CERTIFICATE) -> bytes:
    try:
        der = base64.b64decode(body.translate(None, b"\r\n\t \x0b\x0c"), validate=True)
    except binascii.Error:
        raise WireError(what, got="a block that is no base64", want=f"{kind}s in PEM") from None
    if not 0 < len(der) <= limit:
        raise WireError(what, got=f"a {kind} of {len(der)} bytes", want=f"1 to {limit}")
    return der
