"""A host that loses, shows old, forges, mixes up and delays: it may stop an enclave, and never mislead it."""

import random
import shutil
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.rigs.store_lab import RULES, Answer, Lab, LabHost, begin, commit, contents, lab, put, secs

from casemate.chip.anchors import Anchors
from casemate.chip.fuses import seeded_fuses
from casemate.enclave.store.store import Store
from casemate.wire.messages.state import StateAppend, StateRead, StateRecords, StateRefused, StateStored
from casemate.wire.protocol.call import StateMark
from casemate.wire.protocol.faults import Code, FaultError, fault
from casemate.wire.protocol.manifest import Recovery
from casemate.wire.protocol.seal_binding import SealBinding
from casemate.wire.protocol.sealed_record import MAX_RECORD, SealedHeader

HEADER_SIZE = SealedHeader.LAYOUT.size


def refused(*codes: Code) -> pytest.RaisesExc[FaultError]:
    return pytest.RaisesExc(FaultError, check=lambda error: error.fault.code in codes)


def shows(records: Callable[[tuple[bytes, ...]], tuple[bytes, ...]]) -> Callable[[object, Answer], list[Answer]]:
    """A host that shows other records than it has."""

    def lie(_: object, answer: Answer) -> list[Answer]:
        return [replace(answer, records=records(answer.records)) if isinstance(answer, StateRecords) else answer]

    return lie


def written(machine: Lab, host: LabHost, commits: int = 3) -> Store:
    """A store with a history."""
    store = machine.launch(host)
    for number in range(1, commits + 1):
        put(store, a=str(number).encode())
    return store


@pytest.mark.parametrize(
    "records",
    [
        lambda _: (),
        lambda shown: shown[1:],
        lambda shown: shown[::-1],
        lambda shown: shown[:1] + shown[2:],
        lambda shown: (shown[0], shown[0], *shown[1:]),
        lambda shown: (b"", *shown),
        lambda shown: (bytes(1000), *shown),
        lambda shown: (shown[0] + b"\x00", *shown[1:]),
        lambda shown: (shown[0][:-1], *shown[1:]),
    ],
    ids=["none", "older", "reversed", "hole", "twice", "empty", "zeros", "longer", "shorter"],
)
def test_anything_but_the_newest_history_is_a_rollback(
    machine: Lab, host: LabHost, records: Callable[[tuple[bytes, ...]], tuple[bytes, ...]]
) -> None:
    written(machine, host)
    host.lie = shows(records)
    store = machine.launch(host)
    for _ in range(2):
        with refused(Code.STATE_ROLLED_BACK):
            contents(store)
    host.lie = lambda _, answer: [answer]
    assert contents(store) == {"a": b"3"}


def test_every_changed_byte_is_found(machine: Lab, host: LabHost) -> None:
    written(machine, host, commits=1)
    record = host.records.read(host.records.states()[0].namespace, machine.anchors.all()[0].head)[0]
    for at in (*range(HEADER_SIZE), *range(HEADER_SIZE, len(record), 37), len(record) - 1):
        forged = record[:at] + bytes((record[at] ^ 1,)) + record[at + 1 :]
        host.lie = shows(lambda _, forged=forged: (forged,))  # type: ignore[misc]
        with refused(Code.STATE_ROLLED_BACK):
            contents(machine.launch(host))


def test_other_identities_records_are_no_history_of_mine(machine: Lab, host: LabHost) -> None:
    stranger = machine.launch(host, secs(mr_signer=b"t" * 32))
    put(stranger, a=b"666")
    written(machine, host, commits=1)
    namespaces = [anchor.namespace for anchor in machine.anchors.all()]
    heads = {anchor.namespace: anchor.head for anchor in machine.anchors.all()}

    def swap(asked: object, answer: Answer) -> list[Answer]:
        if isinstance(asked, StateRead):
            other = next(name for name in namespaces if name != asked.namespace)
            return [StateRecords(asked.number, host.records.read(other, heads[other]))]
        return [answer]

    host.lie = swap
    with refused(Code.STATE_ROLLED_BACK):
        contents(machine.launch(host))


def test_running_enclave_needs_no_host_to_read_and_no_lie_reaches_it(machine: Lab, host: LabHost) -> None:
    store = written(machine, host)
    host.lie = lambda *_: []
    assert contents(store) == {"a": b"3"}


