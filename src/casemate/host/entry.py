"""One enclave's entry socket: carries one entry at a time, answers OCALLs meanwhile, and ends entries that hang."""

import asyncio
import contextvars
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from casemate.host.entry_queue import CALLER, EntryQueue
from casemate.host.ocalls import Handler, answer
from casemate.host.state_keeper import STATE_QUESTIONS, StateAnswer, StateQuestion
from casemate.link.async_channel import AsyncChannel
from casemate.link.errors import PeerGoneError
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.errors import WireError
from casemate.wire.messages.entry import Log, Ocall, OcallAnswer, OcallRefused
from casemate.wire.messages.state import StateAppend, StateForget, StateRead, StateRefused
from casemate.wire.protocol.faults import Code, Fault, FaultError, fault, refuse

ENTRY_TIMEOUT = 130.0
"""Longest entry (seconds): above the longest time limit that a manifest may name, and the time in which a large state
is loaded and written, so it only ends what hangs."""

_log = logging.getLogger(__name__)
T = TypeVar("T")
KeepState = Callable[[StateQuestion], Awaitable[StateAnswer | None]]
"""Answers what an enclave asks about its sealed state."""


@dataclass(frozen=True, slots=True, eq=False)
class _Entry(Generic[T]):
    """An entry that waits for its turn, or is under way."""

    message: object
    wanted: type[T]
    left: asyncio.Future[T]


class EntryGate:
    """Enters one enclave. ``on_death`` is told once when the enclave can no longer be entered, and why."""

    def __init__(
        self,
        entry_socket: socket.socket,
        ocalls: Mapping[str, Handler],
        keep: KeepState,
        on_death: Callable[[str], None],
    ) -> None:
        self._channel = AsyncChannel(entry_socket, descriptors=False)
        self._ocalls = ocalls
        self._keep = keep
        self._on_death = on_death
        self._queue: EntryQueue[_Entry[Any]] = EntryQueue()
        self._entering: asyncio.Task[None] | None = None

    def close(self) -> None:
        """Hangs up; entries under way fail with :class:`PeerGoneError`."""
        self._channel.close()

    async def enter(self, message: object, wanted: type[T]) -> T:
        """The enclave's reply to one entry, made in the turn of the current task's :data:`CALLER`.

        A task that is cancelled while it waits leaves the queue: its entry is never made.

        Raises:
            FaultError: the enclave refused, is busy beyond reason, died, or was silent too long.
        """
        left: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        entry, caller = _Entry(message, wanted, left), CALLER.get()
        self._queue.add(entry, caller)
        if self._entering is None:
            # Not in this caller's context: what the task logs and asks is about every caller's entries.
            self._entering = asyncio.create_task(self._enter_all(), context=contextvars.Context())
        try:
            return await left
        finally:
            self._queue.withdraw(entry, caller)

    async def _enter_all(self) -> None:
        """Enters for one caller after another.

        An entry that has begun is finished though its caller has left, or its reply would pass for the next one's.
        """
        try:
            while (entry := self._queue.next()) is not None:
                try:
                    reply = await self._alone(entry.message, entry.wanted)
                    if not entry.left.done():
                        entry.left.set_result(reply)
                except Exception as error:  # refused, or a defect: for this entry's caller alone
                    if not entry.left.done():
                        entry.left.set_exception(error)
        finally:
            self._entering = None

    async def _alone(self, message: object, wanted: type[T]) -> T:
        payload = encode_message(message)  # before the socket is used: a bad message must not end the enclave
        try:
            async with asyncio.timeout(ENTRY_TIMEOUT):
                await self._channel.send(payload)
                return await self._reply(wanted)
        except TimeoutError:
            reason = f"the enclave was silent for {ENTRY_TIMEOUT:g} s"
            code = Code.TIMED_OUT
        except PeerGoneError as error:
            reason, code = f"the enclave is gone: {error}", Code.LOST
        except WireError as error:
            reason, code = f"the enclave sent something malformed: {error}", Code.LOST
        self._die(reason)
        raise refuse(code, reason)

    async def _reply(self, wanted: type[T]) -> T:
        while True:
            frame = await self._channel.receive()
            reply: object = parse_message(frame.payload, Ocall, Log, Fault, *STATE_QUESTIONS, wanted)
            match reply:
                case Ocall():
                    await self._channel.send(self._answer(reply))
                case StateRead() | StateAppend() | StateForget():
                    said = await self._keep(reply)
                    if said is not None:
                        await self._channel.send(_state_answer(said))
                case Log(text):
                    _log.info("guest prints: %s", text)
                case Fault():
                    raise FaultError(reply)
                case _ if isinstance(reply, wanted):
                    return reply

    def _answer(self, asked: Ocall) -> bytes:
        """The encoded answer or refusal. Without one the enclave would wait until the call's time-out."""
        try:
            return encode_message(OcallAnswer(asked.number, answer(self._ocalls, asked.name, asked.arguments)))
        except FaultError as error:
            refused = error.fault
        except WireError as error:
            refused = fault(Code.OCALL_REFUSED, f"this host's answer to OCALL {asked.name!r} is too long: {error}")
        except Exception:  # a defect of a handler must not end the enclave
            _log.exception("OCALL %r failed", asked.name)
            refused = fault(Code.INTERNAL, "a defect of the host's")
        return encode_message(OcallRefused(asked.number, refused))

    def _die(self, reason: str) -> None:
        self._channel.close()
        self._on_death(reason)


def _state_answer(said: StateAnswer) -> bytes:
    """The encoded answer to a question about state, or a refusal: the enclave waits for one."""
    try:
        return encode_message(said)
    except WireError as error:
        return encode_message(StateRefused(said.number, fault(Code.INTERNAL, f"the answer cannot be encoded: {error}")))
