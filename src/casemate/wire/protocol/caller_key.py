"""A caller's public key as text, such as in a manifest: ``ed25519:`` and the base64 of its 32 bytes, with padding."""

import base64
import binascii

from casemate.wire.errors import WireError

PREFIX = "ed25519:"
KEY_SIZE = 32

_SMALL_ORDER = frozenset(
    int.from_bytes(bytes.fromhex(encoded), "little")
    for encoded in (
        "00" * 32,
        "01" + "00" * 31,
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
    )
)
"""The y coordinates of points of order 1, 2, 4 and 8 (RFC 8032, section 5.1: the cofactor is 8), and those of them that
are not reduced; the highest bit of an encoding is the sign of x and is left out."""


def has_small_order(public_key: bytes) -> bool:
    """Whether anybody can sign for this Ed25519 key: its point has an order of at most 8, and so it has no owner."""
    return int.from_bytes(public_key, "little") & ~(1 << 255) in _SMALL_ORDER


def caller_key_text(public_key: bytes) -> str:
    """The text of an Ed25519 public key (32 bytes)."""
    return PREFIX + base64.b64encode(public_key).decode()


def parse_caller_key(field: str, text: str) -> bytes:
    """The key in a text, which has to be spelled as :func:`caller_key_text` does.

    :class:`WireError` names ``field``.
    """
    try:
        raw = base64.b64decode(text.removeprefix(PREFIX).encode(), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raw = b""
    if len(raw) != KEY_SIZE or text != caller_key_text(raw):
        shown = repr(text)
        got = shown if len(shown) <= 80 else f"{shown[:80]}..."
        raise WireError(field, got=got, want=f"{PREFIX} and base64 of an Ed25519 public key, {KEY_SIZE} bytes")
    return raw
