"""The pool of guests: who may use which, who comes next, and that no failure keeps a place for ever."""

import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.rigs.loop_turns import turn_until

from casemate.enclave.guest import guests as guests_module
from casemate.enclave.guest.guests import MOST_REPLACED, Guests, Place
from casemate.enclave.guest.newcomers import BURST, Newcomers
from casemate.enclave.io.loop import Loop, Signal
from casemate.wire.protocol.faults import Code, Fault, FaultError, fault
from casemate.wire.protocol.isolation import Isolation

CRASHED = fault(Code.GUEST_CRASHED, "the guest's process ended")
BROKEN = fault(Code.GUEST_ERROR, "the code cannot be loaded")
LONG = 5.0


class FakeGuest:
    """A guest that loads, dies and ends as the test says."""

    def __init__(self, number: int, *, loads: bool = True) -> None:
        self.number = number
        self.state = "ready" if loads else "loading"
        self.is_gone = False
        self.died = False
        self.failure = CRASHED
        self.attended = 0
        self._changed = Signal()

    def __repr__(self) -> str:
        return f"<{self.number}>"

    @property
    def loader(self) -> "FakeGuest":
        return self

    async def settled(self, deadline: float) -> bool:
        return await self._changed.until(lambda: self.state in ("ready", "gone"), deadline)

    @property
    def is_starting(self) -> bool:
        return self.state == "loading"

    def attend(self) -> None:
        self.attended += 1

    def load(self) -> None:
        self.state = "ready"
        self._changed.set()

    def die(self, failure: Fault = CRASHED, *, died: bool = True) -> None:
        self.state, self.is_gone, self.died, self.failure = "gone", True, died, failure
        self._changed.set()

    def end(self) -> None:
        if not self.is_gone:
            self.die(died=False)


@dataclass
class Call:
    """A call's way to its guest."""

    caller: Hashable
    place: Place | None = None
    refused: Fault | None = None
    seconds: float = 0.0

    @property
    def guest(self) -> Any:
        assert self.place is not None, f"{self.caller} waits, or was refused: {self.refused}"
        return self.place.guest


def the_fake(place: Place) -> FakeGuest:
    """The guest of a place, which is the test's own."""
    guest: Any = place.guest
    assert isinstance(guest, FakeGuest)
    return guest


RATE = 12.0


@dataclass
class Pool:
    """The pool under test, with its guests."""

    isolation: Isolation = Isolation.CALLER
    limit: int = 3
    beyond: bool = False
    known: tuple[Hashable, ...] = ()
    loads: bool = True
    made: list[FakeGuest] = field(default_factory=list)
    on_make: Callable[[FakeGuest], None] = lambda _: None

    def __post_init__(self) -> None:
        self.loop = Loop()
        self.guests = Guests(
            self.loop,
            self._make,
            isolation=self.isolation,
            limit=self.limit,
            newcomers=RATE,
            beyond=self.beyond,
            is_known=lambda caller: caller in self.known,
        )

    def _make(self) -> Any:
        guest = FakeGuest(len(self.made) + 1, loads=self.loads)
        self.made.append(guest)
        self.on_make(guest)
        assert len(self.alive) <= (1 if self.isolation is Isolation.SHARED else self.limit + self.beyond)
        return guest

    @property
    def alive(self) -> list[FakeGuest]:
        return [guest for guest in self.made if not guest.is_gone]

    def call(self, caller: Hashable, seconds: float = LONG) -> Call:
        """Begins a call; it holds its guest when this returns, if there is one at once."""
        call = Call(caller)

        async def hold() -> tuple[Place, float]:
            return await self.guests.hold(caller, seconds)

        def note(found: tuple[Place, float]) -> None:
            call.place, call.seconds = found

        self._begin(call, hold(), note)
        return call

    def step(self, place: Place, caller: Hashable) -> Call:
        """Begins a step of a stream of that place."""
        call = Call(caller)

        def note(_: None) -> None:
            call.place = place

        self._begin(call, self.guests.hold_again(place, caller), note)
        return call

    def _begin(self, call: Call, waiting: Awaitable[Any], note: Callable[[Any], None]) -> None:
        async def run() -> None:
            try:
                note(await waiting)
            except FaultError as error:
                call.refused = error.fault

        self.loop.start(run())

    def done(self, *calls: Call) -> None:
        for call in calls:
            assert call.place is not None
            self.guests.release(call.place)
            call.place = None
        self.turn(0)

    def turn(self, seconds: float) -> None:
        turn_until(self.loop, lambda: False, seconds)
        for _ in range(3):  # what is ready
            self.loop.at(0, lambda: None)
            self.loop.turn()

    def until(self, condition: Callable[[], object], seconds: float = LONG) -> None:
        assert turn_until(self.loop, condition, seconds)

    def opened_stream(self, caller: Hashable) -> Place:
        """A guest of this caller with a stream that rests."""
        call = self.call(caller)
        place = call.place
        assert place is not None
        place.streams += 1
        self.done(call)
        return place


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """No bound on newcomers, for tests of something else."""
    monkeypatch.setattr(Newcomers, "take", lambda *_, **__: 0.0)


