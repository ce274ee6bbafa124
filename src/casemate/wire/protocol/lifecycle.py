"""The states of an enclave, and the events that lead from one to another, as a table."""

from enum import StrEnum

from casemate.wire.errors import CasemateError


class State(StrEnum):
    """The states of an enclave."""

    LOADED = "loaded"  # pages added and measured (ECREATE, EADD, EEXTEND)
    INITIALISED = "initialised"  # EINIT has succeeded: identity fixed
    RUNNING = "running"  # its process answers calls
    STOPPED = "stopped"  # ended by its owner; may start again with fresh keys
    DESTROYED = "destroyed"  # its pages are gone (EREMOVE)
    LOST = "lost"  # its process or chip died


class Event(StrEnum):
    """The events in the life of an enclave."""

    INITIALISE = "initialise"
    START = "start"
    STOP = "stop"
    DESTROY = "destroy"
    DIE = "die"


class WrongStateError(CasemateError):
    """The event cannot happen in this state."""


TRANSITIONS: dict[State, dict[Event, State]] = {
    State.LOADED: {Event.INITIALISE: State.INITIALISED, Event.DESTROY: State.DESTROYED, Event.DIE: State.LOST},
    State.INITIALISED: {Event.START: State.RUNNING, Event.DESTROY: State.DESTROYED, Event.DIE: State.LOST},
    State.RUNNING: {Event.STOP: State.STOPPED, Event.DESTROY: State.DESTROYED, Event.DIE: State.LOST},
    State.STOPPED: {Event.START: State.RUNNING, Event.DESTROY: State.DESTROYED, Event.DIE: State.LOST},
    State.LOST: {Event.DESTROY: State.DESTROYED},
    State.DESTROYED: {},
}


def after(state: State, event: Event) -> State:
    """The state that ``event`` leads to, or :class:`WrongStateError`."""
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        wanted = ", ".join(TRANSITIONS[state]) or "nothing"
        raise WrongStateError(f"enclave is {state}: cannot {event}, can {wanted}") from None
