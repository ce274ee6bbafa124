"""What the readers of questions have in common."""

from collections.abc import Callable
from typing import TypeAlias, TypeVar

from casemate.wire.errors import WireError
from casemate.wire.protocol.state_changes import MAX_VALUE

Question = TypeVar("Question")

Head = dict[str, object]
"""What a question says to do, and small things that belong to it."""

Parser: TypeAlias = Callable[[Head, bytes], Question]
"""Reads a head and the bytes behind it; raises :class:`WireError` if they are malformed."""


def value_of(text: bytes) -> bytes:
    """A value, which is not too long."""
    if len(text) > MAX_VALUE:
        raise WireError("guest's value", got=f"{len(text)} bytes", want=f"at most {MAX_VALUE}")
    return text


def no_text(text: bytes) -> None:
    """Refuses bytes behind a question that has none."""
    if text:
        raise WireError("guest's question", got=f"{len(text)} bytes behind what it holds", want="none")