@pytest.mark.parametrize(
    "lie",
    [
        lambda _asked, _answer: [],
        lambda asked, _answer: [StateStored(asked.number - 1)],
        lambda asked, _answer: [StateStored(asked.number + 1)],
        lambda asked, _answer: [StateRecords(asked.number, ())],
        lambda asked, _answer: [StateRefused(asked.number, fault(Code.INTERNAL, "no"))],
        lambda asked, _answer: [StateRefused(asked.number + 1, fault(Code.INTERNAL, "no"))],
    ],
    ids=["silent", "late", "early", "another", "refuses", "refuses another"],
)
def test_a_commit_that_the_host_does_not_confirm_is_not_kept(
    machine: Lab, host: LabHost, lie: Callable[[object, Answer], list[Answer]]
) -> None:
    store = written(machine, host)
    host.lie = lie
    with refused(Code.UNAVAILABLE):
        put(store, a=b"4")
    assert contents(store) == {"a": b"3"}
    host.lie = lambda _, answer: [answer]
    assert contents(machine.launch(host)) == {"a": b"3"}
    assert put(store, a=b"5") == StateMark(4, 0)


def test_answers_before_the_right_one_are_dropped(machine: Lab, host: LabHost) -> None:
    host.lie = lambda asked, answer: [
        StateStored(asked.number - 1),  # type: ignore[attr-defined]
        StateRefused(asked.number + 1, fault(Code.INTERNAL, "")),  # type: ignore[attr-defined]
        StateRecords(asked.number + 7, (bytes(MAX_RECORD),)),  # type: ignore[attr-defined]
        answer,
    ]
    written(machine, host)
    assert contents(machine.launch(host)) == {"a": b"3"}


def test_a_dead_letter_never_takes_the_place_of_what_was_acknowledged(machine: Lab, host: LabHost) -> None:
    """Two records of one epoch, both sealed by the enclave: only the anchor's counts, whichever the host shows."""
    store = written(machine, host)
    host.lie = lambda asked, answer: [] if isinstance(asked, StateAppend) else [answer]
    with refused(Code.UNAVAILABLE):
        put(store, a=b"dead")
    host.lie = lambda _, answer: [answer]
    put(store, a=b"4")
    appended = [asked.record for asked in host.questions if isinstance(asked, StateAppend)]
    dead, alive = appended[-2:]
    assert SealedHeader.parse(dead[:HEADER_SIZE]).epoch == SealedHeader.parse(alive[:HEADER_SIZE]).epoch == 4
    assert contents(machine.launch(host)) == {"a": b"4"}
    host.lie = shows(lambda shown: (dead, *shown[1:]))
    with refused(Code.STATE_ROLLED_BACK):
        contents(machine.launch(host))


def test_a_fork_is_seen_by_whoever_is_on_its_losing_side(machine: Lab, host: LabHost) -> None:
    """Two hosts' disks, two instances: the second to commit is refused, and cannot go on with its own past."""
    written(machine, host)
    host.records.close()
    copy = machine.folder / "copy.db"
    shutil.copy(machine.disk, copy)
    one, other_host = machine.launch(host), LabHost(copy)
    other = machine.launch(other_host)
    assert contents(one) == contents(other)
    put(one, a=b"4")
    with refused(Code.STATE_ROLLED_BACK):
        put(other, a=b"fork")
    with refused(Code.STATE_ROLLED_BACK):
        contents(machine.launch(other_host))


