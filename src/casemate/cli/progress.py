"""The list of steps that a longer command shows while it goes: on standard error, so that results stay clean."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

from casemate.cli.output import Screen, console, printable


@dataclass(frozen=True, slots=True)
class Timing:
    step: str
    milliseconds: float


class Progress:
    """Shows the steps of a command: with a spinner on a terminal, as one line for each step otherwise."""

    def __init__(self, screen: Screen) -> None:
        self.console = console(stderr=True, quiet=True) if screen.quiet else screen.stderr
        self.timings: list[Timing] = []

    @contextlib.contextmanager
    def step(self, doing: str, name: str, *, spins: bool = True) -> Iterator[list[str]]:
        """Times one step and prints it. Text that is appended to the yielded list is printed behind the step's name.

        Args:
            doing: shown while it goes on, such as ``building``.
            name: its name among the timings.
            spins: whether a spinner turns meanwhile; not where the step shows a bar of its own.
        """
        found: list[str] = []
        begin = time.perf_counter()
        try:
            with self.console.status(f"{doing}...") if spins and self.console.is_terminal else contextlib.nullcontext():
                yield found
        except BaseException:
            self.console.print("x", style="bold red", end=" ")
            self.console.print(name, style="bold")
            raise
        took = (time.perf_counter() - begin) * 1000
        self.timings.append(Timing(name, took))
        self.console.print("✓" if self._can_tick() else "+", style="bold green", end=" ")
        self.console.print(f"{name:<10}", style="bold", end=" ")
        self.console.print(f"{took:>7.0f} ms", style="dim", end="  ")
        self.console.print(printable(" ".join(found)), soft_wrap=True)

    def document(self) -> dict[str, float]:
        """The timings for ``--json``, in milliseconds."""
        return {timing.step: round(timing.milliseconds, 3) for timing in self.timings}

    def _can_tick(self) -> bool:
        return self.console.encoding.lower().startswith("utf")
