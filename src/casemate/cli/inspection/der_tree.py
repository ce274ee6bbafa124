"""DER (ITU-T X.690) as a tree of elements with their places, for explaining certificates."""

from collections.abc import Iterator
from dataclasses import dataclass

from casemate.wire.encodings.der import dotted
from casemate.wire.errors import WireError

SEQUENCE = 0x30
SET = 0x31
OBJECT_IDENTIFIER = 0x06
BOOLEAN = 0x01
INTEGER = 0x02
BIT_STRING = 0x03
OCTET_STRING = 0x04
ENUMERATED = 0x0A

_LONG_FORM = 0x80
_MAX_LENGTH_BYTES = 3


@dataclass(frozen=True, slots=True)
class Element:
    """One element of the file ``data``, from ``start`` to ``end``; its contents begin at ``body``."""

    data: bytes
    tag: int
    start: int
    body: int
    end: int

    @property
    def raw(self) -> bytes:
        """Tag, length and contents."""
        return self.data[self.start : self.end]

    @property
    def contents(self) -> bytes:
        return self.data[self.body : self.end]

    def children(self) -> Iterator["Element"]:
        """The elements that the contents consist of."""
        at = self.body
        while at < self.end:
            child = element_at(self.data, at, self.end)
            yield child
            at = child.end

    def exactly(self, count: int) -> tuple["Element", ...]:
        """The children, of which there must be ``count``."""
        found = tuple(self.children())
        if len(found) != count:
            raise WireError("DER", got=f"{len(found)} elements at {self.start}", want=count)
        return found

    def first(self) -> "Element":
        return element_at(self.data, self.body, self.end)

    def inside(self) -> "Element":
        """The one element that an OCTET STRING or an explicit tag wraps."""
        child = element_at(self.data, self.body, self.end)
        if child.end != self.end:
            raise WireError("DER", got=f"{self.end - child.end} bytes after the element", want="one element")
        return child

    def oid(self) -> str:
        """The dotted form, for an OBJECT IDENTIFIER."""
        if self.tag != OBJECT_IDENTIFIER:
            raise WireError("DER", got=f"tag {self.tag:#04x} at {self.start}", want="an OBJECT IDENTIFIER")
        return dotted("DER", self.contents)


def element_at(data: bytes, start: int, end: int) -> Element:
    """The element that begins at ``start``, which must end at ``end`` or before; else :class:`WireError`."""
    if end - start < 2:
        raise WireError("DER", got=f"{end - start} bytes at {start}", want="an element")
    tag, length, body = data[start], data[start + 1], start + 2
    if length >= _LONG_FORM:
        count = length - _LONG_FORM
        if not 0 < count <= _MAX_LENGTH_BYTES or body + count > end:
            raise WireError("DER", got=f"length {length:#04x} at {start + 1}", want="a length in its place")
        length = int.from_bytes(data[body : body + count])
        body += count
    if body + length > end:
        raise WireError("DER", got=f"{length} bytes announced at {start}", want=f"at most {end - body}")
    return Element(data, tag, start, body, body + length)
