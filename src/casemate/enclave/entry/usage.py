"""Tells the host what calls have used, in sums: once a second at most, and rounded."""

import time

from casemate.enclave.io.host_link import HostLink
from casemate.enclave.io.loop import Loop
from casemate.wire.messages.entry import EntryUsage, Used
from casemate.wire.protocol.call import CallMetrics

INTERVAL = 1.0
"""Seconds between two reports: a message for each call would cost a tenth of a short one."""

OF_TLS = ""
"""The entry point under which calls over RA-TLS are told: the host does not see which entry point they call."""

_US_IN_MS = 1000
_KIB_IN_MIB = 1024


class UsageBook:
    """The sums since the last report, by entry point."""

    def __init__(self, loop: Loop, host: HostLink) -> None:
        self._loop = loop
        self._host = host
        self._sums: dict[str, EntryUsage] = {}
        self._is_due = False

    def add(self, entry: str, metrics: CallMetrics) -> None:
        """Notes an answered call: times rounded to 1 ms, memory to 1 MiB."""
        known = self._sums.get(entry) or EntryUsage(entry, 0, 0, 0, 0, 0, 0)
        self._sums[entry] = EntryUsage(
            entry,
            calls=known.calls + 1,
            cold=known.cold + metrics.cold,
            wall_ms=known.wall_ms + round(metrics.wall_us / _US_IN_MS),
            cpu_ms=known.cpu_ms + round((metrics.cpu_us or 0) / _US_IN_MS),
            peak_mib=max(known.peak_mib, round((metrics.peak_kib or 0) / _KIB_IN_MIB)),
            ocalls=known.ocalls + metrics.ocalls,
        )
        self._report_later()

    def _report_later(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._loop.at(time.monotonic() + INTERVAL, self._report)

    def _report(self) -> None:
        self._is_due = False
        if self._host.backlog:  # a host that does not read is told later, in one sum
            self._report_later()
            return
        self._host.tell(Used(tuple(self._sums.values())))
        self._sums.clear()
