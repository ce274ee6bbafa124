"""Random schedules of calls, of one or two instances, against a serial oracle: whatever is interleaved, it is as if the
calls that were acknowledged had run one after the other, in the order of their commits."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.rigs.store_lab import RULES, Answer, LabHost, LabLeaf, contents, lab, run, soon, turns

from casemate.enclave.store import store as module
from casemate.enclave.store.state import cost
from casemate.enclave.store.store import Store
from casemate.enclave.store.transaction import Transaction
from casemate.wire.messages.state import StateAppend, StateRefused
from casemate.wire.protocol.faults import Code, FaultError, fault

KEYS = ["a", "ab", "b", "c/1", "c/2", "c/3"]
SMALL = replace(RULES, max_kib=1)
EXPECTED = {Code.STATE_CONFLICT, Code.STATE_LIMIT, Code.UNAVAILABLE}

Model = dict[str, bytes]
Replay = Callable[[Model], object]
"""Does a step on a plain dictionary; what it gives."""


@dataclass
class Call:
    """One call: what it did and saw, and how it ended."""

    number: int
    acknowledged_before: int
    """The newest epoch that anybody had been told of when this one began."""
    steps: list[tuple[Replay, object]] = field(default_factory=list)
    writes: bool = False
    ended: int = 0
    """When it asked for its commit: the order within a group."""
    epoch: int | None = None
    """None where it was refused."""
    fault: Code | None = None


class Schedule:
    """Runs calls at once, with delays by chance."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.calls: list[Call] = []
        self.acknowledged = 0
        self._ended = 0

    async def delay(self, _: object) -> None:
        """Of each question to chip or host, and of each answer."""
        await turns(self.chance.choice((0, 0, 1, 2, 5)))

    async def call(self, store: Store, most_steps: int) -> None:
        """One call from its beginning to its end, or to where it is dropped."""
        await turns(self.chance.randrange(6))
        made = Call(len(self.calls), self.acknowledged)
        self.calls.append(made)
        try:
            transaction = await store.begin(soon())
            for _ in range(self.chance.randint(0, most_steps)):
                self._step(made, transaction)
                await turns(self.chance.choice((0, 0, 1, 3)))
            if self.chance.random() < 0.1:
                return  # the function failed
            self._ended += 1
            made.ended, made.writes = self._ended, bool(transaction.changes)
            made.epoch = (await transaction.commit(soon())).epoch
            self.acknowledged = max(self.acknowledged, made.epoch)
        except FaultError as error:
            made.fault = error.fault.code

    def _step(self, made: Call, transaction: Transaction) -> None:
        key = self.chance.choice(KEYS)
        value = b'"' + f"{made.number}.{len(made.steps)}".encode() + b"x" * self.chance.choice((0, 0, 150, 300)) + b'"'
        saw: object
        does: Replay
        match self.chance.randrange(6):
            case 0:
                does, saw = lambda model: model.get(key), transaction.get(key)
            case 1 | 2:
                try:
                    transaction.put(key, value)
                except FaultError as error:
                    if error.fault.code is not Code.STATE_LIMIT:
                        raise
                    return
                does, saw = lambda model: model.update({key: value}), None
            case 3:
                does, saw = lambda model: model.pop(key, None) is not None, transaction.delete(key)
            case 4:
                expected = self.chance.choice((None, transaction.get(key)))
                new = self.chance.choice((None, b"1"))
                does = lambda model: _compare_and_set(model, key, expected, new)  # noqa: E731
                saw = transaction.compare_and_set(key, expected, new)
            case _:
                prefix, limit = self.chance.choice(("", "a", "c/", "z")), self.chance.choice((1, 2, 1000))
                after = self.chance.choice((None, None, "a", "c/1"))
                does = lambda model: _list(model, prefix, after, limit)  # noqa: E731
                saw = transaction.list(prefix, after=after, limit=limit)
        made.steps.append((does, saw))

    def check(self) -> Model:
        """Holds all that was acknowledged against the calls in the order of their commits; the last state."""
        acknowledged = [call for call in self.calls if call.epoch is not None]
        writers = sorted((call.epoch or 0, call.ended, call) for call in acknowledged if call.writes)
        readers = [call for call in acknowledged if not call.writes]
        model: Model = {}
        states: dict[int, Model] = {0: {}}
        for epoch, _, call in writers:
            assert epoch > call.acknowledged_before
            self._replay(call, model)
            states[epoch] = dict(model)
            assert sum(cost(key, value) for key, value in model.items()) <= SMALL.max_kib * 1024
        for call in readers:
            epoch = call.epoch or 0
            assert epoch >= call.acknowledged_before
            self._replay(call, dict(states[epoch]))
        return model

    def _replay(self, call: Call, model: Model) -> None:
        for does, saw in call.steps:
            assert does(model) == saw


