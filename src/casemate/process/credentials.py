"""Who is at the other end of a Unix socket, in the kernel's words."""

import socket
import struct

_UCRED = struct.Struct("3i")
_XUCRED_UID_OFFSET = 4
_LOCAL_PEERCRED = 0x001  # sys/un.h on macOS; Python does not name it


def peer_uid(sock: socket.socket) -> int:
    """The user id of the process that connected, by SO_PEERCRED on Linux and LOCAL_PEERCRED on macOS."""
    if hasattr(socket, "SO_PEERCRED"):
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        uid: int = _UCRED.unpack(raw)[1]
        return uid
    raw = sock.getsockopt(0, _LOCAL_PEERCRED, 76)
    return int.from_bytes(raw[_XUCRED_UID_OFFSET : _XUCRED_UID_OFFSET + 4], "little")
