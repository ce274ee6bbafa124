"""Answers of our own to what a guest cannot ask its system, and programs ask without needing it.

Each would raise else, in the middle of a library that has no other use for the answer.
"""

import functools
import os
import platform
import socket
from collections.abc import Callable
from typing import Any


def install(sqlite: Any) -> None:
    """Puts them in place of Python's own functions.

    Args:
        sqlite: the module :mod:`sqlite3`; None where this Python has none.
    """
    machine = os.uname().machine
    os.uname = lambda: os.uname_result(("Linux", "localhost", "", "", machine))
    platform._uname_cache = None  # type: ignore[attr-defined] # noqa: SLF001 - it knows the computer's name and kernel
    os.getcwd = lambda: "/"  # its root is an empty folder; os.path.abspath asks, and so inspect, doctest and unittest
    os.getcwdb = lambda: b"/"
    socket.gethostname = lambda: "localhost"  # email.utils.make_msgid asks
    if sqlite is not None:
        sqlite.connect = sqlite.dbapi2.connect = _sorts_in_memory(sqlite.connect, sqlite.Connection)


def _sorts_in_memory(connect: Callable[..., Any], connection: Any) -> Callable[..., Any]:
    """``connect``, for connections that put what a query sorts, and what a statement may undo, into no file."""

    @functools.wraps(connect)
    def connected(*args: Any, **kwargs: Any) -> Any:
        made = connect(*args, **kwargs)
        connection.execute(made, "PRAGMA temp_store = MEMORY")
        return made

    return connected
