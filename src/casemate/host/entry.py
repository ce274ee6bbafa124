"""One enclave's entry socket: one entry at a time, OCALLs answered in between, and nobody waits for ever."""

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from casemate.host.ocalls import Handler, answer
from casemate.link.async_channel import AsyncChannel
from casemate.link.errors import PeerGoneError
from casemate.wire.errors import WireError
from casemate.wire.faults import Code, Fault, FaultError, fault, refuse
from casemate.wire.message import encode_message, parse_message
from casemate.wire.messages.entry import Log, Ocall, OcallAnswer, OcallRefused

ENTRY_TIMEOUT = 70.0
"""Longest entry (seconds): above the longest time limit that a manifest may name, so it only ends what hangs."""

MAX_WAITING = 256
"""Most entries that wait for their turn; one more is refused as busy rather than queued without end."""

_log = logging.getLogger(__name__)
T = TypeVar("T")


class EntryGate:
    """Enters one enclave. ``on_death`` is told once when the enclave can no longer be entered, and why."""

    def __init__(
        self, entry_socket: socket.socket, ocalls: Mapping[str, Handler], on_death: Callable[[str], None]
    ) -> None:
        self._channel = AsyncChannel(entry_socket)
        self._ocalls = ocalls
        self._on_death = on_death
        self._turn = asyncio.Lock()
        self._entries: set[asyncio.Task[Any]] = set()

    def close(self) -> None:
        """Hangs up; entries under way fail with :class:`PeerGoneError`."""
        self._channel.close()

    async def enter(self, message: object, wanted: type[T]) -> T:
        """The enclave's reply to one entry.

        Raises:
            FaultError: the enclave refused, is busy beyond reason, died, or was silent too long.
        """
        if len(self._entries) >= MAX_WAITING:
            raise refuse(Code.BUSY, f"{len(self._entries)} calls wait for this enclave already")
        # Shielded: an entry whose caller left is finished all the same, or its reply would pass for the next one's.
        entering = asyncio.create_task(self._in_turn(message, wanted))
        self._entries.add(entering)
        entering.add_done_callback(self._left)
        return await asyncio.shield(entering)

    def _left(self, entering: asyncio.Task[Any]) -> None:
        self._entries.discard(entering)
        if not entering.cancelled():
            entering.exception()  # seen: its caller may be gone

    async def _in_turn(self, message: object, wanted: type[T]) -> T:
        async with self._turn:
            return await self._alone(message, wanted)

    async def _alone(self, message: object, wanted: type[T]) -> T:
        try:
            async with asyncio.timeout(ENTRY_TIMEOUT):
                await self._channel.send(encode_message(message))
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
            reply: object = parse_message(frame.payload, Ocall, Log, Fault, wanted)
            match reply:
                case Ocall():
                    await self._channel.send(self._answer(reply))
                case Log(text):
                    _log.info("guest prints: %s", text)
                case Fault():
                    raise FaultError(reply)
                case _ if isinstance(reply, wanted):
                    return reply

    def _answer(self, asked: Ocall) -> bytes:
        """The encoded answer, or refusal: there is always one, or the enclave would wait out the call's time for it."""
        try:
            return encode_message(OcallAnswer(asked.number, answer(self._ocalls, asked.name, asked.arguments)))
        except FaultError as error:
            refused = error.fault
        except WireError as error:
            refused = fault(Code.OCALL_REFUSED, f"this host's answer to OCALL {asked.name!r} is too long: {error}")
        except Exception:  # a handler's defect must not take the enclave with it
            _log.exception("OCALL %r failed", asked.name)
            refused = fault(Code.INTERNAL, "a defect of the host's")
        return encode_message(OcallRefused(asked.number, refused))

    def _die(self, reason: str) -> None:
        self._channel.close()
        self._on_death(reason)
