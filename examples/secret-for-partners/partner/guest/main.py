"""A partner of the keeper's: the secret opens in here alone."""

import hashlib
import hmac
from typing import TypedDict

from casemate.guest import Context


class Asked(TypedDict):
    """The secret as the keeper has sealed it, and what to tag with it."""

    sealed: str
    text: str


def tag(input: Asked, context: Context) -> str:  # noqa: A002 - as functions are called
    """HMAC-SHA-256 of the text under the secret, in hexadecimal."""
    secret: str = context.open(input["sealed"])
    return hmac.new(secret.encode(), input["text"].encode(), hashlib.sha256).hexdigest()
