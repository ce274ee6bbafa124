"""Reads and writes of one call, against a dictionary."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.rigs.store_lab import finish

from casemate.enclave.store.state import ENTRY_COST, State, cost
from casemate.enclave.store.transaction import MAX_LISTED, Transaction
from casemate.enclave.store.values import sorted_json
from casemate.wire.protocol.call import StateMark
from casemate.wire.protocol.faults import Code, FaultError
from casemate.wire.protocol.state_changes import MAX_KEY, MAX_VALUE

LIMIT = 2000


class Base:
    """A store that always commits."""

    def __init__(self) -> None:
        self.state = State()
        self.mark = StateMark(0, 0)

    async def commit(self, transaction: Transaction, deadline: float) -> StateMark:
        assert deadline == 1.0
        self.state.apply(transaction.changes)
        self.mark = StateMark(self.mark.epoch + 1, 0)
        return self.mark


def refused(code: Code) -> pytest.RaisesExc[FaultError]:
    return pytest.RaisesExc(FaultError, check=lambda error: error.fault.code is code)


KEYS = st.sampled_from(["a", "ab", "abc", "b", "é", "e\u0301", "\U0001f600", "\uffff", "z" * 20])
VALUES = st.binary(min_size=1, max_size=300)


class AgainstADictionary(RuleBasedStateMachine):
    """Every call sees what was committed and what itself has done, and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.base = Base()
        self.committed: dict[str, bytes] = {}
        self._begin()

    def _begin(self) -> None:
        self.transaction = Transaction(self.base, limit=LIMIT)
        self.model = dict(self.committed)

    def _cost(self, model: dict[str, bytes]) -> int:
        return sum(len(key.encode()) + len(value) + ENTRY_COST for key, value in model.items())

    @rule(key=KEYS)
    def get(self, key: str) -> None:
        assert self.transaction.get(key) == self.model.get(key)

    @rule(key=KEYS, value=VALUES)
    def put(self, key: str, value: bytes) -> None:
        after = {**self.model, key: value}
        if self._cost(after) > LIMIT and self._cost(after) > self._cost(self.model):
            with refused(Code.STATE_LIMIT):
                self.transaction.put(key, value)
        else:
            self.transaction.put(key, value)
            self.model = after

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        assert self.transaction.delete(key) == (self.model.pop(key, None) is not None)

    @rule(
        key=KEYS, expected=st.none() | VALUES, same=st.booleans(), value=st.none() | st.binary(min_size=1, max_size=9)
    )
    def compare_and_set(self, key: str, expected: bytes | None, same: bool, value: bytes | None) -> None:
        now = self.model.get(key)
        expected = now if same else expected
        if value is not None and self._cost({**self.model, key: value}) > LIMIT:
            return
        assert self.transaction.compare_and_set(key, expected, value) == (now == expected)
        if now == expected:
            self.model.pop(key, None)
            if value is not None:
                self.model[key] = value

    @rule(prefix=st.sampled_from(["", "a", "ab", "z", "é", "q"]), after=st.none() | KEYS, limit=st.integers(1, 5))
    def list(self, prefix: str, after: str | None, limit: int) -> None:
        keys = sorted((key for key in self.model if key.startswith(prefix)), key=str.encode)
        wanted = [key for key in keys if after is None or key.encode() > after.encode()][:limit]
        assert self.transaction.list(prefix, after=after, limit=limit) == wanted

    @rule()
    def commit(self) -> None:
        finish(self.transaction.commit(1.0))
        self.committed = self.model
        self._begin()

    @rule()
    def give_up(self) -> None:
        self._begin()

    @invariant()
    def counts(self) -> None:
        assert self.base.state.size == self._cost(self.committed)
        assert [change.key for change in self.base.state.changes()] == sorted(self.committed, key=str.encode)


TestAgainstADictionary = AgainstADictionary.TestCase


def test_commit_of_nothing_commits_nothing() -> None:
    base = Base()
    transaction = Transaction(base, limit=LIMIT)
    transaction.get("a")
    assert not transaction.delete("a")
    assert finish(transaction.commit(1.0)) == StateMark(0, 0)


@pytest.mark.parametrize("key", ["", "x" * (MAX_KEY + 1), "é" * (MAX_KEY // 2 + 1), "\ud800"])
def test_a_key_that_cannot_be_is_refused(key: str) -> None:
    transaction = Transaction(Base(), limit=LIMIT)
    steps: list[Any] = [
        lambda: transaction.get(key),
        lambda: transaction.put(key, b"1"),
        lambda: transaction.delete(key),
        lambda: transaction.compare_and_set(key, None, b"1"),
    ]
    for step in steps:
        with refused(Code.STATE_LIMIT):
            step()


def test_limits_of_values_and_lists() -> None:
    transaction = Transaction(Base(), limit=10 * MAX_VALUE)
    transaction.put("x" * MAX_KEY, bytes(MAX_VALUE))
    with refused(Code.STATE_LIMIT):
        transaction.put("a", bytes(MAX_VALUE + 1))
    for limit in (0, -1, MAX_LISTED + 1):
        with refused(Code.STATE_LIMIT):
            transaction.list(limit=limit)


def test_a_state_beyond_its_limit_may_shrink() -> None:
    base = Base()
    base.state.apply({name: bytes(400) for name in "abc"})
    transaction = Transaction(base, limit=500)
    with refused(Code.STATE_LIMIT):
        transaction.put("d", b"1")
    transaction.put("a", b"1")
    transaction.delete("b")
    finish(transaction.commit(1.0))
    assert base.state.size == cost("a", b"1") + cost("c", bytes(400))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (b' { "b" : 1 , "a" : [ 2.50, "\\u00e9" ] } ', '{"a":[2.5,"é"],"b":1}'.encode()),
        (b"null", b"null"),
        (b"[1.0,1e16,1]", b"[1.0,1e+16,1]"),  # stored states have Python's spelling, not RFC 8785's
        ('{"\U00010000":1,"\uffff":2}'.encode(), '{"\uffff":2,"\U00010000":1}'.encode()),  # by code points
        (b'"x"', b'"x"'),
    ],
)
def test_values_have_one_text(text: bytes, wanted: bytes) -> None:
    assert sorted_json(text) == wanted
    assert sorted_json(wanted) == wanted


@pytest.mark.parametrize("text", [b"", b"nope", b'{"a":1,"a":2}', b"NaN", b'"\\ud800"', b"\xff"])
def test_what_is_no_value_is_the_function_s_mistake(text: bytes) -> None:
    with refused(Code.GUEST_ERROR):
        sorted_json(text)


def test_a_long_value_is_refused() -> None:
    with refused(Code.STATE_LIMIT):
        sorted_json(b'"' + b"x" * MAX_VALUE + b'"')


@given(text=st.binary(max_size=60))
def test_any_bytes_are_a_value_or_refused(text: bytes) -> None:
    try:
        made = sorted_json(text)
    except FaultError:
        return
    assert sorted_json(made) == made