# --- whose a guest is ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("many")
class TestWhose:
    def test_callers_at_once_have_guests_of_their_own(self) -> None:
        pool = Pool()
        assert len({pool.call(caller).guest for caller in ("alice", "bob", "carol")}) == 3

    def test_its_guest_serves_a_caller_again(self) -> None:
        pool = Pool()
        for _ in range(3):
            call = pool.call("alice")
            assert call.guest is pool.made[0]
            pool.done(call)

    def test_a_guest_never_serves_two_callers(self) -> None:
        pool = Pool(limit=1)
        served = []
        for caller in ("alice", "bob", "alice", "bob"):
            call = pool.call(caller)
            served.append(call.guest)
            pool.done(call)
        assert len(set(served)) == 4, "of a limit of one each takes the other's place, and never the other's guest"

    def test_a_guest_per_call_serves_one_and_is_ended(self) -> None:
        pool = Pool(Isolation.CALL)
        call = pool.call("alice")
        guest = call.guest
        pool.done(call)
        assert guest.is_gone
        assert pool.call("alice").guest is not guest

    def test_a_guest_per_call_serves_all_steps_of_its_stream_and_no_call_besides(self) -> None:
        pool = Pool(Isolation.CALL)
        place = pool.opened_stream("alice")
        assert not place.guest.is_gone
        other = pool.call("alice")
        assert other.guest is not place.guest
        pool.done(other)
        step = pool.step(place, "alice")
        assert step.place is place
        pool.done(step)
        place.streams -= 1
        pool.guests.tidy(place)
        assert place.guest.is_gone

    def test_a_shared_guest_serves_all_one_at_a_time(self) -> None:
        pool = Pool(Isolation.SHARED)
        first, second = pool.call("alice"), pool.call("bob")
        assert second.place is None
        guest = first.guest
        pool.done(first)
        assert second.guest is guest
        assert len(pool.made) == 1

    @pytest.mark.parametrize("isolation", list(Isolation))
    def test_what_a_guest_said_at_rest_is_taken_before_it_is_given_out(self, isolation: Isolation) -> None:
        pool = Pool(isolation)
        place = pool.opened_stream("alice")
        attended = pool.made[0].attended
        pool.step(place, "alice")
        assert pool.made[0].attended > attended


