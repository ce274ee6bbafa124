import pytest

from casemate.host.entry_queue import MAX_SHARE, MAX_WAITING, EntryQueue
from casemate.wire.protocol.faults import FaultError


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


def test_one_caller_cannot_fill_the_queue() -> None:
    queue: EntryQueue[str] = EntryQueue()
    for number in range(MAX_SHARE):
        queue.add(str(number), "greedy")
    with pytest.raises(FaultError, match="busy: 64 of your calls"):
        queue.add("one more", "greedy")
    queue.add("other", "modest")
    assert queue.next() == "0"
    assert queue.next() == "other"


def test_all_callers_together_cannot_fill_it_beyond_its_limit() -> None:
    queue: EntryQueue[int] = EntryQueue()
    for number in range(MAX_WAITING):
        queue.add(number, str(number % 8))
    with pytest.raises(FaultError, match="busy: 256 calls wait"):
        queue.add(-1, "newcomer")


def test_who_leaves_makes_room_and_keeps_nobody_waiting() -> None:
    queue: EntryQueue[str] = EntryQueue()
    for entry in ("a1", "a2", "b1"):
        queue.add(entry, entry[0])
    queue.withdraw("a1", "a")
    queue.withdraw("b1", "b")
    queue.withdraw("b1", "b")  # a second time, as of one that was taken out meanwhile
    queue.withdraw("never there", "z")
    assert drained(queue) == ["a2"]
