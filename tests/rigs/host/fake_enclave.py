"""The enclave's end of an entry socket, to be played by a test of the host."""

import socket
from typing import TypeVar

from casemate.link.async_channel import AsyncChannel
from casemate.link.numbered_frames import NEWS, numbered, split
from casemate.wire.encodings.message import parse_message
from casemate.wire.messages.entry import Enter, Left, Ready

T = TypeVar("T")


class FakeEnclave:
    """Speaks the frames of ``wire.messages.entry``, and whatever else it is told to."""

    def __init__(self, sock: socket.socket) -> None:
        self.channel = AsyncChannel(sock)

    async def ready(self, concurrent: int = 1) -> None:
        """Says that it can be entered."""
        await self.tell(Ready(concurrent))

    async def entered(self, *wanted: type[T]) -> tuple[int, T]:
        """The next entry, of one of these classes, and its number."""
        number, message = split((await self.channel.receive()).payload)
        assert number > NEWS
        return number, parse_message(message, *wanted)

    async def answered(self, *wanted: type[T]) -> T:
        """The next frame, which must be the answer to a question."""
        number, message = split((await self.channel.receive()).payload)
        assert number == NEWS
        return parse_message(message, *wanted)

    async def reply(self, number: int, message: object) -> None:
        """Answers an entry."""
        await self.channel.send(numbered(number, message))

    async def tell(self, message: object) -> None:
        """Asks a question, or says what has no answer."""
        await self.channel.send(numbered(NEWS, message))

    async def echo(self) -> None:
        """Answers calls, one after the other, with their own sealed bytes."""
        while True:
            number, entered = await self.entered(Enter)
            await self.reply(number, Left(entered.envelope.sealed))
