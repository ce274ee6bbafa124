"""Gives back memory that is no longer needed."""

import ctypes
import gc
import sys


def give_back_memory() -> None:
    """After start-up: collects garbage and trims; where modules were compiled on the way, that is 4 MB."""
    gc.collect()
    trim_heap()


def trim_heap() -> None:
    """Has the C library return free pages inside its heap to the system; glibc alone keeps them."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
