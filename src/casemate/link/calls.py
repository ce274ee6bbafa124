"""Numbered calls over one asynchronous channel: many may be under way, and each answer finds its question."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from casemate.link.async_channel import AsyncChannel
from casemate.link.channel import Frame
from casemate.link.errors import PeerGoneError, TimedOutError
from casemate.link.frames import MAX_FRAME
from casemate.link.numbered_frames import NEWS, NUMBER_SIZE, number_of, numbered, numbered_reply
from casemate.wire.encodings.message import parse_message
from casemate.wire.errors import WireError
from casemate.wire.protocol.faults import Code, Fault, FaultError, fault

_log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: a message, and descriptors that are closed once they are sent."""

    message: object
    descriptors: tuple[int, ...] = ()
    undelivered: Callable[[], Awaitable[object]] | None = None
    """Called if the peer is gone when the answer is ready."""


def answer_of(message: bytes | memoryview, wanted: type[T]) -> T:
    """The ``wanted`` message that a peer answered with; :class:`FaultError` if it refused."""
    answer: object = parse_message(message, Fault, wanted)
    if isinstance(answer, wanted):
        return answer
    if isinstance(answer, Fault):
        raise FaultError(answer)
    raise WireError("message", got=type(answer).__name__, want=wanted.__name__)


class Caller:
    """The asking side. :meth:`run` must be running as a task for answers to arrive."""

    def __init__(self, channel: AsyncChannel) -> None:
        self._channel = channel
        self._asked: dict[int, asyncio.Future[Frame]] = {}
        self._last = 0
        self._gone: str | None = None

    async def call(
        self,
        question: object,
        wanted: type[T],
        *,
        timeout: float,
        descriptors: Sequence[int] = (),
    ) -> tuple[T, tuple[int, ...]]:
        """The peer's answer to ``question``, and the descriptors that came with it.

        ``descriptors`` go with the question, and stay the caller's.

        Raises:
            FaultError: the peer refused.
            PeerGoneError, TimedOutError: the peer died, or was silent for ``timeout`` seconds.
            WireError: the answer is malformed or of another type.
        """
        if self._gone is not None:
            raise PeerGoneError(self._gone)
        self._last += 1
        number = self._last
        answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        try:
            async with asyncio.timeout(timeout):
                await self._channel.send(numbered(number, question), descriptors)
                frame = await answer
        except TimeoutError:
            raise TimedOutError(f"no answer to {type(question).__name__} within {timeout:g} s") from None
        finally:
            self._asked.pop(number, None)
        try:
            return answer_of(frame.payload, wanted), frame.descriptors
        except BaseException:
            _close(frame.descriptors)
            raise

    async def run(self, on_news: Callable[[bytes], None] | None = None) -> None:
        """Delivers answers, and news to ``on_news``, until the peer is gone; then every open question fails."""
        reason = "the peer closed the link"
        try:
            while True:
                frame = await self._channel.receive(prefix=NUMBER_SIZE)
                number = number_of(frame.prefix)
                waiting = self._asked.get(number)
                if number == NEWS and on_news is not None:
                    on_news(frame.payload)
                elif waiting is not None and not waiting.done():
                    waiting.set_result(frame)
                    continue
                _close(frame.descriptors)
        except (PeerGoneError, WireError) as error:
            reason = str(error)
        finally:
            self._gone = reason
            for waiting in self._asked.values():
                if not waiting.done():
                    waiting.set_exception(PeerGoneError(reason))


async def serve(
    channel: AsyncChannel,
    answer: Callable[[bytes], Awaitable[Reply]],
    *,
    at_once: int,
    abandons: Callable[[bytes], bool] = lambda _: False,
) -> None:
    """Answers a peer's questions, up to ``at_once`` at a time, until it is gone.

    ``answer`` gets the message's bytes. What it raises as a :class:`FaultError` or :class:`WireError` becomes a
    ``Fault`` for the peer; a frame that is not even numbered ends the link. An answer that has begun is finished even
    if the peer is gone: half a launch would leave an enclave behind. Answers to questions for which ``abandons``
    returns true are cancelled instead.
    """
    await serve_frames(
        channel, lambda frame: answer(frame.payload), at_once=at_once, takes=lambda _: False, abandons=abandons
    )


async def serve_frames(
    channel: AsyncChannel,
    answer: Callable[[Frame], Awaitable[Reply]],
    *,
    at_once: int,
    takes: Callable[[bytes], bool],
    abandons: Callable[[bytes], bool] = lambda _: False,
    large: int = MAX_FRAME,
) -> None:
    """Like :func:`serve`, for questions that may come with descriptors or be large.

    ``answer`` gets the descriptors of messages for which ``takes`` returns true; they are closed once it has answered.
    Those of all other messages are closed before it is called, so that a hostile peer cannot use up this process's.

    Of questions longer than ``large`` (bytes) one is answered at a time, and nothing is read behind the next one
    meanwhile: a peer that sends several makes itself wait, and memory holds two of them at most.
    """
    room, large_room = asyncio.Semaphore(at_once), asyncio.Semaphore(1)
    answering: set[asyncio.Task[None]] = set()
    droppable: set[asyncio.Task[None]] = set()

    def done(task: asyncio.Task[None], *, was_large: bool) -> None:
        answering.discard(task)
        droppable.discard(task)
        room.release()
        if was_large:
            large_room.release()

    try:
        while True:
            frame = await channel.receive(prefix=NUMBER_SIZE)
            descriptors, message = frame.descriptors, frame.payload
            try:
                number = number_of(frame.prefix)
                if not takes(message):
                    _close(descriptors)
                    descriptors = ()
                if is_large := len(message) > large:
                    await large_room.acquire()
                await room.acquire()
            except BaseException:
                _close(descriptors)
                raise
            begin = partial(answer, Frame(message, descriptors))
            task = asyncio.create_task(_answer(channel, number, begin, descriptors))
            (droppable if abandons(message) else answering).add(task)
            task.add_done_callback(partial(done, was_large=is_large))
            del frame, message, begin  # an image is 100 MB: do not keep it until the next question comes
    except (PeerGoneError, WireError):
        channel.close()
        for task in droppable:
            task.cancel()
    finally:
        await asyncio.gather(*answering)
        if droppable:
            await asyncio.wait(droppable)


async def _answer(
    channel: AsyncChannel, number: int, begin: Callable[[], Awaitable[Reply]], descriptors: tuple[int, ...]
) -> None:
    try:
        answering = begin()
        del begin  # frees the question's bytes while it is being answered
        reply = await answering
    except FaultError as error:
        reply = Reply(error.fault)
    except WireError as error:
        reply = Reply(fault(Code.MALFORMED, str(error)))
    except Exception:
        _log.exception("a defect while answering")
        reply = Reply(fault(Code.INTERNAL, "a defect in the answering room; its log has the trace"))
    finally:
        _close(descriptors)
    try:
        await _send_reply(channel, number, reply)
    except PeerGoneError:
        if reply.undelivered is not None:
            await reply.undelivered()
    finally:
        _close(reply.descriptors)


async def _send_reply(channel: AsyncChannel, number: int, reply: Reply) -> None:
    """Sends the answer, or a fault if it does not fit into a message or frame of this link."""
    try:
        await channel.send(numbered_reply(number, reply.message), reply.descriptors)
    except WireError as error:  # of which nothing was sent
        await channel.send(numbered_reply(number, fault(Code.INTERNAL, f"the answer cannot be sent: {error}")))


def _close(descriptors: tuple[int, ...]) -> None:
    for number in descriptors:
        os.close(number)
