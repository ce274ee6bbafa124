"""Answers what one enclave asks in the middle of its calls: OCALLs, questions about its sealed state, and to others.

What takes time is answered in a task of its own, so that one slow answer delays nothing else.
"""

import asyncio
import contextlib
import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from casemate.host.ocalls import Ask
from casemate.host.state_keeper import StateAnswer, StateQuestion
from casemate.link.async_channel import AsyncChannel
from casemate.link.errors import PeerGoneError
from casemate.link.numbered_frames import NEWS, numbered
from casemate.wire.errors import WireError
from casemate.wire.messages.entry import MAX_CALLS, MAX_OTHERS, Ocall, OcallAnswer, OcallRefused
from casemate.wire.messages.peers import PeerAnswer, PeerQuestion, PeerRefused
from casemate.wire.messages.state import StateForget, StateRefused
from casemate.wire.protocol.faults import Code, FaultError, fault

MAX_QUESTIONS = 2 * MAX_CALLS + MAX_OTHERS
"""Most questions of one enclave that are being answered: one of each entry under way, and one of each call that has
ended meanwhile."""

MAX_HELD = 32 * 1024 * 1024
"""Most bytes of questions that are being answered; there may always be one. An answer of this host is at most three
times as long as its question (``echo``), or a few records."""

MAX_RELAYED = 128
"""Most questions of one enclave to others that are under way."""

KeepState = Callable[[StateQuestion], Awaitable[StateAnswer | None]]
"""Answers what an enclave asks about its sealed state."""

Relay = Callable[[PeerQuestion], Awaitable[PeerAnswer]]
"""Answers what one enclave asks of another."""

_log = logging.getLogger(__name__)


