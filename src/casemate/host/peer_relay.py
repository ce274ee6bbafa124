"""Relays what enclaves say to each other: finds the one that an alias means, and has REPORTs made into evidence.

It decides nothing: who is who, the two enclaves show each other. What it is responsible for is that nobody waits for
ever, and that an enclave which asks for much delays no other. A relay is a task of its own; it enters the called
enclave in the turn of the calling one, as any client in its own, so enclaves that wait for each other hold up nobody.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from casemate.host.entry import EntryGate
from casemate.host.entry_queue import CALLER
from casemate.wire.messages import entry
from casemate.wire.messages.peers import (
    PeerAnswer,
    PeerCall,
    PeerGreeted,
    PeerIntroduced,
    PeerOpen,
    PeerOpened,
    PeerProof,
    PeerProve,
    PeerProved,
    PeerQuestion,
    PeerReturned,
    PeerWay,
    PeerWelcome,
)
from casemate.wire.messages.verbs import ASK_TIMEOUT, CALL_TIMEOUT
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.protocol.tee import Tee

MAX_SESSIONS = 1024
"""Sessions of one enclave of which it is known where they are; of older ones, the alias is looked up again."""

_NO_TARGET = bytes(512)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """An enclave that runs here."""

    number: int
    tee: Tee
    gate: EntryGate
    evidence: Callable[[bytes], Awaitable[bytes]]
    """Has its REPORT made into evidence."""


@dataclass(frozen=True, slots=True)
class PeerRelay:
    """The relay of one host.

    Args:
        bound: the number of the enclave that an alias of an enclave's means; :class:`FaultError` where it means none.
        place: an enclave that runs, by its number; waits for one that is being launched; :class:`FaultError` otherwise.
        quote_target: TARGETINFO of the quoting enclave.
        endorsements: those of this machine's evidence of one kind.
    """

    bound: Callable[[int, str], int]
    place: Callable[[int], Awaitable[Place]]
    quote_target: Callable[[], Awaitable[bytes]]
    endorsements: Callable[[Tee], Awaitable[bytes]]
    _sessions: dict[int, OrderedDict[tuple[str, int], int]] = field(default_factory=dict)
    """By the caller's number, then alias and session: the number of the enclave that has the session."""

    async def answer(self, caller: int, question: PeerQuestion) -> PeerAnswer:
        """The answer to a question of the enclave with the number ``caller``.

        Raises:
            FaultError: the alias means no enclave that runs, the other refuses, or it is not done in time.
        """
        CALLER.set(f"enclave {caller}")  # in the task that answers this question alone
        match question:
            case PeerOpen():
                return await self._in_time(self._open(caller, question), ASK_TIMEOUT)
            case PeerProve():
                return await self._in_time(self._prove(caller, question), ASK_TIMEOUT)
            case PeerCall():
                return await self._in_time(self._call(caller, question), CALL_TIMEOUT)

    def forget(self, number: int) -> None:
        """Forgets the sessions that an enclave has begun, which ended with its process."""
        self._sessions.pop(number, None)

    async def _open(self, caller: int, asked: PeerOpen) -> PeerOpened:
        called = await self.place(self.bound(caller, asked.service))
        way = _way(await self.place(caller), called)
        welcome = await called.gate.enter(PeerGreeted(asked.hello, way), PeerWelcome)
        sessions = self._sessions.setdefault(caller, OrderedDict())
        sessions[asked.service, welcome.session] = called.number
        if len(sessions) > MAX_SESSIONS:
            sessions.popitem(last=False)
        target = welcome.target_info if way is PeerWay.LOCAL else await self.quote_target()
        return PeerOpened(asked.number, way, target, welcome)

    async def _prove(self, caller: int, asked: PeerProve) -> PeerProved:
        called, calling = await self._holder(caller, asked.service, asked.session), await self.place(caller)
        way = _way(calling, called)
        evidence, endorsed = await self._proof(way, calling, asked.report)
        proof = await called.gate.enter(
            PeerIntroduced(
                session=asked.session,
                encapsulation=asked.encapsulation,
                evidence=evidence,
                endorsements=endorsed,
                receipt_key=asked.receipt_key,
                layers=asked.layers,
                target_info=_NO_TARGET if way is PeerWay.LOCAL else await self.quote_target(),
            ),
            PeerProof,
        )
        evidence, endorsed = await self._proof(way, called, proof.report)
        return PeerProved(asked.number, evidence, endorsed, proof.receipt_key, proof.layers)

    async def _call(self, caller: int, asked: PeerCall) -> PeerReturned:
        called = await self._holder(caller, asked.service, asked.envelope.binding.session)
        left = await called.gate.enter(entry.Enter(asked.envelope), entry.Left)
        return PeerReturned(asked.number, left.sealed)

    async def _holder(self, caller: int, service: str, session: int) -> Place:
        """The enclave that has a session: not the one that the alias means by now, if it was bound to another."""
        sessions = self._sessions.get(caller)
        number = None if sessions is None else sessions.get((service, session))
        return await self.place(self.bound(caller, service) if number is None else number)

    async def _proof(self, way: PeerWay, of: Place, report: bytes) -> tuple[bytes, bytes]:
        """What shows the other side who has made a REPORT: itself, or evidence with its endorsements."""
        if way is PeerWay.LOCAL:
            return report, b""
        return await of.evidence(report), await self.endorsements(of.tee)

    @staticmethod
    async def _in_time(doing: Awaitable[T], seconds: float) -> T:
        try:
            async with asyncio.timeout(seconds):
                return await doing
        except TimeoutError:
            raise refuse(Code.TIMED_OUT, f"the other enclave did not answer within {seconds:g} s") from None


def _way(one: Place, other: Place) -> PeerWay:
    """All enclaves of a host are on one chip; only those of SGX can check each other's REPORTs."""
    return PeerWay.LOCAL if one.tee is other.tee is Tee.SGX else PeerWay.EVIDENCE
