"""Requests to end a machine: the first one drains it, the second one ends it at once."""

import asyncio
import os
import signal
from collections.abc import Callable

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class ShutdownRequests:
    """Listens to signals, to the lifeline, and to those who use the machine.

    The lifeline is a pipe whose other end the process holds that started the machine. Each user holds the other end of
    a pipe, too: the kernel closes it when the user's process is gone, for whatever reason. A machine that is there
    *while used* goes on without its starter as long as it has users; any other ends with its starter at once. A signal
    that this process was started without, such as SIGHUP under nohup(1), stays ignored.

    Attributes:
        end: set when the machine should end.
        at_once: set when it should not wait for calls under way any more.
    """

    def __init__(self, lifeline: int | None, *, while_used: bool = False, on_kept: Callable[[], None]) -> None:
        """``on_kept``: called when the starter has left, and users keep the machine."""
        self.end = asyncio.Event()
        self.at_once = asyncio.Event()
        self.while_used = while_used
        self._on_kept = on_kept
        self._users = 0
        self._starter_is_there = True
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, self.request)
        if lifeline is not None:
            _until_closed(lifeline, self._starter_left)

    def request(self, *, at_once: bool = False) -> None:
        """Has the machine end: draining it first, unless ``at_once`` or asked for the second time."""
        if at_once or self.end.is_set():
            self.at_once.set()
        self.end.set()

    def admit_user(self) -> int | None:
        """A descriptor for one more user to hold; None where the machine is ending."""
        if self.end.is_set():
            return None
        reading, writing = os.pipe()
        self._users += 1
        _until_closed(reading, self._user_left)
        return writing

    def _starter_left(self) -> None:
        self._starter_is_there = False
        if self.while_used and self._users and not self.end.is_set():
            self._on_kept()
        else:
            self.request(at_once=True)

    def _user_left(self) -> None:
        self._users -= 1
        if self.while_used and not self._users and not self._starter_is_there:
            self.request(at_once=True)


def _until_closed(descriptor: int, then: Callable[[], None]) -> None:
    """Calls ``then`` once nobody holds the other end of a pipe any more."""
    loop = asyncio.get_running_loop()
    os.set_blocking(descriptor, False)

    def read() -> None:
        try:
            if os.read(descriptor, 64):  # what comes is ignored: only the end of the pipe counts
                return
        except BlockingIOError:
            return
        loop.remove_reader(descriptor)
        os.close(descriptor)
        then()

    loop.add_reader(descriptor, read)
