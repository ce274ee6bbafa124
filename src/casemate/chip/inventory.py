"""The list of files that the chip's folder must have. Without it, a lost file would look like one that never existed.

``inventory`` names each file from the moment it is first written, a line each. It is there before the fuses are.
"""

from pathlib import Path

from casemate.chip.errors import ANEW, StateError
from casemate.chip.state_directory import write_state
from casemate.process.plain_file import read_plain
from casemate.wire.errors import os_error_text

FILE_NAME = "inventory"
MAX_FILE = 4096
"""Longest file that is read (bytes)."""

_FIRST_LINE = "casemate chip inventory v1"


def begin_inventory(directory: Path) -> None:
    """The inventory of a new chip: nothing has to be there yet; one that is there stays."""
    if read_inventory(directory) is None:
        _write(directory, frozenset())


def read_inventory(directory: Path) -> frozenset[str] | None:
    """The files that have to be there; None where there is no inventory.

    Raises:
        StateError: it is damaged.
    """
    path = directory / FILE_NAME
    try:
        lines = read_plain(path, MAX_FILE).decode("ascii", "replace").splitlines()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"{path} cannot be read: {os_error_text(error)}") from None
    if lines[:1] != [_FIRST_LINE]:
        raise StateError(f"{path} is damaged, which lists what has to be here: {ANEW}")
    return frozenset(lines[1:])


def expect(directory: Path, *names: str) -> None:
    """These files have to be there from now on; durable when it returns. Without an inventory it does nothing."""
    expected = read_inventory(directory)
    if expected is not None and not expected.issuperset(names):
        _write(directory, expected.union(names))


def no_longer_expect(directory: Path, *names: str) -> None:
    """These files may be missing: their loss was accepted."""
    expected = read_inventory(directory)
    if expected is not None:
        _write(directory, expected.difference(names))


def adopt_inventory(directory: Path, *names: str) -> None:
    """Writes an inventory of exactly these files: for a chip that is older than inventories, or has lost its own."""
    _write(directory, frozenset(names))


def _write(directory: Path, names: frozenset[str]) -> None:
    write_state(directory / FILE_NAME, "".join(f"{line}\n" for line in (_FIRST_LINE, *sorted(names))).encode())
