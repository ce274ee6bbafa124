"""Questions of an enclave to the chip, over the socket that is its identity. It never learns which TEE it is in."""

import socket
import time
from collections import deque
from typing import TypeVar

from casemate.enclave.io.loop import Loop, Pending
from casemate.enclave.io.socket_peer import SocketPeer
from casemate.link.errors import PeerGoneError, TimedOutError
from casemate.link.frames import MAX_FRAME
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.errors import WireError
from casemate.wire.messages.leaf import (
    AnchorAdvance,
    AnchorIs,
    AnchorRead,
    Boot,
    GetReportKey,
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
    """The enclave's end of its link to the chip: questions, and as many answers in their order.

    A chip that is gone, silent or wrong (:class:`PeerGoneError`, :class:`TimedOutError`, :class:`WireError`) ends the
    enclave.
    """

    def __init__(self, chip: SocketPeer) -> None:
        self._chip = chip
        self._waiting: deque[Pending[bytes]] = deque()
        self._boot: Pending[bytes] = Pending()
        self._waiting.append(self._boot)
        chip.hear(self._heard)

    async def boot(self) -> Boot:
        """The first frame: pages and identity."""
        return parse_message(await _in_time(self._boot, BOOT_TIMEOUT), Boot)

    def tell(self, message: object) -> None:
        """Sends a message that has no reply."""
        self._chip.send(encode_message(message))

    async def report(self, target_info: bytes, report_data: bytes) -> bytes:
        """A report about this enclave, for the target; :class:`FaultError` where the chip refuses."""
        return (await self._ask(MakeReport(target_info, report_data), ReportMade)).report

    async def report_key(self, key_id: bytes) -> bytes:
        """The 128-bit key of REPORTs for this enclave with that KEYID; :class:`FaultError` where the chip refuses."""
        return (await self._ask(GetReportKey(key_id), KeyIs)).key

    async def sealing_key(self, wanted: GetSealingKey) -> bytes:
        """A 128-bit key of this enclave's; :class:`FaultError` where the chip refuses."""
        return (await self._ask(wanted, KeyIs)).key

    async def anchor_read(self, binding: SealBinding) -> AnchorIs:
        """The newest history of this enclave's state; :class:`FaultError` where the chip refuses."""
        return await self._ask(AnchorRead(binding), AnchorIs)

    async def anchor_advance(self, binding: SealBinding, *, epoch: int, head: bytes) -> AnchorIs:
        """Makes ``head`` the newest history if the anchor is at ``epoch``; :class:`FaultError` if it is not."""
        return await self._ask(AnchorAdvance(binding, epoch, head), AnchorIs)

    async def _ask(self, question: object, wanted: type[T]) -> T:
        answer: Pending[bytes] = Pending()
        self._waiting.append(answer)
        self._chip.send(encode_message(question))
        reply: object = parse_message(await _in_time(answer, LEAF_TIMEOUT), wanted, Fault)
        if isinstance(reply, Fault):
            raise FaultError(reply)
        if isinstance(reply, wanted):
            return reply
        raise WireError("chip's reply", got=type(reply).__name__, want=wanted.__name__)

    def _heard(self, frame: bytes | None) -> None:
        if frame is None or not self._waiting:
            raise PeerGoneError("the chip speaks unasked, or at too great length")
        self._waiting.popleft().set(frame)


def chip_peer(loop: Loop, sock: socket.socket) -> SocketPeer:
    """The chip's end of the link, which the enclave owns from now on."""
    return SocketPeer(loop, "chip", sock, limit=MAX_FRAME)


async def _in_time(answer: Pending[bytes], seconds: float) -> bytes:
    if not await answer.done_by(time.monotonic() + seconds):
        raise TimedOutError(f"the chip did not answer within {seconds:g} s")
    return answer.result()
