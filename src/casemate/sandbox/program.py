"""A program that a confined process becomes, opened before it is confined."""

import os
import re
from dataclasses import dataclass

from casemate.sandbox import linux

_RESOLVED = re.compile(r"(?:=>\s*|^\s*)(/\S+)\s+\(0x", re.MULTILINE)
"""A library's path in what the loader lists."""
_O_PATH = getattr(os, "O_PATH", 0)


@dataclass(frozen=True, slots=True)
class Program:
    """A binary and the shared libraries that it loads."""

    path: str
    binary: str | int
    """What to execute: on Linux a descriptor, so that the path need not be there for who executes it."""
    libraries: tuple[str, ...]
    """Absolute paths, the loader's own among them."""

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What a child keeps open until it executes the binary."""
        return (self.binary,) if isinstance(self.binary, int) else ()

    @property
    def environment(self) -> dict[str, str]:
        """Has the loader look where the libraries were found, without its cache of all that the system has."""
        folders = dict.fromkeys(os.path.dirname(path) for path in self.libraries)  # noqa: PTH120 - of strings
        return {"LD_LIBRARY_PATH": ":".join(folders)} if folders else {}


def open_program(path: str) -> Program:
    """Opens a binary and finds its libraries.

    Raises:
        OSError: it is not there, or cannot be executed.
    """
    libraries = libraries_of(path)
    binary = os.open(path, _O_PATH | os.O_CLOEXEC) if linux.IS_LINUX else path
    return Program(path, binary, libraries)


def libraries_of(binary: str) -> tuple[str, ...]:
    """The shared libraries that a binary loads, and the loader: absolute paths.

    The loader lists them when it is told to trace, and does not start the program (ld.so(8)). Empty on other systems
    than Linux, where no layer needs them.
    """
    if not linux.IS_LINUX:
        return ()
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as output:
        try:
            actions = [
                (os.POSIX_SPAWN_DUP2, writing, 1),
                *((os.POSIX_SPAWN_OPEN, standard, os.devnull, os.O_RDWR, 0) for standard in (0, 2)),
            ]
            environment = {"LD_TRACE_LOADED_OBJECTS": "1", "LC_ALL": "C"}
            pid = os.posix_spawn(binary, [binary], environment, file_actions=actions)
        finally:
            os.close(writing)
        listed = output.read().decode(errors="replace")
    os.waitpid(pid, 0)
    return tuple(dict.fromkeys(_RESOLVED.findall(listed)))
