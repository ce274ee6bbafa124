from collections import Counter
from collections.abc import Hashable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.host.entry_queue import MAX_OF_SESSION, MAX_SHARE, MAX_WAITING, EntryQueue
from casemate.wire.protocol.faults import Code, FaultError

Entry = tuple[str, int | None, int]
"""Caller, session, and a number that no other entry has."""

CALLERS = st.sampled_from("abcd")
SESSIONS = st.sampled_from((None, 1, 2, 3))


def drained(queue: EntryQueue[str]) -> list[str]:
    taken = []
    while (entry := queue.next()) is not None:
        taken.append(entry)
    return taken


def test_callers_take_turns_and_each_ones_entries_keep_their_order() -> None:
    queue: EntryQueue[str] = EntryQueue()
    for entry in ("a1", "a2", "a3", "b1", "c1", "c2"):
        queue.add(entry, entry[0])
    assert len(queue) == 6
    assert drained(queue) == ["a1", "b1", "c1", "a2", "c2", "a3"]
    assert len(queue) == 0


def test_a_callers_sessions_take_turns_and_calls_in_the_clear_are_one_session() -> None:
    queue: EntryQueue[str] = EntryQueue()
    for number in range(4):
        queue.add(f"busy {number}", "a", 1)
    queue.add("plain 0", "a", None)
    queue.add("plain 1", "a")
    queue.add("quiet 0", "a", 2)
    assert drained(queue) == ["busy 0", "plain 0", "quiet 0", "busy 1", "plain 1", "busy 2", "busy 3"]


def test_a_session_of_one_caller_is_not_one_of_another() -> None:
    """The caller names its session itself: somebody else's number must not let it into their turns."""
    queue: EntryQueue[str] = EntryQueue()
    for number in range(3):
        queue.add(f"a{number}", "a", 7)
    queue.add("b0", "b", 7)
    queue.withdraw("a1", "b", 7)  # not there
    assert drained(queue) == ["a0", "b0", "a1", "a2"]


def test_one_caller_cannot_fill_the_queue() -> None:
    queue: EntryQueue[str] = EntryQueue()
    for number in range(MAX_SHARE):
        queue.add(str(number), "greedy", number % 8)
    with pytest.raises(FaultError, match=r"busy: 64 of your requests wait .* wait for an answer before"):
        queue.add("one more", "greedy", 8)
    queue.add("other", "modest")
    assert queue.next() == "0"
    assert queue.next() == "other"


@pytest.mark.parametrize(("session", "words"), [(1, "of this session"), (None, "outside of sessions")])
def test_one_session_cannot_fill_its_callers_share(session: int | None, words: str) -> None:
    queue: EntryQueue[str] = EntryQueue()
    for number in range(MAX_OF_SESSION):
        queue.add(str(number), "a", session)
    with pytest.raises(FaultError, match=f"busy: 32 of your requests {words} wait") as refused:
        queue.add("one more", "a", session)
    assert refused.value.fault.code is Code.BUSY
    queue.add("another", "a", 2)
    assert queue.next() == "0"
    assert queue.next() == "another"
    queue.add("one more", "a", session)


def test_all_callers_together_cannot_fill_it_beyond_its_limit() -> None:
    queue: EntryQueue[int] = EntryQueue()
    for number in range(MAX_WAITING):
        queue.add(number, str(number % 8))
    with pytest.raises(FaultError, match=r"busy: 256 requests wait .* try again"):
        queue.add(-1, "newcomer")
    assert len(queue) == MAX_WAITING
    for _ in range(MAX_WAITING):
        assert queue.next() != -1
    assert queue.next() is None


def test_who_leaves_makes_room_and_keeps_nobody_waiting() -> None:
    queue: EntryQueue[str] = EntryQueue()
    for entry in ("a1", "a2", "b1"):
        queue.add(entry, entry[0])
    queue.withdraw("a1", "a")
    queue.withdraw("b1", "b")
    queue.withdraw("b1", "b")  # a second time, as of one that was taken out meanwhile
    queue.withdraw("never there", "z")
    assert len(queue) == 1
    assert drained(queue) == ["a2"]


@given(
    st.lists(st.tuples(st.sampled_from(["add", "next", "withdraw"]), CALLERS, SESSIONS, st.integers(0)), max_size=80)
)
def test_whatever_is_added_taken_and_withdrawn_each_entry_comes_out_once_and_in_its_sessions_order(
    steps: list[tuple[str, str, int | None, int]],
) -> None:
    queue: EntryQueue[Entry] = EntryQueue()
    waiting: list[Entry] = []
    for number, (step, caller, session, choice) in enumerate(steps):
        if step == "add":
            try:
                queue.add((caller, session, number), caller, session)
            except FaultError:
                mine = [entry for entry in waiting if entry[0] == caller]
                assert sum(entry[1] == session for entry in mine) == MAX_OF_SESSION or len(mine) == MAX_SHARE
            else:
                waiting.append((caller, session, number))
        elif step == "next":
            entry = queue.next()
            assert (entry is None) == (not waiting)
            if entry is not None:
                assert entry == next(other for other in waiting if other[:2] == entry[:2])
                waiting.remove(entry)
        elif waiting:
            left = waiting.pop(choice % len(waiting))
            queue.withdraw(left, left[0], left[1])
        assert len(queue) == len(waiting)


@given(st.lists(st.tuples(CALLERS, SESSIONS, st.integers(0, 3)), min_size=1, max_size=120))
def test_between_two_entries_of_one_who_waits_comes_one_of_each_other_at_most(
    steps: list[tuple[str, int | None, int]],
) -> None:
    """Callers among each other, and the sessions of one caller. Entries are added and taken in any mixture."""
    queue: EntryQueue[Entry] = EntryQueue()
    waiting: Counter[Hashable] = Counter()
    callers = _Rounds()
    sessions: dict[str, _Rounds] = {caller: _Rounds() for caller in "abcd"}

    def take() -> None:
        entry = queue.next()
        if entry is not None:
            caller, session, _ = entry
            waiting[caller] -= 1
            waiting[caller, session] -= 1
            callers.took(caller, [other for other in "abcd" if waiting[other]])
            sessions[caller].took(session, [other for other in (None, 1, 2, 3) if waiting[caller, other]])

    for number, (caller, session, taken) in enumerate(steps):
        if waiting[caller, session] < MAX_OF_SESSION and waiting[caller] < MAX_SHARE:
            queue.add((caller, session, number), caller, session)
            waiting[caller] += 1
            waiting[caller, session] += 1
        for _ in range(taken // 2):
            take()
    while len(queue):
        take()


class _Rounds:
    """Counts, for each one that waits, how often each other has had its turn meanwhile."""

    def __init__(self) -> None:
        self._passed_by: dict[Hashable, Counter[Hashable]] = {}

    def took(self, who: Hashable, still_waiting: Sequence[Hashable]) -> None:
        self._passed_by.pop(who, None)
        for other in list(self._passed_by):
            if other not in still_waiting:
                del self._passed_by[other]
        for other in still_waiting:
            if other != who:
                passed = self._passed_by.setdefault(other, Counter())
                passed[who] += 1
                assert passed[who] == 1, f"{who!r} had two turns while {other!r} waited"
