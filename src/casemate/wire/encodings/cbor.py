"""The CBOR items that attestation evidence consists of, in their deterministic form (RFC 8949, section 4.2.1).

Unsigned integers, byte strings, text strings, and the heads of arrays, maps and tags. Lengths are definite and heads
are as short as possible, so each value has one encoding; anything else is refused.
"""

from casemate.wire.encodings.fields import Reader
from casemate.wire.errors import WireError

UNSIGNED, BYTES, TEXT, ARRAY, MAP, TAG = 0, 2, 3, 4, 5, 6
"""Major types (RFC 8949, section 3.1)."""

_SHORT = 24
"""Arguments below this are in the head's first byte."""

_SIZES = {24: 1, 25: 2, 26: 4, 27: 8}
"""Bytes of argument by the head's low five bits (RFC 8949, section 3)."""


def head(major: int, argument: int) -> bytes:
    """The shortest head of an item."""
    if argument < _SHORT:
        return bytes((major << 5 | argument,))
    for low, size in _SIZES.items():
        if argument < 1 << 8 * size:
            return bytes((major << 5 | low,)) + argument.to_bytes(size, "big")
    raise WireError("CBOR argument", got=argument, want="at most 64 bits")


def byte_string(value: bytes) -> bytes:
    return head(BYTES, len(value)) + value


def text_string(value: str) -> bytes:
    encoded = value.encode()
    return head(TEXT, len(encoded)) + encoded


def take_head(reader: Reader, field: str, major: int) -> int:
    """The argument of the next item, which must be of this major type."""
    first = reader.uint(field, 1)
    if first >> 5 != major:
        raise WireError(field, got=f"CBOR major type {first >> 5}", want=f"major type {major}")
    low = first & 0b11111
    if low < _SHORT:
        return low
    size = _SIZES.get(low)
    if size is None:
        raise WireError(field, got=f"CBOR head {first:#04x}", want="a definite length")
    argument = int.from_bytes(reader.take(field, size), "big")
    if head(major, argument)[0] != first:
        raise WireError(field, got=f"{argument} in {size} bytes", want="the shortest head")
    return argument


def take_bytes(reader: Reader, field: str) -> bytes:
    return reader.take(field, take_head(reader, field, BYTES))


def take_text(reader: Reader, field: str) -> str:
    raw = reader.take(field, take_head(reader, field, TEXT))
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise WireError(field, got="bytes that are not UTF-8", want="UTF-8") from None
