"""A store between a real chip's leaf functions and a host that the test plays, as honestly as it likes."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from casemate.chip.anchors import Anchors
from casemate.chip.attester import Attester
from casemate.chip.fuses import seeded_fuses
from casemate.chip.leaf_functions import LeafFunctions
from casemate.chip.sgx.attester import SgxAttester
from casemate.chip.sgx.platform import SgxPlatform
from casemate.chip.sgx.secs import Secs
from casemate.chip.sgx.tcb import FIRST_TCB, Tcb
from casemate.enclave.chip.leaf import Leaf
from casemate.enclave.chip.sealing_keys import SealingKeys
from casemate.enclave.enclave_time import EnclaveTime
from casemate.enclave.io.loop import Loop, Pending, Signal
from casemate.enclave.store.store import Store
from casemate.enclave.store.transaction import Transaction
from casemate.host.records import Records
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.errors import WireError
from casemate.wire.messages.state import (
    STATE_ANSWERS,
    StateAppend,
    StateForget,
    StateRead,
    StateRecords,
    StateRefused,
    StateStored,
)
from casemate.wire.protocol.call import StateMark
from casemate.wire.protocol.faults import Code, Fault, FaultError, fault, refuse
from casemate.wire.protocol.manifest import Recovery, StateRules
from casemate.wire.protocol.seal_binding import SealBinding
from casemate.wire.protocol.sealed_record import SealedRecord
from casemate.wire.sgx.attributes import AttributeFlag, Attributes, CetAttributes, MiscSelect

T = TypeVar("T")
Answer = StateRecords | StateStored | StateRefused

SECS = Secs(
    attributes=Attributes(AttributeFlag.INIT | AttributeFlag.MODE64BIT, 3), misc_select=MiscSelect(0),
    cet_attributes=CetAttributes(0), mr_enclave=b"e" * 32, mr_signer=b"s" * 32, isv_prod_id=7, isv_svn=2,
    isv_ext_prod_id=bytes(16), isv_family_id=bytes(16), config_id=bytes(64), config_svn=0,
)  # fmt: skip
"""Security version 2."""

RULES = StateRules(SealBinding.MRSIGNER, Recovery.OPERATOR, max_kib=1024)


Delay = Callable[[object], Awaitable[None]]
"""Waits before a question is looked at, and again before its answer is given."""


async def at_once(_: object) -> None:
    """No :data:`Delay`."""


def finish(coroutine: Coroutine[Any, Any, T]) -> T:
    """What it returns, while nothing else runs: where it waits, its deadline comes at once."""
    signalled: bool | None = None
    while True:
        try:
            wait = coroutine.send(signalled)
        except StopIteration as ended:
            result: T = ended.value
            return result
        assert wait.deadline is not None, "it waits for what cannot come"
        signalled = False


class LabLeaf(Leaf):
    """The chip's leaf functions without the socket; messages are encoded and parsed all the same."""

    def __init__(self, functions: LeafFunctions, who: Attester, loop: asyncio.AbstractEventLoop) -> None:
        self._functions = functions
        self._who = who
        self._loop = loop
        self.on_question: Callable[[object], None] = lambda _: None
        self.delay: Delay = at_once

    def sealing_keys(self) -> SealingKeys:
        """Of the enclave, as it has them after its boot."""
        return SealingKeys(self, self._who.identity, self._who.tcb)

    async def _ask(self, question: object, wanted: type[T]) -> T:
        self.on_question(question)
        await self.delay(question)
        heard: Any = parse_message(encode_message(question), type(question))
        answer = self._loop.run_until_complete(self._functions.answer(self._who, heard))
        await self.delay(question)
        reply: object = parse_message(encode_message(answer), wanted, Fault)
        if isinstance(reply, Fault):
            raise FaultError(reply)
        assert isinstance(reply, wanted)
        return reply