# --- one beyond the limit --------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("many")
class TestBeyond:
    """Where engines copy guests, one that has met nobody is ready whatever the limit says."""

    @staticmethod
    def full(isolation: Isolation = Isolation.CALLER) -> Pool:
        pool = Pool(isolation, limit=2, beyond=True)
        pool.done(pool.call("alice"))
        pool.until(lambda: len(pool.made) == 2)
        pool.done(pool.call("bob"))
        pool.until(lambda: len(pool.made) == 3)
        return pool

    def test_a_newcomer_takes_it_and_the_longest_rested_goes(self) -> None:
        pool = self.full()
        carol = pool.call("carol")
        assert carol.guest is pool.made[2]
        assert pool.alive == pool.made[1:3]
        pool.done(carol)
        pool.until(lambda: len(pool.made) == 4)

    def test_nobody_has_it_while_as_many_as_may_be_are_at_work(self) -> None:
        pool = self.full()
        alice, bob = pool.call("alice"), pool.call("bob")
        carol, more = pool.call("carol"), pool.call("alice")
        pool.turn(0.05)
        assert carol.place is None
        assert more.place is None
        pool.done(bob)
        assert carol.guest is pool.made[2]
        assert pool.made[1].is_gone
        assert alice.guest is pool.made[0]

    def test_one_guest_is_enough_where_all_callers_share_it(self) -> None:
        pool = Pool(Isolation.SHARED, beyond=True)
        pool.done(pool.call("alice"))
        pool.done(pool.call("bob"))
        pool.turn(0.05)
        assert len(pool.made) == 1

    def test_calls_with_guests_of_their_own_are_no_more_than_the_limit(self) -> None:
        pool = Pool(Isolation.CALL, limit=2, beyond=True)
        first, second, third = (pool.call("alice") for _ in range(3))
        pool.turn(0.05)
        assert third.place is None
        pool.done(first)
        assert third.guest is pool.made[2]
        assert second.guest is pool.made[1]
        pool.done(second)
        pool.done(third)
        pool.until(lambda: len(pool.alive) == 1)


