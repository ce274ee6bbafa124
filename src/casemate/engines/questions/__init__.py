"""Questions that a guest asks the enclave itself in the middle of a call: a module for each thing that it may ask for.

Each has a head (JSON) that says what to do, and bytes where a value belongs to it. Values are JSON of the guest's,
unparsed. The bootstrap refuses what is too long or misshapen by an exception in the program. So a guest that sends it
all the same has got past the bootstrap, and is ended.
"""

from collections.abc import Mapping

from casemate.engines.questions import appraisals, calls, keys, runs, seals, state
from casemate.engines.questions.reading import Head, Parser
from casemate.wire.errors import WireError
from casemate.wire.protocol.state_changes import MAX_VALUE

MAX_QUESTION = 2 * MAX_VALUE
"""Longest bytes beside a head: the two values of a comparison, a sealed text, arguments, or code to be run."""

InsideQuestion = (
    state.StateQuestion
    | seals.SealQuestion
    | calls.CallOther
    | runs.Run
    | keys.UseKey
    | appraisals.AppraisalQuestion
    | appraisals.OpenSecret
)

_PARSERS: Mapping[str, Parser[InsideQuestion]] = {
    **state.PARSERS,
    **seals.PARSERS,
    **calls.PARSERS,
    **runs.PARSERS,
    **keys.PARSERS,
    **appraisals.PARSERS,
}


def parse_question(head: Head, text: bytes) -> InsideQuestion:
    """The question in a head and the bytes behind it; :class:`WireError` if it is malformed."""
    do = head.get("do")
    parse = _PARSERS.get(do) if isinstance(do, str) else None
    if parse is None:
        raise WireError("guest's question.do", got=repr(do)[:64], want=" or ".join(_PARSERS))
    return parse(head, text)
