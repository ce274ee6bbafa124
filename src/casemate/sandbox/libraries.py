"""Which shared libraries a binary loads, so that those alone stay readable to it."""

import os
import re

from casemate.sandbox import linux

_RESOLVED = re.compile(r"(?:=>\s*|^\s*)(/\S+)\s+\(0x", re.MULTILINE)


def libraries_of(binary: str) -> tuple[str, ...]:
    """Absolute paths of the loader and the libraries, as the loader itself resolves them, links followed.

    The loader, told to trace, lists them and does not start the program (ld.so(8)). Elsewhere than on Linux nothing
    needs to know.
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
    named = _RESOLVED.findall(listed)
    return tuple(dict.fromkeys([*named, *(os.path.realpath(path) for path in named)]))
