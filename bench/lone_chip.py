"""A chip without host or supervisor; the benchmark sends it a host's requests."""

import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from casemate.link.calls import answer_of
from casemate.link.channel import Channel
from casemate.link.numbered_frames import numbered, split
from casemate.wire.encodings.message import parse_message
from casemate.wire.messages.supervisor import Certify, ChipReady
from casemate.wire.protocol.faults import Fault, FaultError

PATIENCE = 60.0
T = TypeVar("T")


class LoneChip:
    """A connection to the chip's socket for its host."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._last = 0

    def ask(self, question: object, wanted: type[T]) -> T:
        """Sends a request; returns its answer."""
        self._last += 1
        self._channel.send(numbered(self._last, question), timeout=PATIENCE)
        return answer_of(split(self._channel.receive(timeout=PATIENCE).payload)[1], wanted)


def copied_chip(state: Path, copy: Path) -> Path:
    """Makes ``copy`` a state directory with a copy of the chip of a running machine, certificates included."""
    shutil.copytree(state / "chip", copy / "chip", ignore=shutil.ignore_patterns("lock"))
    (copy / "chip").chmod(0o700)
    return copy


@contextmanager
def lone_chip(state: Path) -> Iterator[LoneChip]:
    """Runs a chip on a state directory that has a certificate and is not in use by another chip."""
    host, for_host = socket.socketpair()
    supervisor, for_supervisor = socket.socketpair()
    with host, supervisor:
        with for_host, for_supervisor:
            descriptors = (for_host.fileno(), for_supervisor.fileno())
            process = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-m", "casemate.chip", "--state", str(state), "--pool", "0"),
                    *("--host-fd", str(descriptors[0]), "--supervisor-fd", str(descriptors[1])),
                ],
                pass_fds=descriptors,
            )
        try:
            payload = Channel(supervisor).receive(timeout=PATIENCE).payload
            said: object = parse_message(payload, ChipReady, Certify, Fault)
            if isinstance(said, Fault):
                raise FaultError(said)
            if not isinstance(said, ChipReady):
                raise TypeError("the chip's certificate is not where it was")
            yield LoneChip(Channel(host))
        finally:
            process.terminate()
            process.wait(PATIENCE)
