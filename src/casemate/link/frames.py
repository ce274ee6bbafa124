"""The frame format of every stream link: a u32 length (little-endian), then as many bytes."""

from casemate.wire.errors import WireError

HEADER_SIZE = 4
MAX_FRAME = 130 * 1024 * 1024
"""Longest frame on a trusted link (bytes); links to strangers pass a smaller limit of their own."""

MAX_DESCRIPTORS = 4
"""Most descriptors that come with one frame."""


def header(payload: bytes, limit: int) -> bytes:
    """The length prefix of a frame."""
    if len(payload) > limit:
        raise WireError("frame", got=f"{len(payload)} bytes", want=f"at most {limit}")
    return len(payload).to_bytes(HEADER_SIZE, "little")


def length(prefix: bytes, limit: int) -> int:
    """The payload size that a prefix announces, if it is allowed."""
    size = int.from_bytes(prefix, "little")
    if size > limit:
        raise WireError("frame", got=f"{size} bytes announced", want=f"at most {limit}")
    return size
