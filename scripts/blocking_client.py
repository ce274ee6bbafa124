"""Makes the blocking client from the asyncio one: the same code without ``async`` and ``await``.

Example:
    python scripts/blocking_client.py           # writes the files
    python scripts/blocking_client.py --check   # exit status 1 where they are not what this makes
"""

import io
import subprocess
import sys
import tokenize
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CLIENT = ROOT / "src" / "casemate" / "client"

MODULES = {
    CLIENT / "aio.py": (
        CLIENT / "sync.py",
        '''"""The blocking client: one call at a time over one connection, to a host's Unix socket or to a gateway.

Every request has a time-out, a dead host is noticed at once, and no call is ever made again by itself: it may have had
its effect although its answer was lost. Made from ``aio.py``, the same for asyncio, by ``make fix``: change that.
"""''',
    ),
    CLIENT / "vm" / "aio.py": (
        CLIENT / "vm" / "sync.py",
        '''"""Confidential VMs on a host: launched, run, looked at and attested. All but a report is the host's word.

Made from ``aio.py`` beside it by ``make fix``: change that.
"""''',
    ),
}
"""Source to its product, and the product's own docstring."""

NAMES = {
    "AsyncIterator": "Iterator",
    "AsyncTransport": "Transport",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "aclose": "close",
    "aio": "sync",
    "anext": "next",
    "asyncio_parts": "blocking_parts",
}
"""Names of asyncio's, and what they are without it."""


def blocking(source: str, docstring: str) -> str:
    """The blocking module of an asyncio one, formatted."""
    lines = source.splitlines(keepends=True)
    edits: list[tuple[int, int, int, str]] = []
    is_first = True
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        (row, column), (end_row, end_column) = token.start, token.end
        if token.type == tokenize.STRING and is_first:
            lines[row - 1 : end_row] = [docstring + "\n", *[""] * (end_row - row)]
        elif token.type == tokenize.NAME and token.string in ("async", "await"):
            edits.append((row, column, end_column + 1, ""))  # and the space behind it
        elif token.type == tokenize.NAME and token.string in NAMES:
            edits.append((row, column, end_column, NAMES[token.string]))
        is_first = is_first and token.type in (tokenize.COMMENT, tokenize.NL, tokenize.ENCODING)
    for row, column, end, text in sorted(edits, reverse=True):
        line = lines[row - 1]
        lines[row - 1] = line[:column] + text + line[end:]
    return formatted("".join(lines).replace("casemate.client.aio", "casemate.client.sync"))


def formatted(source: str) -> str:
    """As ``make fix`` leaves it."""
    ruff = Path(sys.executable).with_name("ruff")
    name = ["--stdin-filename", str(CLIENT / "sync.py"), "-"]
    for step in (["check", "--quiet", "--select", "I", "--fix"], ["format", "--quiet"]):
        source = subprocess.run([ruff, *step, *name], input=source, capture_output=True, text=True, check=True).stdout
    return source


def main(arguments: list[str]) -> int:
    """Writes the blocking modules, or says which are not what the asyncio ones make them."""
    stale = [
        (target, made)
        for source, (target, docstring) in MODULES.items()
        if (made := blocking(source.read_text(), docstring)) != (target.read_text() if target.exists() else None)
    ]
    for target, made in stale:
        if "--check" in arguments:
            sys.stderr.write(f"{target.relative_to(ROOT)} is not what its aio.py makes it: run `make fix`\n")
        else:
            target.write_text(made)
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
