"""Certificate chains in PEM (RFC 7468), as quotes and collateral carry them."""

import base64
import binascii
import re
from dataclasses import dataclass

from casemate.wire.errors import WireError

MAX_CERTIFICATES = 8
"""The longest chain any format here has is five certificates; this bounds what a stranger makes us parse."""

MAX_CERTIFICATE = 16 * 1024
"""Longest certificate (bytes of DER); real ones have about a thousand."""

_BEGIN = "-----BEGIN CERTIFICATE-----"
_END = "-----END CERTIFICATE-----"
_BLOCK = re.compile(rf"{_BEGIN}([A-Za-z0-9+/=\s]*){_END}\s*".encode(), re.ASCII)
_PADDING = b"\x00\r\n\t "
"""Real quotes end the chain with a NUL, with line feeds, or with both."""

_LINE = 64


@dataclass(frozen=True, slots=True)
class PemCertificate:
    """One certificate and where its block stands in the text that it came from."""

    der: bytes
    offset: int
    size: int


def parse_chain(what: str, text: bytes) -> tuple[PemCertificate, ...]:
    """The certificates of a chain in the order in which they stand; nothing but white space and NULs around them."""
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


def encode_chain(*certificates: bytes) -> bytes:
    """DER certificates as PEM, in the order given, each block ending in a line feed."""
    lines: list[str] = []
    for der in certificates:
        body = base64.b64encode(der).decode()
        lines += [_BEGIN, *(body[at : at + _LINE] for at in range(0, len(body), _LINE)), _END]
    return ("\n".join(lines) + "\n").encode()


def _decode(what: str, body: bytes) -> bytes:
    try:
        der = base64.b64decode(body.translate(None, b"\r\n\t \x0b\x0c"), validate=True)
    except binascii.Error:
        raise WireError(what, got="a block that is no base64", want="PEM certificates") from None
    if not 0 < len(der) <= MAX_CERTIFICATE:
        raise WireError(what, got=f"a certificate of {len(der)} bytes", want=f"1 to {MAX_CERTIFICATE}")
    return der
