"""One enclave process, as the spawner knows it."""

import contextlib
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from casemate.sandbox.cgroup import Group
from casemate.sandbox.confinement import NoGroup
from casemate.spawner.confined_fork import Child
from casemate.spawner.guest_process import GuestProcess
from casemate.spawner.links import SpawnerLink
from casemate.spawner.watchdog import Gone, Watchdog


class EnclaveProcessState(StrEnum):
    """The states of an enclave process that the spawner can tell apart."""

    STARTING = "starting"  # forked; it has not reported that it is confined
    RUNNING = "running"  # confined; it may ask for guests
    REFUSED = "refused"  # it could not be confined as required, which the chip has been told, and ends by itself
    REAPED = "reaped"  # it is gone, and its guests are about to be


_NEXT: Mapping[EnclaveProcessState, frozenset[EnclaveProcessState]] = {
    EnclaveProcessState.STARTING: frozenset({EnclaveProcessState.RUNNING, EnclaveProcessState.REFUSED}),
    EnclaveProcessState.RUNNING: frozenset({EnclaveProcessState.REAPED}),
    EnclaveProcessState.REFUSED: frozenset({EnclaveProcessState.REAPED}),
    EnclaveProcessState.REAPED: frozenset(),
}
"""The states that may follow each state. A reaped enclave is forgotten once its guests are reaped, too."""


@dataclass(slots=True, eq=False)
class EnclaveGuest:
    """A guest that an enclave has."""

    number: int
    """The enclave's number for it."""
    process: GuestProcess
    watchdog: Watchdog | None
    """None once it is killed."""
    gone: Gone | None = None
    """Why it was killed; None if it was not, or if its wait status is to tell."""


@dataclass(slots=True, eq=False)
class EnclaveProcess:
    """One enclave process and what it has."""

    number: int
    """The chip's."""
    pid: int
    link: SpawnerLink
    child: Child | None
    """Until it has reported that it is confined."""
    group: Group | NoGroup
    state: EnclaveProcessState = EnclaveProcessState.STARTING
    refusal: str = ""
    """Why it could not be confined."""
    last_guest: int = 0
    """The highest number for which it has asked for a guest."""
    guests: dict[int, EnclaveGuest] = field(default_factory=dict)
    """Its guests that are not reaped yet, by its numbers for them."""
    status: int = 0
    """The wait status, once the process is reaped."""

    def watchdog(self, guest: int) -> Watchdog | None:
        """The watchdog over one of its guests; None if that is gone, or about to be."""
        found = self.guests.get(guest)
        return None if found is None else found.watchdog

    def become(self, state: EnclaveProcessState) -> None:
        """Changes the state; a change that is not in the table is a defect of the spawner's."""
        if state not in _NEXT[self.state]:
            raise RuntimeError(f"enclave process {self.pid} is {self.state}, it cannot become {state}")
        self.state = state

    def kill(self) -> None:
        """Kills its process, unless that has been reaped: its pid may be another's by then."""
        if self.state is not EnclaveProcessState.REAPED:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
