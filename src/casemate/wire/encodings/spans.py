r"""Layouts of fixed structures as tables, by which a structure is parsed, encoded, and explained byte by byte.

Example:
    >>> LAYOUT = Layout("PAIR", "an example", (number(0, 2, "left"), zeros(2, 2), raw(4, 4, "right")))
    >>> LAYOUT.parse(bytes.fromhex("0100" "0000" "aabbccdd"))
    {'left': 1, 'right': b'\xaa\xbb\xcc\xdd'}
    >>> LAYOUT.spans[0]
    Span(name='left', offset=0, size=2, source='an example')
"""

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol, Self

from casemate.wire.encodings.fields import exactly
from casemate.wire.errors import WireError

_INTEGER_FORMATS = {1: "B", 2: "H", 4: "I", 8: "Q"}
_LONGEST_HEX = 64
"""Most bytes that are shown in full; longer ranges are shortened."""


def as_hex(run: bytes) -> str:
    """Hexadecimal, shortened in the middle where it is long."""
    if len(run) <= _LONGEST_HEX:
        return run.hex()
    return f"{run[:24].hex()}...{run[-8:].hex()} ({len(run)} bytes)"


def as_number(run: bytes) -> str:
    """A little-endian unsigned integer, decimal and hexadecimal."""
    value = int.from_bytes(run, "little")
    return str(value) if value < 10 else f"{value} ({value:#x})"


def as_zeros(run: bytes) -> str:
    """A must-be-zero range."""
    return f"{len(run)} zero bytes" if not any(run) else f"NOT ZERO: {as_hex(run)}"


def as_text(run: bytes) -> str:
    """Text, on one line; bytes that are not printable ASCII are escaped."""
    shown = run if len(run) <= _LONGEST_HEX else run[:_LONGEST_HEX]
    return repr(shown.decode("ascii", "backslashreplace")) + ("" if shown == run else f"... ({len(run)} bytes)")


@dataclass(frozen=True, slots=True)
class Span:
    """A named range of bytes in a structure, and the document that defines it."""

    name: str
    """The specification's field name, lower-cased; dotted inside nested structures."""
    offset: int
    size: int
    source: str
    """Document, section and table."""
    show: Callable[[bytes], str] = field(default=as_hex, repr=False, compare=False)

    @property
    def end(self) -> int:
        """The offset of the first byte after it."""
        return self.offset + self.size

    def cut(self, data: bytes) -> bytes:
        """The bytes of this span, cut from the structure's."""
        return data[self.offset : self.end]

    def render(self, data: bytes) -> str:
        """The value of this span as text, from the structure's bytes."""
        return self.show(self.cut(data))

    def moved(self, by: int, prefix: str = "") -> Self:
        """This span in a structure that contains the present one at offset ``by``."""
        return replace(self, name=prefix + self.name, offset=self.offset + by)


class Structure(Protocol):
    """The interface of values that a layout can nest."""

    LAYOUT: ClassVar["Layout"]

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Bytes to value, or WireError."""

    def encode(self) -> bytes:
        """Value to bytes."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a layout's table."""

    offset: int
    size: int
    name: str
    format: str
    show: Callable[[bytes], str]
    to_value: Callable[[Any], Any] | None = None
    """Converts what ``struct`` returns to the field's type; may raise WireError or ValueError."""
    from_value: Callable[[Any], Any] | None = None
    constant: bytes | None = None
    """The only value of this row, which is not a field of the parsed value."""
    nested: tuple[Span, ...] = ()


def raw(offset: int, size: int, name: str, show: Callable[[bytes], str] = as_hex) -> Row:
    """A byte string."""
    return Row(offset, size, name, f"{size}s", show)


def number(
    offset: int,
    size: int,
    name: str,
    of: Callable[[int], int] | None = None,
    show: Callable[[bytes], str] | None = None,
) -> Row:
    """A little-endian unsigned integer; ``of`` is an enumeration that knows all its values."""
    return Row(offset, size, name, _INTEGER_FORMATS[size], show or _shower(of), of, int if of else None)


