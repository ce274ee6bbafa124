"""A verified copy of the runtime, as the chip uses it: where its parts lie, and how its interpreter is started."""

import contextlib
import fcntl
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from casemate.chip.errors import RuntimeCopyError
from casemate.process.ownership import PlaceError, make_own_folder, open_own_file
from casemate.wire.errors import os_error_text
from casemate.wire.protocol.runtime_lock import CORE, Runtime, platform_tag

PYTHON = "bin/python3"
ENGINE = "bin/deno"
LIBRARY_FOLDER = "lib"
"""Where the copy has libpython; the loader is pointed there."""

HOLDS = "holds"
HOLD_TIME = 10.0
"""Longest wait for a copy that another process examines for removal (seconds)."""

_LOOK_PERIOD = 0.05


ENGINE_FILES = {
    "javascript": (ENGINE, "casemate/engines/javascript/bootstrap/", "casemate/engines/javascript/node_modules.txt"),
    "python": ("casemate/engines/python/bootstrap/", "casemate/guest/", "casemate/zygote/"),
}
"""By engine, the ends of the paths of what its guests run on and no enclave executes (a folder's ends in a slash): the
engine's own part of the runtime, which an image with another engine does not name. All else is the core."""


@dataclass(frozen=True, slots=True)
class RuntimeCopy:
    """A verified copy."""

    directory: Path
    parts: Runtime
    """Each part with the SHA-256 over its files, which runtime locks name."""
    rebuilt: bool
    """Whether it was missing or had been changed, and was made anew."""


def component_of(path: str) -> str:
    """The part of the runtime that a file belongs to, by its path in the copy."""
    file, folder = f"/{path}", f"/{path.rpartition('/')[0]}/"
    for engine, ends in ENGINE_FILES.items():
        wanted = tuple(f"/{end}" for end in ends)
        if file.endswith(wanted) or folder.endswith(wanted):
            return engine
    return CORE


def loader_environment(directory: Path) -> dict[str, str]:
    """The environment in which the copy's interpreter finds its own library, and nothing else."""
    name = "DYLD_LIBRARY_PATH" if sys.platform == "darwin" else "LD_LIBRARY_PATH"
    return {name: str(directory / LIBRARY_FOLDER), "LC_CTYPE": "C.UTF-8"}


def hold(copy: RuntimeCopy) -> int:
    """A descriptor that keeps the copy from being tidied away while it is open.

    Raises:
        RuntimeCopyError: the copy is gone, or it is being tidied away.
    """
    descriptor = open_hold(copy.directory)
    deadline = time.monotonic() + HOLD_TIME
    try:
        while not _locked(descriptor, fcntl.LOCK_SH):
            if time.monotonic() > deadline:
                raise RuntimeCopyError(f"{copy.directory} is being tidied away: start again")
            time.sleep(_LOOK_PERIOD)
        if not copy.directory.is_dir() or os.fstat(descriptor).st_nlink == 0:
            raise RuntimeCopyError(f"{copy.directory} was tidied away: start again")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextlib.contextmanager
def unused(directory: Path) -> Iterator[bool]:
    """Whether no chip runs on the copy in ``directory``; while the block runs, none starts to."""
    descriptor = open_hold(directory)
    try:
        yield _locked(descriptor, fcntl.LOCK_EX)
    finally:
        os.close(descriptor)


def open_hold(directory: Path) -> int:
    """The file, for this user alone, that chips lock while they run on the copy in ``directory``.

    It lies beside the copy: the copy itself can be read by all, and who can open a file can lock it.
    """
    folder = directory.parent / HOLDS
    try:
        make_own_folder(folder, private=True)
        return open_own_file(folder / directory.name, os.O_RDWR | os.O_CREAT, private=True)
    except PlaceError as error:
        raise RuntimeCopyError(str(error)) from None
    except OSError as error:
        raise RuntimeCopyError(f"{folder / directory.name}: {os_error_text(error)}: start again") from None


def _locked(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise RuntimeCopyError(f"a copy of the runtime cannot be held: {os_error_text(error)}") from None
    return True


def this_platform() -> str:
    """This machine's name in runtime locks, such as ``linux-x86_64-cp311``."""
    return platform_tag(sys.platform, os.uname().machine, sys.version_info[:2])
