"""The process: ``python -I -S -B -m casemate.spawner``, started by the chip with the control socket on descriptor 3."""

import os
import selectors
import signal
import socket
from collections.abc import Callable

from casemate.link.errors import PeerGoneError
from casemate.process.hardening import die_with_parent, forbid_dumps
from casemate.sandbox.cgroup import find_places, remove_stale
from casemate.sandbox.errors import UnavailableError
from casemate.spawner.enclave_code import Entry
from casemate.spawner.links import SpawnerLink
from casemate.spawner.loop import Spawner, settle_memory
from casemate.wire.encodings.message import parse_message
from casemate.wire.errors import CasemateError, WireError
from casemate.wire.messages.spawner import Configure
from casemate.wire.protocol.faults import Code, fault

CONTROL = 3
"""Descriptor of the control socket."""


def serve(control: socket.socket, entry: Callable[[], Entry]) -> None:
    """Takes the chip's first frame, gets ready, and serves until the chip is gone.

    Args:
        control: the socket to the chip; owned.
        entry: imports what an enclave runs, and gives it.
    """
    link = SpawnerLink(control, takes_descriptors=True)
    try:
        configure = _configure(link, control)
        try:
            spawner = Spawner(link, configure, entry())
        except (CasemateError, OSError) as error:
            link.send(fault(Code.UNAVAILABLE, f"the spawner cannot serve: {error}"))
            return
        _clear_groups()
        settle_memory()
        spawner.run()
    except (PeerGoneError, WireError):
        return  # without the chip, or with one that talks nonsense, there is nothing to do
    finally:
        link.close()


def run_process(entry: Callable[[], Entry]) -> None:
    """The process: bound to its chip's life, its standard descriptors in place, the control socket on 3."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    die_with_parent(os.getppid())
    forbid_dumps()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the supervisor, which ends us in order
    serve(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=CONTROL), entry)


def _configure(link: SpawnerLink, control: socket.socket) -> Configure:
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        while True:
            selector.select()
            for frame in link.receive():
                return parse_message(frame, Configure)


def _clear_groups() -> None:
    """Removes control groups that a spawner which was killed has left behind."""
    try:
        remove_stale(find_places(), "casemate-")
    except UnavailableError:
        return
