"""A host relays between two enclaves: to whom the alias means, in time, and without holding up anybody else."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import pytest
from tests.rigs.host.fake_enclave import FakeEnclave

from casemate.host import peer_relay as module
from casemate.host import questions
from casemate.host.entry import EntryGate
from casemate.host.ocalls import answer_built_in
from casemate.host.peer_relay import PeerRelay, Place
from casemate.host.state_keeper import StateAnswer, StateQuestion
from casemate.wire.messages.entry import Enter, Left, Ocall, OcallAnswer
from casemate.wire.messages.peers import (
    PeerCall,
    PeerGreeted,
    PeerHello,
    PeerIntroduced,
    PeerOpen,
    PeerOpened,
    PeerProof,
    PeerProve,
    PeerProved,
    PeerRefused,
    PeerReturned,
    PeerWay,
    PeerWelcome,
)
from casemate.wire.protocol.call import ENCAPSULATION_SIZE, CallBinding, Envelope
from casemate.wire.protocol.faults import Code, fault, refuse
from casemate.wire.protocol.sandbox_layers import SandboxLayers
from casemate.wire.protocol.tee import Tee

HELLO = PeerHello(b"\1" * 32, b"\2" * 32)
LAYERS = SandboxLayers((), ())
TARGET, QUOTING = b"\3" * 512, b"\4" * 512
WELCOME = PeerWelcome(b"\5" * 32, b"\6" * 32, 7, TARGET)
SECRET = bytes(ENCAPSULATION_SIZE)
PROVE = PeerProve(2, "billing", 7, SECRET, b"report of A", bytes(32), LAYERS)
ENVELOPE = Envelope(CallBinding(bytes(32), 7, 1, "charge"), b"sealed")


@dataclass
class Machine:
    """Two enclaves, 1 and 2 (and 3, which is another), and what the host knows of them."""

    bound: dict[str, int]
    tees: dict[int, Tee]
    enclaves: dict[int, FakeEnclave]
    gates: dict[int, EntryGate]
    relay: PeerRelay

    async def opened(self, number: int = 1) -> PeerOpened:
        """Enclave 1 opens a session with 2."""
        caller, called = self.enclaves[1], self.enclaves[2]
        await caller.tell(PeerOpen(number, "billing", HELLO))
        entry, _ = await called.entered(PeerGreeted)
        await called.reply(entry, WELCOME)
        return await caller.answered(PeerOpened)


async def _no_state(_: StateQuestion) -> StateAnswer | None:
    return None


async def _evidence(report: bytes) -> bytes:
    return b"evidence of " + report


async def _quote_target() -> bytes:
    return QUOTING


async def _endorsements(tee: Tee) -> bytes:
    return f"endorsements of {tee}".encode()


@asynccontextmanager
async def machine(**tees: Tee) -> AsyncIterator[Machine]:
    bound, kinds = {"billing": 2}, {number: tees.get(f"of_{number}", Tee.SGX) for number in (1, 2, 3)}
    gates: dict[int, EntryGate] = {}

    def target(_: int, alias: str) -> int:
        if alias not in bound:
            raise refuse(Code.UNKNOWN_ENCLAVE, f"no function {alias!r} here")
        return bound[alias]

    async def place(number: int) -> Place:
        if number not in gates:
            raise refuse(Code.WRONG_STATE, f"enclave {number} is stopped, want running.")
        return Place(number, kinds[number], gates[number], _evidence)

    relay = PeerRelay(target, place, _quote_target, _endorsements)
    enclaves = {}
    for number in kinds:
        ours, theirs = socket.socketpair()
        enclaves[number] = FakeEnclave(ours)
        gates[number] = EntryGate(theirs, answer_built_in, _no_state, lambda _: None, lambda _: None)
        gates[number].relay = partial(relay.answer, number)
        await enclaves[number].ready()
    try:
        yield Machine(bound, kinds, enclaves, gates, relay)
    finally:
        for number, enclave in enclaves.items():
            enclave.channel.close()
            if number in gates:
                gates[number].close()
        await asyncio.sleep(0)


def run(body: Callable[[Machine], Awaitable[None]], **tees: Tee) -> None:
    async def running() -> None:
        async with machine(**tees) as made:
            await asyncio.wait_for(body(made), 20)

    asyncio.run(running())


def test_enclaves_of_one_chip_exchange_reports() -> None:
    async def body(machine: Machine) -> None:
        caller, called = machine.enclaves[1], machine.enclaves[2]
        assert await machine.opened() == PeerOpened(1, PeerWay.LOCAL, TARGET, WELCOME)
        await caller.tell(PROVE)
        entry, introduced = await called.entered(PeerIntroduced)
        assert introduced == PeerIntroduced(7, SECRET, b"report of A", b"", bytes(32), LAYERS, bytes(512))
        await called.reply(entry, PeerProof(b"report of B", b"\1" * 32, LAYERS))
        assert await caller.answered(PeerProved) == PeerProved(2, b"report of B", b"", b"\1" * 32, LAYERS)
        await caller.tell(PeerCall(3, "billing", ENVELOPE))
        entry, entered = await called.entered(Enter)
        assert entered.envelope == ENVELOPE
        await called.reply(entry, Left(b"sealed answer"))
        assert await caller.answered(PeerReturned) == PeerReturned(3, b"sealed answer")

    run(body)


@pytest.mark.parametrize("guest", ["of_1", "of_2"])
def test_a_guest_of_sev_snp_has_evidence_exchanged(guest: str) -> None:
    async def body(machine: Machine) -> None:
        caller, called = machine.enclaves[1], machine.enclaves[2]
        assert await machine.opened() == PeerOpened(1, PeerWay.EVIDENCE, QUOTING, WELCOME)
        await caller.tell(PROVE)
        entry, introduced = await called.entered(PeerIntroduced)
        assert introduced.evidence == b"evidence of report of A"
        assert introduced.endorsements == f"endorsements of {machine.tees[1]}".encode()
        assert introduced.target_info == QUOTING
        await called.reply(entry, PeerProof(b"report of B", bytes(32), LAYERS))
        proved = await caller.answered(PeerProved)
        assert (proved.evidence, proved.endorsements) == (
            b"evidence of report of B",
            f"endorsements of {machine.tees[2]}".encode(),
        )

    run(body, **{guest: Tee.SNP})


def test_a_session_stays_where_it_is_when_its_alias_is_bound_to_another() -> None:
    async def body(machine: Machine) -> None:
        caller, other = machine.enclaves[1], machine.enclaves[3]
        await machine.opened()
        machine.bound["billing"] = 3
        await caller.tell(PeerCall(2, "billing", ENVELOPE))
        entry, _ = await machine.enclaves[2].entered(Enter)
        await machine.enclaves[2].reply(entry, Left(b"2"))
        assert (await caller.answered(PeerReturned)).sealed == b"2"
        await caller.tell(PeerOpen(3, "billing", HELLO))
        entry, _ = await other.entered(PeerGreeted)
        await other.reply(entry, WELCOME)
        await caller.answered(PeerOpened)
        machine.relay.forget(1)
        await caller.tell(PeerCall(4, "billing", ENVELOPE))
        entry, _ = await other.entered(Enter)
        await other.reply(entry, fault(Code.SESSION_UNKNOWN, "no such session"))
        assert (await caller.answered(PeerRefused)).fault.code is Code.SESSION_UNKNOWN

    run(body)


def test_an_alias_that_means_nothing_that_runs_is_refused_by_name() -> None:
    async def body(machine: Machine) -> None:
        caller = machine.enclaves[1]
        await caller.tell(PeerOpen(1, "mail", HELLO))
        refused = await caller.answered(PeerRefused)
        assert (refused.number, refused.fault.code) == (1, Code.UNKNOWN_ENCLAVE)
        assert "'mail'" in refused.fault.reason
        machine.gates.pop(2).close()
        await caller.tell(PeerOpen(2, "billing", HELLO))
        assert (await caller.answered(PeerRefused)).fault.code is Code.WRONG_STATE

    run(body)


def test_an_enclave_that_dies_meanwhile_is_lost_to_its_caller() -> None:
    async def body(machine: Machine) -> None:
        caller, called = machine.enclaves[1], machine.enclaves[2]
        await machine.opened()
        await caller.tell(PeerCall(2, "billing", ENVELOPE))
        await called.entered(Enter)
        called.channel.close()
        refused = await caller.answered(PeerRefused)
        assert (refused.number, refused.fault.code) == (2, Code.LOST)

    run(body)


def test_silence_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ASK_TIMEOUT", 0.05)

    async def body(machine: Machine) -> None:
        caller = machine.enclaves[1]
        await caller.tell(PeerOpen(1, "billing", HELLO))
        await machine.enclaves[2].entered(PeerGreeted)
        refused = await caller.answered(PeerRefused)
        assert (refused.number, refused.fault.code) == (1, Code.TIMED_OUT)

    run(body)


def test_an_enclave_that_waits_for_others_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """With all of its relays waiting, it may still ask the host, and is told at once that there are too many."""
    monkeypatch.setattr(questions, "MAX_RELAYED", 4)

    async def body(machine: Machine) -> None:
        caller, called = machine.enclaves[1], machine.enclaves[2]
        await machine.opened()
        for number in range(2, 6):  # the called one serves none of them
            await caller.tell(PeerCall(number, "billing", ENVELOPE))
        await called.entered(Enter)
        await caller.tell(Ocall(1, "echo", b"1"))
        assert await caller.answered(OcallAnswer) == OcallAnswer(1, b"1")
        await caller.tell(PeerCall(6, "billing", ENVELOPE))
        refused = await caller.answered(PeerRefused)
        assert (refused.number, refused.fault.code) == (6, Code.BUSY)
        assert refused.fault.retry_ms > 0

    run(body)


def test_two_enclaves_that_wait_for_each_other_hold_up_nobody() -> None:
    async def body(machine: Machine) -> None:
        one, two, third = (machine.enclaves[number] for number in (1, 2, 3))
        machine.bound["shop"], machine.bound["third"] = 1, 3
        await one.tell(PeerCall(1, "billing", ENVELOPE))
        await two.tell(PeerCall(1, "shop", ENVELOPE))
        await one.entered(Enter)
        await two.entered(Enter)
        await one.tell(PeerCall(2, "third", ENVELOPE))
        entry, _ = await third.entered(Enter)
        await third.reply(entry, Left(b"3"))
        assert await one.answered(PeerReturned) == PeerReturned(2, b"3")

    run(body)


def test_a_large_question_waits_for_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "MAX_HELD", 1000)

    async def body(machine: Machine) -> None:
        caller, called = machine.enclaves[1], machine.enclaves[2]
        large = Envelope(ENVELOPE.binding, bytes(900))
        await caller.tell(PeerCall(1, "billing", large))
        entry, _ = await called.entered(Enter)
        await caller.tell(PeerCall(2, "billing", large))
        assert (await caller.answered(PeerRefused)).fault.code is Code.BUSY
        await called.reply(entry, Left(b"1"))
        assert (await caller.answered(PeerReturned)).number == 1

    run(body)
