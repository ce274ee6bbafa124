"""Questions to seal and to unseal."""

from collections.abc import Mapping
from dataclasses import dataclass

from casemate.engines.questions.reading import Head, Parser, value_of
from casemate.wire.errors import WireError
from casemate.wire.protocol.seal_binding import SealBinding
from casemate.wire.protocol.state_changes import MAX_VALUE

MAX_SEALED_TEXT = 2 * MAX_VALUE
"""Longest sealed text that is looked at (bytes)."""


@dataclass(frozen=True, slots=True)
class Seal:
    """Seals a value. Answered with the sealed text."""

    binding: SealBinding
    value: bytes


@dataclass(frozen=True, slots=True)
class Unseal:
    """Opens a sealed text. Answered with the JSON in it."""

    text: str


SealQuestion = Seal | Unseal


def _seal(head: Head, text: bytes) -> Seal:
    binding = head.get("policy")  # the name in manifests and in functions
    for known in SealBinding:
        if binding == known:
            return Seal(known, value_of(text))
    raise WireError("guest's question.policy", got=repr(binding)[:64], want=" or ".join(SealBinding))


def _unseal(_head: Head, text: bytes) -> Unseal:
    if len(text) > MAX_SEALED_TEXT:
        raise WireError("guest's sealed text", got=f"{len(text)} bytes", want=f"at most {MAX_SEALED_TEXT}")
    try:
        return Unseal(text.decode("ascii"))
    except UnicodeDecodeError:
        raise WireError("guest's sealed text", got="bytes that are not ASCII", want="base64") from None


PARSERS: Mapping[str, Parser[SealQuestion]] = {"seal": _seal, "unseal": _unseal}
"""By what a head says to do."""
