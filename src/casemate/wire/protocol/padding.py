"""Padding that hides the length of a sealed text, up to a few sizes: Padmé, and at least :data:`FLOOR` bytes.

Padmé (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs", PoPETs 2019,
section 4.3) sets all but the top bits of a length to zero: it leaks O(log log length) bits and adds at most 12 in 100
to any length.
"""

from casemate.wire.errors import WireError

FLOOR = 1024
"""Shortest padded text (bytes): a refusal has the same length as a result of up to about 600 bytes."""

_LENGTH_SIZE = 4


def padded_size(size: int) -> int:
    """The smallest allowed length that holds ``size`` bytes."""
    if size <= FLOOR:
        return FLOOR
    exponent = size.bit_length() - 1
    zero_bits = exponent - exponent.bit_length()
    mask = (1 << zero_bits) - 1
    return (size + mask) & ~mask


def pad(*parts: bytes) -> bytes:
    """A u32 length (little-endian), a text, and zeros up to an allowed length.

    Args:
        parts: the text, in one piece or in several.
    """
    size = sum(map(len, parts))
    framed = _LENGTH_SIZE + size
    return b"".join((size.to_bytes(_LENGTH_SIZE, "little"), *parts, bytes(padded_size(framed) - framed)))


def unpad(padded: bytes) -> memoryview:
    """The text in what :func:`pad` made, not copied. Each text has one padding; any other is refused."""
    size = int.from_bytes(padded[:_LENGTH_SIZE], "little")
    end = _LENGTH_SIZE + size
    if len(padded) != padded_size(end):
        raise WireError("padding", got=f"{len(padded)} bytes around {size}", want=f"{padded_size(end)}")
    if padded[end:] != bytes(len(padded) - end):
        raise WireError("padding", got="other bytes", want="zeros")
    return memoryview(padded)[_LENGTH_SIZE:end]