class LabHost:
    """Keeps records in a real database, unless the test says otherwise.

    ``lie`` gets each question and the honest answer, and gives all that is sent instead, wrong numbers included.
    """

    def __init__(self, path: Path) -> None:
        self.records = Records(path)
        self.lie: Callable[[object, Answer], list[Answer]] = lambda _, answer: [answer]
        self.questions: list[object] = []
        self.told: list[object] = []
        self.delay: Delay = at_once
        self._numbers = itertools.count(1)

    async def ask(self, question: Callable[[int], object], wanted: type[T], deadline: float) -> T:
        number = next(self._numbers)
        asked: object = parse_message(encode_message(question(number)), StateRead, StateAppend)
        self.questions.append(asked)
        await self.delay(asked)
        answers = self.lie(asked, self._honest(asked))
        await self.delay(asked)
        for said in answers:
            try:
                heard: Any = parse_message(encode_message(said), *STATE_ANSWERS)
            except WireError:
                continue
            if heard.number == number and isinstance(heard, StateRefused):
                raise FaultError(fault(Code.UNAVAILABLE, heard.fault.reason))
            if heard.number == number and isinstance(heard, wanted):
                return heard
        assert deadline > time.monotonic() - 60
        raise refuse(Code.UNAVAILABLE, "the host did not answer in time")

    def tell(self, message: object) -> None:
        self.told.append(parse_message(encode_message(message), StateForget))
        if isinstance(message, StateForget):
            self.records.forget(message.namespace, message.head)

    def _honest(self, asked: object) -> Answer:
        match asked:
            case StateAppend(number, record):
                self.records.append(SealedRecord.parse(record), record)
                return StateStored(number)
            case StateRead(number, namespace, head):
                at = self.records.newest(namespace) if head is None else head
                return StateRecords(number, () if at is None else self.records.read(namespace, at))
        raise AssertionError(asked)


@dataclass
class Lab:
    """One machine: its chip, and the host's disk."""

    folder: Path
    loop: asyncio.AbstractEventLoop
    tcb: Tcb = FIRST_TCB
    seed: str = "a chip"
    leaves: LeafFunctions = field(init=False)
    silicon: SgxPlatform = field(init=False)
    anchors: Anchors = field(init=False)

    def __post_init__(self) -> None:
        self.power_on()

    def power_on(self) -> None:
        """Begins, or restarts, the chip."""
        fuses = seeded_fuses(self.seed)
        self.anchors = Anchors(self.folder, fuses)
        self.silicon = SgxPlatform(self.folder, fuses, self.tcb)
        self.leaves = LeafFunctions(self.anchors)

    def reboot(self, tcb: Tcb | None = None) -> None:
        """Power off and on, with new microcode if wanted."""
        self.anchors.close()
        self.tcb = tcb or self.tcb
        self.power_on()

    @property
    def disk(self) -> Path:
        """The host's database."""
        return self.folder / "records.db"

    def host(self) -> LabHost:
        """An honest host on that disk."""
        return LabHost(self.disk)

    def launch(
        self, host: LabHost, secs: Secs = SECS, rules: StateRules = RULES, clock: EnclaveTime | None = None
    ) -> Store:
        """The store of an enclave that was just launched."""
        leaf = self.leaf(secs)
        return Store(leaf, host, leaf.sealing_keys(), rules, clock)

    def leaf(self, secs: Secs = SECS) -> LabLeaf:
        """The chip as such an enclave asks it."""
        return LabLeaf(self.leaves, SgxAttester(self.silicon, secs), self.loop)


@contextlib.contextmanager
def lab(folder: Path) -> Iterator[Lab]:
    """A machine in an empty folder."""
    loop = asyncio.new_event_loop()
    try:
        yield Lab(folder, loop)
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def soon() -> float:
    """A deadline."""
    return time.monotonic() + 5


def begin(store: Store) -> Transaction:
    """A call's transaction."""
    return finish(store.begin(soon()))


def commit(transaction: Transaction) -> StateMark:
    """The end of a call."""
    return finish(transaction.commit(soon()))


def put(store: Store, **values: bytes) -> StateMark:
    """One call that sets these."""
    transaction = begin(store)
    for key, value in values.items():
        transaction.put(key, value)
    return commit(transaction)


def contents(store: Store) -> dict[str, bytes]:
    """All of the state as a new call sees it."""
    transaction = begin(store)
    return {key: transaction.get(key) or b"" for key in transaction.list(limit=10_000)}


def secs(**changes: Any) -> Secs:
    """Another enclave."""
    return replace(SECS, **changes)


async def turns(count: int) -> None:
    """Lets all others that can go on, so many times."""
    for _ in range(count):
        await Signal().wait(time.monotonic())


def run(*tasks: Coroutine[Any, Any, None]) -> None:
    """Runs them at once, to the end of all."""
    loop = Loop()
    left = len(tasks)
    ended: Pending[None] = Pending()

    async def wrap(task: Coroutine[Any, Any, None]) -> None:
        nonlocal left
        await task
        left -= 1
        if not left:
            ended.set(None)

    async def all_ended() -> None:
        assert await ended.done_by(time.monotonic() + 20), "a call hangs"

    for task in tasks:
        loop.start(wrap(task))
    loop.finish(all_ended())
