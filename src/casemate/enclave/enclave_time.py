"""What time it is, for an enclave whose only clock is its host's.

A host may set its clock as it likes. So an enclave's time never stands before what it knows to be past: the release of
its own code, the build date that its manifest states, the newest issue date of any signed thing that it has verified,
and the time of the last commit of its state. Nothing can be known of a clock that is set ahead: collateral runs out
early then, which refuses evidence and accepts none.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from casemate.wire.protocol.clock import RELEASED
from casemate.wire.protocol.faults import Code, refuse

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DIGITS = 20


def host_clock() -> datetime:
    """What the host says that it is; the earliest time that there is where it says something impossible."""
    try:
        return datetime.fromtimestamp(time.time(), UTC)
    except (OverflowError, ValueError, OSError):
        return _EPOCH


class EnclaveTime:
    """The time, and the latest moment that is known to be past.

    Args:
        built: when the image was built, as its manifest says; None where it does not.
        clock: the host's.
    """

    def __init__(self, built: datetime | None = None, clock: Callable[[], datetime] = host_clock) -> None:
        self._clock = clock
        self._past = RELEASED if built is None else max(RELEASED, built)

    @property
    def past(self) -> datetime:
        """The latest moment that is known to be past."""
        return self._past

    def now(self) -> datetime:
        """The host's time, or the latest that is known to be past. Read it once a decision."""
        return max(self._clock(), self._past)

    def is_after(self, moment: datetime) -> None:
        """It is known that this moment is past: it was signed as such, or was this enclave's own time before."""
        self._past = max(self._past, moment)

    def commit_time(self, last: bytes | None) -> bytes:
        """The time for a commit to the state, which is never before that of the ``last`` one."""
        if last is not None:
            self.is_after(parse_time(last))
        now = self.now()
        self.is_after(now)
        return encode_time(now)


def encode_time(moment: datetime) -> bytes:
    """A moment as the state keeps it: microseconds since 1970, as JSON."""
    return str((moment - _EPOCH) // _MICROSECOND).encode()


def parse_time(text: bytes) -> datetime:
    """A moment that :func:`encode_time` has written; ``state-refused`` for anything else."""
    try:
        if len(text) <= _DIGITS:
            return _EPOCH + int(text) * _MICROSECOND
    except (ValueError, OverflowError):
        pass
    raise refuse(Code.STATE_REFUSED, "the state holds no time where the enclave keeps the one of its last commit")
