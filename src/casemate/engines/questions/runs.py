"""The question to run code that a caller has brought."""

from collections.abc import Mapping
from dataclasses import dataclass

from casemate.engines.questions.reading import Head, Parser
from casemate.wire.errors import WireError
from casemate.wire.protocol.state_changes import MAX_VALUE

MAX_RUN = 2 * MAX_VALUE
"""Longest text of a run (bytes of JSON)."""


@dataclass(frozen=True, slots=True)
class Run:
    """Runs code. Answered with an object that has its result, or the error that it ended with."""

    text: bytes
    """JSON of the guest's, unparsed: a list of the engine, the sources, the entry, the argument and the limits."""


def _run(_head: Head, text: bytes) -> Run:
    if len(text) > MAX_RUN:
        raise WireError("guest's run", got=f"{len(text)} bytes", want=f"at most {MAX_RUN}")
    return Run(text)


PARSERS: Mapping[str, Parser[Run]] = {"run": _run}
"""By what a head says to do."""
