"""`casemate docs`: the documents that came with this version."""

import re
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from casemate.cli.files import NoDocumentsError
from casemate.cli.options import Json
from casemate.cli.output import Screen, table

if TYPE_CHECKING:
    from rich.console import Console

Page = Annotated[str | None, typer.Argument(metavar="PAGE", help="Its name. Default: a list of all pages.")]

_TITLE = re.compile(r"# (.+)")


def docs(page: Page = None, *, as_json: Json = False) -> None:
    """Show a page of the documents, or list them all.

    On a terminal it is laid out; into a file or pipe goes the Markdown.

    Example:
        casemate docs simulated
    """
    screen = Screen(as_json=as_json)
    pages = dict(_pages(_folder()))
    if page is None:
        titles = {name: _title(text) for name, text in pages.items()}
        screen.show({"pages": titles}, lambda console: _show_list(console, titles))
        return
    name = page.removeprefix("docs/").removesuffix(".md")
    if name not in pages:
        raise NoDocumentsError(f"no page {page[:80]!r}, there are: {', '.join(pages)}")
    screen.show({"page": name, "markdown": pages[name]}, lambda console: _show(console, pages[name]))


def _folder() -> Traversable:
    """The folder of the documents: beside the installed package's modules, or that of the checkout."""
    installed = resources.files("casemate") / "docs"
    checkout = Path(__file__).parents[4] / "docs"
    for folder in (installed, checkout):
        if folder.is_dir():
            return folder
    raise NoDocumentsError("the documents were not installed with the package: read them where you got it from")


def _pages(folder: Traversable) -> Iterator[tuple[str, str]]:
    for file in sorted(folder.iterdir(), key=lambda each: each.name):
        name = file.name.removesuffix(".md")
        if name not in {file.name, "README"}:
            yield name, file.read_text(encoding="utf-8")


def _title(text: str) -> str:
    found = _TITLE.match(text)
    return found[1] if found else ""


def _show_list(console: "Console", titles: dict[str, str]) -> None:
    rows = table("page", "what it is about")
    for name, title in titles.items():
        rows.add_row(name, title)
    console.print(rows)


def _show(console: "Console", text: str) -> None:
    if not console.is_terminal:
        console.out(text, end="")
        return
    from rich.markdown import Markdown

    with console.pager(styles=True):
        console.print(Markdown(text))
