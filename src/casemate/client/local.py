"""A machine on this computer: the one that runs on a state directory, or a new one for a ``with`` block."""

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from casemate.link.calls import answer_of, numbered, split
from casemate.link.channel import Channel
from casemate.link.errors import PeerGoneError
from casemate.link.places import control_socket
from casemate.wire.errors import CasemateError
from casemate.wire.messages.control import Done, MachineIs, MachineStatus, RecoverTcb, RevokeChip, UpdateMicrocode

T = TypeVar("T")

START_TIMEOUT = 60.0
"""Longest start of a machine (seconds): the first one copies the runtime."""

CONTROL_TIMEOUT = 30.0
"""Longest answer of a supervisor (seconds)."""


class NoMachineError(CasemateError):
    """No machine runs on this state directory, or none could be started."""


class WrongMachineError(CasemateError):
    """Another kind of machine runs on this state directory."""


@dataclass(frozen=True, slots=True)
class LocalMachine:
    """A running machine of this user's."""

    state: Path
    status: MachineIs

    @property
    def host_socket(self) -> Path:
        """Where clients connect."""
        return Path(self.status.host_socket)

    def recover_tcb(self, advisory: str) -> str:
        """Has the vendor publish a new TCB level: this platform is out of date until its microcode is updated."""
        return _ask(self.state, RecoverTcb(advisory), Done).said

    def update_microcode(self) -> str:
        """Brings this platform to the newest published TCB."""
        return _ask(self.state, UpdateMicrocode(), Done).said

    def revoke(self) -> str:
        """Has the vendor revoke this platform's certificate."""
        return _ask(self.state, RevokeChip(), Done).said


def running_machine(state: Path) -> LocalMachine:
    """The machine that runs on ``state``; :class:`NoMachineError` if none does."""
    return LocalMachine(state, _ask(state, MachineStatus(), MachineIs))


@contextlib.contextmanager
def local_machine(
    state: Path, *, seed: str | None = None, layers: Sequence[str] = (), pool: int = 1
) -> Iterator[LocalMachine]:
    """The machine that runs on ``state``, or else a new one that ends with the block.

    Args:
        state: the state directory; made if it is missing.
        seed: makes the same machine each time. Everybody knows its secrets: for tests alone.
        layers: sandbox layers as ``NAME=MODE``, with modes ``require``, ``prefer`` and ``off``.
        pool: how many warm guests to keep.

    Raises:
        NoMachineError: it did not start; the message says why.
    """
    try:
        found = running_machine(state)
    except NoMachineError:
        found = None
    if found is not None:
        if found.status.seeded != (seed is not None):
            kind = "a seeded" if found.status.seeded else "an unseeded"
            raise WrongMachineError(f"{kind} machine runs on {state} already; stop it, or name another state directory")
        yield found
        return
    command = [sys.executable, "-I", "-m", "casemate.supervisor", "--state", str(state), "--pool", str(pool)]
    command += ["--seed", seed] if seed is not None else []
    command += [part for layer in layers for part in ("--layer", layer)]
    lifeline, ours = os.pipe()
    try:
        supervisor = subprocess.Popen(
            [*command, "--lifeline-fd", str(lifeline)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            pass_fds=(lifeline,),
            start_new_session=True,
        )
    finally:
        os.close(lifeline)
    try:
        _wait_until_ready(supervisor)
        yield running_machine(state)
    finally:
        os.close(ours)
        _end(supervisor)


def _wait_until_ready(supervisor: subprocess.Popen[bytes]) -> None:
    """Reads the one line that the supervisor prints: ``{"ready": true}`` or ``{"error": "..."}``."""
    if supervisor.stdout is None:
        raise NoMachineError("the supervisor has no output to read")
    if not select.select([supervisor.stdout], [], [], START_TIMEOUT)[0]:
        raise NoMachineError(f"the machine did not start within {START_TIMEOUT:g} s")
    line = supervisor.stdout.readline()
    try:
        said = json.loads(line)
    except ValueError:
        said = {"error": "the supervisor ended without a word; its log is in the state directory"}
    if said.get("ready") is not True:
        raise NoMachineError(str(said.get("error")))


def _end(supervisor: subprocess.Popen[bytes]) -> None:
    if supervisor.stdout is not None:
        supervisor.stdout.close()
    try:
        supervisor.wait(timeout=10)
    except subprocess.TimeoutExpired:
        supervisor.kill()
        supervisor.wait()


def _ask(state: Path, question: object, wanted: type[T]) -> T:
    path = control_socket(state)
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.connect(os.fsencode(path))
    except OSError as error:
        sock.close()
        raise NoMachineError(f"no machine runs on {state} ({error.strerror}); `casemate up` starts one") from None
    channel = Channel(sock)
    deadline = time.monotonic() + CONTROL_TIMEOUT
    try:
        channel.send(numbered(1, question), timeout=CONTROL_TIMEOUT)
        _, message = split(channel.receive(timeout=deadline - time.monotonic()).payload)
    except PeerGoneError as error:
        raise NoMachineError(f"the supervisor of {state} hung up: {error}") from None
    finally:
        channel.close()
    return answer_of(message, wanted)