class TestRollback:
    """A copied older disk, and the way out."""

    @pytest.fixture
    def older(self, machine: Lab, host: LabHost) -> LabHost:
        written(machine, host, commits=2)
        host.records.close()
        copy = machine.folder / "older.db"
        shutil.copy(machine.disk, copy)
        put(machine.launch(host), a=b"3")
        return LabHost(copy)

    def forgive(self, machine: Lab) -> None:
        machine.anchors.forgive(machine.anchors.all()[0].namespace)

    def test_is_refused_until_the_operator_accepts_it_and_shows_for_ever(self, machine: Lab, older: LabHost) -> None:
        store = machine.launch(older)
        with refused(Code.STATE_ROLLED_BACK) as error:
            contents(store)
        assert machine.anchors.all()[0].namespace.hex() in error.value.fault.reason
        self.forgive(machine)
        assert contents(store) == {"a": b"2"}
        assert store.mark == StateMark(4, 1)
        assert put(store, a=b"4") == StateMark(5, 1)
        machine.reboot()
        again = machine.launch(older)
        assert contents(again) == {"a": b"4"}
        assert put(again, a=b"5") == StateMark(6, 1)

    def test_is_accepted_once(self, machine: Lab, host: LabHost, older: LabHost) -> None:
        self.forgive(machine)
        assert contents(machine.launch(older)) == {"a": b"2"}
        with refused(Code.STATE_ROLLED_BACK):
            contents(machine.launch(host))

    def test_newest_disk_is_taken_where_it_is_there_and_counts_all_the_same(
        self, machine: Lab, host: LabHost, older: LabHost
    ) -> None:
        self.forgive(machine)
        store = machine.launch(host)
        assert contents(store) == {"a": b"3"}
        assert store.mark == StateMark(3, 0)
        assert put(store, a=b"4") == StateMark(4, 1)
        with refused(Code.STATE_ROLLED_BACK):
            contents(machine.launch(older))

    def test_manifest_that_says_never_means_it(self, machine: Lab, older: LabHost) -> None:
        self.forgive(machine)
        store = machine.launch(older, rules=replace(RULES, recovery=Recovery.NEVER))
        with refused(Code.STATE_ROLLED_BACK):
            contents(store)
        assert machine.anchors.all()[0].epoch == 3

    def test_no_records_at_all_are_a_rollback_too_and_can_be_accepted(self, machine: Lab, older: LabHost) -> None:
        empty = LabHost(machine.folder / "empty.db")
        store = machine.launch(empty)
        with refused(Code.STATE_ROLLED_BACK):
            contents(store)
        self.forgive(machine)
        assert contents(store) == {}
        assert store.mark == StateMark(4, 1)
        assert put(store, a=b"new").epoch == 5
        assert contents(machine.launch(empty)) == {"a": b"new"}
        assert older.questions == []

    def test_damaged_records_on_the_disk_are_passed_over(self, machine: Lab, older: LabHost) -> None:
        namespace = machine.anchors.all()[0].namespace
        newest = older.records.newest(namespace)
        older.records._open().execute("UPDATE records SET record = zeroblob(500) WHERE digest = ?", (newest,))
        older.records._open().commit()
        self.forgive(machine)
        assert contents(machine.launch(older)) == {"a": b"1"}

    def test_what_is_shown_for_a_recovery_must_be_a_history(self, machine: Lab, older: LabHost) -> None:
        self.forgive(machine)
        stranger = machine.launch(older, secs(mr_signer=b"t" * 32))
        put(stranger, a=b"666")
        strange = older.questions[-1].record  # type: ignore[attr-defined]
        for forged in (
            lambda shown: shown[:1] if len(shown) > 1 else (),
            lambda shown: (shown[0][:-1] + bytes((shown[0][-1] ^ 1,)), *shown[1:]) if shown else (),
            lambda _: (strange,),
            lambda _: (b"",),
        ):
            older.lie = shows(forged)
            with refused(Code.STATE_ROLLED_BACK, Code.STATE_REFUSED):
                contents(machine.launch(older))
        older.lie = lambda _, answer: [answer]
        assert contents(machine.launch(older)) == {"a": b"2"}

    def test_host_that_fails_in_the_middle_of_a_recovery_changes_nothing(self, machine: Lab, older: LabHost) -> None:
        self.forgive(machine)
        store = machine.launch(older)
        older.lie = lambda asked, answer: [] if isinstance(asked, StateAppend) else [answer]
        with refused(Code.UNAVAILABLE):
            contents(store)
        older.lie = lambda _, answer: [answer]
        assert contents(store) == {"a": b"2"}
        assert store.mark == StateMark(4, 1)

    def test_state_of_this_code_alone_goes_the_same_way(self, machine: Lab, host: LabHost) -> None:
        rules = replace(RULES, binding=SealBinding.MRENCLAVE)
        put(machine.launch(host, rules=rules), a=b"1")
        empty = LabHost(machine.folder / "empty.db")
        with refused(Code.STATE_ROLLED_BACK):
            contents(machine.launch(empty, rules=rules))
        self.forgive(machine)
        assert contents(machine.launch(empty, rules=rules)) == {}


