"""The behaviour monitor: compares what the guests of an enclave do with what its manifest expects.

It counts over the last minute, and notes at most once a minute for each subject what it found. What happens then is the
manifest's choice: the host is told; further calls wait, too; or further calls are refused until the enclave is launched
again. Whoever may call the enclave can provoke that, for all its callers: the author asked for it.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable

from casemate.enclave.io.loop import Pending
from casemate.wire.messages.entry import Noticed
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.protocol.manifest import Monitored, MonitorRule, Reaction

MINUTE = 60.0
"""Seconds over which is counted; and for so long calls are slow after the last finding."""

SLOW_WAIT = 0.25
"""Seconds that each call waits while calls are slow; no part of its time limit."""

_MS = 1000
_KIB_IN_MIB = 1024


class _LastMinute:
    """A sum over the last minute, kept by the second."""

    def __init__(self) -> None:
        self._seconds: deque[tuple[int, int]] = deque()
        self._total = 0

    def add(self, amount: int, now: float) -> int:
        """The sum with this amount."""
        while self._seconds and self._seconds[0][0] <= now - MINUTE:
            self._total -= self._seconds.popleft()[1]
        is_same_second = bool(self._seconds) and self._seconds[-1][0] == int(now)
        before = self._seconds.pop()[1] if is_same_second else 0
        self._seconds.append((int(now), before + amount))
        self._total += amount
        return self._total


class Monitor:
    """Watches the guests of one enclave.

    Args:
        rules: the manifest's.
        tell: tells the host what was found.
    """

    def __init__(self, rules: Iterable[MonitorRule], tell: Callable[[Noticed], None]) -> None:
        self._rules = {rule.subject: rule for rule in rules}
        self._tell = tell
        self._sums = {subject: _LastMinute() for subject in self._rules}
        self._told: dict[Monitored, float] = {}
        self._slow_until = 0.0
        self._stopped_over: MonitorRule | None = None

    def asked(self) -> None:
        """A guest asks for an OCALL."""
        self._count(Monitored.OCALLS, 1)

    def worked(self, seconds: float, grown_kib: int | None, *, died: bool) -> None:
        """A guest has worked on a call or a step.

        Args:
            seconds: what it computed; where nobody can tell, how long it took.
            grown_kib: how much larger it has been than when it was loaded; None where nobody can tell.
            died: it is gone.
        """
        self._count(Monitored.CPU_MS, round(seconds * _MS))
        if died:
            self._count(Monitored.DEATHS, 1)
        rule = self._rules.get(Monitored.MEMORY_MIB)
        if rule is not None and grown_kib is not None and grown_kib > rule.most * _KIB_IN_MIB:
            self._found(rule, grown_kib // _KIB_IN_MIB, time.monotonic())

    def check(self) -> None:
        """Refuses what would have a guest work, where calls are stopped.

        Raises:
            FaultError: ``stopped-by-monitor``.
        """
        rule = self._stopped_over
        if rule is not None:
            raise refuse(
                Code.STOPPED_BY_MONITOR,
                f"the enclave's guests went beyond {rule.subject} = {rule.most} of its manifest's [monitor]: it takes"
                " no calls until it is launched again",
            )

    async def admit(self) -> None:
        """Lets a call in, after a wait where calls are slow.

        Raises:
            FaultError: ``stopped-by-monitor``.
        """
        self.check()
        now = time.monotonic()
        if now < self._slow_until:
            await Pending[None]().done_by(now + SLOW_WAIT)
            self.check()

    def _count(self, subject: Monitored, amount: int) -> None:
        rule = self._rules.get(subject)
        if rule is None or not amount:
            return
        now = time.monotonic()
        total = self._sums[subject].add(amount, now)
        if total > rule.most:
            self._found(rule, total, now)

    def _found(self, rule: MonitorRule, count: int, now: float) -> None:
        is_news = now - self._told.get(rule.subject, -MINUTE) >= MINUTE
        match rule.then:
            case Reaction.SLOW:
                self._slow_until = now + MINUTE
            case Reaction.STOP:
                is_news = self._stopped_over is None
                self._stopped_over = self._stopped_over or rule
            case Reaction.WARN:
                pass
        if is_news:
            self._told[rule.subject] = now
            self._tell(Noticed(rule.subject, count, rule.most, rule.then))
