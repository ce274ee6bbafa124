"""A reading conflicts with changes exactly where it would give something else after them."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from casemate.enclave.store.reads import MAX_READS, Effect, KeyRange, Reads
from casemate.enclave.store.state import State

KEYS = ["a", "a/1", "a/2", "a/3", "a0", "b", "é", "\U0001f600"]
VALUES = st.sampled_from([b"1", b"2"])
STATES = st.dictionaries(st.sampled_from(KEYS), VALUES)
CHANGES = st.dictionaries(st.sampled_from(KEYS), st.none() | VALUES)
LISTS = st.tuples(st.sampled_from(["", "a", "a/", "z"]), st.none() | st.sampled_from(KEYS), st.integers(1, 4))


def state_of(values: Mapping[str, bytes | None]) -> State:
    state = State()
    state.apply(values)
    return state


def listed(values: Mapping[str, bytes | None], prefix: str, after: str | None, limit: int) -> list[str]:
    present = sorted(key for key, value in values.items() if value is not None and key.startswith(prefix))
    return [key for key in present if after is None or key > after][:limit]


@given(before=STATES, changes=st.lists(CHANGES, min_size=1, max_size=3), key=st.sampled_from(KEYS))
def test_a_key_that_was_read_conflicts_where_its_value_differs(
    before: dict[str, bytes], changes: list[dict[str, bytes | None]], key: str
) -> None:
    state, effect, after = state_of(before), Effect(), dict[str, bytes | None](before)
    reads = Reads()
    reads.add_key(key)
    for some in changes:  # those of several members of a group
        effect.add(state, some)
        after |= some
        assert reads.are_changed_by(effect) == (before.get(key) != after.get(key))


@given(before=STATES, changes=st.lists(CHANGES, min_size=1, max_size=3), asked=LISTS)
def test_a_list_conflicts_where_it_would_have_other_keys(
    before: dict[str, bytes], changes: list[dict[str, bytes | None]], asked: tuple[str, str | None, int]
) -> None:
    prefix, after_key, limit = asked
    state, effect, after = state_of(before), Effect(), dict[str, bytes | None](before)
    gave = listed(before, prefix, after_key, limit)
    first, inclusive = (prefix, True) if after_key is None or after_key < prefix else (after_key, False)
    reads = Reads()
    reads.add_range(KeyRange(first, inclusive, prefix, gave[-1] if len(gave) == limit else None))
    for some in changes:
        effect.add(state, some)
        after |= some
        assert reads.are_changed_by(effect) == (gave != listed(after, prefix, after_key, limit))


def test_memory_of_what_was_read_is_bounded_and_then_any_change_counts() -> None:
    reads, effect, same = Reads(), Effect(), Effect()
    state = state_of({"other": b"1"})
    effect.add(state, {"other": b"2"})
    same.add(state, {"other": b"1"})
    for number in range(MAX_READS):
        reads.add_key(f"k{number}")
    assert not reads.are_changed_by(effect)
    reads.add_range(KeyRange("z", inclusive=True, prefix="z", last=None))
    assert reads.are_changed_by(effect)
    assert not reads.are_changed_by(same)
    assert not reads._keys
    assert not reads._ranges
