"""Names by which functions are called: what an image's manifest may call itself, but for digits alone.

Wherever a name may stand, an enclave's number may, too; so no name looks like one.
"""

import re

from casemate.wire.errors import WireError

MAX_FUNCTION_NAME = 64
"""Longest name (characters)."""

NAME = r"(?:[0-9]*[a-z](?:[a-z0-9-]*[a-z0-9])?|[0-9]+-[a-z0-9-]*[a-z0-9])"
"""In the dialect that Python, JSON Schema and Rust share."""

PATTERN = f"^{NAME}$"

WANT = f"lower-case letters, digits and inner hyphens, not digits alone, at most {MAX_FUNCTION_NAME}"
"""For refusals."""

_NAME = re.compile(NAME, re.ASCII)


def checked_name(text: str) -> str:
    """The name itself; :class:`WireError` where it can be no function's."""
    if not is_function_name(text):
        raise WireError("function's name", got=repr(text[:80]), want=WANT)
    return text


def is_function_name(text: str) -> bool:
    """Whether ``text`` can be the name of a function."""
    return len(text) <= MAX_FUNCTION_NAME and _NAME.fullmatch(text) is not None
