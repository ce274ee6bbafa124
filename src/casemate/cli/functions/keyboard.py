"""Single keys of a terminal, without Enter."""

import os
import select
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def keys(tell: Callable[[str], None]) -> Iterator[bool]:
    """Calls ``tell`` with each key while the block runs; yields whether there is a terminal that has keys.

    ``tell`` is called in a thread of its own. Ctrl-C stays a signal.
    """
    if not sys.stdin.isatty():
        yield False
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    ended, end = os.pipe()

    def read() -> None:
        while True:
            ready, _, _ = select.select([descriptor, ended], [], [])
            if ended in ready:
                return
            text = os.read(descriptor, 64).decode(errors="replace")
            if not text:
                return
            for key in text:
                tell(key)

    tty.setcbreak(descriptor)
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield True
    finally:
        os.close(end)
        reader.join()
        os.close(ended)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
