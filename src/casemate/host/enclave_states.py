"""The life of an enclave on this host, as tables: who may cause which step, and what is launched again by itself.

The steps themselves are the table of :mod:`casemate.wire.protocol.lifecycle`, which chip and host follow alike. The
host alone decides who may cause a step, and what becomes of a deployment that should run and does not.
"""

from dataclasses import dataclass
from enum import StrEnum

from casemate.host.catalogue import Wanted
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.protocol.lifecycle import Event, State, WrongStateError, after

AGAIN = "being launched again"
"""The reason shown while an enclave that should run is not there yet."""

MOST_DEATHS, WITHIN = 12, 60.0
"""An enclave that dies so often in so many seconds is not launched again by itself."""


class Cause(StrEnum):
    """The parties that can cause a step of an enclave's life cycle."""

    CLIENT = "client"  # a client's request, over the socket or through the gateway
    HOST = "host"  # by itself: a launch that goes on, or a deployment that should run
    CHIP = "chip"  # by its news, or by its own death


CAUSES: dict[Event, frozenset[Cause]] = {
    Event.INITIALISE: frozenset({Cause.HOST}),
    Event.START: frozenset({Cause.CLIENT, Cause.HOST}),
    Event.STOP: frozenset({Cause.CLIENT}),
    Event.DESTROY: frozenset({Cause.CLIENT, Cause.HOST}),
    Event.DIE: frozenset({Cause.CHIP}),
}
"""The parties that may cause each step."""

AT_START: dict[Wanted, tuple[State, str]] = {
    Wanted.RUNNING: (State.LOADED, AGAIN),
    Wanted.STOPPED: (State.STOPPED, ""),
    Wanted.CANDIDATE: (State.DESTROYED, "the host ended before it was switched to"),
}
"""State and reason of a deployment that the catalogue has, when the host starts: by what its owner wants it to be."""

RELAUNCHED: dict[State, bool] = {
    State.LOADED: False,  # its launch is under way, and says itself why it fails
    State.INITIALISED: False,  # likewise
    State.RUNNING: True,
    State.STOPPED: False,  # its owner has stopped it
    State.DESTROYED: False,
    State.LOST: False,  # that was decided when it was lost
}
"""Whether a lasting enclave that dies in this state is launched again by itself, as often as :class:`Deaths` allows."""


def check_step(state: State, event: Event, cause: Cause) -> State:
    """The state after a step.

    Raises:
        FaultError: ``wrong-state``; an enclave in this state has no such step.
        RuntimeError: this is not for that cause to do: a defect of the host's.
    """
    if cause not in CAUSES[event]:
        raise RuntimeError(f"{event} is caused by {' or '.join(sorted(CAUSES[event]))}, not by {cause}")
    try:
        return after(state, event)
    except WrongStateError as error:
        raise refuse(Code.WRONG_STATE, str(error)) from None


@dataclass(slots=True)
class Deaths:
    """When an enclave died of late, on the monotonic clock."""

    times: tuple[float, ...] = ()

    def is_too_many(self, now: float) -> bool:
        """Counts one more death; whether they are so many that launching it again has no point."""
        self.times = (*(death for death in self.times if now - death < WITHIN), now)
        return len(self.times) >= MOST_DEATHS
