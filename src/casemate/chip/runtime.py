"""A verified copy of the runtime, as the chip uses it: where its parts lie, and how its interpreter is started."""

import fcntl
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from casemate.chip.errors import RuntimeCopyError

PYTHON = "bin/python3"
ENGINE = "bin/deno"
LIBRARY_FOLDER = "lib"
"""Where the copy has libpython; the loader is pointed there."""


@dataclass(frozen=True, slots=True)
class RuntimeCopy:
    """A verified copy."""

    directory: Path
    digest: bytes
    """SHA-256 over its files: what runtime locks name."""
    rebuilt: bool
    """It was missing or had been touched, and was made anew."""


def loader_environment(directory: Path) -> dict[str, str]:
    """The environment in which the copy's interpreter finds its own library, and nothing else."""
    name = "DYLD_LIBRARY_PATH" if sys.platform == "darwin" else "LD_LIBRARY_PATH"
    return {name: str(directory / LIBRARY_FOLDER), "LC_CTYPE": "C.UTF-8"}


def hold(copy: RuntimeCopy) -> int:
    """A descriptor that keeps the copy from being tidied away while it is open."""
    try:
        descriptor = os.open(copy.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    except OSError as error:
        raise RuntimeCopyError(f"{copy.directory}: {error.strerror}: start again") from None
    return descriptor
