"""Sealed state with honest peers: what is kept, who may open it, and what grows."""

import contextlib
import secrets
from dataclasses import replace
from pathlib import Path

import pytest
from tests.rigs.store_lab import RULES, SECS, Answer, Lab, LabHost, LabLeaf, begin, commit, contents, put, secs

from casemate.chip.sgx.tcb import FIRST_TCB, Tcb
from casemate.enclave.store import store as module
from casemate.wire.messages.leaf import AnchorAdvance, AnchorRead
from casemate.wire.messages.state import StateAppend, StateForget, StateRecords
from casemate.wire.protocol.call import StateMark
from casemate.wire.protocol.faults import Code, FaultError
from casemate.wire.protocol.manifest import StateRules
from casemate.wire.protocol.seal_binding import SealBinding
from casemate.wire.protocol.sealed_record import SealedKind, SealedRecord
from casemate.wire.sgx.attributes import AttributeFlag, Attributes

NEWER = Tcb(bytes((9, 9, *FIRST_TCB.cpu_svn[2:])), FIRST_TCB.pce_svn)


def refused(code: Code) -> pytest.RaisesExc[FaultError]:
    return pytest.RaisesExc(FaultError, check=lambda error: error.fault.code is code)


def kinds(host: LabHost) -> list[SealedKind]:
    """Of the records that were appended."""
    return [SealedRecord.parse(asked.record).header.kind for asked in host.questions if isinstance(asked, StateAppend)]


def is_checkpoint(record: bytes) -> bool:
    return SealedRecord.parse(record).header.kind is SealedKind.CHECKPOINT


def test_a_new_state_is_empty_and_asks_the_host_nothing(machine: Lab, host: LabHost) -> None:
    store = machine.launch(host)
    assert contents(store) == {}
    assert commit(begin(store)) == StateMark(0, 0)
    assert host.questions == []


def test_what_was_committed_outlives_enclave_host_and_chip(machine: Lab, host: LabHost) -> None:
    store = machine.launch(host)
    assert put(store, a=b"1", b=b'{"x":[1,2]}') == StateMark(1, 0)
    assert put(store, a=b"2", c=b"null") == StateMark(2, 0)
    host.records.close()
    machine.reboot()
    again = machine.launch(machine.host())
    assert contents(again) == {"a": b"2", "b": b'{"x":[1,2]}', "c": b"null"}
    assert again.mark == StateMark(2, 0)
    assert put(again, d=b"4") == StateMark(3, 0)


def test_deletions_and_overwrites_are_kept_too(machine: Lab, host: LabHost) -> None:
    store = machine.launch(host)
    put(store, a=b"1", b=b"2")
    transaction = begin(store)
    assert transaction.delete("a")
    transaction.put("b", b"3")
    commit(transaction)
    assert contents(machine.launch(host)) == {"b": b"3"}


def test_a_call_that_is_not_committed_leaves_nothing(machine: Lab, host: LabHost) -> None:
    store = machine.launch(host)
    put(store, a=b"1")
    begin(store).put("a", b"2")
    assert contents(store) == {"a": b"1"}
    assert store.mark.epoch == 1


def test_a_call_that_only_reads_writes_nothing(machine: Lab, host: LabHost) -> None:
    store = machine.launch(host)
    mark = put(store, a=b"1")
    before = len(host.questions)
    transaction = begin(store)
    transaction.get("a")
    assert commit(transaction) == mark
    assert len(host.questions) == before


def test_record_is_with_the_host_before_the_anchor_names_it(machine: Lab, host: LabHost) -> None:
    store = machine.launch(host)
    order: list[type] = []

    def watched(asked: object, answer: Answer) -> list[Answer]:
        order.append(type(asked))
        return [answer]

    host.lie = watched
    leaf = store._leaf
    assert isinstance(leaf, LabLeaf)
    leaf.on_question = lambda asked: order.append(type(asked))
    put(store, a=b"1")
    assert [kind for kind in order if kind in (AnchorRead, StateAppend, AnchorAdvance)] == [
        AnchorRead,
        StateAppend,
        AnchorAdvance,
    ]


def test_two_instances_take_turns_and_see_each_other(machine: Lab, host: LabHost) -> None:
    one, other = machine.launch(host), machine.launch(host)
    assert put(one, a=b"1").epoch == 1
    assert contents(other) == {"a": b"1"}
    assert put(other, b=b"2").epoch == 2
    assert put(one, a=b"3").epoch == 3
    assert contents(other) == {"a": b"3", "b": b"2"}


