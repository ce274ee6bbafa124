"""What the calls of one enclave have used since it was launched, as it says: sums by entry point."""

from dataclasses import replace

from casemate.wire.messages.entry import EntryUsage, Used

MAX_ENTRIES = 65
"""Most entry points of an enclave, and one for calls over RA-TLS. A hostile enclave could name others without end."""

MOST = 2**53
"""Where sums stop: a hostile enclave could name any."""


class EnclaveUsage:
    """The sums of one enclave."""

    def __init__(self) -> None:
        self._sums: dict[str, EntryUsage] = {}

    def add(self, used: Used) -> None:
        """Adds a report of the enclave's."""
        for more in used.entries:
            known = self._sums.get(more.entry)
            if known is None and len(self._sums) >= MAX_ENTRIES:
                continue
            self._sums[more.entry] = more if known is None else _sum(known, more)

    def entries(self) -> tuple[EntryUsage, ...]:
        """The sums, by entry point."""
        return tuple(self._sums.values())


def _sum(known: EntryUsage, more: EntryUsage) -> EntryUsage:
    names = ("calls", "cold", "wall_ms", "cpu_ms", "ocalls")
    sums = {name: min(MOST, getattr(known, name) + getattr(more, name)) for name in names}
    return replace(known, **sums, peak_mib=max(known.peak_mib, more.peak_mib))
