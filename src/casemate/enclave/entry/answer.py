"""The outcome of a successful call, before it is sealed."""

from dataclasses import dataclass

from casemate.wire.protocol.call import StateMark


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a call, and what a receipt says about it."""

    output: bytes
    """JSON, as the entry point's schema lets it out."""
    committed_input: bytes
    """The bytes that the receipt commits to: the arguments as the caller sent them, or a stream's text."""
    committed_output: bytes
    state: StateMark | None
    """Where in its history the sealed state stood; None where the call touched none."""
