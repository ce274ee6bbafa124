"""How a machine is told to end: a first word drains it, a second one ends it at once."""

import asyncio
import os
import signal


class Orders:
    """Listens to SIGTERM, SIGINT and the lifeline, a pipe whose other end is held by whoever wants the machine.

    Attributes:
        end: set when the machine should end.
        at_once: set when it should not wait for calls under way any more.
    """

    def __init__(self, lifeline: int | None) -> None:
        self.end = asyncio.Event()
        self.at_once = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.give)
        if lifeline is not None:
            os.set_blocking(lifeline, False)
            loop.add_reader(lifeline, self._cut, lifeline)

    def give(self, *, at_once: bool = False) -> None:
        """The machine should end."""
        if at_once or self.end.is_set():
            self.at_once.set()
        self.end.set()

    def _cut(self, lifeline: int) -> None:
        """Nobody is left who could wait for anything."""
        asyncio.get_running_loop().remove_reader(lifeline)
        self.give(at_once=True)
