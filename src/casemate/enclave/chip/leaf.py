"""Questions of an enclave to the chip, over the socket that is its identity. It never learns which TEE it is in."""

from typing import TypeVar

from casemate.link.channel import Channel
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.errors import WireError
from casemate.wire.messages.leaf import (
    AnchorAdvance,
    AnchorIs,
    AnchorRead,
    Boot,
    GetSealingKey,
    KeyIs,
    MakeReport,
    ReportMade,
)
from casemate.wire.protocol.faults import Fault, FaultError
from casemate.wire.protocol.seal_binding import SealBinding

T = TypeVar("T")

LEAF_TIMEOUT = 10.0
"""Longest wait for an answer (seconds); then the chip counts as dead."""

BOOT_TIMEOUT = 30.0
"""Longest wait for the pages (seconds)."""


class Leaf:
    """The enclave's end of its socket to the chip: one question, one reply.

    A chip that is gone, silent or wrong (:class:`PeerGoneError`, :class:`TimedOutError`, :class:`WireError`) ends the
    enclave.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def fileno(self) -> int:
        """The socket's descriptor. Between questions the chip says nothing, so whatever happens here is its end."""
        return self._channel.fileno()

    def boot(self) -> Boot:
        """The first frame: pages and identity."""
        return parse_message(self._channel.receive(timeout=BOOT_TIMEOUT).payload, Boot)

    def tell(self, message: object) -> None:
        """Sends a message that has no reply."""
        self._channel.send(encode_message(message), timeout=LEAF_TIMEOUT)

    def report(self, target_info: bytes, report_data: bytes) -> bytes:
        """A report about this enclave, for the target; :class:`FaultError` where the chip refuses."""
        return self._ask(MakeReport(target_info, report_data), ReportMade).report

    def sealing_key(self, wanted: GetSealingKey) -> bytes:
        """A 128-bit key of this enclave's; :class:`FaultError` where the chip refuses."""
        return self._ask(wanted, KeyIs).key

    def anchor_read(self, binding: SealBinding) -> AnchorIs:
        """The newest history of this enclave's state; :class:`FaultError` where the chip refuses."""
        return self._ask(AnchorRead(binding), AnchorIs)

    def anchor_advance(self, binding: SealBinding, *, epoch: int, head: bytes) -> AnchorIs:
        """Makes ``head`` the newest history if the anchor is at ``epoch``; :class:`FaultError` if it is not."""
        return self._ask(AnchorAdvance(binding, epoch, head), AnchorIs)

    def _ask(self, question: object, wanted: type[T]) -> T:
        self.tell(question)
        reply: object = parse_message(self._channel.receive(timeout=LEAF_TIMEOUT).payload, wanted, Fault)
        if isinstance(reply, Fault):
            raise FaultError(reply)
        if isinstance(reply, wanted):
            return reply
        raise WireError("chip's reply", got=type(reply).__name__, want=wanted.__name__)
