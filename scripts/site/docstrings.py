"""Docstrings as the site shows them: examples are code, and Sphinx's roles are names in code.

Google's style indents an example and says no more, so it would be set as prose.
"""

import re
from typing import Any

from griffe import Extension, Object

_EXAMPLE = re.compile(r"^Example:\n((?:(?: {4,}[^\n]*)?\n)* {4,}[^\n]*)", re.MULTILINE)
_ROLE = re.compile(r":[a-z]+:(`[^`]+`)")


def readable(docstring: str) -> str:
    """The docstring as Markdown."""
    fenced = _EXAMPLE.sub(lambda found: f"Example:\n    ```python\n{found[1]}\n    ```", docstring)
    return _ROLE.sub(r"\1", fenced)


class Docstrings(Extension):
    """Does so for every object that the reference shows."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Called by Griffe for each object that it has read."""
        if obj.docstring is not None:
            obj.docstring.value = readable(obj.docstring.value)
