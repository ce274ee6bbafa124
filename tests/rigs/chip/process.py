"""A real chip process, and the host's end of its socket."""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from casemate.link.channel import Channel
from casemate.link.numbered_frames import split
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.encodings.pem import encode_chain
from casemate.wire.messages.supervisor import (
    Certified,
    Certify,
    ChipReady,
    MicrocodeIs,
)
from casemate.wire.protocol.faults import Fault

PATIENCE = 30.0
T = TypeVar("T")


@dataclass
class Process:
    """A chip's process, and the ends that host and supervisor would hold."""

    process: subprocess.Popen[str]
    host: Channel
    supervisor: Channel

    def heard(self) -> Certify | ChipReady | MicrocodeIs | Fault:
        payload = self.supervisor.receive(timeout=PATIENCE).payload
        return parse_message(payload, Certify, ChipReady, MicrocodeIs, Fault)  # type: ignore[return-value] # one of them

    def certify(self) -> Certify:
        """Plays the maker: a chain that holds the key; whether it is genuine is for verifiers."""
        request = self.heard()
        assert isinstance(request, Certify)
        spki = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200") + request.public_key
        self.supervisor.send(encode_message(Certified(encode_chain(spki))))
        return request

    def ready(self) -> ChipReady:
        said = self.heard()
        assert isinstance(said, ChipReady)
        return said

    def ask(self, question: object, wanted: type[T]) -> T:
        self.supervisor.send(encode_message(question))
        return parse_message(self.supervisor.receive(timeout=PATIENCE).payload, wanted)

    def answer(self) -> bytes:
        """The message of the next answer to the host."""
        return bytes(split(self.host.receive(timeout=PATIENCE).payload)[1])

    def ended(self) -> int:
        return self.process.wait(PATIENCE)


@contextlib.contextmanager
def started(state: Path, *arguments: str) -> Iterator[Process]:
    host, for_host = socket.socketpair()
    supervisor, for_supervisor = socket.socketpair()
    descriptors = (for_host.fileno(), for_supervisor.fileno())
    command = [sys.executable, "-I", "-m", "casemate.chip", "--state", str(state), "--host-fd", str(descriptors[0])]
    process = subprocess.Popen(
        [*command, "--supervisor-fd", str(descriptors[1]), *arguments],
        pass_fds=descriptors, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for_host.close()
    for_supervisor.close()
    made = Process(process, Channel(host), Channel(supervisor))
    try:
        yield made
    finally:
        made.host.close()
        made.supervisor.close()
        process.terminate()
        process.communicate(timeout=PATIENCE)
