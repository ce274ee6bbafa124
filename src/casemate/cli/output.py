"""A command's output: the result on standard output, as text or as one JSON document; all else on standard error."""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

PIPED_WIDTH = 160
"""Width where the output is not a terminal and COLUMNS is not set (columns): a digest fits on one line."""

Document = Mapping[str, object]
"""A document for ``--json``, made of JSON values."""


class Screen:
    """Standard output and standard error of one command."""

    def __init__(self, *, as_json: bool, quiet: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet
        """Whether progress and facts beside the result are left out."""

    @cached_property
    def stderr(self) -> "Console":
        """The one console for notices and progress, so that neither overwrites the other."""
        return console(stderr=True)

    def show(self, document: Document, human: Callable[["Console"], None]) -> None:
        """Prints the command's result: the document as JSON, or what ``human`` prints."""
        if self.as_json:
            sys.stdout.write(json_text(document))
            sys.stdout.flush()  # `up` does not end after this
        else:
            human(console())

    def note(self, text: str, *, style: str = "") -> None:
        """Prints a notice that ``--quiet`` suppresses: neither a warning nor an error."""
        if not self.quiet:
            self.say(text, style=style)

    def console_line(self, text: str, *, of: str = "") -> None:
        """Prints a line of a function's console on standard error, so that it is known from our own notices.

        Args:
            text: the line.
            of: what else than the function has printed it.
        """
        self.stderr.print(f"{of} |".lstrip(), style="bold blue", end=" ")
        self.stderr.print(printable(text), soft_wrap=True)

    def say(self, text: str, *, style: str = "") -> None:
        """Prints a notice on standard error."""
        self.stderr.print(printable(text), style=style or None, soft_wrap=True)


def console(*, stderr: bool = False, quiet: bool = False) -> "Console":
    """A Rich console without markup, since much of what is printed comes from strangers. A quiet one prints nothing."""
    from rich.console import Console

    made = Console(stderr=stderr, quiet=quiet, highlight=False, markup=False, emoji=False)
    if not made.is_terminal and not os.environ.get("COLUMNS"):
        made.width = PIPED_WIDTH
    return made


def json_text(document: Document) -> str:
    """The document as indented ASCII, in which no byte can steer a terminal."""
    return json.dumps(document, indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def printable(text: str) -> str:
    """``text`` with control characters written out as escapes; line feeds and tabs stay."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character in "\n\t" else _escaped(character) for character in text
    )


def facts(console: "Console", rows: Sequence[tuple[str, str]]) -> None:
    """Prints names and values, one a line. A long value is not broken, so that it can be copied."""
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        console.print(f"{name:<{width}}", style="bold cyan", end="  ", soft_wrap=True)
        console.print(printable(value), soft_wrap=True)


def table(*columns: str, title: str | None = None) -> "Table":
    """An empty table in the style of all tables."""
    from rich import box
    from rich.table import Table

    made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, header_style="bold cyan")
    for name in columns:
        made.add_column(name, overflow="fold")
    return made


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
