"""The guests of an enclave: which caller may use which, and when one is made or given up.

What a caller's call leaves in a guest (globals, changed prototypes, timers, the state of modules) must not meet another
caller. So a guest belongs to the first caller whose call it takes, and to no other ever after.

| isolation | a guest serves | guests at a time |
| --- | --- | --- |
| ``caller`` | one caller | up to ``limits.guests`` |
| ``call`` | one call, or one stream | up to ``limits.guests`` |
| ``shared`` | everybody | one |

A caller that has no guest takes, in this order: one that has met nobody; a new one, if there may be one more; the place
of the one that has rested longest and has no stream open. Where all are at work it waits: see
:mod:`casemate.enclave.fair_queue`. One guest that has met nobody is kept in readiness: where the limit allows it, and
beyond the limit where the engine copies guests, which are small then.
"""

import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field

from casemate.enclave.fair_queue import FairQueue
from casemate.enclave.guest.guest import CAUSE_TIME, LOAD_TIME, Guest
from casemate.enclave.guest.newcomers import Newcomers
from casemate.enclave.io.loop import Loop, Pending, Signal, Timer
from casemate.wire.protocol.faults import Code, FaultError, fault, refuse
from casemate.wire.protocol.isolation import Isolation

MOST_REPLACED = 3
"""Most guests in a row that may die before they have taken a call and be replaced; then the call fails."""

WAIT_TIME = 20.0
"""Longest wait for a guest that others use (seconds); then the caller is told to come again."""

IDLE_TIME = 30.0
"""How long a stream may rest (seconds) before the guest that it keeps may be given up for another caller."""

SHORT_REST = 0.1
"""A guest that has rested for less (seconds) is not given up while others are being made, which will rest soon: its
caller is likely to call again at once. Else the only one at rest would be that of the busiest caller."""

LOOK_AGAIN = 0.1
"""Seconds between looks whether a guest has rested for so long that it may be given up, while somebody waits."""

PREPARE_DELAY = 0.001
"""Seconds between the end of a call and the request for a guest in readiness: the caller gets its answer first."""

_NONE_TRIED = fault(Code.UNAVAILABLE, "there is no guest")

Initialize = Callable[[Guest, float], Awaitable[None]]

EVERYBODY = "everybody"
"""The one caller of a shared guest."""


@dataclass(eq=False, slots=True)
class Place:
    """A guest, and whose it is."""

    guest: Guest
    owner: Hashable | None = None
    """The caller or the call whose it is; None where it has met nobody."""
    is_held: bool = False
    """A call, or a step of a stream, is under way in it."""
    is_initialised: bool = False
    """A service's hook ``initialize`` has run in it, or there is none."""
    is_outdated: bool = False
    """It is to end when what is under way in it is over."""
    streams: int = 0
    """Open streams that it has begun."""
    rested_since: float = 0.0
    """When its last call or step ended, on the monotonic clock."""


@dataclass(eq=False, slots=True)
class _Wish:
    """A call that waits for a guest."""

    owner: Hashable
    """Whose guests it may use."""
    place: Place | None = None
    """The guest that it must have, for a step of a stream."""
    found: Pending[Place] = field(default_factory=Pending)


