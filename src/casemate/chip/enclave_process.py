"""Serves the leaf functions of one enclave process over its private socket."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import NoReturn, cast

from casemate.chip.errors import PartWantedError
from casemate.chip.leaf_functions import LEAF_QUESTIONS, LeafQuestion
from casemate.link.async_channel import AsyncChannel
from casemate.link.errors import PeerGoneError
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.errors import WireError
from casemate.wire.messages.leaf import Boot, Booted, PartWanted
from casemate.wire.protocol.faults import Code, Fault, FaultError, encode_reply, refuse

BOOT_TIME = 25.0
"""Seconds from the pages to ``Booted``: the guest is started and its code loaded on the way."""

QUESTION_LIMIT = 4 * 1024
"""Longest frame that an enclave may send (bytes); a fault's words are the longest."""


class EnclaveProcess:
    """Serves the leaf functions of one process over ``sock``, until either end closes it."""

    def __init__(
        self,
        run: int,
        sock: socket.socket,
        answer: Callable[[LeafQuestion], Awaitable[object]],
        on_end: Callable[[str], None],
    ) -> None:
        """Takes over ``sock``.

        Args:
            run: the spawner's number for this process; never used twice, so that late news cannot be misread.
            sock: the chip's end.
            answer: to leaf questions.
            on_end: told once why the link ended, unless :meth:`close` ended it.
        """
        self.run = run
        self.exited: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Why the process has ended, in the spawner's words."""
        self._sock = sock
        self._channel = AsyncChannel(sock, limit=8 + QUESTION_LIMIT, descriptors=False)
        self._answer = answer
        self._on_end = on_end
        self._closed = False
        self._serving: asyncio.Task[None] | None = None

    async def boot(self, pages: Boot) -> None:
        """Hands over the pages and returns when the enclave can be entered.

        Raises:
            FaultError: the enclave refused to boot, died, or was too slow.
            PartWantedError: it must be forked anew, once the spawner has loaded that part.
        """
        booted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(BOOT_TIME):
                # Pages are longer than any frame the enclave may send: a channel for this one frame alone.
                await AsyncChannel(self._sock).send(encode_message(pages))
                self._serving = asyncio.create_task(self._serve(booted))
                await booted
        except TimeoutError:
            raise refuse(Code.TIMED_OUT, f"the enclave did not boot within {BOOT_TIME:g} s") from None
        except PeerGoneError as error:
            raise refuse(Code.LOST, f"the enclave's process ended while it booted: {error}") from None

    def close(self) -> None:
        """Ends the link; the process sees its end and ends, too."""
        self._closed = True
        self._channel.close()

    async def _serve(self, booted: "asyncio.Future[None]") -> None:
        try:
            await self._answer_all(booted)
        except PeerGoneError:
            reason = "its process ended"
        except WireError as error:
            reason = f"it broke the protocol of leaf functions: {error}"
        self._channel.close()
        if not booted.done():
            booted.set_exception(refuse(Code.LOST, f"the enclave did not boot: {reason}"))
        elif not self._closed:
            self._on_end(reason)

    async def _answer_all(self, booted: "asyncio.Future[None]") -> NoReturn:
        while True:
            frame = await self._channel.receive()
            wanted = LEAF_QUESTIONS if booted.done() else (Booted, Fault, PartWanted, *LEAF_QUESTIONS)
            question: object = parse_message(frame.payload, *wanted)
            if isinstance(question, Booted):
                booted.set_result(None)
            elif isinstance(question, PartWanted):
                booted.set_exception(PartWantedError(question.part))
            elif isinstance(question, Fault):
                booted.set_exception(FaultError(question))
            else:
                await self._channel.send(encode_reply(await self._answer(cast("LeafQuestion", question))))
