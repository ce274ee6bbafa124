"""A machine's chip and host without the supervisor: so that a test can put another host in the host's place."""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from casemate.client.local import LocalMachine, local_machine
from casemate.link.channel import Channel
from casemate.process.places import host_directory, host_socket, listen
from casemate.wire.encodings.message import parse_message
from casemate.wire.messages.supervisor import ChipReady

PATIENCE = 60.0
RECORDING = Path(__file__).with_name("recording.py")


@contextlib.contextmanager
def recorded_machine(state: Path, record: Path) -> Iterator[LocalMachine]:
    """A new machine whose host writes all that its sockets carry to ``record``."""
    with local_machine(state) as machine:
        pass  # it is certified now, and its collateral is there
    with contextlib.ExitStack() as stack:
        chip_link, for_host = (stack.enter_context(end) for end in socket.socketpair())
        supervisor, for_chip = (stack.enter_context(end) for end in socket.socketpair())
        listener = stack.enter_context(listen(host_socket(state)))
        chip = ["-I", "-m", "casemate.chip", "--state", state, "--pool", "1"]
        chip += ["--host-fd", chip_link.fileno(), "--supervisor-fd", for_chip.fileno()]
        stack.enter_context(_running(chip, chip_link, for_chip))
        parse_message(Channel(supervisor).receive(timeout=PATIENCE).payload, ChipReady)
        host = [RECORDING, "casemate.host", record, "--directory", host_directory(state)]
        host += ["--catalogue", host_directory(state) / "catalogue.db"]
        host += ["--chip-fd", for_host.fileno(), "--listener-fd", listener.fileno()]
        stack.enter_context(_running(host, for_host, listener))
        yield machine


@contextlib.contextmanager
def _running(arguments: list[object], *inherited: socket.socket) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, *map(str, arguments)], pass_fds=[end.fileno() for end in inherited], stdin=subprocess.DEVNULL
    )
    for end in inherited:
        end.close()
    try:
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)