class Guests:
    """All guests of an enclave.

    Args:
        loop: for waiting.
        make: makes a guest, which begins to load.
        isolation: the manifest's.
        limit: most guests that callers have at a time.
        newcomers: guests a second that may be made for callers who have none.
        beyond: whether one that has met nobody may be kept beyond the limit.
        is_known: whether a caller is one that the manifest names: strangers share one rate of new guests, the named
            ones another, so that strangers cannot use up theirs.
    """

    def __init__(
        self,
        loop: Loop,
        make: Callable[[], Guest],
        *,
        isolation: Isolation,
        limit: int,
        newcomers: float,
        beyond: bool,
        is_known: Callable[[Hashable], bool] = lambda _: False,
    ) -> None:
        self._loop = loop
        self._make = make
        self._isolation = isolation
        self._limit = 1 if isolation is Isolation.SHARED else limit
        self._most = self._limit + (beyond and isolation is not Isolation.SHARED)
        """Most guests, with the one that has met nobody."""
        self._is_known = is_known
        self._places: list[Place] = []
        self._waiting: FairQueue[_Wish] = FairQueue()
        self._look: Timer | None = None
        now = time.monotonic()
        self._strangers, self._known = Newcomers(now, newcomers), Newcomers(now, newcomers)
        self._is_preparing = False
        self.initialize: Initialize = _initialize_nothing
        """Called with each guest before its first call, and with the call's deadline; it ends one where it fails."""

    def close(self) -> None:
        """Closes the pipes of all guests: the enclave ends, and the spawner ends them."""
        for place in self._places:
            place.guest.close()

    async def first(self) -> Guest:
        """A guest that has loaded the program, at the enclave's start; the one to be copied, where guests are copies.

        Raises:
            FaultError: there is none to be had, or the code cannot be loaded.
        """
        failure = _NONE_TRIED
        for _ in range(MOST_REPLACED + 1):
            self._prepare()
            guest = self._places[0].guest.loader
            # Not to the second: what takes too long to load says so itself.
            if not await guest.settled(time.monotonic() + LOAD_TIME + CAUSE_TIME):
                raise refuse(Code.TIME_LIMIT, f"the guest was still {guest.state} when time was up")
            if not guest.is_gone:
                return guest
            failure = guest.failure
            if not guest.died:
                break
        raise FaultError(failure)

    def prepare(self) -> None:
        """Has a guest made ready soon for a caller to come, if there may be one more."""
        if not self._is_preparing and self._lacks_one():
            self._is_preparing = True
            self._loop.at(time.monotonic() + PREPARE_DELAY, self._prepare)

    async def hold(self, caller: Hashable, time_limit: float) -> tuple[Place, float]:
        """A guest that is ready, for one call of this caller; to be released after it.

        Args:
            caller: whose call it is.
            time_limit: the call's (seconds). The wait for a guest that others use is no part of it, but the start of a
                fresh one is.

        Returns:
            The guest, and what is left of the time limit.

        Raises:
            FaultError: ``busy``: all guests are at work for too long, or too many newcomers came before;
                ``time-limit``: no guest is loaded in time; or why none can be had, or be made ready by the service.
        """
        owner = self._owner(caller)
        await self._admit(owner)
        place = await self._granted(caller, _Wish(owner), time.monotonic() + WAIT_TIME)
        deadline = time.monotonic() + time_limit
        failure = _NONE_TRIED
        for attempt in range(MOST_REPLACED + 1):
            if attempt:
                place = await self._granted(caller, _Wish(owner), deadline)
            guest = place.guest
            if not await guest.settled(deadline):
                late = refuse(Code.TIME_LIMIT, f"the guest was still {guest.state} when time was up")
                self.release(place)
                raise late
            if not guest.is_gone:
                await self._initialize(place, deadline)
                return place, deadline - time.monotonic()
            self.release(place)
            failure = guest.failure
            if not guest.died:
                break
        raise FaultError(failure)

    async def hold_again(self, place: Place, caller: Hashable) -> None:
        """Waits for the guest of a stream, for one step of it; to be released after it.

        Args:
            place: the stream's.
            caller: whose stream it is: its steps take turns with the calls of others that may use this guest.

        Raises:
            FaultError: it is gone, and the stream with it; ``busy``: other calls keep it for too long.
        """
        await self._granted(caller, _Wish(place.owner, place), time.monotonic() + WAIT_TIME)
        await place.guest.settled(time.monotonic() + CAUSE_TIME + 1)  # it may have died at rest just now
        if place.guest.is_gone:
            self.release(place)
            raise FaultError(place.guest.failure)

    async def _initialize(self, place: Place, deadline: float) -> None:
        if place.is_initialised:
            return
        try:
            await self.initialize(place.guest, deadline)
        except BaseException:
            self.release(place)
            raise
        place.is_initialised = True

    def renew(self) -> None:
        """Ends all guests, each as soon as it rests: what they keep is of a time that is over. So do their streams."""
        for place in self._places:
            place.is_outdated = True
            if not place.is_held:
                place.guest.end()
        self._serve_waiting()
        self.prepare()

    def release(self, place: Place) -> None:
        """A call, or a step of a stream, is over."""
        place.is_held = False
        if place.is_outdated:
            place.guest.end()
        place.rested_since = time.monotonic()
        self.tidy(place)

    def tidy(self, place: Place) -> None:
        """Ends a guest that has served its one call; serves those who wait. For the end of a stream between steps."""
        if self._isolation is Isolation.CALL and place.owner is not None and not place.is_held and not place.streams:
            place.guest.end()
        self._serve_waiting()
        self.prepare()

    def _owner(self, caller: Hashable) -> Hashable:
        match self._isolation:
            case Isolation.CALLER:
                return caller
            case Isolation.CALL:
                return object()  # equal to nothing else
            case Isolation.SHARED:
                return EVERYBODY

    async def _granted(self, caller: Hashable, wish: _Wish, deadline: float) -> Place:
        """A place that is held from now on, as soon as it is this caller's turn and there is one."""
        if not self._waiting and self._give(caller, wish):  # nobody was before it
            return wish.found.result()
        self._waiting.add(caller, wish)
        self._serve_waiting()
        if self._waiting and self._look is None:
            self._look_again()
        if not await wish.found.done_by(deadline):
            self._waiting.remove(caller, wish)
            raise refuse(Code.BUSY, f"all {self._limit} guests of this enclave are at work: call again")
        return wish.found.result()

    def _look_again(self) -> None:
        """Looks now and then whether a guest, or its streams, have rested for so long that it may be given up."""

        def look() -> None:
            self._look = None
            self._serve_waiting()
            if self._waiting:
                self._look_again()

        self._look = self._loop.at(time.monotonic() + LOOK_AGAIN, look)

    def _serve_waiting(self) -> None:
        self._waiting.serve(self._give)

    def _give(self, _caller: Hashable, wish: _Wish) -> bool:
        """Grants a wish, if there is such a place now."""
        taken = self._resting_place(wish.owner) if wish.place is None else _free(wish.place)
        if taken is None:
            return False
        taken.owner, taken.is_held = wish.owner, True
        wish.found.set(taken)
        return True

    def _resting_place(self, owner: Hashable) -> Place | None:
        for place in self._places:
            if place.owner == owner and not place.is_held:
                place.guest.attend()
        self._sweep()
        own = [place for place in self._places if place.owner == owner]
        resting = [place for place in own if not place.is_held]
        latest = max(resting, key=lambda place: place.rested_since, default=None)
        return latest or self._new_place(owner, own)

    def _new_place(self, owner: Hashable, own: list[Place]) -> Place | None:
        """A place that has met nobody. Who has guests already never gets another caller's for more, nor too fast."""
        fresh = next((place for place in self._places if place.owner is None and not place.is_held), None)
        has_room = sum(place.owner is not None for place in self._places) < self._limit
        if own:
            # Asked last: a turn that is taken and not used would be missing to a newcomer.
            if not has_room or self._newcomers(owner).take(time.monotonic(), patience=0.0) is None:
                return None
        elif not has_room and not self._give_up_one():
            return None
        return fresh or self._add()

    def _give_up_one(self) -> bool:
        """Ends the guest that has rested longest, if one may be given up."""
        now = time.monotonic()
        taken = [place for place in self._places if place.owner is not None]
        least = SHORT_REST if any(place.guest.is_starting for place in taken) else 0.0
        able = [
            place
            for place in taken
            if not place.is_held and now - place.rested_since >= (IDLE_TIME if place.streams else least)
        ]
        if not able:
            return False
        min(able, key=lambda place: place.rested_since).guest.end()
        self._sweep()
        return True

    async def _admit(self, owner: Hashable) -> None:
        """Has a newcomer wait for its turn, or refuses it."""
        if self._isolation is not Isolation.CALLER or any(place.owner == owner for place in self._places):
            return
        now = time.monotonic()
        newcomers = self._newcomers(owner)
        wait = newcomers.take(now)
        if wait is None:
            seconds = newcomers.seconds_until_welcome(now)
            words = f"too many new callers at once: call again in {seconds:.1f} s"
            raise refuse(Code.BUSY, words, retry_after=seconds)
        if wait > 0:
            await Signal().wait(now + wait)

    def _newcomers(self, caller: Hashable) -> Newcomers:
        return self._known if self._is_known(caller) else self._strangers

    def _prepare(self) -> None:
        self._is_preparing = False
        if self._lacks_one():
            self._add()

    def _lacks_one(self) -> bool:
        """Whether there is none that has met nobody, and may be one more."""
        self._sweep()
        return len(self._places) < self._most and all(place.owner is not None for place in self._places)

    def _add(self) -> Place:
        place = Place(self._make())
        self._places.append(place)
        return place

    def _sweep(self) -> None:
        self._places = [place for place in self._places if not place.guest.is_gone or place.is_held]


async def _initialize_nothing(_guest: Guest, _deadline: float) -> None:
    """Of an image that has no hook ``initialize``."""


def _free(place: Place) -> Place | None:
    """The place, where no call is under way in it."""
    if place.is_held:
        return None
    place.guest.attend()
    return place
