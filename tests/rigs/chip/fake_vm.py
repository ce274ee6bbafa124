"""A VM's process that keeps the chip's protocol and does nothing else; its DRAM's first bytes say how it misbehaves.

Started by tests in the interpreter's place. It encrypts nothing, and tells in its DRAM's last page what it was powered
on with, for the test to read.
"""

import hashlib
import os
import signal
import socket
import sys
import time

from casemate.link.channel import Channel
from casemate.link.errors import PeerGoneError
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.messages.vm.silicon import (
    AddPages,
    Finish,
    Finished,
    PageIs,
    PagesAdded,
    PowerOn,
    ReadPage,
    Ready,
)
from casemate.wire.protocol.faults import Code, fault
from casemate.wire.snp.page_info import PAGE_SIZE, PageType

MARK_SIZE = 16


def main() -> None:
    options = dict(zip(sys.argv[1::2], map(int, sys.argv[2::2]), strict=True))
    chip = Channel(socket.socket(fileno=options["--chip-fd"]))
    hypervisor = socket.socket(fileno=options["--hypervisor-fd"])
    dram = options["--dram-fd"]
    power = parse_message(chip.receive().payload, PowerOn)
    behaviour = os.pread(dram, MARK_SIZE, 0).rstrip(b"\x00").decode()
    misbehave(chip, behaviour, "start")
    os.pwrite(dram, power.key + power.tweak_key + power.asid.to_bytes(4, "little"), (power.pages - 1) * PAGE_SIZE)
    hypervisor.send(b"power")
    chip.send(encode_message(Ready(())))
    while True:
        question: object = parse_message(chip.receive().payload, AddPages, ReadPage, Finish)
        if not misbehave(chip, behaviour, type(question).__name__):
            chip.send(encode_message(answer(question, dram, behaviour)))
        if behaviour == "twice":
            chip.send(encode_message(Finished()))


def answer(question: object, dram: int, behaviour: str) -> object:
    match question:
        case AddPages(page_type=page_type, spa=spa, count=count, content=content):
            if content is not None:
                os.pwrite(dram, content, spa)
            if page_type not in (PageType.NORMAL, PageType.VMSA) or behaviour == "no-digests":
                return PagesAdded(b"")
            pages = (os.pread(dram, PAGE_SIZE, spa + number * PAGE_SIZE) for number in range(count))
            return PagesAdded(b"".join(hashlib.sha384(page).digest() for page in pages))
        case ReadPage(spa):
            return PageIs(os.pread(dram, PAGE_SIZE, spa))
        case _:
            return Finished()


def misbehave(chip: Channel, behaviour: str, step: str) -> bool:
    """Does it where ``behaviour`` is STEP:HOW of this step; whether that was an answer."""
    where, _, how = behaviour.partition(":")
    if where != step:
        return False
    match how:
        case "mute":
            time.sleep(60)
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            sys.exit(3)
        case "refuse":
            chip.send(encode_message(fault(Code.FIRMWARE_REFUSED, "INVALID_PAGE_STATE: not pre-guest")))
        case "babble":
            chip.send(b"\xff\xff\xff")
            time.sleep(60)
        case "long":
            chip.send(bytes(300_000))
            time.sleep(60)
        case "close":
            chip.close()
            time.sleep(60)
    return True


if __name__ == "__main__":
    try:
        main()
    except PeerGoneError:
        sys.exit(0)
