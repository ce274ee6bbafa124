"""The host's link: entries come in under numbers, replies go out under the same numbers, in any order.

In between, the enclave asks the host questions: OCALLs, records of the sealed state, what other enclaves say. Each has
a number of its own, which its answer repeats; ``wire.messages.entry`` and ``wire.messages.peers`` have the rules for
both ends. What the host sends besides is dropped.
"""

import itertools
from collections.abc import Callable

from casemate.enclave.io.loop import Pending
from casemate.enclave.io.socket_peer import SocketPeer
from casemate.link.numbered_frames import NEWS, numbered, numbered_reply, split
from casemate.wire.encodings.message import parse_message
from casemate.wire.errors import WireError
from casemate.wire.messages.entry import OcallAnswer, OcallRefused
from casemate.wire.messages.peers import PEER_ANSWERS
from casemate.wire.messages.state import STATE_ANSWERS
from casemate.wire.protocol.faults import Code, fault

OnEntry = Callable[[int, bytes | memoryview], None]
"""Takes an entry: its number, above 0, and its message's bytes."""


class HostLink:
    """Entries, replies, questions and their answers, over the host's socket."""

    def __init__(self, host: SocketPeer) -> None:
        self._host = host
        self._numbers = itertools.count(1)
        self._asked: dict[int, tuple[Pending[object], tuple[type, ...]]] = {}
        self._on_entry: OnEntry | None = None

    @property
    def backlog(self) -> int:
        """Bytes that the host has yet to take."""
        return self._host.backlog

    def open(self, on_entry: OnEntry) -> None:
        """From now on hears the host, and gives its entries to ``on_entry``."""
        self._on_entry = on_entry
        self._host.hear(self._heard)

    def reply(self, entry: int, message: object) -> None:
        """Answers an entry."""
        self._host.send(numbered_reply(entry, message))

    def tell(self, message: object) -> None:
        """Sends a message that has no answer."""
        self._host.send(numbered(NEWS, message))

    async def ask(self, question: Callable[[int], object], deadline: float, *wanted: type) -> object | None:
        """Asks; the answer, or None if it has not come in time.

        Args:
            question: makes the message that carries the number it is given.
            deadline: on the monotonic clock.
            wanted: the classes that answer it; all else is dropped.
        """
        number = next(self._numbers)
        answer: Pending[object] = Pending()
        self._host.send(numbered(NEWS, question(number)))
        self._asked[number] = answer, wanted
        try:
            return answer.result() if await answer.done_by(deadline) else None
        finally:
            del self._asked[number]

    def _heard(self, frame: bytes | None) -> None:
        try:
            if frame is None:
                raise WireError("frame", got="a longer one than any entry", want="an entry or an answer")
            number, message = split(frame)
        except WireError as error:  # nobody can say which entry it was meant to be
            self.tell(fault(Code.MALFORMED, str(error)))
            return
        if number == NEWS:
            self._answered(message)
        elif self._on_entry is not None:
            self._on_entry(number, message)

    def _answered(self, message: bytes | memoryview) -> None:
        try:
            said: object = parse_message(message, OcallAnswer, OcallRefused, *STATE_ANSWERS, *PEER_ANSWERS)
        except WireError:
            return
        waiting, wanted = self._asked.get(getattr(said, "number", 0), (None, ()))
        if waiting is not None and isinstance(said, wanted):
            waiting.set(said)
