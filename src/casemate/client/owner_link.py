"""One question to a machine of this user's: to its supervisor, or to its host."""

import errno
import os
import socket
import time
from pathlib import Path
from typing import TypeVar

from casemate.link.calls import answer_of, numbered, split
from casemate.link.channel import Channel
from casemate.link.errors import PeerGoneError
from casemate.link.places import control_socket
from casemate.wire.errors import CasemateError, os_error_text

T = TypeVar("T")

CONTROL_TIMEOUT = 30.0
"""Longest answer of a supervisor (seconds)."""


class NoMachineError(CasemateError):
    """No machine runs on this state directory, or none could be started."""


def ask_supervisor(state: Path, question: object, wanted: type[T]) -> T:
    """What the supervisor of the machine on ``state`` answers."""
    return ask_at(control_socket(state), state, "the supervisor", question, wanted)


def ask_at(path: Path, state: Path, who: str, question: object, wanted: type[T]) -> T:
    """What ``who`` of the machine on ``state`` answers, whose socket is at ``path``.

    Raises:
        NoMachineError: nobody does.
    """
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.connect(os.fsencode(path))
    except OSError as error:
        sock.close()
        why = f"no machine runs on {state}"
        if error.errno not in {errno.ENOENT, errno.ECONNREFUSED}:
            why = f"no answer from {who} of {state}: {os_error_text(error)}"
        raise NoMachineError(f"{why}; `casemate up` starts a machine") from None
    channel = Channel(sock)
    deadline = time.monotonic() + CONTROL_TIMEOUT
    try:
        channel.send(numbered(1, question), timeout=CONTROL_TIMEOUT)
        _, message = split(channel.receive(timeout=deadline - time.monotonic()).payload)
    except PeerGoneError as error:
        raise NoMachineError(f"{who} of {state} hung up: {error}") from None
    finally:
        channel.close()
    return answer_of(message, wanted)
