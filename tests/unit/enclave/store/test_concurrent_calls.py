"""Several calls at once on one state: what each may see, which of them conflict, and what is committed together."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from tests.rigs.store_lab import (
    RULES,
    Answer,
    Lab,
    LabHost,
    LabLeaf,
    begin,
    commit,
    contents,
    finish,
    put,
    run,
    soon,
    turns,
)

from casemate.enclave.io.loop import Pending
from casemate.enclave.store import reads as reads_module
from casemate.enclave.store import store as module
from casemate.enclave.store.reads import MAX_READS
from casemate.enclave.store.state import cost
from casemate.enclave.store.store import Store
from casemate.enclave.store.transaction import Transaction
from casemate.wire.encodings.message import parse_fields
from casemate.wire.messages.leaf import AnchorAdvance, AnchorRead
from casemate.wire.messages.state import StateAppend, StateForget, StateRead, StateRefused
from casemate.wire.protocol.call import StateMark
from casemate.wire.protocol.faults import Code, FaultError, fault
from casemate.wire.protocol.sealed_record import SealedKind, SealedRecord
from casemate.wire.protocol.state_changes import Changes

Step = Callable[[Transaction], object]


def refused(code: Code) -> pytest.RaisesExc[FaultError]:
    return pytest.RaisesExc(FaultError, check=lambda error: error.fault.code is code)


class Gate:
    """Holds questions back until the test lets them go on."""

    def __init__(self, *kinds: type) -> None:
        self._kinds = kinds
        self.waiting: list[tuple[object, Pending[None]]] = []

    async def __call__(self, question: object) -> None:
        if isinstance(question, self._kinds):
            released: Pending[None] = Pending()
            self.waiting.append((question, released))
            assert await released.done_by(soon())

    async def open_one(self) -> object:
        """Waits until a question is held, and lets it go; the question."""
        for _ in range(100):
            if self.waiting:
                question, released = self.waiting.pop(0)
                released.set(None)
                await turns(5)
                return question
            await turns(1)
        raise AssertionError("nothing is asked")


def outcomes(commits: dict[str, Transaction], left: float = 5) -> dict[str, object]:
    """The epochs, or refusals, of calls that end at the same time, in this order."""
    found: dict[str, object] = {}

    async def end(name: str, transaction: Transaction) -> None:
        try:
            found[name] = (await transaction.commit(time.monotonic() + left)).epoch
        except FaultError as error:
            found[name] = error.fault.code

    run(*(end(name, transaction) for name, transaction in commits.items()))
    return found


def begun(store: Store, calls: dict[str, Step]) -> dict[str, Transaction]:
    """Calls that have begun at the same time, and come to their ends."""
    open_ones = {name: begin(store) for name in calls}
    for name, steps in calls.items():
        steps(open_ones[name])
    return open_ones


def sets(key: str, value: bytes = b"1") -> Step:
    return lambda transaction: transaction.put(key, value)


def both(first: Step, second: Step) -> Step:
    def steps(transaction: Transaction) -> None:
        first(transaction)
        second(transaction)

    return steps


def leaf_of(store: Store) -> LabLeaf:
    assert isinstance(store._leaf, LabLeaf)
    return store._leaf


def records(host: LabHost) -> list[SealedRecord]:
    """Those that were appended."""
    return [SealedRecord.parse(asked.record) for asked in host.questions if isinstance(asked, StateAppend)]


class TestWhatConflicts:
    """One call is open while another commits."""

    BEFORE: ClassVar = {"a": b"1", "b": b"1", "list/1": b"1", "list/3": b"1", "list/5": b"1"}

    @pytest.fixture
    def store(self, machine: Lab, host: LabHost) -> Store:
        store = machine.launch(host)
        put(store, **self.BEFORE)
        return store

    def other(self, store: Store, key: str, value: bytes | None = b'"other"') -> None:
        transaction = begin(store)
        if value is None:
            transaction.delete(key)
        else:
            transaction.put(key, value)
        commit(transaction)

    READS: ClassVar[tuple[tuple[Step, str, bytes | None], ...]] = (
        (lambda t: t.get("a"), "a", b"2"),
        (lambda t: t.get("a"), "a", None),
        (lambda t: t.get("new"), "new", b"2"),
        (lambda t: t.delete("a"), "a", b"2"),
        (lambda t: t.delete("new"), "new", b"2"),
        (lambda t: t.compare_and_set("a", b"1", b"2"), "a", b"3"),
        (lambda t: t.compare_and_set("a", b"no", b"2"), "a", b"3"),
        (lambda t: t.compare_and_set("new", None, b"2"), "new", b"3"),
        (lambda t: t.list(), "new", b"1"),
        (lambda t: t.list("list/"), "list/3", None),
        (lambda t: t.list("list/"), "list/9", b"1"),
        (lambda t: t.list("list/", limit=3), "list/2", b"1"),
        (lambda t: t.list("list/", limit=4), "list/9", b"1"),
        (lambda t: t.list("list/", after="list/3"), "list/4", b"1"),
        (lambda t: t.list("list/", after="list/3", limit=1), "list/5", None),
        (lambda t: t.list("none/"), "none/1", b"1"),
        (both(sets("list/0", b"1"), lambda t: t.list("list/", limit=2)), "list/1", None),
    )

    @pytest.mark.parametrize(("read", "key", "value"), READS)
    def test_a_call_whose_reading_another_changes_ends_in_a_conflict(
        self, store: Store, read: Step, key: str, value: bytes | None
    ) -> None:
        mine = begin(store)
        read(mine)
        mine.put("mine", b"1")
        self.other(store, key, value)
        steps: list[Callable[[], object]] = [
            lambda: mine.get("b"),
            lambda: mine.put("b", b"2"),
            lambda: mine.delete("b"),
            lambda: mine.compare_and_set("b", None, b"2"),
            mine.list,
            lambda: commit(mine),
        ]
        for step in steps:
            with refused(Code.STATE_CONFLICT):
                step()
        assert "mine" not in contents(store)

    NO_READS: ClassVar[tuple[tuple[Step, str, bytes | None], ...]] = (
        (lambda t: t.get("a"), "b", b"2"),
        (lambda t: t.get("a"), "a", b"1"),  # the same value again
        (lambda t: t.put("a", b"2"), "a", b"3"),
        (both(sets("a", b"2"), lambda t: t.get("a")), "a", b"3"),
        (both(sets("a", b"2"), lambda t: t.delete("a")), "a", b"3"),
        (both(sets("a", b"2"), lambda t: t.compare_and_set("a", b"2", b"4")), "a", b"3"),
        (lambda t: t.list("list/"), "list/3", b"2"),  # there as before
        (lambda t: t.list("list/"), "lisu", b"2"),
        (lambda t: t.list("list/", limit=3), "list/6", b"1"),  # behind the last key that was given
        (lambda t: t.list("list/", limit=2), "list/4", b"1"),
        (lambda t: t.list("list/", after="list/3"), "list/2", b"1"),
        (lambda t: t.list("list/", after="list/3"), "list/3", None),
        (lambda t: t.list("none/"), "nond", b"1"),
        (lambda t: t.list("a", after="b"), "b", None),
    )

    @pytest.mark.parametrize(("read", "key", "value"), NO_READS)
    def test_any_other_goes_on_and_sees_the_newest_state_under_its_own_changes(
        self, store: Store, read: Step, key: str, value: bytes | None
    ) -> None:
        mine = begin(store)
        read(mine)
        mine.put("mine", b"1")
        self.other(store, key, value)
        assert mine.get("mine") == b"1"
        if key not in mine.changes:
            assert mine.get(key) == value
            assert (key in mine.list()) == (value is not None)
        assert commit(mine).epoch == 3
        assert contents(store)["mine"] == b"1"

    def test_of_two_blind_writes_the_later_commit_wins(self, store: Store) -> None:
        one, other = begin(store), begin(store)
        one.put("a", b'"one"')
        other.put("a", b'"other"')
        commit(other)
        commit(one)
        assert contents(store)["a"] == b'"one"'

    def test_a_call_that_only_reads_is_never_refused_what_it_read_was_true_at_its_mark(self, store: Store) -> None:
        overtaken, other, nothing = begin(store), begin(store), begin(store)
        assert overtaken.get("a") == b"1"
        other.get("b")
        self.other(store, "a", b"2")
        assert commit(overtaken) == StateMark(1, 0)
        assert commit(other) == commit(nothing) == StateMark(2, 0)

    def test_other_instances_commits_count_as_well(self, machine: Lab, host: LabHost, store: Store) -> None:
        other = machine.launch(host)
        reads, blind = begin(store), begin(store)
        reads.get("a")
        reads.put("c", b"1")
        blind.put("a", b'"blind"')
        self.other(other, "a")
        begin(store)  # of a third call, which finds it
        with refused(Code.STATE_CONFLICT):
            commit(reads)
        assert blind.get("b") == b"1"
        commit(blind)
        assert contents(other) == self.BEFORE | {"a": b'"blind"'}

    def test_a_checkpoint_of_another_instance_is_compared_key_by_key(
        self, machine: Lab, host: LabHost, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "MIN_GROWTH", 512)
        other = machine.launch(host)
        reads, lists, unharmed = begin(store), begin(store), begin(store)
        reads.get("a")
        lists.list("list/")
        unharmed.get("b")
        unharmed.list("list/", limit=1)
        unharmed.put("a", b'"mine"')
        for _ in range(3):
            self.other(other, "a")
            self.other(other, "list/3", None)
        assert SealedKind.CHECKPOINT in {record.header.kind for record in records(host)}
        begin(store)
        for transaction in (reads, lists):
            with refused(Code.STATE_CONFLICT):
                transaction.get("b")
        commit(unharmed)
        assert contents(other)["a"] == b'"mine"'

    def test_a_call_that_reads_very_much_conflicts_with_any_change(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reads_module, "MAX_READS", 10)
        assert MAX_READS >= 1000
        much, little = begin(store), begin(store)
        for number in range(11):
            much.get(f"x{number}")
        for number in range(10):
            little.get(f"x{number}")
        self.other(store, "a", b"1")  # changes nothing
        assert much.get("a") == b"1"
        self.other(store, "a", b"2")
        with refused(Code.STATE_CONFLICT):
            much.get("x1")
        assert little.get("x1") is None

    def test_calls_that_were_dropped_are_forgotten(self, store: Store) -> None:
        dropped = begin(store)
        dropped.get("a")
        assert len(store._open) == 1
        del dropped
        assert len(store._open) == 0
        commit(begin(store))
        self.other(store, "a")
        assert len(store._open) == 0


class TestSize:
    def launch(self, machine: Lab, host: LabHost) -> Store:
        return machine.launch(host, rules=replace(RULES, max_kib=1))

    def test_limit_holds_at_the_commit_too_and_for_that_call_alone(self, machine: Lab, host: LabHost) -> None:
        store = self.launch(machine, host)
        large, small = b'"' + b"x" * 500 + b'"', b"1"
        late, late_and_small = begin(store), begin(store)
        late.put("late", large)
        late_and_small.put("small", small)
        put(store, a=large)
        with refused(Code.STATE_LIMIT):
            commit(late)
        commit(late_and_small)
        assert contents(store) == {"a": large, "small": small}
        assert store.state.size == cost("a", large) + cost("small", small)

    def test_within_a_group_the_first_that_fit_are_kept(self, machine: Lab, host: LabHost) -> None:
        store = self.launch(machine, host)
        sizes = {"a": 400, "b": 400, "c": 400, "d": 1}
        calls = {key: sets(key, b'"' + b"x" * size + b'"') for key, size in sizes.items()}
        assert outcomes(begun(store, calls)) == {"a": 1, "b": 1, "c": Code.STATE_LIMIT, "d": 1}
        assert set(contents(self.launch(machine, host))) == {"a", "b", "d"}

    def test_a_call_counts_what_others_change_under_its_own_changes(self, machine: Lab, host: LabHost) -> None:
        store = self.launch(machine, host)
        put(store, a=b"1")
        mine = begin(store)
        mine.put("a", b'"' + b"x" * 300 + b'"')
        put(store, a=b'"' + b"y" * 400 + b'"')
        mine.put("b", b'"' + b"x" * 450 + b'"')  # together they would be too large, had mine not replaced the other's
        commit(mine)
        assert store.state.size == cost("a", bytes(302)) + cost("b", bytes(452))


class TestGroups:
    """Commits that wait at the same time."""

    def test_share_a_record_and_a_step_of_the_anchor(self, machine: Lab, host: LabHost) -> None:
        store = machine.launch(host)
        put(store, n=b"0")
        asked: list[type] = []
        leaf_of(store).on_question = lambda question: asked.append(type(question))
        before = len(records(host))
        calls: dict[str, Step] = {
            f"k{number}": both(sets(f"k{number}"), sets("last", f'"k{number}"'.encode())) for number in range(8)
        }
        assert set(outcomes(begun(store, calls)).values()) == {2}
        (record,) = records(host)[before:]
        assert asked.count(AnchorAdvance) == 1
        changes = parse_fields(Changes, finish(leaf_of(store).sealing_keys().open(record)))
        assert [change.key for change in changes.changes] == ["k0", "last", *(f"k{number}" for number in range(1, 8))]
        assert contents(machine.launch(host))["last"] == b'"k7"'

    def test_one_that_read_what_an_earlier_one_changes_conflicts_and_the_others_are_kept(
        self, machine: Lab, host: LabHost
    ) -> None:
        store = machine.launch(host)
        put(store, a=b"0")

        def increment(transaction: Transaction) -> None:
            transaction.put("a", str(int(transaction.get("a") or b"0") + 1).encode())

        calls: dict[str, Step] = {
            "first": increment,
            "second": increment,
            "cas": lambda t: t.compare_and_set("a", b"0", b"9"),
            "blind": sets("b"),
            "phantom": both(lambda t: t.list(), sets("c")),
            "elsewhere": both(lambda t: t.get("z"), sets("e")),
            "reads": lambda t: t.get("a"),
        }
        conflicts = dict.fromkeys(("second", "cas", "phantom"), Code.STATE_CONFLICT)
        assert outcomes(begun(store, calls)) == {"first": 2, "blind": 2, "elsewhere": 2, "reads": 1, **conflicts}
        assert contents(machine.launch(host)) == {"a": b"1", "b": b"1", "e": b"1"}

    def test_what_comes_while_a_group_is_under_way_waits_for_the_next_and_sees_the_anchored_state(
        self, machine: Lab, host: LabHost
    ) -> None:
        store = machine.launch(host)
        put(store, a=b"0")
        host.delay = gate = Gate(StateAppend)
        seen: dict[str, object] = {}

        async def write(name: str, delay: int) -> None:
            await turns(delay)
            transaction = await store.begin(soon())
            seen[f"{name} reads"] = transaction.get("b")
            transaction.put(name, b"1")
            seen[name] = (await transaction.commit(soon())).epoch

        async def read() -> None:
            await turns(5)
            transaction = await store.begin(soon())
            seen["reader"] = transaction.get("a"), (await transaction.commit(soon())).epoch

        async def watch() -> None:
            await turns(10)
            assert seen == {"reader": (b"0", 1), "a reads": None, "x reads": None, "y reads": None}
            await gate.open_one()  # before the host looks at it
            assert "a" not in seen
            await gate.open_one()  # before its answer
            assert seen["a"] == 2
            assert "x" not in seen
            await gate.open_one()
            await gate.open_one()
            assert seen["x"] == seen["y"] == 3

        run(write("a", 0), write("x", 5), write("y", 5), read(), watch())
        assert contents(machine.launch(host)) == {"a": b"1", "x": b"1", "y": b"1"}

    @pytest.mark.parametrize("phase", range(4))
    @pytest.mark.parametrize("kinds", [(StateAppend,), (AnchorAdvance,), (StateAppend, AnchorAdvance)])
    def test_a_call_that_begins_in_the_middle_of_a_commit_sees_it_whole_or_not_at_all(
        self, machine: Lab, host: LabHost, phase: int, kinds: tuple[type, ...]
    ) -> None:
        """The anchor may be ahead of memory by this enclave's own commit, which is not another instance's."""
        store = machine.launch(host)
        put(store, a=b"0", b=b"0")
        host.delay = leaf_of(store).delay = gate = Gate(*kinds)
        done: list[object] = []

        async def write() -> None:
            transaction = await store.begin(soon())
            transaction.put("a", b"1")
            transaction.put("b", b"1")
            done.append(await transaction.commit(soon()))

        async def read() -> None:
            transaction = await store.begin(soon())
            values = (transaction.get("a"), transaction.get("b"))
            assert values in ((b"0", b"0"), (b"1", b"1"))
            assert (await transaction.commit(soon())).epoch == 1 + int(values[0])
            done.append(values)

        async def watch() -> None:
            for _ in range(min(phase, 2 * len(kinds))):
                await gate.open_one()
            reading.set(None)
            await turns(5)
            while len(done) < 2:
                if gate.waiting:
                    await gate.open_one()
                await turns(1)

        async def read_then() -> None:
            await reading.done_by(None)
            await read()

        reading: Pending[None] = Pending()
        run(write(), read_then(), watch())
        assert not [asked for asked in host.questions if isinstance(asked, StateRead)]

    def test_all_fail_together_where_the_host_does_not_store_it(self, machine: Lab, host: LabHost) -> None:
        store = machine.launch(host)
        put(store, a=b"0")
        calls = begun(store, {"k": sets("k"), "l": sets("l"), "m": sets("m")})
        host.lie = refuses
        assert outcomes(calls) == dict.fromkeys("klm", Code.UNAVAILABLE)
        host.lie = lambda _, answer: [answer]
        assert contents(store) == contents(machine.launch(host)) == {"a": b"0"}
        assert put(store, a=b"1") == StateMark(2, 0)

    def test_all_fail_together_where_another_instance_was_faster(self, machine: Lab, host: LabHost) -> None:
        store, other = machine.launch(host), machine.launch(host)
        put(store, a=b"0")
        calls = begun(store, {"k": sets("k"), "l": sets("l"), "m": sets("m")})
        put(other, z=b"1")
        assert outcomes(calls) == dict.fromkeys("klm", Code.STATE_CONFLICT)
        assert contents(store) == contents(machine.launch(host)) == {"a": b"0", "z": b"1"}
        assert put(store, a=b"1") == StateMark(3, 0)

    def test_a_checkpoint_holds_all_of_the_group_and_the_host_forgets_before_the_next(
        self, machine: Lab, host: LabHost, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "MIN_GROWTH", 4096)
        store = machine.launch(host)
        order: list[object] = []

        def watched(asked: object, answer: Answer) -> list[Answer]:
            if isinstance(asked, StateAppend):
                order.append(SealedRecord.parse(asked.record).header.kind)
            return [answer]

        host.lie = watched
        told = host.tell

        def watched_tell(message: object) -> None:
            order.append(type(message))
            told(message)

        monkeypatch.setattr(host, "tell", watched_tell)

        async def call(key: str) -> None:
            for number in range(4):
                transaction = await store.begin(soon())
                transaction.put(key, f'"{number}{"x" * 600}"'.encode())
                await transaction.commit(soon())

        run(*(call(f"k{number}") for number in range(4)))
        at = order.index(SealedKind.CHECKPOINT)
        assert order[at + 1] is StateForget
        assert order[at + 2 :]
        again = contents(machine.launch(host))
        assert set(again) == {"k0", "k1", "k2", "k3"}
        assert all(value.startswith(b'"3') for value in again.values())

    def test_the_host_has_its_time_whatever_the_calls_have_left(self, machine: Lab, host: LabHost) -> None:
        store = machine.launch(host)
        deadlines: list[float] = []
        asked = host.ask

        async def watched(question: Any, wanted: Any, deadline: float) -> Any:
            deadlines.append(deadline - time.monotonic())
            return await asked(question, wanted, deadline)

        host.ask = watched  # type: ignore[method-assign]

        for left in (-1, 20):
            outcomes(begun(store, {"a": sets("a"), "b": sets("b")}), left)
        assert [round(seconds) for seconds in deadlines] == [5, 20]


class TestBeginning:
    def test_one_loads_what_another_instance_wrote_and_all_see_it(self, machine: Lab, host: LabHost) -> None:
        store, other = machine.launch(host), machine.launch(host)
        for number in range(5):
            put(other, a=str(number).encode())
        host.questions.clear()
        host.delay = gate = Gate(StateRead)
        seen: list[object] = []

        async def call() -> None:
            seen.append((await store.begin(soon())).get("a"))

        async def watch() -> None:
            await gate.open_one()
            await gate.open_one()

        run(call(), call(), call(), watch())
        assert seen == [b"4"] * 3
        assert len(host.questions) == 1

    def test_a_load_that_fails_is_tried_again_by_the_next(self, machine: Lab, host: LabHost) -> None:
        store, other = machine.launch(host), machine.launch(host)
        put(other, a=b"1")
        answers = iter((False, True))
        host.lie = lambda _, answer: [answer] if next(answers) else []
        seen: list[object] = []

        async def call() -> None:
            try:
                seen.append((await store.begin(soon())).get("a"))
            except FaultError as error:
                seen.append(error.fault.code)

        run(call(), call())
        assert seen == [Code.UNAVAILABLE, b"1"]

    def test_calls_at_once_share_a_reading_that_is_sent_after_each_began(self, machine: Lab, host: LabHost) -> None:
        store, other = machine.launch(host), machine.launch(host)
        put(store, a=b"0")
        gate = Gate(AnchorRead)
        leaf_of(store).delay = gate
        readings = 0

        def count(question: object) -> None:
            nonlocal readings
            readings += isinstance(question, AnchorRead)

        leaf_of(store).on_question = count
        seen: list[object] = []

        async def call() -> None:
            seen.append((await store.begin(soon())).get("a"))

        async def watch() -> None:
            await gate.open_one()  # the chip has read the anchor for the first call, and has yet to answer
            put(other, a=b"1")
            later.set(None)  # calls that begin after that commit was acknowledged
            await turns(5)
            assert readings == 1
            await gate.open_one()
            assert readings == 2
            await gate.open_one()
            await gate.open_one()

        async def late() -> None:
            await later.done_by(None)
            await call()

        later: Pending[None] = Pending()
        run(call(), late(), late(), late(), watch())
        assert seen == [b"0", b"1", b"1", b"1"]
        assert readings == 2

    def test_a_stuck_host_holds_up_nobody_for_ever(
        self, machine: Lab, host: LabHost, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "LOAD_TIME", 0.05)
        monkeypatch.setattr(module, "COMMIT_TIME", 0.02)
        store = machine.launch(host)
        begin(store)
        host.delay = gate = Gate(StateAppend)
        codes: list[object] = []

        async def call(key: str, first: bool) -> None:
            await turns(0 if first else 4)
            transaction = await store.begin(time.monotonic())
            transaction.put(key, b"1")
            try:
                codes.append((await transaction.commit(time.monotonic())).epoch)
            except FaultError as error:
                codes.append(error.fault.code)

        async def watch() -> None:
            while len(codes) < 2:
                await turns(1)
            assert codes == [Code.UNAVAILABLE] * 2
            await gate.open_one()
            await gate.open_one()

        run(call("a", True), call("b", False), call("c", False), watch())
        assert codes == [Code.UNAVAILABLE, Code.UNAVAILABLE, 1]
        assert contents(machine.launch(machine.host())) == {"a": b"1"}


def refuses(asked: object, answer: Answer) -> list[Answer]:
    return [StateRefused(asked.number, fault(Code.INTERNAL, "no"))] if isinstance(asked, StateAppend) else [answer]