# --- which guest -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("many")
class TestOrder:
    def test_own_then_fresh_then_new_then_the_longest_rested(self) -> None:
        pool = Pool(limit=3)
        alice = pool.call("alice")
        pool.done(alice)
        pool.until(lambda: len(pool.made) == 2)  # one in readiness
        pool.done(pool.call("alice"))
        assert len(pool.made) == 2
        bob = pool.call("bob")
        assert bob.guest is pool.made[1], "the fresh one"
        carol = pool.call("carol")
        assert carol.guest is pool.made[2], "a new one"
        pool.done(bob)
        pool.done(carol)
        pool.done(pool.call("alice"))  # so that bob's has rested longest
        dave = pool.call("dave")
        assert pool.made[1].is_gone
        assert dave.guest is pool.made[3]
        assert not pool.made[0].is_gone
        assert not pool.made[2].is_gone

    def test_of_its_own_a_caller_gets_the_one_that_worked_last(self) -> None:
        pool = Pool()
        first, second = pool.call("alice"), pool.call("alice")
        latest = first.guest
        pool.done(second)
        pool.done(first)
        assert pool.call("alice").guest is latest

    def test_one_is_kept_in_readiness_where_there_is_room(self) -> None:
        pool = Pool(limit=2)
        pool.done(pool.call("alice"))
        pool.until(lambda: len(pool.made) == 2)
        pool.done(pool.call("alice"))
        pool.turn(0.01)
        assert len(pool.made) == 2

    def test_nobody_s_guest_is_given_up_for_a_second_guest_of_a_caller(self) -> None:
        pool = Pool(limit=2)
        pool.done(pool.call("bob"))
        pool.until(lambda: len(pool.made) == 2)
        alice, more = pool.call("alice"), pool.call("alice")
        assert alice.guest is pool.made[1]
        assert more.place is None
        assert not pool.made[0].is_gone

    def test_a_guest_with_an_open_stream_is_not_given_up_before_it_has_rested_for_long(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(guests_module, "IDLE_TIME", 0.4)
        pool = Pool(limit=1)
        started = time.monotonic()
        place = pool.opened_stream("alice")
        bob = pool.call("bob")
        pool.turn(0.1)
        assert bob.place is None
        assert pool.alive == [the_fake(place)]
        pool.until(lambda: bob.place)
        assert time.monotonic() - started >= 0.4
        assert the_fake(place) not in pool.alive
        assert pool.step(place, "alice").refused == CRASHED, "its stream is gone with it"

    def test_one_that_rests_between_two_calls_is_not_given_up_while_others_are_being_made(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(guests_module, "SHORT_REST", 0.3)
        pool = Pool(limit=2)
        alice = pool.call("alice")
        guest = alice.guest
        pool.done(alice)
        pool.loads = False
        newcomer = pool.call("newcomer")  # takes what is kept ready, or has one made
        for made in pool.made[1:]:
            made.state = "loading"
        bob = pool.call("bob")
        pool.turn(0.1)
        assert bob.place is None
        again = pool.call("alice")
        assert again.guest is guest
        pool.done(again)
        pool.loads = True
        started = time.monotonic()
        pool.until(lambda: bob.place)
        assert 0.2 < time.monotonic() - started < 2
        assert newcomer.refused is None

    def test_one_without_streams_is_given_up_before_one_that_has_rested_longer_with_a_stream(self) -> None:
        pool = Pool(limit=2)
        with_stream = pool.opened_stream("alice")
        pool.done(pool.call("bob"))
        pool.call("carol")
        assert not with_stream.guest.is_gone


# --- who comes next --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("many")
class TestWaiting:
    @pytest.mark.parametrize("isolation", list(Isolation))
    def test_a_caller_waits_for_one_call_of_another_s_flood(self, isolation: Isolation) -> None:
        pool = Pool(isolation, limit=1)
        flood = [pool.call("alice") for _ in range(10)]
        bob = pool.call("bob")
        pool.done(flood[0])
        if bob.place is None:
            pool.done(flood[1])
        assert bob.place is not None

    @pytest.mark.parametrize("isolation", [Isolation.SHARED, Isolation.CALLER])
    def test_a_step_of_a_stream_waits_for_one_call_of_a_flood(self, isolation: Isolation) -> None:
        flooding = "alice" if isolation is Isolation.CALLER else "bob"
        pool = Pool(isolation, limit=1)
        place = pool.opened_stream("alice")
        flood = [pool.call(flooding) for _ in range(3)]
        step = pool.step(place, "alice")
        late = [pool.call(flooding) for _ in range(10)]
        for call in flood:
            if step.place is None:
                pool.done(call)
        assert step.place is place
        assert not any(call.place for call in late)

    def test_who_waits_holds_up_nobody_whose_guest_is_free(self) -> None:
        """Alice's guest rests with a stream, so that it cannot be given up for Bob; it can serve Alice."""
        pool = Pool(limit=1)
        place = pool.opened_stream("alice")
        bob = pool.call("bob")
        alice = pool.call("alice")
        assert bob.place is None
        assert alice.place is place, "at once, and not when somebody looks again"

    def test_a_crowd_that_waits_has_one_timer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pool = Pool(limit=1)
        pool.call("alice")
        set_timers = []
        at = pool.loop.at

        def count(moment: float, callback: Callable[[], None]) -> object:
            set_timers.append(moment)
            return at(moment, callback)

        monkeypatch.setattr(pool.loop, "at", count)
        for number in range(50):
            pool.call(number)
        waits = [moment for moment in set_timers if moment < time.monotonic() + 2]
        assert len(waits) == 1

    def test_who_waits_too_long_is_told_to_come_again_and_takes_no_place_later(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(guests_module, "WAIT_TIME", 0.05)
        pool = Pool(limit=1)
        alice, bob = pool.call("alice"), pool.call("bob")
        pool.until(lambda: bob.refused is not None)
        assert bob.refused is not None
        assert bob.refused.code is Code.BUSY
        pool.done(alice)
        assert pool.call("carol").place is not None

    def test_a_step_that_waits_too_long_is_told_so_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(guests_module, "WAIT_TIME", 0.05)
        pool = Pool(limit=1)
        place = pool.opened_stream("alice")
        call, step = pool.call("alice"), pool.step(place, "alice")
        pool.until(lambda: step.refused is not None)
        assert step.refused is not None
        assert step.refused.code is Code.BUSY
        assert place.is_held, "by the call"
        pool.done(call)
        assert pool.step(place, "alice").place is place


# --- newcomers -------------------------------------------------------------------------------------------------------


class TestNewcomers:
    def test_beyond_the_rate_newcomers_are_refused_and_told_when_to_come(self) -> None:
        pool = Pool(limit=100)
        calls = [pool.call(number) for number in range(200)]
        refused = [call.refused for call in calls if call.refused is not None]
        assert sum(call.place is not None for call in calls) == BURST + 1
        assert {refusal.code for refusal in refused} == {Code.BUSY}
        assert len(refused) >= 200 - BURST - 1 - RATE
        wait = max(refusal.retry_ms for refusal in refused) / 1000
        assert 0 < wait < 1
        pool.turn(wait)
        again = pool.call("patient")
        pool.until(lambda: again.place is not None, 1)

    def test_a_caller_that_has_a_guest_is_no_newcomer(self) -> None:
        pool = Pool(limit=100)
        pool.done(pool.call("steady"))
        for number in range(100):
            pool.call(number)
        pool.done(pool.call("steady"))

    def test_strangers_do_not_use_up_the_rate_of_those_whom_the_manifest_names(self) -> None:
        pool = Pool(limit=100, known=("alice", "bob"))
        for number in range(100):
            pool.call(number)
        assert pool.call("alice").place is not None
        assert pool.call("bob").place is not None

    def test_more_guests_of_one_caller_are_given_no_faster_than_newcomers(self) -> None:
        pool = Pool(limit=100)
        calls = [pool.call("alice") for _ in range(50)]
        assert sum(call.place is not None for call in calls) <= BURST + 2

    def test_who_waits_for_more_guests_where_there_is_no_room_uses_up_no_newcomer_s_turn(self) -> None:
        pool = Pool(limit=2, known=("bob",))
        held = [pool.call("alice"), pool.call("bob")]
        waiting = [pool.call("alice") for _ in range(20)]
        pool.done(held[1])
        pool.guests._serve_waiting()
        assert not any(call.place for call in waiting)
        newcomers = pool.guests._strangers
        assert sum(newcomers.take(time.monotonic(), patience=0.0) is not None for _ in range(50)) >= BURST

    @pytest.mark.parametrize("isolation", [Isolation.CALL, Isolation.SHARED])
    def test_the_rate_is_for_guests_that_belong_to_callers(self, isolation: Isolation) -> None:
        pool = Pool(isolation, limit=2)
        for number in range(100):
            pool.done(pool.call(number))


# --- guests that die -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("many")
class TestDeaths:
    @pytest.mark.parametrize("deaths", [1, MOST_REPLACED])
    def test_guests_that_die_while_they_load_are_replaced(self, deaths: int) -> None:
        pool = Pool(loads=False)
        call = pool.call("alice")
        for number in range(deaths):
            pool.made[number].die()
            replaced = number + 2
            pool.until(lambda replaced=replaced: len(pool.made) == replaced)  # type: ignore[misc] # of its default
        assert call.place is None
        pool.made[deaths].load()
        pool.until(lambda: call.place is not None)
        assert call.guest is pool.made[deaths]

    def test_too_many_deaths_fail_the_call_and_free_its_place(self) -> None:
        pool = Pool(limit=1)
        pool.on_make = lambda guest: guest.die()
        call = pool.call("alice")
        assert call.refused == CRASHED
        assert len(pool.made) == MOST_REPLACED + 1
        pool.on_make = lambda _: None
        assert pool.call("bob").place is not None

    def test_code_that_cannot_be_loaded_is_not_tried_again_for_the_same_call(self) -> None:
        pool = Pool(limit=1)
        pool.on_make = lambda guest: guest.die(BROKEN, died=False)
        assert pool.call("alice").refused == BROKEN
        assert len(pool.made) == 1
        pool.on_make = lambda _: None
        assert pool.call("alice").place is not None

    def test_a_guest_that_is_not_loaded_in_time_costs_the_call_and_keeps_no_place(self) -> None:
        pool = Pool(limit=1, loads=False)
        call = pool.call("alice", 0.05)
        pool.until(lambda: call.refused is not None)
        assert call.refused is not None
        assert call.refused.code is Code.TIME_LIMIT
        again = pool.call("alice")
        pool.made[0].load()
        pool.until(lambda: again.place is not None)
        assert again.guest is pool.made[0]

    def test_the_wait_for_others_is_not_the_call_s_time_and_the_start_of_a_guest_is(self) -> None:
        pool = Pool(limit=1)
        alice, bob = pool.call("alice"), pool.call("bob", 1.0)
        pool.turn(0.1)
        pool.done(alice)
        assert 0.9 <= bob.seconds <= 1.0

    def test_a_guest_that_dies_at_work_leaves_its_place_to_the_next(self) -> None:
        pool = Pool(limit=1)
        alice, bob = pool.call("alice"), pool.call("bob")
        alice.guest.die()
        assert bob.place is None, "as long as the call that it fails has not ended"
        pool.done(alice)
        assert bob.place is not None

    def test_a_step_whose_guest_is_gone_is_refused_and_frees_nobody_else_s_place(self) -> None:
        pool = Pool(limit=1)
        place = pool.opened_stream("alice")
        call = pool.call("alice")
        step = pool.step(place, "alice")
        place.guest.end()
        assert step.place is None
        assert place.is_held
        pool.done(call)
        assert step.refused == CRASHED
        assert not place.is_held

    def test_the_first_guest_is_tried_again_and_its_failure_told(self) -> None:
        pool = Pool()
        pool.on_make = lambda guest: guest.die()
        with pytest.raises(FaultError, match="process ended"):
            pool.loop.finish(pool.guests.first())
        assert len(pool.made) == MOST_REPLACED + 1


# --- any schedule ----------------------------------------------------------------------------------------------------

_ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["call", "call", "end", "end", "open", "step", "close", "die", "load", "turn"]),
        st.integers(0, 11),
    ),
    max_size=60,
)


