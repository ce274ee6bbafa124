"""An enclave's process, from its first frame to its last. The spawner has forked and confined it already."""

import contextlib
import socket

from casemate.enclave.boot import Program, read_program
from casemate.enclave.chip.leaf import Leaf, chip_peer
from casemate.enclave.enclave_time import EnclaveTime
from casemate.enclave.entry.dispatch import Service
from casemate.enclave.entry.peers import Peers
from casemate.enclave.guest.console import Console
from casemate.enclave.guest.guest_maker import GuestMaker
from casemate.enclave.guest.guests import Guests
from casemate.enclave.guest.spawner_link import MAX_SPAWNER_FRAME, SpawnerLink
from casemate.enclave.io.host_link import HostLink
from casemate.enclave.io.loop import Loop
from casemate.enclave.io.socket_peer import SocketPeer
from casemate.enclave.parts import missing_part
from casemate.engines.registry import engine_named
from casemate.link.errors import PeerGoneError, TimedOutError
from casemate.wire.errors import WireError
from casemate.wire.messages.leaf import Booted, PartWanted
from casemate.wire.protocol.call import MAX_SEALED
from casemate.wire.protocol.faults import Code, FaultError, fault
from casemate.wire.protocol.sandbox_layers import Layer, SandboxLayers

MAX_HOST_FRAME = MAX_SEALED + 4096
"""Longest frame from the host (bytes): the longest envelope."""


def run(chip_fd: int, host_fd: int, spawner_fd: int, layers: tuple[Layer, ...]) -> None:
    """Boots and serves; returns when chip, host or spawner are gone, or when the enclave cannot boot.

    Args:
        chip_fd: leaf functions; the first frame on it is ``Boot``.
        host_fd: entries.
        spawner_fd: guests.
        layers: what this process is confined by.
    """
    with (
        _adopt(chip_fd) as chip_socket,
        _adopt(host_fd) as host_socket,
        _adopt(spawner_fd) as spawner_socket,
        contextlib.ExitStack() as ending,
    ):
        loop = Loop()
        leaf = Leaf(chip_peer(loop, chip_socket))
        host = HostLink(SocketPeer(loop, "host", host_socket, limit=MAX_HOST_FRAME))
        spawner = SocketPeer(loop, "spawner", spawner_socket, limit=MAX_SPAWNER_FRAME, descriptors=True)
        with contextlib.suppress(PeerGoneError, TimedOutError, WireError):
            # A peer is gone: the enclave cannot work, and no one can receive an error.
            try:
                service = loop.finish(_boot(loop, leaf, host, spawner, layers, ending=ending))
                if service is not None:
                    service.open()
                    leaf.tell(Booted())
                    loop.run()
            finally:
                loop.close()


async def _boot(
    loop: Loop,
    leaf: Leaf,
    host: HostLink,
    spawner: SocketPeer,
    layers: tuple[Layer, ...],
    *,
    ending: contextlib.ExitStack,
) -> Service | None:
    """The enclave, ready to be entered; None if it cannot boot, which the chip has been told."""
    try:
        program = read_program(await leaf.boot())
        missing = missing_part(program.image.manifest)
        if missing is not None:
            leaf.tell(PartWanted(missing))
            return None
        maker = GuestMaker(program, loop, SpawnerLink(spawner), Console(host, debug=program.debug).print)
        ending.callback(maker.close)
        guests = _guests(program, loop, maker)
        ending.callback(guests.close)
        first = await guests.first()
        peers = Peers(loop, leaf, host, guests, maker, _clock(program))
        return Service(program, SandboxLayers(enclave=layers, guest=first.layers), peers)
    except FaultError as error:
        leaf.tell(error.fault)
    except (PeerGoneError, TimedOutError):
        raise
    except Exception:  # a defect, or pages that no image could have: the launch fails, with few words
        leaf.tell(fault(Code.INTERNAL, "the enclave cannot boot; nothing more is told"))
    return None


def _clock(program: Program) -> EnclaveTime:
    rules = program.image.manifest.appraise
    return EnclaveTime(None if rules is None else rules.built)


def _guests(program: Program, loop: Loop, maker: GuestMaker) -> Guests:
    """The guests of this program. No process is asked for yet."""
    manifest = program.image.manifest
    engine = engine_named(manifest.engine)
    return Guests(
        loop,
        maker.make,
        isolation=manifest.isolation,
        limit=manifest.limits.guests,
        newcomers=engine.newcomers,
        beyond=engine.copies_guests,
        is_known=lambda caller: isinstance(caller, bytes) and manifest.caller(caller) is not None,
    )


def _adopt(descriptor: int) -> socket.socket:
    """A socket object for an inherited descriptor. Its kind is given, since Python would ask the kernel for it."""
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=descriptor)
