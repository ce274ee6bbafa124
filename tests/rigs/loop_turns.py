"""Turns the enclave's loop from outside, for tests of what it serves."""

import time
from collections.abc import Callable

from casemate.enclave.io.loop import Loop

_LOOK = 0.005
"""Seconds between two looks at the condition where nothing happens in the loop."""


def turn_until(loop: Loop, condition: Callable[[], object], seconds: float = 5.0) -> bool:
    """Runs the loop until the condition holds; false if it does not within those seconds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= end:
            return False
        loop.at(time.monotonic() + _LOOK, lambda: None)  # else a turn waits for as long as nothing happens
        loop.turn()
    return True
