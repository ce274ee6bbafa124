"""Forks children that close what they must not have, confine themselves, and report that they did."""

import os
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NoReturn

from casemate.sandbox.errors import LayerRequiredError
from casemate.wire.encodings.message import encode_fields, parse_fields
from casemate.wire.errors import WireError
from casemate.wire.protocol.sandbox_layers import Layer

_FAILED = 1


@dataclass(frozen=True, slots=True)
class Confined:
    """A child's report about its confinement: its layers, or the reason why they were not applied."""

    layers: tuple[Layer, ...]
    refusal: str


@dataclass(frozen=True, slots=True)
class Child:
    """A forked process and the pipe on which it reports that it is confined."""

    pid: int
    report: int


def fork(
    keep: Iterable[int], confine: Callable[[int], tuple[Layer, ...]], body: Callable[[tuple[Layer, ...]], None]
) -> Child:
    """Forks a child that keeps the standard descriptors and ``keep``, confines itself, reports, and runs ``body``.

    Args:
        keep: descriptors that stay open in the child.
        confine: applies the layers; gets the parent's pid.
        body: what the child does. An exception ends it with a status and no words, since a traceback may hold secrets.
    """
    parent = os.getpid()
    reading, writing = os.pipe()
    try:
        pid = os.fork()
    except OSError:
        os.close(reading)
        os.close(writing)
        raise
    if pid == 0:
        _live(parent, writing, keep, confine, body)
    os.close(writing)
    return Child(pid, reading)


def report_of(child: Child) -> Confined:
    """Reads the child's report and closes the pipe. Call it when the pipe is readable."""
    try:
        return parse_fields(Confined, os.read(child.report, 1 << 16))
    except WireError:
        return Confined((), "the child ended before it was confined")
    finally:
        os.close(child.report)


def end_of(status: int) -> str:
    """How a process ended, in words that follow its name: "killed by SIGKILL"."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"ended with status {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
    return f"killed by {name}" + (" (a system call outside its filter)" if -code == signal.SIGSYS else "")


def _live(
    parent: int,
    writing: int,
    keep: Iterable[int],
    confine: Callable[[int], tuple[Layer, ...]],
    body: Callable[[tuple[Layer, ...]], None],
) -> NoReturn:
    status = _FAILED
    try:
        # In this order: the wakeup descriptor is about to be closed, and a signal that came later would write to
        # whatever is opened under its number.
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _close_others({0, 1, 2, writing, *keep})
        confined = _confined(confine, parent)
        # The report is one write of less than PIPE_BUF bytes, so the spawner reads all of it at once or nothing.
        os.write(writing, encode_fields(confined))
        os.close(writing)
        if not confined.refusal:
            body(confined.layers)
            status = 0
    finally:
        os._exit(status)  # not sys.exit: handlers, buffers and locks in here are copies of the spawner's


def _confined(confine: Callable[[int], tuple[Layer, ...]], parent: int) -> Confined:
    try:
        return Confined(confine(parent), "")
    except LayerRequiredError as error:
        return Confined((), str(error))


def _close_others(keep: set[int]) -> None:
    first = 0
    for number in sorted(keep):
        if first < number:  # closerange(0, 0) closes everything
            os.closerange(first, number)
        first = number + 1
    os.closerange(first, os.sysconf("SC_OPEN_MAX"))
