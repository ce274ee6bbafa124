"""Who waits, in rounds of one for each party."""

from collections.abc import Hashable

from hypothesis import given
from hypothesis import strategies as st

from casemate.enclave.fair_queue import FairQueue


def order(queue: FairQueue[int], most: int = 1000) -> list[tuple[Hashable, int]]:
    given_out: list[tuple[Hashable, int]] = []

    def give(party: Hashable, item: int) -> bool:
        if len(given_out) >= most:
            return False
        given_out.append((party, item))
        return True

    queue.serve(give)
    return given_out


def test_parties_take_turns() -> None:
    queue: FairQueue[int] = FairQueue()
    for item in range(3):
        queue.add("a", item)
    queue.add("b", 0)
    assert order(queue) == [("a", 0), ("b", 0), ("a", 1), ("a", 2)]
    assert not queue


def test_a_party_that_cannot_be_served_holds_up_no_other() -> None:
    queue: FairQueue[int] = FairQueue()
    queue.add("a", 1)
    queue.add("b", 2)
    served: list[Hashable] = []

    def give(party: Hashable, _item: int) -> bool:
        if party == "a":
            return False
        served.append(party)
        return True

    queue.serve(give)
    assert served == ["b"]
    assert order(queue) == [("a", 1)]


def test_who_gives_up_is_passed_over() -> None:
    queue: FairQueue[int] = FairQueue()
    queue.add("a", 1)
    queue.remove("a", 1)
    queue.remove("a", 1)
    queue.remove("nobody", 1)
    assert not queue


@given(st.lists(st.sampled_from("abc"), max_size=40), st.integers(1, 40))
def test_between_two_turns_of_one_party_each_other_that_waits_has_one(parties: list[str], served: int) -> None:
    queue: FairQueue[int] = FairQueue()
    for number, party in enumerate(parties):
        queue.add(party, number)
    given_out = order(queue, served)
    for party in set(parties):
        mine = [item for who, item in given_out if who == party]
        assert mine == sorted(mine)
    for at, (now, _) in enumerate(given_out):
        later = [who for who, _ in given_out[at + 1 :]]
        if now in later:
            between = later[: later.index(now)]
            waiting = {who for number, who in enumerate(parties) if (who, number) not in given_out[: at + 1]} - {now}
            assert waiting <= set(between)
