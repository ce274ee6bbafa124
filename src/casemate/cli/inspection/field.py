"""The result of `casemate inspect` for a file."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from casemate.wire.encodings.spans import Span


@dataclass(frozen=True, slots=True)
class Field:
    """One named run of bytes, or one member of a JSON document."""

    name: str
    offset: int | None
    """Bytes from the file's start; None for members of JSON, whose text has no fixed place."""
    raw: bytes | None
    """The bytes themselves; None for members of JSON."""
    meaning: str
    source: str
    """Document, section and table that define it."""
    depth: int = 0
    """How many structures are around it."""

    def document(self) -> dict[str, object]:
        place: dict[str, object] = {}
        if self.raw is not None:
            place = {"offset": self.offset, "size": len(self.raw), "hex": self.raw.hex()}
        return {"name": self.name, **place, "meaning": self.meaning, "source": self.source}


@dataclass(frozen=True, slots=True)
class Inspection:
    """A recognised file: its facts and its fields."""

    kind: str
    """A word for programs, such as ``quote``."""
    title: str
    size: int
    facts: tuple[tuple[str, str], ...]
    """Facts that follow from the whole file rather than from one field."""
    fields: Iterable[Field]
    """The fields in order; may be long, and can be read once."""
    many_sources: bool = False
    """Whether nearly every field is defined somewhere else."""


def fields_of(spans: Iterable[Span], data: bytes) -> Iterator[Field]:
    """The fields of a fixed structure."""
    for span in spans:
        yield Field(span.name, span.offset, span.cut(data), span.render(data), span.source)
