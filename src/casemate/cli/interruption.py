"""Signals that ask a command to end, for commands that have started something."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """While the block runs, the first of these signals raises ``KeyboardInterrupt``, and those after it are ignored.

    A second one would interrupt the end of what was started, and leave it. What nohup(1) or a shell's & have ignored
    stays ignored.
    """
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    for number in _SIGNALS:
        signal.signal(number, _overhear)
    raise KeyboardInterrupt


def _overhear(_number: int, _frame: FrameType | None) -> None:
    """Does nothing. With SIG_IGN, Python complains of a signal that has come already and was not handled yet."""