def _compare_and_set(model: Model, key: str, expected: bytes | None, value: bytes | None) -> bool:
    if model.get(key) != expected:
        return False
    model.pop(key, None)
    if value is not None:
        model[key] = value
    return True


def _list(model: Model, prefix: str, after: str | None, limit: int) -> list[str]:
    return [key for key in sorted(model) if key.startswith(prefix) and (after is None or key > after)][:limit]


def unreliable(chance: random.Random, share: float) -> Callable[[object, Answer], list[Answer]]:
    """A host that refuses to store records, or whose answer is lost after it has stored them."""

    def lie(asked: object, answer: Answer) -> list[Answer]:
        if not isinstance(asked, StateAppend) or chance.random() >= share:
            return [answer]
        return [] if chance.random() < 0.5 else [StateRefused(asked.number, fault(Code.INTERNAL, "no"))]

    return lie


def delayed(store: Store, host: LabHost, schedule: Schedule) -> None:
    leaf = store._leaf
    assert isinstance(leaf, LabLeaf)
    leaf.delay = host.delay = schedule.delay


@settings(max_examples=100)
@given(seed=st.integers(0, 2**32), instances=st.integers(1, 2), share=st.sampled_from([0, 0, 0.3]))
def test_acknowledged_calls_are_as_if_one_had_run_after_the_other(
    tmp_path_factory: pytest.TempPathFactory, seed: int, instances: int, share: float
) -> None:
    chance = random.Random(seed)
    schedule = Schedule(chance)
    with lab(tmp_path_factory.mktemp("lab")) as machine, pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MIN_GROWTH", 2048)
        patch.setattr(module, "MAX_RETRIES", 100)  # instances that are overtaken over and over are another test's
        stores: list[Store] = []
        for _ in range(instances):
            host = machine.host()
            host.lie = unreliable(chance, share)
            stores.append(machine.launch(host, rules=SMALL))
            delayed(stores[-1], host, schedule)
        for _ in range(3):
            run(*(schedule.call(chance.choice(stores), most_steps=4) for _ in range(chance.randint(2, 6))))
            last = schedule.check()
            assert contents(machine.launch(machine.host(), rules=SMALL)) == last
        assert {call.fault for call in schedule.calls if call.fault} <= EXPECTED
        if instances == 1 and share == 0:
            for call in schedule.calls:
                assert call.fault is not Code.UNAVAILABLE
        for store in stores:
            assert not store._is_busy
            assert not store._gathered


def test_schedules_have_all_that_they_are_for(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Shared commits, conflicts, and blind writes over one another: else the test above would prove little."""
    counted: Counter[str] = Counter()
    for seed in range(15):
        schedule = Schedule(random.Random(seed))
        with lab(tmp_path_factory.mktemp("lab")) as machine:
            host = machine.host()
            store = machine.launch(host, rules=SMALL)
            delayed(store, host, schedule)
            for _ in range(3):
                run(*(schedule.call(store, most_steps=4) for _ in range(6)))
            schedule.check()
        epochs = Counter(call.epoch for call in schedule.calls if call.writes and call.epoch is not None)
        counted["shared"] += sum(count > 1 for count in epochs.values())
        counted["conflicts"] += sum(call.fault is Code.STATE_CONFLICT for call in schedule.calls)
        counted["alone"] += sum(count == 1 for count in epochs.values())
    assert min(counted.values()) > 15, counted
