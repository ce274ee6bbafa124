"""Questions about the evidence of other enclaves, and what is sealed for them."""

from collections.abc import Mapping
from dataclasses import dataclass

from casemate.engines.questions.reading import Head, Parser, no_text, value_of
from casemate.wire.errors import WireError
from casemate.wire.protocol.sealed_secret import MAX_SECRET_TEXT
from casemate.wire.protocol.state_changes import MAX_VALUE

MAX_APPRAISED = 2 * MAX_VALUE
"""Longest text of an appraisal (bytes of JSON)."""
_MAX_HANDLE = 1 << 16


@dataclass(frozen=True, slots=True)
class DrawNonce:
    """Draws a nonce. Answered with it, in hexadecimal."""


@dataclass(frozen=True, slots=True)
class Appraise:
    """Appraises evidence. Answered with an object that has its claims, or the rule that does not hold."""

    text: bytes
    """JSON of the guest's, unparsed: a list of the evidence, the policy and the nonce."""


@dataclass(frozen=True, slots=True)
class SealFor:
    """Seals a value to the key of an enclave that this call has appraised. Answered with the sealed text."""

    claims: int
    """The number in the answer to that appraisal."""
    value: bytes


@dataclass(frozen=True, slots=True)
class OpenSecret:
    """Opens what another enclave has sealed to this one's key. Answered with the JSON in it."""

    text: str


AppraisalQuestion = DrawNonce | Appraise | SealFor


def _nonce(_head: Head, text: bytes) -> DrawNonce:
    no_text(text)
    return DrawNonce()


def _appraise(_head: Head, text: bytes) -> Appraise:
    if len(text) > MAX_APPRAISED:
        raise WireError("guest's appraisal", got=f"{len(text)} bytes", want=f"at most {MAX_APPRAISED}")
    return Appraise(text)


def _seal_for(head: Head, text: bytes) -> SealFor:
    claims = head.get("claims")
    if type(claims) is not int or not 0 <= claims < _MAX_HANDLE:
        raise WireError("guest's question.claims", got=repr(claims)[:64], want="the number of an appraisal")
    return SealFor(claims, value_of(text))


def _open(_head: Head, text: bytes) -> OpenSecret:
    if len(text) > MAX_SECRET_TEXT:
        raise WireError("guest's sealed secret", got=f"{len(text)} bytes", want=f"at most {MAX_SECRET_TEXT}")
    try:
        return OpenSecret(text.decode("ascii"))
    except UnicodeDecodeError:
        raise WireError("guest's sealed secret", got="bytes that are not ASCII", want="base64") from None


PARSERS: Mapping[str, Parser[AppraisalQuestion | OpenSecret]] = {
    "nonce": _nonce,
    "appraise": _appraise,
    "seal-for": _seal_for,
    "open": _open,
}
"""By what a head says to do."""
