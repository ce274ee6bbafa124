"""The part of DER (ITU-T X.690) that certificates and their extensions need, strict in both directions."""

from functools import lru_cache

from casemate.wire.errors import WireError

BOOLEAN = 0x01
INTEGER = 0x02
BIT_STRING = 0x03
OCTET_STRING = 0x04
NULL = 0x05
OBJECT_IDENTIFIER = 0x06
ENUMERATED = 0x0A
UTF8_STRING = 0x0C
PRINTABLE_STRING = 0x13
IA5_STRING = 0x16
UTC_TIME = 0x17
GENERALIZED_TIME = 0x18
SEQUENCE = 0x30
SET = 0x31

_LONG_FORM = 0x80
_MAX_LENGTH_BYTES = 3
"""Longest length field: no certificate has contents of 16 MiB or more."""


MAX_OID = 64
"""Longest OBJECT IDENTIFIER that is written out in digits (bytes); those of attestation have up to twelve. The work
grows with the square of an arc's length."""

_MORE = 0x80
"""The bit that is set in every byte of an arc except the last."""


class DerReader:
    """Takes elements off the front of ``data``; whatever is not canonical DER is a :class:`WireError`."""

    __slots__ = ("_data", "_offset", "_what")

    def __init__(self, what: str, data: bytes) -> None:
        self._what = what
        self._data = data
        self._offset = 0

    @property
    def remaining(self) -> int:
        """Bytes not yet taken."""
        return len(self._data) - self._offset

    def next_tag(self) -> int | None:
        """The tag of the next element; None at the end."""
        return self._data[self._offset] if self.remaining else None

    def whole(self, field: str, tag: int) -> bytes:
        """The next element with its tag and length, which must have this tag."""
        start = self._offset
        self.contents(field, tag)
        return self._data[start : self._offset]

    def contents(self, field: str, tag: int) -> bytes:
        """The contents of the next element, which must have this tag."""
        where = f"{self._what}.{field}"
        got = self._take(where, 1)[0]
        if got != tag:
            raise WireError(where, got=f"tag {got:#04x}", want=f"tag {tag:#04x}")
        return self._take(where, self._length(where))

    def inside(self, field: str) -> "DerReader":
        """A reader over the next element, a SEQUENCE."""
        return DerReader(f"{self._what}.{field}", self.contents(field, SEQUENCE))

    def oid(self, field: str, dotted: str) -> None:
        """Takes an OBJECT IDENTIFIER, which must be this one."""
        got = self.contents(field, OBJECT_IDENTIFIER)
        if got != oid_contents(dotted):
            raise WireError(f"{self._what}.{field}", got=f"OID {got.hex()}", want=dotted)

    def octets(self, field: str, size: int) -> bytes:
        """An OCTET STRING of exactly ``size`` bytes."""
        got = self.contents(field, OCTET_STRING)
        if len(got) != size:
            raise WireError(f"{self._what}.{field}", got=f"{len(got)} bytes", want=f"{size} bytes")
        return got

    def uint(self, field: str, maximum: int, *, tag: int = INTEGER) -> int:
        """A non-negative INTEGER (or ENUMERATED) up to ``maximum``, in its shortest form."""
        raw = self.contents(field, tag)
        value = int.from_bytes(raw, "big", signed=True)
        if not 0 <= value <= maximum or raw != uint_contents(value):
            raise WireError(f"{self._what}.{field}", got=f"INTEGER {raw[:32].hex()}", want=f"0..{maximum}, in DER")
        return value

    def boolean(self, field: str) -> bool:
        """A BOOLEAN, which DER encodes as 00 or FF."""
        raw = self.contents(field, BOOLEAN)
        if raw not in (b"\x00", b"\xff"):
            raise WireError(f"{self._what}.{field}", got=raw[:32].hex(), want="00 or ff")
        return raw == b"\xff"

    def text(self, field: str) -> str:
        raw = self.contents(field, UTF8_STRING)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise WireError(f"{self._what}.{field}", got="bytes that are not UTF-8", want="UTF-8") from None

    def end(self) -> None:
        """Refuses bytes after the last element."""
        if self.remaining:
            raise WireError(self._what, got=f"{self.remaining} bytes after its end", want="none")

    def _take(self, where: str, size: int) -> bytes:
        if self.remaining < size:
            raise WireError(where, got=f"{self.remaining} bytes", want=f"{size} bytes")
        start, self._offset = self._offset, self._offset + size
        return self._data[start : self._offset]

    def _length(self, where: str) -> int:
        first = self._take(where, 1)[0]
        if first < _LONG_FORM:
            return first
        count = first - _LONG_FORM
        if not 0 < count <= _MAX_LENGTH_BYTES:
            raise WireError(f"{where} length", got=f"{first:#04x}", want=f"at most {_MAX_LENGTH_BYTES} bytes of length")
        raw = self._take(where, count)
        length = int.from_bytes(raw, "big")
        if length < _LONG_FORM or raw[0] == 0:
            raise WireError(f"{where} length", got=raw.hex(), want="the shortest form")
        return length


def element(tag: int, *contents: bytes) -> bytes:
    """One element around the joined ``contents``."""
    body = b"".join(contents)
    if len(body) < _LONG_FORM:
        return bytes((tag, len(body))) + body
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes((tag, _LONG_FORM | len(size))) + size + body


def oid(dotted: str) -> bytes:
    """An OBJECT IDENTIFIER element."""
    return element(OBJECT_IDENTIFIER, oid_contents(dotted))


def uint(value: int, *, tag: int = INTEGER) -> bytes:
    """A non-negative INTEGER (or ENUMERATED) element."""
    return element(tag, uint_contents(value))


def boolean(*, value: bool) -> bytes:
    """A BOOLEAN element."""
    return element(BOOLEAN, b"\xff" if value else b"\x00")


def uint_contents(value: int) -> bytes:
    """The shortest two's complement of a non-negative number: 128 and above get a leading zero byte."""
    return value.to_bytes(value.bit_length() // 8 + 1, "big")


def dotted(where: str, contents: bytes) -> str:
    """The dotted form of an OBJECT IDENTIFIER's contents (X.690, 8.19); ``where`` it stands is for the error."""
    if not 0 < len(contents) <= MAX_OID or contents[-1] & _MORE:
        raise WireError(where, got=f"an OID of {len(contents)} bytes: {contents[:16].hex()}", want="an OID")
    arcs = [0]
    for byte in contents:
        arcs[-1] = arcs[-1] << 7 | byte & ~_MORE
        if not byte & _MORE:
            arcs.append(0)
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:-1])))


@lru_cache(maxsize=128)
def oid_contents(dotted: str) -> bytes:
    """The contents of an OBJECT IDENTIFIER (X.690, 8.19)."""
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    out = bytearray()
    for arc in (first * 40 + second, *rest):
        septets = [arc & 0x7F]
        while arc := arc >> 7:
            septets.append(arc & 0x7F | 0x80)
        out += bytes(reversed(septets))
    return bytes(out)
