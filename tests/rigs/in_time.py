"""Whether something ends in the time that is promised for it, on a computer that other tests share."""

import time
from collections.abc import Callable

TRIES = 4
"""One try that keeps the promise shows that it is kept; the others may have waited for a processor."""


def assert_in_time(call: Callable[[], None], promised: float) -> None:
    """Calls until it has taken no longer than ``promised`` seconds, a few times at most.

    No try may take ten times as long: what hangs is no matter of a processor.
    """
    took: list[float] = []
    while len(took) < TRIES and (not took or min(took) > promised):
        began = time.monotonic()
        call()
        took.append(time.monotonic() - began)
        assert took[-1] < 10 * promised
    assert min(took) <= promised, took
