"""A short-lived child that finds, verifies or makes the runtime's copy while the chip starts.

A child, because looking for packages and hashing in threads takes modules and memory that the chip would keep for life.
It is forked before any secret is read.
"""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from casemate.chip.errors import RuntimeCopyError
from casemate.chip.hardening import die_with_parent
from casemate.chip.runtime import RuntimeCopy

_MAX_ANSWER = 64 * 1024


@dataclass(frozen=True, slots=True)
class RuntimeHelper:
    """The running child."""

    pid: int
    answer: int
    """The end of a pipe that its answer comes from: readable once it is done."""

    def result(self) -> RuntimeCopy:
        """Waits for the copy.

        Raises:
            RuntimeCopyError: there is none.
        """
        with os.fdopen(self.answer, "rb") as pipe:
            said = pipe.read(_MAX_ANSWER)
        os.waitpid(self.pid, 0)
        if not said:
            raise RuntimeCopyError("the process that copies the runtime died; its words are in the machine's log")
        answer = json.loads(said)
        if "refused" in answer:
            raise RuntimeCopyError(answer["refused"])
        return RuntimeCopy(Path(answer["directory"]), bytes.fromhex(answer["digest"]), answer["rebuilt"])


def start_helper() -> RuntimeHelper:
    """Forks the child; the caller must still have one thread alone."""
    answer, write = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid:
        os.close(write)
        return RuntimeHelper(pid, answer)
    try:
        die_with_parent(parent)
        with os.fdopen(write, "wb") as pipe:
            pipe.write(_copy_as_json())
    except BaseException:  # a forked child must not return into its parent's code
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(0)


def _copy_as_json() -> bytes:
    try:
        copy = this_runtime()
    except RuntimeCopyError as error:
        return json.dumps({"refused": str(error)}).encode()
    return json.dumps({"directory": str(copy.directory), "digest": copy.digest.hex(), "rebuilt": copy.rebuilt}).encode()


def this_runtime() -> RuntimeCopy:
    """The verified copy of the runtime that this interpreter belongs to."""
    from casemate.chip.runtime_copy import cache_root, prepare_runtime
    from casemate.chip.runtime_sources import runtime_sources

    return prepare_runtime(runtime_sources(), cache_root())
