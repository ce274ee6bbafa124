"""An enclave's process, from its first frame to its last. The spawner has forked and confined it already."""

import contextlib
import select
import socket
import time

from casemate.enclave.boot import Program, read_program
from casemate.enclave.chip.leaf import Leaf
from casemate.enclave.entry.dispatch import Service
from casemate.enclave.entry.peers import Peers
from casemate.enclave.guest.console import Console
from casemate.enclave.guest.guest import LOAD_TIME, Guest
from casemate.enclave.io.pump import Pump
from casemate.enclave.io.socket_peer import SocketPeer
from casemate.enclave.parts import missing_part
from casemate.engines.command import GuestProgram
from casemate.link.channel import Channel
from casemate.link.errors import PeerGoneError, TimedOutError
from casemate.wire.errors import WireError
from casemate.wire.messages.entry import MAX_OCALL
from casemate.wire.messages.leaf import Booted, PartWanted
from casemate.wire.protocol.call import MAX_SEALED
from casemate.wire.protocol.faults import Code, FaultError, fault
from casemate.wire.protocol.sandbox_layers import Layer, SandboxLayers

MAX_HOST_FRAME = MAX_SEALED + 4096
"""Longest frame from the host (bytes): the longest envelope."""

MAX_SPAWNER_FRAME = 64 * 1024


class _ChipEnd:
    """Watches the chip's link. The chip never speaks unasked, so anything that comes between questions is its end."""

    def __init__(self, leaf: Leaf) -> None:
        self._leaf = leaf

    def fileno(self) -> int:
        """The chip's socket."""
        return self._leaf.fileno()

    def wants(self) -> int:
        """Input, of which the end of the link is one kind."""
        return select.POLLIN

    def ready(self, _events: int) -> None:
        """Ends the enclave."""
        raise PeerGoneError("the chip has gone")


def run(chip_fd: int, host_fd: int, spawner_fd: int, layers: tuple[Layer, ...]) -> None:
    """Boots and serves; returns when chip, host or spawner are gone, or when the enclave cannot boot.

    Args:
        chip_fd: leaf functions; the first frame on it is ``Boot``.
        host_fd: entries.
        spawner_fd: guests.
        layers: what this process is confined by.
    """
    with (
        contextlib.ExitStack() as ending,
        _adopt(chip_fd) as chip_socket,
        _adopt(host_fd) as host_socket,
        _adopt(spawner_fd) as spawner_socket,
    ):
        leaf = Leaf(Channel(chip_socket))
        host = SocketPeer("host", host_socket, limit=MAX_HOST_FRAME, most=1)
        spawner = SocketPeer("spawner", spawner_socket, limit=MAX_SPAWNER_FRAME, most=64, descriptors=True)
        try:
            service = _boot(leaf, host, spawner, layers, ending)
            if service is not None:
                service.run()
        except (PeerGoneError, TimedOutError, WireError):
            return  # a peer is gone: the enclave cannot work, and no one can receive an error


def _boot(
    leaf: Leaf, host: SocketPeer, spawner: SocketPeer, layers: tuple[Layer, ...], ending: contextlib.ExitStack
) -> Service | None:
    """The enclave, ready to be entered; None if it cannot boot, which the chip has been told."""
    try:
        program = read_program(leaf.boot())
        missing = missing_part(program.image.manifest)
        if missing is not None:
            leaf.tell(PartWanted(missing))
            return None
        pump = Pump()
        console = Console(host, debug=program.debug)
        guest = _guest(program, pump, spawner, console)
        ending.callback(guest.close)
        pump.watch(_ChipEnd(leaf))
        pump.watch(spawner)
        guest.fetch()
        guest.await_ready(time.monotonic() + LOAD_TIME)
        pump.watch(host)
        peers = Peers(pump, leaf, host, guest, console)
        service = Service(program, SandboxLayers(enclave=layers, guest=guest.layers), peers)
    except FaultError as error:
        leaf.tell(error.fault)
        return None
    except (PeerGoneError, TimedOutError):
        raise
    except Exception:  # a defect, or pages that no image could have: the launch fails, with few words
        leaf.tell(fault(Code.INTERNAL, "the enclave cannot boot; nothing more is told"))
        return None
    leaf.tell(Booted())
    return service


def _guest(program: Program, pump: Pump, spawner: SocketPeer, console: Console) -> Guest:
    """The guest of this program. No process is asked for yet."""
    manifest = program.image.manifest
    return Guest(
        pump,
        spawner,
        engine=manifest.engine,
        memory_mib=manifest.limits.memory_mib,
        program=GuestProgram(
            modules=program.image.modules(),
            entries=tuple(entry.name for entry in manifest.entries),
            output_limit=manifest.limits.output_kib * 1024,
            ocall_limit=MAX_OCALL,
            streams=tuple(entry.name for entry in manifest.entries if entry.stream),
            debug=program.debug,
        ),
        on_print=console.print,
        tell_errors=program.debug,
    )


def _adopt(descriptor: int) -> socket.socket:
    """A socket object for an inherited descriptor. Its kind is given, since Python would ask the kernel for it."""
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=descriptor)
