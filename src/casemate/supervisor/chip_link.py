"""The supervisor's end of its link to the chip: one question at a time, and certificates in between."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

from casemate.link.async_channel import AsyncChannel
from casemate.link.calls import answer_of
from casemate.link.errors import PeerGoneError
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.errors import WireError
from casemate.wire.messages.snp_certification import CertifyVcek, GiveVlek
from casemate.wire.messages.supervisor import Certify, ChipReady, NewHost
from casemate.wire.protocol.faults import Code, Fault, FaultError, encode_reply, refuse

_QUESTIONS = (Certify, CertifyVcek, GiveVlek)

ANSWER_TIMEOUT = 50.0
"""Longest work of the chip on one question (seconds): it may have to be certified anew on the way."""

ChipQuestion = Certify | CertifyVcek | GiveVlek
T = TypeVar("T")


class ChipLink:
    """The supervisor's side of ``wire.messages.supervisor``.

    Args:
        channel: owned.
        maker: gives the maker's answer to a chip's question.
    """

    def __init__(self, channel: AsyncChannel, maker: Callable[[ChipQuestion], Awaitable[object]]) -> None:
        self._channel = channel
        self._maker = maker
        self._turn = asyncio.Lock()
        self._asked: asyncio.Future[bytes] | None = None
        self._listening: asyncio.Task[None] | None = None

    async def until_ready(self) -> ChipReady:
        """Serves the chip while it starts; then listens to it in the background.

        Raises:
            FaultError: the chip cannot start, and says why.
            PeerGoneError: it died.
        """
        while True:
            said: object = parse_message((await self._channel.receive()).payload, *_QUESTIONS, ChipReady, Fault)
            match said:
                case Certify() | CertifyVcek() | GiveVlek():
                    await self._ask_maker(said)
                case ChipReady():
                    self._listening = asyncio.create_task(self._listen())
                    return said
                case Fault():
                    raise FaultError(said)

    async def ask(self, question: object, wanted: type[T]) -> T:
        """The chip's answer; :class:`FaultError` if it refuses or dies."""
        if self._turn.locked():
            raise refuse(Code.BUSY, "the chip works on another lever")
        async with self._turn:
            self._asked = asyncio.get_running_loop().create_future()
            try:
                await self._channel.send(encode_message(question))
                return answer_of(await asyncio.wait_for(self._asked, ANSWER_TIMEOUT), wanted)
            except PeerGoneError as error:
                raise refuse(Code.LOST, f"the chip is gone: {error}") from None
            except TimeoutError:
                raise refuse(Code.TIMED_OUT, f"the chip: no answer within {ANSWER_TIMEOUT:g} s") from None
            finally:
                self._asked = None

    async def give_host(self, descriptor: int) -> None:
        """Gives the chip its end of the link to a new host; :class:`PeerGoneError` if it is gone."""
        async with self._turn:  # never while an answer is awaited: the protocol has one question at a time
            await self._channel.send(encode_message(NewHost()), (descriptor,))

    def close(self) -> None:
        """Hangs up: the chip ends."""
        if self._listening is not None:
            self._listening.cancel()
        self._channel.close()

    async def _listen(self) -> None:
        try:
            while True:
                payload = (await self._channel.receive()).payload
                with contextlib.suppress(WireError):  # then it is the answer to what was asked
                    question: object = parse_message(payload, *_QUESTIONS)
                    if isinstance(question, ChipQuestion):
                        await self._ask_maker(question)
                    continue
                if self._asked is not None and not self._asked.done():
                    self._asked.set_result(payload)
        except PeerGoneError as error:
            if self._asked is not None and not self._asked.done():
                self._asked.set_exception(error)

    async def _ask_maker(self, question: ChipQuestion) -> None:
        try:
            answer = await self._maker(question)
        except FaultError as error:
            answer = error.fault
        await self._channel.send(encode_reply(answer))
