"""The frame format of every stream link: a u32 length (little-endian), then as many bytes."""

from casemate.wire.errors import WireError

HEADER_SIZE = 4
MAX_FRAME = 130 * 1024 * 1024
"""Longest frame on a trusted link (bytes); links to strangers pass a smaller limit of their own."""

CHUNK_SIZE = 1 << 20
"""Most bytes that are sent or received in one call."""

MAX_DESCRIPTORS = 4
"""Most descriptors that come with one frame."""


def header(payload: bytes, limit: int) -> bytes:
    """The length prefix of a frame."""
    if len(payload) > limit:
        raise WireError("frame", got=f"{len(payload)} bytes", want=f"at most {limit}")
    return len(payload).to_bytes(HEADER_SIZE, "little")


def pieces(payload: bytes, limit: int) -> list[memoryview]:
    """A frame in pieces of at most ``CHUNK_SIZE``, to send one after the other. Only the first one is a copy."""
    first = CHUNK_SIZE - HEADER_SIZE
    begun = memoryview(header(payload, limit) + payload[:first])
    whole = memoryview(payload)
    return [begun, *(whole[at : at + CHUNK_SIZE] for at in range(first, len(payload), CHUNK_SIZE))]


def length(prefix: bytes, limit: int) -> int:
    """The payload size that a prefix announces, if it is allowed."""
    size = int.from_bytes(prefix, "little")
    if size > limit:
        raise WireError("frame", got=f"{size} bytes announced", want=f"at most {limit}")
    return size