class Questions:
    """Answers one enclave's questions over ``channel``.

    OCALLs are answered in any order. Questions about the state are answered one after the other in the order in which
    they came: a record is stored before those that follow it, and nothing is forgotten before its successor is stored.
    """

    def __init__(self, channel: AsyncChannel, ask: Ask, keep: KeepState) -> None:
        self._channel = channel
        self._ask = ask
        self._keep = keep
        self._state_turn = asyncio.Lock()
        self._answering: set[asyncio.Task[None]] = set()
        self._held = 0
        self._relaying: set[asyncio.Task[None]] = set()
        self._relayed = 0
        """Bytes of the questions to other enclaves that are under way."""

    def close(self) -> None:
        """Gives up the answers that are under way. What has begun to be written is finished."""
        for task in (*self._answering, *self._relaying):
            task.cancel()

    async def take(self, question: Ocall | StateQuestion, size: int) -> None:
        """Begins to answer a question of ``size`` bytes; waits only while too many are being answered."""
        while len(self._answering) >= MAX_QUESTIONS or (self._answering and self._held + size > MAX_HELD):
            await asyncio.wait(self._answering, return_when=asyncio.FIRST_COMPLETED)
        if not isinstance(question, Ocall):
            self._begin(self._answer_state(question), size)
            return
        said = self._begin_ocall(question)
        if inspect.isawaitable(said):
            self._begin(self._answer_later(question, said), size)
        elif self._channel.has_backlog:
            self._begin(self._send(said), size)
        else:  # the answer is there, and nothing is before it: no task is needed
            self._post(said)

    async def relay(self, question: PeerQuestion, size: int, relay: Relay) -> None:
        """Begins to have a question of ``size`` bytes answered by another enclave.

        What is too much is refused instead of waited for: enclaves that wait for each other must still be heard.
        """
        if len(self._relaying) >= MAX_RELAYED or (self._relaying and self._relayed + size > MAX_HELD):
            busy = fault(Code.BUSY, f"{len(self._relaying)} questions to other enclaves are under way", retry_after=1)
            await self._send(numbered(NEWS, PeerRefused(question.number, busy)))
            return
        task = asyncio.create_task(self._answer_relayed(question, relay))
        self._relaying.add(task)
        self._relayed += size

        def answered(task: asyncio.Task[None]) -> None:
            self._relaying.discard(task)
            self._relayed -= size

        task.add_done_callback(answered)

    def _begin(self, answering: Coroutine[Any, Any, None], size: int) -> None:
        task = asyncio.create_task(answering)
        self._answering.add(task)
        self._held += size

        def answered(task: asyncio.Task[None]) -> None:
            self._answering.discard(task)
            self._held -= size

        task.add_done_callback(answered)

    def _begin_ocall(self, asked: Ocall) -> bytes | Awaitable[bytes]:
        """The payload with the answer or refusal; or an awaitable of the answer, where that takes time."""
        try:
            said = self._ask(asked.name, asked.arguments)
            return said if inspect.isawaitable(said) else _answered(asked, said)
        except Exception as error:  # a defect of a handler must not end the enclave
            return _refused(asked, error)

    async def _answer_later(self, asked: Ocall, said: Awaitable[bytes]) -> None:
        try:
            payload = _answered(asked, await said)
        except Exception as error:  # likewise
            payload = _refused(asked, error)
        await self._send(payload)

    async def _answer_relayed(self, asked: PeerQuestion, relay: Relay) -> None:
        try:
            payload = numbered(NEWS, await relay(asked))
        except FaultError as error:
            payload = numbered(NEWS, PeerRefused(asked.number, error.fault))
        except WireError as error:
            refused = fault(Code.INTERNAL, f"what was said cannot be relayed: {error}")
            payload = numbered(NEWS, PeerRefused(asked.number, refused))
        except Exception:  # a defect here must not end the enclave
            _log.exception("%s failed", type(asked).__name__)
            payload = numbered(NEWS, PeerRefused(asked.number, fault(Code.INTERNAL, "a defect of the host's")))
        await self._send(payload)

    async def _answer_state(self, asked: StateQuestion) -> None:
        async with self._state_turn:  # given out in the order in which it was asked for
            said = await self._state_answer(asked)
            if said is not None:
                await self._send(said)

    async def _state_answer(self, asked: StateQuestion) -> bytes | None:
        """The payload with the answer or refusal, since the enclave waits for one; None to what has no answer."""
        try:
            said = await self._keep(asked)
            return None if said is None else numbered(NEWS, said)
        except WireError as error:
            refused = fault(Code.INTERNAL, f"the answer cannot be encoded: {error}")
        except Exception:  # likewise
            _log.exception("%s failed", type(asked).__name__)
            refused = fault(Code.INTERNAL, "a defect of the host's")
        return None if isinstance(asked, StateForget) else numbered(NEWS, StateRefused(asked.number, refused))

    async def _send(self, payload: bytes) -> None:
        """Returns when the enclave has taken all that goes before; so what waits to be sent counts as under way."""
        if not self._channel.has_backlog:
            self._post(payload)
            return
        with contextlib.suppress(PeerGoneError):  # who reads from it is told as well
            await self._channel.send(payload)

    def _post(self, payload: bytes) -> None:
        with contextlib.suppress(PeerGoneError):
            self._channel.post(payload)


def _answered(asked: Ocall, said: bytes) -> bytes:
    return numbered(NEWS, OcallAnswer(asked.number, said))


def _refused(asked: Ocall, error: Exception) -> bytes:
    """The payload with a refusal. Without one the enclave would wait until the call's time-out."""
    if isinstance(error, FaultError):
        _log.warning("OCALL %r is refused: %s", asked.name, error)
        refused = error.fault
    elif isinstance(error, WireError):
        refused = fault(Code.OCALL_REFUSED, f"this host's answer to OCALL {asked.name!r} is too long: {error}")
    else:
        _log.error("OCALL %r failed", asked.name, exc_info=error)
        refused = fault(Code.INTERNAL, "a defect of the host's")
    return numbered(NEWS, OcallRefused(asked.number, refused))
