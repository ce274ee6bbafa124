"""The question to call another enclave."""

from collections.abc import Mapping
from dataclasses import dataclass

from casemate.engines.questions.reading import Head, Parser
from casemate.wire.errors import WireError
from casemate.wire.protocol.state_changes import MAX_VALUE

MAX_CALLED = 2 * MAX_VALUE
"""Longest arguments of a call (bytes of JSON)."""
LONGEST_NAME = 64
"""Longest name of an enclave or of an operation (characters)."""


@dataclass(frozen=True, slots=True)
class CallOther:
    """Calls another enclave. Answered with an object that has its result, or the error that it ended with."""

    service: str
    """NAME of ``[uses.NAME]``, as the guest says."""
    operation: str
    """The entry point there."""
    arguments: bytes
    """JSON of the guest's, unparsed."""


def _call(head: Head, text: bytes) -> CallOther:
    if len(text) > MAX_CALLED:
        raise WireError("guest's call", got=f"{len(text)} bytes", want=f"at most {MAX_CALLED}")
    return CallOther(_name(head, "service"), _name(head, "operation"), text)


def _name(head: Head, member: str) -> str:
    name = head.get(member)
    if not isinstance(name, str) or len(name) > LONGEST_NAME:
        raise WireError(f"guest's question.{member}", got=repr(name)[:64], want=f"at most {LONGEST_NAME} characters")
    return name


PARSERS: Mapping[str, Parser[CallOther]] = {"call": _call}
"""By what a head says to do."""
