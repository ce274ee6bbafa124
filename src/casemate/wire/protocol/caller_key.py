"""A caller's public key as text, such as in a manifest: ``ed25519:`` and the base64 of its 32 bytes, with padding."""

import base64
import binascii

from casemate.wire.errors import WireError

PREFIX = "ed25519:"
KEY_SIZE = 32


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
