"""The frame format of every stream link: a u32 length (little-endian), then as many bytes."""

from casemate.wire.errors import WireError

HEADER_SIZE = 4
MAX_FRAME = 130 * 1024 * 1024
"""Longest frame on a trusted link (bytes); links to strangers pass a smaller limit of their own."""

CHUNK_SIZE = 1 << 20
"""Most bytes of a frame that are received in one call, and of one buffer that is sent."""

AT_ONCE = 2
"""Buffers of a frame that are sent in one call: the length with the first bytes of the payload."""

JOINED = 16 * 1024
"""A payload of up to so many bytes is copied behind its length: cheaper than a second buffer."""

SEND_BUFFER = 2 * 1024 * 1024
"""Bytes that a socket is asked to take before its peer reads: a piece of a stream goes out in one call, and the peer is
woken once for it. A system may allow less, and then gives less without an error."""

MAX_DESCRIPTORS = 4
"""Most descriptors that come with one frame."""


def header(payload: bytes, limit: int) -> bytes:
    """The length prefix of a frame."""
    if len(payload) > limit:
        raise WireError("frame", got=f"{len(payload)} bytes", want=f"at most {limit}")
    return len(payload).to_bytes(HEADER_SIZE, "little")


def buffers(payload: bytes, limit: int) -> list[memoryview]:
    """A frame in buffers of at most ``CHUNK_SIZE``, to send in their order, :data:`AT_ONCE` in one call."""
    prefix = header(payload, limit)
    if len(payload) <= JOINED:
        return [memoryview(prefix + payload)]
    whole = memoryview(payload)
    return [memoryview(prefix), *(whole[at : at + CHUNK_SIZE] for at in range(0, len(payload), CHUNK_SIZE))]


def unsent(frame: list[memoryview], sent: int) -> list[memoryview]:
    """The buffers of a frame that are left once ``sent`` more bytes of it are sent."""
    for place, buffer in enumerate(frame):
        if sent < len(buffer):
            return [buffer[sent:], *frame[place + 1 :]]
        sent -= len(buffer)
    return []


def length(prefix: bytes, limit: int) -> int:
    """The payload size that a prefix announces, if it is allowed."""
    size = int.from_bytes(prefix, "little")
    if size > limit:
        raise WireError("frame", got=f"{size} bytes announced", want=f"at most {limit}")
    return size
