"""What one enclave seals for another whose evidence it has appraised: HPKE (RFC 9180) to the key that REPORTDATA binds.

Base mode: whoever has the public key can seal to it, so what opens says nothing of who has sealed it, or when.
"""

import base64
import binascii

from casemate.wire.errors import WireError

_MAGIC = b"casemate secret 1\x00"
_LABEL = b"casemate secret for an enclave v1\x00"
"""Sessions' secrets are sealed to the same key under labels of their own, so neither opens as the other."""

MAX_SECRET = 1024 * 1024
"""Longest value (bytes of JSON)."""
MAX_SECRET_TEXT = 2 * 1024 * 1024
"""Longest text that is looked at (characters): the longest value, padded and sealed, in base64."""


def secret_info(receiver: bytes) -> bytes:
    """HPKE's ``info``, for the receiver's HPKE key (32 bytes)."""
    return _LABEL + receiver


def secret_text(sealed: bytes) -> str:
    """What is handed on: base64 of a mark, HPKE's encapsulated key and the ciphertext of the padded value."""
    return base64.b64encode(_MAGIC + sealed).decode()


def parse_secret(text: str) -> bytes:
    """Encapsulated key and ciphertext; :class:`WireError` for other text."""
    if len(text) > MAX_SECRET_TEXT:
        raise WireError("sealed secret", got=f"{len(text)} characters", want=f"at most {MAX_SECRET_TEXT}")
    try:
        sealed = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise WireError("sealed secret", got="other text", want="base64") from None
    if not sealed.startswith(_MAGIC):
        raise WireError("sealed secret", got=sealed[: len(_MAGIC)].hex(), want="what claims.seal has made")
    return sealed[len(_MAGIC) :]
