"""One enclave process, as the spawner knows it."""

import contextlib
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
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
    REAPED = "reaped"  # it is gone, and its guest is about to be


_NEXT: Mapping[EnclaveProcessState, frozenset[EnclaveProcessState]] = {
    EnclaveProcessState.STARTING: frozenset({EnclaveProcessState.RUNNING, EnclaveProcessState.REFUSED}),
    EnclaveProcessState.RUNNING: frozenset({EnclaveProcessState.REAPED}),
    EnclaveProcessState.REFUSED: frozenset({EnclaveProcessState.REAPED}),
    EnclaveProcessState.REAPED: frozenset(),
}
"""The states that may follow each state. A reaped enclave is forgotten once its guest is reaped, too."""


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
    wants_mib: int | None = None
    """It waits for a guest of that size."""
    guest: GuestProcess | None = None
    watchdog: Watchdog | None = None
    """Over its guest."""
    gone: Gone | None = None
    """Why its guest was killed."""
    status: int = 0
    """The wait status, once the process is reaped."""

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
