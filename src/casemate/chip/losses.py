"""What a chip has lost: files that it once wrote and that are missing or damaged. It does not start without them.

To begin anew without one is an act of the machine's owner, with a reason, in ``audit.log``. The fuses are the
exception: without them it is another chip, and what is left of the old one is in its way.
"""

from datetime import datetime
from pathlib import Path

from casemate.chip import anchors, audit, fuses, inventory
from casemate.chip.anchors import MAX_GENERATION, Anchors
from casemate.chip.audit import log_act
from casemate.chip.errors import ANEW, StateError
from casemate.chip.fuses import Fuses
from casemate.chip.tees import STATES
from casemate.process.audit_log import read_entries
from casemate.process.durable_files import sync_directory
from casemate.wire.errors import os_error_text

_FILES = {
    fuses.FILE_NAME: "every key of this chip",
    anchors.FILE_NAME: "which history of each sealed state is the newest",
    audit.FILE_NAME: "what its owner has made the chip do against its rules",
    **{state.file: state.what for state in STATES.values()},
}
"""Files that must not be missing once they were written, and what is lost with each."""

_TEE_FILES = {state.file for state in STATES.values()}
"""Those that a chip can go on without: that TEE then begins anew, as it left the factory."""


def check_complete(directory: Path) -> None:
    """Refuses a folder in which a file is missing that was written once; a new chip begins its inventory.

    Raises:
        StateError: names the files, and says what to do.
    """
    expected = inventory.read_inventory(directory)
    if expected is None:
        expected = _first_inventory(directory)
    there = _there(directory)
    missing = expected - there
    if fuses.FILE_NAME in missing or (fuses.FILE_NAME not in there and there):
        raise StateError(
            f"{directory / fuses.FILE_NAME} is missing, and with it {_FILES[fuses.FILE_NAME]}: restore the whole state "
            f"directory from a backup, or remove {directory} and begin anew with another chip"
        )
    if missing:
        whats = {name: _FILES.get(name, "of a newer version") for name in sorted(missing)}
        shown = " and ".join(f"{directory / name} ({what})" for name, what in whats.items())
        raise StateError(f"this chip has lost {shown}: {ANEW}")
    inventory.expect(directory, *there)


def accept_another_chip(directory: Path, reason: str, now: datetime) -> None:
    """Logs that this new chip takes the place of one that was lost."""
    log_act(directory, "begun anew with another chip", reason, now)


def accept_losses(directory: Path, reason: str, now: datetime) -> bool:
    """Begins anew with what is missing or damaged, and keeps what is whole. Each loss is logged first.

    Returns:
        Whether there is a chip at all; else a new one is to be made.

    Raises:
        StateError: the fuses are damaged, or with the anchors all that tells how often they were lost before is lost.
    """
    made = fuses.read_fuses(directory)
    if made is None:
        return False  # a new chip, or one that only another one can follow: check_complete says which
    there = _there(directory)
    expected = _inventory_or_rest(directory, reason, now)
    lost = (expected - there) & _FILES.keys()
    generation, why = _generation_of_anchors(directory, made, is_missing=anchors.FILE_NAME in lost)
    if audit.FILE_NAME in lost:
        if generation is None:
            raise StateError(
                f"{directory} has lost its anchors and its audit log: nothing is left that keeps old records of sealed "
                f"states apart from new ones. Restore the whole state directory from a backup, or remove {directory} "
                "and begin anew with another chip"
            )
        log_act(directory, "audit log begun anew", reason, now, generation=generation)
    if generation is None:
        _begin_anchors_anew(directory, made, f"{why}; accepted: {reason}", now)
    for name in sorted(lost & _TEE_FILES):
        log_act(directory, "loss accepted", reason, now, file=name)
    for name in (*_damaged(directory),):
        log_act(directory, "loss accepted", reason, now, file=name, found="damaged")
        _set_aside(directory / name, now)
        lost |= {name}
    inventory.no_longer_expect(directory, *lost & _TEE_FILES)
    return True


def _inventory_or_rest(directory: Path, reason: str, now: datetime) -> frozenset[str]:
    """What has to be there. If the inventory itself is lost: what is there, and the anchors."""
    try:
        expected = inventory.read_inventory(directory)
    except StateError:
        expected = None
    if expected is None:
        expected = _there(directory) | {anchors.FILE_NAME, fuses.FILE_NAME}
        inventory.adopt_inventory(directory, *expected)
        log_act(directory, "loss accepted", reason, now, file=inventory.FILE_NAME)
    return expected


def _first_inventory(directory: Path) -> frozenset[str]:
    """Makes the inventory of a folder without one, of a new chip or of a chip made before inventories existed."""
    there = _there(directory)
    if not there:
        inventory.begin_inventory(directory)
        return frozenset()
    path = directory / anchors.FILE_NAME
    if anchors.FILE_NAME in there and not anchors.is_of_version_1(path):
        raise StateError(f"{directory / inventory.FILE_NAME} is missing, which lists what has to be here: {ANEW}")
    expected = there | {anchors.FILE_NAME, fuses.FILE_NAME}
    if expected == there:
        inventory.adopt_inventory(directory, *expected)
    return expected


def _there(directory: Path) -> frozenset[str]:
    return frozenset(name for name in _FILES if (directory / name).exists())


def _generation_of_anchors(directory: Path, made: Fuses, *, is_missing: bool) -> tuple[int | None, str]:
    """The generation of the log of anchors; None, and why, if the log is lost."""
    if is_missing:
        return None, "the log was missing"
    try:
        log = Anchors(directory, made)
    except StateError as error:
        return None, str(error).partition(": ")[0]
    log.close()
    return log.generation, ""


def _begin_anchors_anew(directory: Path, made: Fuses, reason: str, now: datetime) -> None:
    """An empty log, of the next generation: no record that was sealed before fits an anchor of it."""
    generation = 1 + max(_generations(directory / audit.FILE_NAME), default=0)
    if generation >= MAX_GENERATION:
        raise StateError(f"the anchors of {directory} were begun anew {MAX_GENERATION - 1} times: make a new machine")
    log_act(directory, "anchors begun anew", reason, now, generation=generation)
    path = directory / anchors.FILE_NAME
    if path.exists():
        _set_aside(path, now)
    Anchors(directory, made, generation=generation).close()
    inventory.expect(directory, anchors.FILE_NAME)


def _generations(path: Path) -> list[int]:
    """The generations of anchors that the audit log has recorded."""
    try:
        entries = read_entries(path)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StateError(f"{path} cannot be read: {os_error_text(error)}") from None
    generations = (entry.facts.get("generation") for entry in entries)
    return [each for each in generations if isinstance(each, int)]


def _damaged(directory: Path) -> list[str]:
    """The files of TEEs that are there and cannot be read."""
    found = []
    for state in STATES.values():
        if (directory / state.file).exists():
            try:
                state.check(directory)
            except StateError:
                found.append(state.file)
    return found


def _set_aside(path: Path, now: datetime) -> None:
    path.rename(path.with_name(f"{path.name}.lost-{now:%Y%m%dT%H%M%SZ}"))
    sync_directory(path.parent)
