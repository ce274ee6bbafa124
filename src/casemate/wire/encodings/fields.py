"""A cursor over fixed layouts: little-endian integers, byte strings, ranges that must be zero; and padded buffers."""

from casemate.wire.errors import WireError

MAX_U8, MAX_U16, MAX_U32, MAX_U64 = 0xFF, 0xFFFF, 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF
"""The greatest unsigned integers of one, two, four and eight bytes."""

_SHOWN = 16
"""Bytes that an error shows of a range that should be zero."""


class Reader:
    """Takes fields off the front of ``data``; every shortage or surplus is a :class:`WireError`."""

    __slots__ = ("_data", "_offset", "_what")

    def __init__(self, what: str, data: bytes | memoryview) -> None:
        self._what = what
        self._data = data
        self._offset = 0

    @property
    def offset(self) -> int:
        """Bytes taken so far."""
        return self._offset

    @property
    def remaining(self) -> int:
        """Bytes not yet taken."""
        return len(self._data) - self._offset

    def take(self, field: str, size: int) -> bytes:
        """The next ``size`` bytes."""
        if self.remaining < size:
            raise WireError(f"{self._what}.{field}", got=f"{self.remaining} bytes", want=f"{size} bytes")
        start, self._offset = self._offset, self._offset + size
        taken = self._data[start : self._offset]
        return taken if isinstance(taken, bytes) else bytes(taken)

    def uint(self, field: str, size: int) -> int:
        """An unsigned little-endian integer of ``size`` bytes."""
        return int.from_bytes(self.take(field, size), "little")

    def expect(self, field: str, value: bytes) -> None:
        """Takes bytes that can only have one value."""
        got = self.take(field, len(value))
        if got != value:
            raise WireError(f"{self._what}.{field}", got=got.hex(), want=value.hex())

    def zero(self, field: str, size: int) -> None:
        """Takes a must-be-zero range of ``size`` bytes."""
        if any(got := self.take(field, size)):
            first = size - len(got.lstrip(b"\x00"))
            shown = f"{got[first : first + _SHOWN].hex()} at its byte {first}"
            raise WireError(f"{self._what}.{field}", got=shown, want=f"{size} zero bytes")

    def end(self) -> None:
        """Refuses bytes after the last field."""
        if self.remaining:
            raise WireError(self._what, got=f"{self.remaining} bytes after its end", want="none")


def exactly(what: str, data: bytes, size: int) -> bytes:
    """Gives ``data`` back if it is ``size`` bytes long."""
    if len(data) != size:
        raise WireError(what, got=f"{len(data)} bytes", want=f"{size} bytes")
    return data


def without_zeros(what: str, data: bytes, size: int) -> bytes:
    """The first ``size`` bytes of a padded buffer, which hold all that counts.

    Evidence comes in buffers of fixed size: quotes of 8192 bytes, reports in messages of 4000, documents with the NUL
    that ends a C string. Zero bytes behind it are passed over, whatever way it comes in; other bytes are refused. The
    verifier's classes of evidence call this, so files, calls, certificates and receipts need not; the hash of a quote
    to which calls are bound is that of the quote without its padding.

    Args:
        what: what they are, for the error.
        data: a buffer that holds them at its front.
        size: how many there must be.

    Raises:
        WireError: there are fewer, or something other than zero bytes follows.
    """
    if len(data) < size:
        raise WireError(what, got=f"{len(data)} bytes", want=f"{size} bytes")
    if any(data[size:]):
        got = f"{len(data) - size} bytes that are not all zero"
        raise WireError(f"{what}.padding", got=got, want=f"zero bytes, or none, behind the {size} that it has")
    return data[:size]


def without_trailing_zeros(text: bytes) -> bytes:
    """A JSON text without the zero bytes behind it."""
    return text.rstrip(b"\x00")
