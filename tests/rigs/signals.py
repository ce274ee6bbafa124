"""Signals as a process has them that a terminal started, whatever this one inherited from nohup(1) or a shell."""

import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


@contextmanager
def default_signals(numbers: Iterable[signal.Signals]) -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in numbers}
    for number in before:
        signal.signal(number, signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
