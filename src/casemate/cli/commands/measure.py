"""`casemate measure`, `casemate diff`: what MRENCLAVE is of, and why two differ."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from casemate.cli.errors import ExitCode
from casemate.cli.options import FLAG, DeveloperKey, Json
from casemate.cli.output import Screen, facts, printable, table

if TYPE_CHECKING:
    from rich.console import Console

    from casemate.images.diff import Difference
    from casemate.images.explain import PageRange
    from casemate.images.image import Image

Target = Annotated[Path, typer.Argument(metavar="IMAGE|DIR", help="An image's file, or a folder with casemate.toml.")]
First = Annotated[Path, typer.Argument(metavar="A", help="An image's file, or a folder with casemate.toml.")]
Second = Annotated[Path, typer.Argument(metavar="B", help="Another one.")]
Explain = Annotated[bool, typer.Option("--explain", metavar=FLAG, help="Which page came from which file.")]


def measure(target: Target, *, explain: Explain = False, key: DeveloperKey = None, as_json: Json = False) -> None:
    """Print MRENCLAVE and MRSIGNER of an image, or of what a folder would become.

    Example:
        casemate measure hello/hello.sgxs --explain
    """
    from casemate.cli.commands.build import image_document, image_facts
    from casemate.cli.images import image_of
    from casemate.images.explain import explain_pages

    screen = Screen(as_json=as_json)
    image = image_of(target, screen, key=key)
    pages = explain_pages(image) if explain else ()
    said = dict(image_document(image))
    if explain:
        said["page_ranges"] = [_range_document(found) for found in pages]

    def human(console: "Console") -> None:
        facts(console, image_facts(image))
        if explain:
            _show_pages(console, pages)

    screen.show(said, human)


def diff(first: First, second: Second, *, key: DeveloperKey = None, as_json: Json = False) -> None:
    """Say why two measurements differ, down to file and manifest key.

    Exit code 0 where nothing differs, 1 where something does.

    Example:
        casemate diff v1/search.sgxs v2/search.sgxs
    """
    from casemate.cli.images import image_of
    from casemate.images.diff import diff_images

    screen = Screen(as_json=as_json)
    images = image_of(first, screen, key=key), image_of(second, screen, key=key)
    found = diff_images(*images)
    screen.show(
        {
            "a": _identity(images[0]),
            "b": _identity(images[1]),
            "same": not found,
            "differences": [
                {"where": each.where, "a": each.old, "b": each.new, "measured": each.measured} for each in found
            ],
        },
        lambda console: _show_differences(console, images, found),
    )
    if found:
        raise typer.Exit(ExitCode.FAILED)


def _identity(image: "Image") -> dict[str, str]:
    return {"name": image.name, "mr_enclave": image.mr_enclave.hex(), "mr_signer": image.mr_signer.hex()}


def _range_document(found: "PageRange") -> dict[str, object]:
    return {
        "offset": found.offset,
        "pages": found.pages,
        "path": found.path,
        "size": found.size,
        "flags": str(found.flags.name),
        "sha256": None if found.sha256 is None else found.sha256.hex(),
    }


def _show_pages(console: "Console", pages: tuple["PageRange", ...]) -> None:
    rows = table("offset", "pages", "flags", "bytes", "file", "SHA-256 of the file")
    for found in pages:
        digest = "" if found.sha256 is None else found.sha256.hex()
        rows.add_row(
            f"{found.offset:#x}",
            str(found.pages),
            str(found.flags.name),
            str(found.size),
            printable(found.path),
            digest,
        )
    console.print(rows)


def _show_differences(console: "Console", images: tuple["Image", "Image"], found: tuple["Difference", ...]) -> None:
    facts(console, [(f"MRENCLAVE {label}", image.mr_enclave.hex()) for label, image in zip("AB", images, strict=True)])
    if not found:
        console.print("no difference", style="bold green")
        return
    rows = table("where", "A", "B", "changes MRENCLAVE")
    for each in found:
        rows.add_row(
            *(printable("absent" if text is None else text) for text in (each.where, each.old, each.new)),
            "yes" if each.measured else "no, signed alone",
        )
    console.print(rows)
