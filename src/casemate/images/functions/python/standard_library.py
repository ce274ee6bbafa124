"""The modules that a Python guest can import beside its own: by name, without importing any of them.

The runtime copies the standard library without what no enclave needs and what would load libraries that nobody measures
(:mod:`casemate.chip.runtime_sources`). The names are those of the interpreter that builds. The runtime's may have
another minor version and a few more or fewer; such an image fails when it is launched.
"""

import sys
from typing import Final

ABSENT: Final = frozenset({
    *("_hashlib", "_ssl", "_sysconfigdata", "_tkinter", "distutils", "ensurepip", "idlelib", "lib2to3", "pydoc_data"),
    *("ssl", "test", "tkinter", "turtle", "turtledemo", "venv"),
})  # fmt: skip
"""Modules of the standard library that the runtime leaves out, or that need one which it leaves out."""
BROUGHT_ALONG: Final = frozenset({"cryptography"})
"""Packages of the runtime that guests may use."""
STUBS: Final = "casemate.guest"
"""The one module of Casemate's that guests may import: types for editors and checkers."""


def is_standard(name: str) -> bool:
    """Whether a top-level module is the standard library's, there or absent."""
    return name in sys.stdlib_module_names


def is_there(name: str) -> bool:
    """Whether a guest finds a top-level module that is not its own."""
    return (is_standard(name) and name not in ABSENT) or name in BROUGHT_ALONG
