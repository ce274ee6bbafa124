"""One process of the machine: started, watched, ended, and remembered over its restarts."""

import asyncio
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Sequence

from casemate.process.stopped_children import STOPPED_TIME
from casemate.supervisor.machine_log import MachineLog, ProcessOutput
from casemate.wire.messages.control import ProcessIs

ENVIRONMENT = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "XDG_CACHE_HOME")
"""All that chip and host inherit of the environment: where things lie, and no tokens."""

MAX_DEATHS = 5
"""Deaths within :data:`WINDOW` seconds that end the machine."""

WINDOW = 60.0
FIRST_PAUSE = 0.25
"""Seconds before the second restart within the window; each one after it waits twice as long."""


class Process:
    """A role, such as the chip's, and the process that has it now."""

    def __init__(self, name: str, log: MachineLog) -> None:
        self.name = name
        self.restarts = -1
        self.last_death = ""
        """The reason why the last process of this role died unexpectedly."""
        self._log = log
        self._running: asyncio.subprocess.Process | None = None
        self._output: ProcessOutput | None = None
        self._started_at = 0
        self._was_stopped = False

    @property
    def pid(self) -> int:
        """The process id; 0 while no process runs."""
        running = self._running
        return 0 if running is None or running.returncode is not None else running.pid

    async def start(
        self, module: str, arguments: Sequence[str], inherited: Sequence[int], *, whole_environment: bool = False
    ) -> None:
        """Starts a process in this role.

        Args:
            module: of Casemate, which Python runs.
            arguments: its command line.
            inherited: the descriptors that it gets beside its standard ones.
            whole_environment: for the operator's own code, which may need any of it; others get what they need.
        """
        self._output = ProcessOutput(self._log, self.name)
        environment = {name: value for name, value in os.environ.items() if whole_environment or name in ENVIRONMENT}
        try:
            self._running = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-m", module, *arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=self._output.writing,
                stderr=self._output.writing,
                pass_fds=inherited,
                env=environment,
            )
        finally:
            self._output.given()
        self.restarts += 1
        self._was_stopped = False
        self._started_at = int(time.time())

    async def wait(self) -> None:
        """Waits until it has ended; returns at once if none runs."""
        if self._running is not None:
            await self._running.wait()

    def note_stopped(self, pid: int) -> None:
        """Notes that ``pid`` was killed because it stayed stopped, if that is this process."""
        if pid == self.pid:
            self._was_stopped = True

    def note_death(self) -> str:
        """Notes how a process ended that was not told to, and says it in words."""
        code = None if self._running is None else self._running.returncode
        how = f"was stopped (SIGSTOP) for {STOPPED_TIME:g} s, and killed" if self._was_stopped else _how(code)
        self.last_death = f"the {self.name} {how}"
        if self._output is not None and code != -signal.SIGKILL:  # a killed process has written no reason
            self._output.take_rest()
            if self._output.last:
                self.last_death += f"; its last words: {self._output.last}"
        return self.last_death

    async def end(self, patience: float, *, number: int = signal.SIGTERM) -> None:
        """Sends a signal, waits ``patience`` seconds, and then kills; nothing runs in this role when it returns."""
        running = self._running
        if running is None or running.returncode is not None:
            return
        running.send_signal(number)
        try:
            await asyncio.wait_for(running.wait(), patience)
        except TimeoutError:
            running.kill()
            await running.wait()

    def shown(self) -> ProcessIs:
        """The process as `casemate status` shows it."""
        return ProcessIs(self.name, self.pid, max(0, self.restarts), self._started_at, self.last_death[:512])


class Deaths:
    """The times of a machine's recent process deaths on the monotonic clock (seconds).

    They say how long to wait before a restart, and when to give up: to restart again and again what dies at once helps
    nobody.
    """

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=MAX_DEATHS)

    def note(self, now: float) -> None:
        """Counts a death."""
        self._times.append(now)

    def too_many(self, now: float) -> bool:
        """Whether the machine should give up."""
        return len(self._recent(now)) >= MAX_DEATHS

    def pause(self, now: float) -> float:
        """Seconds to wait before the next restart: none after a first death."""
        recent = len(self._recent(now))
        return 0.0 if recent <= 1 else FIRST_PAUSE * 2 ** (recent - 2)

    def _recent(self, now: float) -> list[float]:
        return [time for time in self._times if now - time < WINDOW]


def _how(code: int | None) -> str:
    if code is None:
        return "did not start"
    if code >= 0:
        return f"ended with {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