class Schedule:
    """Calls and streams of five callers, and what each guest has met."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.calls: list[Call] = []
        self.streams: list[tuple[Place, Hashable]] = []
        self.met: dict[int, set[Hashable]] = {}

    @property
    def working(self) -> list[Call]:
        return [call for call in self.calls if call.place is not None]

    def act(self, action: str, choice: int) -> None:
        pool, working = self.pool, self.working
        match action:
            case "call":
                self.calls.append(pool.call(choice % 5))
            case "end" if working:
                pool.done(working[choice % len(working)])
            case "open" if working:
                self.open(working[choice % len(working)])
            case "step" if self.streams:
                self.calls.append(pool.step(*self.streams[choice % len(self.streams)]))
            case "close" if self.streams:
                self.close(choice % len(self.streams))
            case "die" if pool.alive:
                pool.alive[choice % len(pool.alive)].die(died=bool(choice % 2))
            case "load" if pool.alive:
                pool.alive[choice % len(pool.alive)].load()
        pool.turn(0.001 if action == "turn" else 0)

    def open(self, call: Call) -> None:
        """A call ends as a stream that rests."""
        assert call.place is not None
        call.place.streams += 1
        self.streams.append((call.place, call.caller))
        self.pool.done(call)

    def close(self, at: int) -> None:
        place, _ = self.streams.pop(at)
        place.streams -= 1
        self.pool.guests.tidy(place)

    def check(self) -> None:
        places = [id(call.place) for call in self.working]
        assert len(places) == len(set(places)), "two calls in one guest"
        for call in self.working:
            self.met.setdefault(call.guest.number, set()).add(call.caller)
        if self.pool.isolation is not Isolation.SHARED:
            assert all(len(callers) == 1 for callers in self.met.values()), "two callers in one guest"

    def end(self) -> None:
        """All that waits is served, and ends."""
        self.pool.loads = True
        for _ in range(len(self.calls) + 1):
            for guest in self.pool.alive:
                guest.load()
            while self.streams:
                self.close(0)
            self.pool.turn(0)
            self.pool.done(*self.working)
        assert not self.working
        assert not self.pool.guests._waiting


@settings(max_examples=150, deadline=None)
@given(actions=_ACTIONS, limit=st.integers(1, 4), isolation=st.sampled_from(list(Isolation)), loads=st.booleans())
def test_no_schedule_mixes_callers_or_loses_a_place(
    actions: list[tuple[str, int]], limit: int, isolation: Isolation, loads: bool
) -> None:
    """One call in a guest at a time, one caller ever, never more guests than the limit (see ``Pool._make``).

    At the end as many callers are served at once as there are places.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Newcomers, "take", lambda *_, **__: 0.0)
        schedule = Schedule(Pool(isolation, limit=limit, loads=loads))
        for action, choice in actions:
            schedule.act(action, choice)
            schedule.check()
        schedule.end()
        last = [schedule.pool.call(f"last {number}") for number in range(limit)]
        assert sum(call.place is not None for call in last) == (1 if isolation is Isolation.SHARED else limit)