class TestGivenUp:
    """An anchor that its owner has given up: no copy of the disk brings the state back."""

    @pytest.fixture
    def before(self, machine: Lab, host: LabHost) -> LabHost:
        """The host, with a disk as it was when the anchor was given up, and one record more that was never anchored."""
        written(machine, host, commits=3)
        machine.anchors.advance = cut_off  # type: ignore[method-assign, assignment] # the power goes between two steps
        with pytest.raises(InterruptedError):
            put(machine.launch(host), a=b"never acknowledged")
        host.records.close()
        copy = machine.folder / "before.db"
        shutil.copy(machine.disk, copy)
        machine.reboot()
        machine.anchors.give_up(machine.anchors.all()[0].namespace)
        return LabHost(copy)

    def test_begins_anew_empty_and_its_receipts_count_it(self, machine: Lab, before: LabHost, host: LabHost) -> None:
        for disk in (before, host):
            store = machine.launch(disk)
            assert contents(store) == {}
            assert store.mark == StateMark(4, 1)
        assert put(machine.launch(before), b=b"new") == StateMark(5, 1)
        machine.reboot()
        assert contents(machine.launch(before)) == {"b": b"new"}

    def test_host_forgets_the_old_records_with_the_first_commit(self, machine: Lab, before: LabHost) -> None:
        store = machine.launch(before)
        assert before.records.states()[0].records == 4
        put(store, b=b"new")
        (now,) = before.records.states()
        assert (now.records, now.newest_epoch) == (1, 5)
        assert put(store, b=b"newer") == StateMark(6, 1)
        assert contents(machine.launch(before)) == {"b": b"newer"}

    def test_running_enclave_forgets_it_with_its_next_call(self, machine: Lab, host: LabHost) -> None:
        store = machine.launch(host)
        put(store, a=b"1")
        transaction = begin(store)
        machine.anchors.give_up(machine.anchors.all()[0].namespace)
        transaction.put("a", b"2")
        with refused(Code.STATE_CONFLICT):
            commit(transaction)
        assert contents(store) == {}
        assert put(store, b=b"new") == StateMark(3, 1)

    def test_old_disk_is_refused_by_the_anchor_that_is_made_again(
        self, machine: Lab, host: LabHost, before: LabHost
    ) -> None:
        put(machine.launch(host), b=b"new")
        with refused(Code.STATE_ROLLED_BACK):
            contents(machine.launch(before))

    @pytest.mark.parametrize("commits", [1, 3])
    def test_not_even_an_accepted_rollback_takes_an_old_record(
        self, machine: Lab, host: LabHost, before: LabHost, commits: int
    ) -> None:
        written(machine, host, commits)
        TestRollback().forgive(machine)
        with refused(Code.STATE_REFUSED) as error:
            contents(machine.launch(before))
        assert "before it began anew at epoch 4" in error.value.fault.reason
        assert contents(machine.launch(LabHost(machine.folder / "empty.db"))) == {}

    def test_log_that_was_lost_and_begun_anew_takes_no_old_record_either(self, machine: Lab, host: LabHost) -> None:
        written(machine, host, commits=3)
        (machine.folder / "anchors.log").unlink()
        Anchors(machine.folder, seeded_fuses(machine.seed), generation=1).close()
        machine.reboot()
        other = LabHost(machine.folder / "other.db")
        store = machine.launch(other)
        assert contents(store) == {}
        assert put(store, b=b"new") == StateMark((1 << 40) + 1, 1)
        TestRollback().forgive(machine)
        with refused(Code.STATE_REFUSED):
            contents(machine.launch(host))

    def test_manifest_that_says_never_is_never_served_an_empty_one(self, machine: Lab, before: LabHost) -> None:
        store = machine.launch(before, rules=replace(RULES, recovery=Recovery.NEVER))
        with refused(Code.STATE_ROLLED_BACK) as error:
            contents(store)
        assert "began anew at epoch 4" in error.value.fault.reason


def cut_off(*_: object, **__: object) -> None:
    raise InterruptedError


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32))
def test_whatever_the_host_does_the_state_is_the_acknowledged_one_or_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    """Random lies between random calls, two instances: every read that succeeds gives the last acknowledged write."""
    chance = random.Random(seed)
    with lab(tmp_path_factory.mktemp("lab")) as machine:
        host = machine.host()
        stores = [machine.launch(host), machine.launch(host)]
        acknowledged: list[bytes | None] = [None]
        seen: list[Answer] = []

        def lie(_: object, answer: Answer) -> list[Answer]:
            seen.append(answer)
            said = [answer, chance.choice(seen), *chance.sample(seen, min(2, len(seen)))]
            return chance.sample(said, chance.randint(0, len(said)))

        for number in range(12):
            host.lie = lie if chance.random() < 0.5 else (lambda _, answer: [answer])
            at = chance.randrange(2)
            if chance.random() < 0.2:
                stores[at] = machine.launch(host)
            try:
                transaction = begin(stores[at])
                assert transaction.get("a") == acknowledged[-1]
                transaction.put("a", str(number).encode())
                commit(transaction)
            except FaultError as error:
                assert error.fault.code in (Code.UNAVAILABLE, Code.STATE_ROLLED_BACK)  # noqa: PT017 - either is fine
            else:
                acknowledged.append(str(number).encode())
        host.lie = lambda _, answer: [answer]
        assert begin(machine.launch(host)).get("a") == acknowledged[-1]
