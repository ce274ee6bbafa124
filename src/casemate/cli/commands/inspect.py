"""`casemate inspect`: any file, byte by byte."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from casemate.cli.options import FLAG, Json
from casemate.cli.output import Screen, facts, printable

if TYPE_CHECKING:
    from rich.console import Console

    from casemate.cli.inspection.field import Field, Inspection

File = Annotated[Path, typer.Argument(metavar="FILE", help="The file; - for standard input.")]
As = Annotated[
    str | None,
    typer.Option("--as", metavar="KIND", help="What it is, where its bytes do not tell: keyrequest, for one."),
]
EveryRecord = Annotated[
    bool, typer.Option("--all", metavar=FLAG, help="Every record of an SGXS stream, not a line a page.")
]
Hex = Annotated[bool, typer.Option("--hex", metavar=FLAG, help="All bytes of every field.")]

_BYTES_A_LINE = 32
_NAME_WIDTH = 44
"""Columns for a field's name: what the longest ones of a quote need."""
_SHORT = 8
"""Fields up to this size (bytes) show their bytes beside their meaning."""


def inspect(
    file: File,
    *,
    kind: As = None,
    every_record: EveryRecord = False,
    full_hex: Hex = False,
    as_json: Json = False,
) -> None:
    """Explain a quote, image, certificate, receipt or other file byte by byte.

    Reads quotes (version 3), REPORT, TARGETINFO, KEYREQUEST, SIGSTRUCT, SGXS
    streams, certificates, receipts and collateral.

    Prints every field with its offset, size, bytes, meaning, and the document
    that defines it. It says what a file is and never whether to trust it: that
    is `casemate verify`.

    Example:
        casemate inspect quote.bin
        casemate inspect hello.sgxs --all --json
    """
    from casemate.cli.files import read_file
    from casemate.cli.inspection.dispatch import MAX_FILE, Kind, decoded
    from casemate.cli.inspection.dispatch import inspect as inspect_bytes

    if kind is not None and kind not in Kind.__members__.values():
        raise typer.BadParameter(f"{kind!r} is none of {', '.join(Kind)}", param_hint="--as")
    data = read_file(file, what="file", limit=MAX_FILE)
    screen = Screen(as_json=as_json)
    data, encoding = decoded(data)
    if encoding:
        screen.say(f"{file} is {encoding} text: decoded", style="yellow")
    found = inspect_bytes(data, None if kind is None else Kind(kind), every_record=every_record)
    if as_json:
        documents = [_document(inspection) for inspection in found]
        screen.show(documents[0] if len(documents) == 1 else {"files": documents}, lambda _: None)
        return

    def human(console: "Console") -> None:
        for inspection in found:
            _show(console, inspection, full_hex=full_hex)

    screen.show({}, human)


def _document(inspection: "Inspection") -> dict[str, object]:
    return {
        "kind": inspection.kind,
        "title": inspection.title,
        "size": inspection.size,
        "facts": dict(inspection.facts),
        "fields": [field.document() for field in inspection.fields],
    }


def _show(console: "Console", inspection: "Inspection", *, full_hex: bool) -> None:
    """Prints the facts, then one line for each field, with its source above the fields that share it or behind each."""
    console.print(f"{inspection.title}, {inspection.size} bytes", style="bold")
    facts(console, inspection.facts)
    console.print()
    source = ""
    for field in inspection.fields:
        if field.source != source and not inspection.many_sources:
            source = field.source
            console.print(f"  {printable(source)}", style="dim italic", soft_wrap=True)
        _show_field(console, field, with_source=inspection.many_sources)
        if full_hex and field.raw is not None:
            _show_hex(console, field.raw, field.offset or 0)


def _show_field(console: "Console", field: "Field", *, with_source: bool) -> None:
    """Prints one field on one line, which is wide enough for a digest."""
    from rich.text import Text

    place, beside = "", ""
    if field.raw is not None:
        place = f"{field.offset:>7} {len(field.raw):>6}  "
        if len(field.raw) <= _SHORT and field.raw.hex() != field.meaning:
            beside = f"  [{field.raw.hex()}]"
    name = f"{'  ' * field.depth}{printable(field.name)}"
    line = Text.assemble((place, "dim"), (f"{name:<{_NAME_WIDTH}}", "cyan"), "  ", printable(field.meaning), beside)
    if with_source:
        line.append(f"  ({field.source})", style="dim italic")
    console.print(line, soft_wrap=True)


def _show_hex(console: "Console", raw: bytes, offset: int) -> None:
    for at in range(0, len(raw), _BYTES_A_LINE):
        line = raw[at : at + _BYTES_A_LINE]
        console.print(f"{'':>16}{offset + at:#08x}  {line.hex(' ')}", style="dim", soft_wrap=True)
