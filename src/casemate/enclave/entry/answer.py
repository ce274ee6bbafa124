"""What a function makes of a call, before it is sealed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from casemate.enclave.guest.meter import Meter
from casemate.wire.protocol.call import CallMetrics, Refusal, StateMark
from casemate.wire.protocol.faults import Fault, FaultError
from casemate.wire.protocol.inner_receipts import InnerReceipt


@dataclass(frozen=True, slots=True)
class Answer:
    """A function's answer to a call, and what a receipt says about it."""

    said: bytes | Refusal
    """The result as JSON that the entry point's schema lets out; or the function's refusal."""
    committed_input: bytes
    """The bytes that the receipt commits to: the arguments as the caller sent them, or a stream's text."""
    committed_output: bytes
    state: StateMark | None
    """Where in its history the sealed state stood; None where the call touched none."""
    metrics: CallMetrics
    inner: tuple[InnerReceipt, ...] = ()
    """The receipts of the calls that it has made, where the manifest hands them on."""


class FailedCallError(FaultError):
    """A call is refused that a guest was given: with what it has used until then."""

    def __init__(self, fault: Fault, metrics: CallMetrics) -> None:
        super().__init__(fault)
        self.metrics = metrics


@contextmanager
def measured(meter: Meter) -> Iterator[None]:
    """Has each refusal that the block raises tell what the call has used.

    Raises:
        FailedCallError: instead of any other :class:`FaultError`.
    """
    try:
        yield
    except FaultError as error:
        raise FailedCallError(error.fault, meter.metrics()) from None


def put_out(said: bytes | Refusal) -> bytes:
    """The function's own part of what it says to its caller."""
    return said.details if isinstance(said, Refusal) else said


def committed(said: bytes | Refusal) -> bytes:
    """The text that a receipt commits to as the output of a call in one piece, and that a stream's text has inside."""
    return said.committed() if isinstance(said, Refusal) else said
