"""A parent of enclaves without sandbox or engine, and enclaves that do what their image's manifest says.

Started by tests in the runtime copy's place. ``Configure.deno`` says how the parent misbehaves; the bytes of
``casemate.toml`` say how the enclave does. A good enclave hands each frame from its host's socket to the chip, and the
chip's answer back, so a test can say anything an enclave could say.
"""

import contextlib
import os
import select
import signal
import socket
import time

from casemate.link.channel import Channel
from casemate.link.errors import PeerGoneError
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.messages.leaf import Boot, Booted, OptionalPart, PartWanted
from casemate.wire.messages.spawner import Configure, Exited, Kill, LoadPart, Spawn, Spawned, SpawnerReady
from casemate.wire.protocol.faults import Code, fault
from casemate.wire.protocol.image_index import MANIFEST_PATH, file_of, parse_index


def main() -> None:
    control = Channel(socket.socket(fileno=3))
    behaviour = parse_message(control.receive().payload, Configure).deno
    if behaviour == "mute":
        time.sleep(60)
    if behaviour == "refuse":
        control.send(encode_message(fault(Code.UNAVAILABLE, "no layers")))
        return
    if behaviour == "babble":
        control.send(b"\xff\xff\xff")
        time.sleep(60)
    control.send(encode_message(SpawnerReady()))
    with contextlib.suppress(PeerGoneError):
        serve(control, behaviour)


def serve(control: Channel, behaviour: str) -> None:
    children: dict[int, int] = {}
    while True:
        readable, _, _ = select.select([control], [], [], 0.01)
        reap(control, children)
        if not readable:
            continue
        frame = control.receive()
        message: object = parse_message(frame.payload, Spawn, Kill, LoadPart)
        match message:
            case Spawn(number):
                spawn(control, behaviour, number, frame.descriptors, children)
            case LoadPart() if behaviour == "cannot-equip":
                control.send(encode_message(fault(Code.UNAVAILABLE, "RA-TLS cannot be loaded")))
            case LoadPart():
                os.environ["EQUIPPED"] = "yes"
                control.send(encode_message(SpawnerReady()))
            case Kill(number) if behaviour != "cannot-kill":
                kill(control, number, children)


def reap(control: Channel, children: dict[int, int]) -> None:
    for pid, number in list(children.items()):
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            del children[pid]
            control.send(encode_message(Exited(number, "its process ended in a test")))


def kill(control: Channel, number: int, children: dict[int, int]) -> None:
    for pid, known in children.items():
        if known == number:
            os.kill(pid, signal.SIGKILL)
    if number not in children.values():
        control.send(encode_message(Exited(number, "there is no such process")))


def spawn(
    control: Channel, behaviour: str, number: int, descriptors: tuple[int, ...], children: dict[int, int]
) -> None:
    if behaviour == "die-at-spawn":
        os._exit(3)
    if behaviour == "refuse-spawn":
        control.send(encode_message(fault(Code.UNAVAILABLE, "seccomp is required and missing")))
        return
    if behaviour == "silent-spawn":
        return
    pid = os.fork()
    if pid == 0:
        control.close()
        with contextlib.suppress(PeerGoneError):
            enclave(*descriptors)
        os._exit(0)
    for descriptor in descriptors:
        os.close(descriptor)
    children[pid] = number
    control.send(encode_message(Spawned(number, pid)))


def enclave(leaf_end: int, entry_end: int) -> None:
    leaf, entry = Channel(socket.socket(fileno=leaf_end)), Channel(socket.socket(fileno=entry_end))
    boot = parse_message(leaf.receive().payload, Boot)
    behaviour = file_of(boot.pages, parse_index(boot.pages).entry(MANIFEST_PATH)).decode().strip()
    match behaviour:
        case "crash":
            return
        case "fault":
            leaf.send(encode_message(fault(Code.LAUNCH_REFUSED, "the manifest is wrong")))
            return
        case "hang":
            time.sleep(60)
        case "garbage":
            leaf.send(b"\x00garbage")
            time.sleep(60)
        case "tls-always-wanted":
            leaf.send(encode_message(PartWanted(OptionalPart.TLS)))
            return
        case "tls-wanted" if "EQUIPPED" not in os.environ:
            leaf.send(encode_message(PartWanted(OptionalPart.TLS)))
            return
        case "crash-when-booted":
            leaf.send(encode_message(Booted()))
            return
    leaf.send(encode_message(Booted()))
    while True:
        readable, _, _ = select.select([leaf, entry], [], [])
        if leaf in readable:  # the chip says nothing unasked: this is its end
            return
        leaf.send(entry.receive().payload)
        entry.send(leaf.receive().payload)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    main()
