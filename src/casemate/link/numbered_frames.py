"""Numbered frames: a u32 number (little-endian) and a message, so that an answer finds its question.

The side that asks numbers from 1; an answer repeats the number; number 0 is news, which nobody asked for.
"""

from casemate.wire.encodings.message import encode_message
from casemate.wire.errors import WireError
from casemate.wire.protocol.faults import encode_reply

NUMBER_SIZE = 4
NEWS = 0
_COPIED = 16 * 1024
"""A short payload's message is copied: views take more time to read than so many bytes to copy."""

MAX_NUMBER = 2 ** (8 * NUMBER_SIZE) - 1


def numbered(number: int, message: object) -> bytes:
    """The payload of a numbered frame."""
    return encode_message(message, prefix=number.to_bytes(NUMBER_SIZE, "little"))


def numbered_reply(number: int, message: object) -> bytes:
    """The payload of an answer's frame; of a fault where the answer cannot be encoded."""
    return encode_reply(message, prefix=number.to_bytes(NUMBER_SIZE, "little"))


def split(payload: bytes) -> tuple[int, bytes | memoryview]:
    """The number and the message of a payload; a long message is a view of the payload, not a copy."""
    number = number_of(payload[:NUMBER_SIZE])
    return number, payload[NUMBER_SIZE:] if len(payload) <= _COPIED else memoryview(payload)[NUMBER_SIZE:]


def number_of(prefix: bytes) -> int:
    """The number before a message."""
    if len(prefix) < NUMBER_SIZE:
        raise WireError("numbered frame", got=f"{len(prefix)} bytes", want=f"at least {NUMBER_SIZE}")
    return int.from_bytes(prefix, "little")
