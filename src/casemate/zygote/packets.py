"""Packets with descriptors, as the processes of this room receive them; a packet is one message."""

import array
import socket

from casemate.link.channel import CLOSED_ON_EXEC, descriptors_of
from casemate.wire.messages.zygote import MAX_PACKET

_MOST_DESCRIPTORS = 7  # of MakeImage
_ANCILLARY_SIZE = socket.CMSG_SPACE(_MOST_DESCRIPTORS * array.array("i").itemsize)


def receive(control: socket.socket) -> tuple[bytes, list[int]]:
    """Waits for the next packet, whose descriptors are the caller's to close; an empty one when the spawner is gone."""
    payload, ancillary, _, _ = control.recvmsg(MAX_PACKET, _ANCILLARY_SIZE, CLOSED_ON_EXEC)
    return payload, descriptors_of(ancillary)
