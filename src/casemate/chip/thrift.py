"""Gives back what start-up has used and no longer needs."""

import ctypes
import gc
import sys


def give_back_memory() -> None:
    """Collects garbage, and has the C library return free pages inside its heap to the system (glibc alone keeps them).

    Where modules were compiled on the way, that is 4 MB.
    """
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