def test_the_slower_of_two_instances_keeps_nothing(machine: Lab, host: LabHost) -> None:
    one, other = machine.launch(host), machine.launch(host)
    put(one, a=b"1")
    slow = begin(other)
    slow.put("a", b"lost")
    put(one, a=b"2")
    with refused(Code.STATE_CONFLICT):
        commit(slow)
    assert contents(other) == contents(one) == {"a": b"2"}
    assert put(other, a=b"3").epoch == 3
    assert contents(machine.launch(host)) == {"a": b"3"}


def test_an_instance_that_is_overtaken_while_it_loads_takes_the_newer_history(
    machine: Lab, host: LabHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one commits a checkpoint, and the host forgets what the slow one was about to read."""
    monkeypatch.setattr(module, "MIN_GROWTH", 4 * 1024)
    fast, other_host = machine.launch(host), machine.host()
    slow = machine.launch(other_host)
    for number in range(5):
        put(fast, a=str(number).encode())
    overtaken = 0

    def overtake(_: object, answer: Answer) -> list[Answer]:
        nonlocal overtaken
        forgotten = len(host.told)
        while overtaken < 3 and len(host.told) == forgotten:
            put(fast, a=b'"newer"')
        overtaken += 1
        number = answer.number
        return [StateRecords(number, ()) if overtaken <= 3 else answer]

    other_host.lie = overtake
    assert contents(slow) == {"a": b'"newer"'}
    assert slow.mark == fast.mark
    assert overtaken == 4

    def always(_: object, answer: Answer) -> list[Answer]:
        put(fast, a=b"1")
        return [StateRecords(answer.number, ())]

    other_host.lie = always
    put(fast, a=b"2")
    with refused(Code.STATE_CONFLICT):
        contents(slow)


class TestIdentity:
    def test_newer_version_of_the_same_signer_reads_on(self, machine: Lab, host: LabHost) -> None:
        put(machine.launch(host), a=b"1")
        upgraded = machine.launch(host, secs(mr_enclave=b"n" * 32, isv_svn=3))
        assert contents(upgraded) == {"a": b"1"}
        put(upgraded, b=b"2")
        assert contents(machine.launch(host, secs(mr_enclave=b"n" * 32, isv_svn=3))) == {"a": b"1", "b": b"2"}

    def test_lower_version_is_refused_once_a_higher_one_has_written(self, machine: Lab, host: LabHost) -> None:
        old = machine.launch(host)
        put(old, a=b"1")
        new = machine.launch(host, secs(isv_svn=3))
        contents(new)
        assert contents(old) == {"a": b"1"}  # it has only been read
        put(new, b=b"2")
        for store in (old, machine.launch(host)):
            with refused(Code.STATE_REFUSED):
                contents(store)

    def test_state_of_this_code_alone_is_empty_for_another_build(self, machine: Lab, host: LabHost) -> None:
        rules = replace(RULES, binding=SealBinding.MRENCLAVE)
        put(machine.launch(host, rules=rules), a=b"1")
        other = secs(mr_enclave=b"n" * 32, isv_svn=9)
        assert contents(machine.launch(host, other, rules)) == {}
        assert contents(machine.launch(host, rules=rules)) == {"a": b"1"}

    @pytest.mark.parametrize(
        "other",
        [
            secs(mr_signer=b"t" * 32),
            secs(isv_prod_id=8),
            secs(attributes=Attributes(SECS.attributes.flags | AttributeFlag.DEBUG, 3)),
        ],
    )
    def test_strangers_have_states_of_their_own(self, machine: Lab, host: LabHost, other: object) -> None:
        put(machine.launch(host), a=b"1")
        assert contents(machine.launch(host, other)) == {}  # type: ignore[arg-type]

    def test_newer_microcode_opens_what_an_older_one_sealed(self, machine: Lab, host: LabHost) -> None:
        put(machine.launch(host), a=b"1")
        machine.reboot(NEWER)
        store = machine.launch(host)
        assert contents(store) == {"a": b"1"}
        put(store, b=b"2")
        machine.reboot()
        assert contents(machine.launch(host)) == {"a": b"1", "b": b"2"}

    def test_every_launch_seals_under_a_key_of_its_own_and_no_nonce_twice(self, machine: Lab, host: LabHost) -> None:
        for _ in range(3):
            store = machine.launch(host)
            for _ in range(3):
                put(store, a=b"1")
        headers = [
            SealedRecord.parse(asked.record).header for asked in host.questions if isinstance(asked, StateAppend)
        ]
        assert len({header.key_id for header in headers}) == 3
        assert len({(header.key_id, header.nonce) for header in headers}) == 9


class TestGrowth:
    def test_checkpoints_come_and_old_records_go(
        self, machine: Lab, host: LabHost, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "MIN_GROWTH", 16 * 1024)
        store = machine.launch(host)
        expected: dict[str, bytes] = {}
        for number in range(100):
            key, value = f"k{number % 7}", str(number).encode()
            expected[key] = value
            assert put(store, **{key: value}).epoch == number + 1
        assert SealedKind.CHECKPOINT in kinds(host)
        (state,) = host.records.states()
        assert (state.newest_epoch, state.records < 25) == (100, True)
        assert contents(machine.launch(host)) == expected
        assert all(isinstance(told, StateForget) for told in host.told)

    def test_large_state_goes_in_parts(self, machine: Lab, host: LabHost) -> None:
        rules = replace(RULES, max_kib=64 * 1024)
        store = machine.launch(host, rules=rules)
        values = {f"k{number}": b'"' + secrets.token_hex(450_000).encode() + b'"' for number in range(20)}
        put(store, **values)
        headers = [
            SealedRecord.parse(asked.record).header for asked in host.questions if isinstance(asked, StateAppend)
        ]
        assert [(header.epoch, header.part, header.parts) for header in headers] == [
            (1, part, len(headers)) for part in range(len(headers))
        ]
        assert len(headers) > 3
        again = machine.launch(host, rules=rules)
        assert contents(again) == values
        for _ in range(3):  # and so do its checkpoints
            put(store, **dict(list(values.items())[:12]))
        assert SealedKind.CHECKPOINT in kinds(host)
        assert contents(machine.launch(host, rules=rules)) == values
        put(again, last=b"1")
        assert contents(again) == values | {"last": b"1"}

    def test_very_many_small_entries_go_in_parts(self, machine: Lab, host: LabHost) -> None:
        rules = replace(RULES, max_kib=64 * 1024)
        values = {f"{number:05}": b"1" for number in range(70_000)}
        put(machine.launch(host, rules=rules), **values)
        store = machine.launch(host, rules=rules)
        contents(store)
        assert store.state.size == sum(len(key) + 1 + 64 for key in values)
        assert begin(store).list(after="69997") == ["69998", "69999"]

    def test_host_too_slow_for_a_checkpoint_gets_a_delta_next_time(
        self, machine: Lab, host: LabHost, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "MIN_GROWTH", 16 * 1024)
        store = machine.launch(host)
        tried: list[object] = []

        def slow_with_checkpoints(asked: object, answer: Answer) -> list[Answer]:
            slow = isinstance(asked, StateAppend) and is_checkpoint(asked.record)
            tried.extend([asked] if slow else [])
            return [] if slow else [answer]

        host.lie = slow_with_checkpoints
        failed = 0
        for number in range(200):
            with contextlib.suppress(FaultError):
                put(store, a=str(number).encode())
                continue
            failed += 1
        assert failed == len(tried)
        assert 2 <= failed <= 5

    def test_dump_of_the_disk_shows_nothing(self, machine: Lab, host: LabHost) -> None:
        secret, name = secrets.token_hex(16), f"key-{secrets.token_hex(8)}"
        store = machine.launch(host)
        put(store, **{name: f'"{secret}"'.encode()})
        host.records.close()
        dump = b"".join(path.read_bytes() for path in Path(machine.folder).iterdir() if path.is_file())
        assert len(dump) > 1024
        assert secret.encode() not in dump
        assert name.encode() not in dump
        assert contents(machine.launch(machine.host())) == {name: f'"{secret}"'.encode()}

    def test_size_on_the_disk_tells_little(self, machine: Lab, host: LabHost) -> None:
        store = machine.launch(host)
        for size in (1, 10, 100, 700):
            put(store, a=b'"' + b"x" * size + b'"')
        sizes = {len(asked.record) for asked in host.questions if isinstance(asked, StateAppend)}
        assert len(sizes) == 1


def test_limit_of_the_state_is_the_manifests(machine: Lab, host: LabHost) -> None:
    store = machine.launch(host, rules=StateRules(RULES.binding, RULES.recovery, max_kib=1))
    with refused(Code.STATE_LIMIT):
        put(store, a=b'"' + b"x" * 1024 + b'"')
    put(store, a=b'"' + b"x" * 800 + b'"')
    with refused(Code.STATE_LIMIT):
        put(store, b=b'"' + b"x" * 200 + b'"')
    put(store, a=b"1", b=b'"' + b"x" * 200 + b'"')
    smaller = machine.launch(host, rules=StateRules(RULES.binding, RULES.recovery, max_kib=1))
    assert set(contents(smaller)) == {"a", "b"}
