"""Single requests to a machine of this user, to its supervisor or its host."""

import errno
import os
import time
from pathlib import Path
from typing import TypeVar

from casemate.link.calls import answer_of
from casemate.link.channel import Channel
from casemate.link.errors import PeerGoneError, TimedOutError
from casemate.link.numbered_frames import numbered, split
from casemate.process.ownership import check_own_folder, connected
from casemate.process.places import control_socket, leads_to_another_user
from casemate.wire.errors import CasemateError, os_error_text

T = TypeVar("T")

CONTROL_TIMEOUT = 30.0
"""Longest answer of a supervisor (seconds)."""

STATUS_TIMEOUT = 5.0
"""Longest answer to a request that takes no work (seconds)."""


SILENT = "it is stopped (SIGSTOP), or this computer is very busy"


class NoMachineError(CasemateError):
    """No machine runs on this state directory, or none could be started."""


def ask_supervisor(state: Path, question: object, wanted: type[T], *, timeout: float = CONTROL_TIMEOUT) -> T:
    """The answer of the supervisor of the machine on ``state``."""
    answer, descriptors = ask_for_descriptors(state, question, wanted, timeout=timeout)
    for descriptor in descriptors:
        os.close(descriptor)
    return answer


def ask_for_descriptors(
    state: Path, question: object, wanted: type[T], *, timeout: float = CONTROL_TIMEOUT
) -> tuple[T, tuple[int, ...]]:
    """The supervisor's answer, and the descriptors that came with it, which the caller must close."""
    try:
        check_own_folder(state)
    except FileNotFoundError:
        raise NoMachineError(f"no machine runs on {state}; `casemate up` starts a machine") from None
    if leads_to_another_user(state):
        raise NoMachineError(f"no machine runs on {state}; `casemate up` starts a machine")
    return _ask(control_socket(state), state, "the supervisor", question, wanted, timeout=timeout)


def ask_at(
    path: Path, state: Path, who: str, question: object, wanted: type[T], *, timeout: float = CONTROL_TIMEOUT
) -> T:
    """The answer of the process at the socket ``path``; ``who`` names it in errors.

    Raises:
        NoMachineError: nobody does.
        PlaceError: it is another user's machine, or could be.
        TimedOutError: nobody answers in time.
    """
    answer, descriptors = _ask(path, state, who, question, wanted, timeout=timeout)
    for descriptor in descriptors:
        os.close(descriptor)
    return answer


def _ask(
    path: Path, state: Path, who: str, question: object, wanted: type[T], *, timeout: float
) -> tuple[T, tuple[int, ...]]:
    try:
        sock = connected(path, timeout)
    except TimeoutError:
        raise TimedOutError(f"{who} of {state} takes no connection: {SILENT}") from None
    except OSError as error:
        why = f"no machine runs on {state}"
        if error.errno not in {errno.ENOENT, errno.ECONNREFUSED}:
            why = f"no answer from {who} of {state}: {os_error_text(error)}"
        raise NoMachineError(f"{why}; `casemate up` starts a machine") from None
    channel = Channel(sock)
    deadline = time.monotonic() + timeout
    try:
        channel.send(numbered(1, question), timeout=timeout)
        frame = channel.receive(timeout=max(0.0, deadline - time.monotonic()))
    except PeerGoneError as error:
        raise NoMachineError(f"{who} of {state} hung up: {error}") from None
    except TimedOutError:
        raise TimedOutError(f"{who} of {state} did not answer within {timeout:g} s: {SILENT}") from None
    finally:
        channel.close()
    try:
        return answer_of(split(frame.payload)[1], wanted), frame.descriptors
    except BaseException:
        for descriptor in frame.descriptors:
            os.close(descriptor)
        raise
