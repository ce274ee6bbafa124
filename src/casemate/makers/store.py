"""The makers' folder in the state directory: keys of mode 0600, certificates, and ledgers changed under a lock.

Intel's files lie in it, and AMD's in a folder for each product below it. The lock and the seed are both makers'.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from casemate.makers.errors import MakerError
from casemate.process.ownership import check_own_folder, check_way, open_own_file
from casemate.process.plain_file import open_plain
from casemate.wire.encodings.json_object import parse_object
from casemate.wire.errors import WireError, os_error_text

LEDGER = "ledger.json"
LOCK = "lock"

MAX_LEDGER = 16 * 1024 * 1024
"""Longest ledger (bytes): room for thousands of TCB recoveries of thousands of chips."""


def maker_directory(state: Path) -> Path:
    """The maker's folder."""
    return state / "vendor"


def exists(state: Path) -> bool:
    """True if this state directory has a maker."""
    return (maker_directory(state) / LEDGER).exists()


def check_ownership(state: Path) -> None:
    """Refuses a state directory, or a maker in it, that is not this user's alone; what is missing is no fault.

    Raises:
        PlaceError: another user could have put the keys there that others are told to trust.
    """
    check_way(state)
    for folder, private in ((state, False), (maker_directory(state), True)):
        if os.path.lexists(folder):
            check_own_folder(folder, private=private)


def read(path: Path) -> bytes:
    """A file of the maker's, which is this user's alone.

    Raises:
        PlaceError: it is not.
        OSError: it cannot be read.
    """
    with os.fdopen(open_own_file(path, os.O_RDONLY, private=True), "rb") as file:
        return file.read()


@contextlib.contextmanager
def locked(state: Path) -> Iterator[None]:
    """Holds the maker's lock. A ledger has to be read after this, or another command's change could be lost."""
    if not exists(state):
        raise MakerError(f"there is no maker in {maker_directory(state)}: run init first")
    with os.fdopen(open_plain(maker_directory(state) / LOCK), "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def load_seed(state: Path) -> str | None:
    """The public seed that the maker was made from; None if its keys are random.

    Raises:
        MakerError: there is no maker, or its ledger is damaged.
    """
    path = maker_directory(state) / LEDGER
    try:
        body = parse_object("ledger", read(path), limit=MAX_LEDGER)
        return body.text("seed") if body.has("seed") else None
    except WireError as error:
        raise MakerError(f"the maker's ledger is damaged: {error}") from None
    except OSError as error:
        raise MakerError(f"there is no maker in {path.parent}: {os_error_text(error)}: run init first") from None