def _shower(of: Callable[[int], int] | None) -> Callable[[bytes], str]:
    """Shows a number, with its name where it has one."""
    if of is None:
        return as_number

    def show(run: bytes) -> str:
        try:
            return f"{as_number(run)} {getattr(of(int.from_bytes(run, 'little')), 'name', '') or ''}".strip()
        except ValueError:
            return f"{as_number(run)} UNKNOWN"

    return show


def zeros(offset: int, size: int, name: str = "reserved") -> Row:
    """A must-be-zero range."""
    return Row(offset, size, name, f"{size}s", as_zeros, constant=bytes(size))


def constant(offset: int, name: str, value: bytes) -> Row:
    """Bytes that can have one value only."""
    return Row(offset, len(value), name, f"{len(value)}s", as_hex, constant=value)


def nested(offset: int, name: str, cls: type[Structure]) -> Row:
    """Another structure with a layout of its own."""
    return Row(
        offset,
        cls.LAYOUT.size,
        name,
        f"{cls.LAYOUT.size}s",
        as_hex,
        cls.parse,
        lambda value: value.encode(),
        nested=tuple(span.moved(offset, f"{name}.") for span in cls.LAYOUT.spans),
    )


class Layout:
    """A fixed structure, from the table in its specification.

    Args:
        what: the structure's name in the specification.
        source: document, section and table.
        rows: every byte of it, in order.
    """

    __slots__ = ("_fields", "_rows", "_struct", "size", "source", "spans", "what")

    def __init__(self, what: str, source: str, rows: Iterable[Row]) -> None:
        self._rows = tuple(rows)
        at = 0
        for row in self._rows:
            if row.offset != at:
                raise TypeError(f"{what}.{row.name} is at {row.offset}, the row before it ends at {at}")
            at += row.size
        self.what = what
        self.source = source
        self.size = at
        self.spans = tuple(
            span
            for row in self._rows
            for span in (row.nested or (Span(row.name, row.offset, row.size, source, row.show),))
        )
        self._struct = struct.Struct("<" + "".join(row.format for row in self._rows))
        self._fields = tuple(row for row in self._rows if row.constant is None)

    def span(self, name: str) -> Span:
        """The span of one field that is not itself a structure."""
        return next(span for span in self.spans if span.name == name)

    def parse(self, data: bytes) -> dict[str, Any]:
        """Field names to values, for ``data`` that is one such structure, whole; else :class:`WireError`."""
        values: dict[str, Any] = {}
        for row, value in zip(self._rows, self._struct.unpack(exactly(self.what, data, self.size)), strict=True):
            if row.constant is not None:
                if value != row.constant:
                    raise WireError(f"{self.what}.{row.name}", got=as_hex(value), want=row.show(row.constant))
            else:
                values[row.name] = self._value(row, value)
        return values

    def _value(self, row: Row, value: Any) -> Any:
        """What ``struct`` returned, as the field's type."""
        if row.to_value is None:
            return value
        try:
            return row.to_value(value)
        except ValueError:
            raise WireError(f"{self.what}.{row.name}", got=f"{value:#x}", want="known values only") from None

    def encode(self, value: object) -> bytes:
        """The bytes of a value whose attributes are named as the fields are."""
        cells: list[Any] = []
        for row in self._rows:
            if row.constant is not None:
                cells.append(row.constant)
                continue
            cell = getattr(value, row.name)
            if row.from_value is not None:
                cell = row.from_value(cell)
            self._check_size(row, cell)
            cells.append(cell)
        return self._struct.pack(*cells)

    def _check_size(self, row: Row, cell: Any) -> None:
        """Refuses a value that ``struct`` would cut or pad, or for which it would raise its own error."""
        if isinstance(cell, int):
            if not 0 <= cell < 1 << 8 * row.size:
                raise WireError(f"{self.what}.{row.name}", got=cell, want=f"an unsigned integer of {row.size} bytes")
        else:
            exactly(f"{self.what}.{row.name}", cell, row.size)
