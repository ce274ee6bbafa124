"""Kills a machine's processes at random."""

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable

from tests.rigs.platform.processes import Process, family

ROLES = ("gateway", "chip", "parent", "guest", "enclave", "vendor")
PAUSES = (0.8, 3.0)
"""Between two kills (seconds)."""
LIMITED = frozenset(("gateway", "chip", "parent"))
"""A supervisor gives up after five deaths of these within a minute: that is not what is looked at here."""
MOST, WITHIN = 4, 62.0
"""So many deaths of these are caused in so many seconds, at most."""
LOOKS = 0.02
"""How often a process that lives briefly is looked for (seconds)."""


class Chaos(threading.Thread):
    """Until it is told to stop: draws a role by its seed, waits for a process of that role, and kills one.

    Roles are drawn as from a pack of cards, so that none is left out for long.
    """

    def __init__(self, supervisor: Callable[[], int], seed: int, stop: threading.Event) -> None:
        super().__init__(name="chaos", daemon=True)
        self.killed: Counter[str] = Counter()
        self.seen: set[Process] = set()
        """Every process that the machine ever had, as far as it was looked at."""
        self.moments: list[tuple[float, str]] = []
        """When which role lost a process (``time.monotonic``)."""
        self._supervisor = supervisor
        self._dice = random.Random(seed)
        self._stopping = stop
        self._recent: deque[float] = deque()
        self._pack: list[str] = []

    def run(self) -> None:
        """Kills until told to stop."""
        while not self._stopping.wait(self._dice.uniform(*PAUSES)):
            now = time.monotonic()
            while self._recent and now - self._recent[0] > WITHIN:
                self._recent.popleft()
            roles = [role for role in ROLES if role not in LIMITED or len(self._recent) < MOST]
            self._kill_one(self._draw(roles))

    def _draw(self, roles: list[str]) -> str:
        left = [role for role in self._pack if role in roles]
        if not left:
            self._pack, left = list(ROLES), roles
        drawn = self._dice.choice(left)
        self._pack.remove(drawn)
        return drawn

    def _kill_one(self, role: str) -> None:
        until = time.monotonic() + (2.0 if role == "vendor" else 0.5)
        while time.monotonic() < until:
            now = self.look()
            victims = sorted(process for process in now if process.role == role)
            if victims:
                with contextlib.suppress(ProcessLookupError):  # it was quicker
                    os.kill(self._dice.choice(victims).pid, signal.SIGKILL)
                self.killed[role] += 1
                self.moments.append((time.monotonic(), role))
                if role in LIMITED:
                    self._recent.append(time.monotonic())
                return
            time.sleep(LOOKS)

    def look(self) -> list[Process]:
        """The machine's processes now."""
        now = family(self._supervisor())
        self.seen.update(now)
        return now
