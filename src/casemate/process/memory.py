"""Returns memory to the system that a long-lived process used at its start and will not use again."""

import ctypes
import gc
import sys
from collections.abc import Iterator
from pathlib import Path

_MADV_DONTNEED = 4
"""madvise(2). Of a private mapping of a file that was never written to, it drops what the page cache has anyway."""

_KEPT = 4 * 1024 * 1024


def keep_memory_of_pieces() -> None:
    """Has the C library keep up to 8 MiB of freed memory for the next large buffers, where streams pass through.

    A piece of a stream passes through several buffers of a MiB. At first, glibc maps each of them anew, and the system
    clears every page of it, which takes several times as long as to fill it. When such a block is freed, glibc begins
    to keep freed memory up to twice its size (mallopt(3), M_MMAP_THRESHOLD): this frees one of 4 MiB, of which no page
    was ever used. Calls with large arguments have that effect anyway.
    """
    bytes(_KEPT)


def give_back_memory() -> None:
    """After start-up: collects garbage, trims the heap, lets go of program text; some 15 MB where much was imported."""
    gc.collect()
    trim_heap()
    let_go_of_text()


def trim_heap() -> None:
    """Has the C library return free pages inside its heap to the system; glibc alone keeps them."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def let_go_of_text() -> None:
    """Drops this process's pages of program files; each comes back from the page cache when it is next used.

    Importing a library touches much of it once, and every page so touched would count as this process's from then on.
    Only where no page is this process's own: what the loader has written to, such as relocated tables, stays.
    """
    if sys.platform != "linux":
        return
    madvise = ctypes.CDLL(None).madvise
    for start, end in _clean_files():
        madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_DONTNEED)


def _clean_files() -> Iterator[tuple[int, int]]:
    """Mappings of files that cannot be written to, and never were (proc(5), smaps)."""
    start = end = 0
    is_file = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        word, *rest = line.split(maxsplit=5)
        if not word.endswith(":"):
            start, end = (int(part, 16) for part in word.split("-"))
            is_file = rest[0] in {"r--p", "r-xp"} and len(rest) == 5 and rest[4].startswith("/")
        elif word == "Anonymous:" and is_file and rest[0] == "0":
            yield start, end
