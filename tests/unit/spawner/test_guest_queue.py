from casemate.spawner.guest_queue import GuestQueue, Want


def queue(*wants: tuple[int, int]) -> GuestQueue:
    made = GuestQueue()
    for enclave, guest in wants:
        made.add(Want(enclave, guest, "javascript", 64))
    return made


def turns(queue: GuestQueue) -> list[tuple[int, int]]:
    return [(want.enclave, want.guest) for want in queue.in_turn()]


def test_enclaves_take_turns_and_each_keeps_its_own_order() -> None:
    many = queue((1, 1), (1, 2), (1, 3), (1, 4), (2, 7), (3, 1), (3, 2))
    assert turns(many) == [(1, 1), (2, 7), (3, 1), (1, 2), (3, 2), (1, 3), (1, 4)]
    assert len(many) == 7
    assert [many.count(enclave) for enclave in (1, 2, 3, 4)] == [4, 1, 2, 0]


def test_who_is_served_goes_behind_the_others() -> None:
    many = queue((1, 1), (1, 2), (2, 1), (2, 2))
    assert many.remove(1, 1)
    assert turns(many) == [(2, 1), (1, 2), (2, 2)]
    many.add(Want(3, 1, "javascript", 64))
    assert turns(many) == [(2, 1), (1, 2), (3, 1), (2, 2)]


def test_an_enclave_that_asks_while_another_waits_for_many_is_served_within_one_round() -> None:
    many = queue(*((1, guest) for guest in range(1, 65)))
    many.add(Want(2, 1, "javascript", 64))
    assert turns(many).index((2, 1)) == 1


def test_what_is_removed_is_waited_for_no_more() -> None:
    some = queue((1, 1), (1, 2))
    wanted = some.in_turn()[1]
    assert wanted in some
    assert some.remove(1, 2)
    assert wanted not in some
    assert not some.remove(1, 2)
    assert not some.remove(9, 1)
    assert turns(some) == [(1, 1)]


def test_an_enclave_that_is_gone_waits_for_nothing() -> None:
    some = queue((1, 1), (1, 2), (2, 1))
    some.forget(1)
    some.forget(1)
    assert turns(some) == [(2, 1)]
    assert len(some) == 1


def test_those_that_wait_for_one_size_are_found() -> None:
    some = queue((1, 1), (2, 1))
    some.add(large := Want(1, 2, "javascript", 128))
    assert some.of_kind("javascript", 128) == [large]
    assert some.of_kind("javascript", 32) == []
    assert some.of_kind("python", 128) == []
