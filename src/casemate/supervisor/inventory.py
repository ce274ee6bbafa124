"""The inventory of a state directory: its chip, its maker, and files whose absence would look like a new machine.

``inventory.json`` in the state directory says which chip (by its PPID) and which maker's root are at home here, and
which files were there when a machine last started or ended on it. Not a safeguard against whoever may write to the
directory: it tells a loss from a beginning.
"""

import contextlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from casemate.process.audit_log import NAME as AUDIT
from casemate.process.audit_log import log_act
from casemate.process.durable_files import write_whole
from casemate.process.places import host_directory
from casemate.process.plain_file import read_plain
from casemate.supervisor.errors import MachineError
from casemate.wire.encodings.json_object import parse_object
from casemate.wire.errors import WireError

FILE_NAME = "inventory.json"
MAX_FILE = 64 * 1024
"""A longer file is none of ours (bytes)."""

_VERSION = 1
_FUSES = "chip/fuses.bin"
_RECORDS = "host/records.db"
_FILES = {
    _FUSES: "the chip: its fuses, and the anchors of all sealed states",
    "vendor/ledger.json": "the maker: its keys, what it has certified and revoked",
    "host/catalogue.db": "the images and deployments",
    AUDIT: "the log of its owner's levers",
}
"""Looked for at each start, and of what each is the loss. Enclaves themselves notice lost records of sealed states."""
_LEVER = (
    "restore the whole state directory from a backup, or accept the loss with `casemate up --accept-loss REASON`, "
    "which begins anew without it and logs that"
)


@dataclass(frozen=True, slots=True)
class Inventory:
    """The file's content."""

    chip: str = ""
    """PPID of the chip, hexadecimal; empty before a machine has started."""
    files: frozenset[str] = frozenset()
    """Those of :data:`_FILES` that have been there."""


def read_inventory(state: Path) -> Inventory:
    """The inventory; empty if none has been written yet.

    Raises:
        MachineError: it is damaged.
    """
    path = state / FILE_NAME
    try:
        body = parse_object("inventory", read_plain(path, MAX_FILE + 1), limit=MAX_FILE)
        body.only("version", "chip", "files")
        body.uint("version", _VERSION)
        return Inventory(body.text("chip"), frozenset(body.texts("files", limit=len(_FILES) * 2)))
    except FileNotFoundError:
        return Inventory()
    except WireError as error:
        raise MachineError(f"{path} is damaged ({error}): remove it if nothing else is missing in {state}") from None


def check_complete(state: Path) -> None:
    """Refuses a state directory that has lost what it once had.

    Raises:
        MachineError: names what is missing, and says what to do.
    """
    if missing := _missing(state):
        shown = "; ".join(f"{state / name} ({_FILES[name]})" for name in sorted(missing))
        raise MachineError(f"this machine has lost {shown}: {_LEVER}")


def accept_losses(state: Path, reason: str) -> None:
    """Goes on without what is missing, and notes it. Records of sealed states of another chip are put aside.

    Raises:
        OSError: it cannot be noted.
    """
    missing = _missing(state)
    for name in sorted(missing):
        log_act(state, "AcceptLoss", f"{name} ({_FILES[name]}): {reason}")
    before = read_inventory(state)
    if _FUSES in missing:
        _put_aside(state, before.chip)
    _write(state, Inventory("" if _FUSES in missing else before.chip, before.files - missing))


def take_inventory(state: Path, chip: bytes) -> None:
    """Notes what is there now, and that it belongs to this chip.

    Raises:
        MachineError: the state directory is another chip's.
    """
    before = read_inventory(state)
    if before.chip and before.chip != chip.hex():
        raise MachineError(
            f"{state / 'chip'} holds the chip {chip.hex()}, and all else in {state} (the records of sealed states, the "
            f"maker's ledger) belongs to the chip {before.chip}: restore the whole state directory from one backup, or "
            f"remove {state / 'chip'} and accept its loss with `casemate up --accept-loss REASON`"
        )
    now = Inventory(chip.hex(), before.files | _there(state))
    if now != before:
        _write(state, now)


def _there(state: Path) -> frozenset[str]:
    return frozenset(name for name in _FILES if (state / name).exists())


def _missing(state: Path) -> frozenset[str]:
    """The listed files that are missing. A machine older than inventories had a chip if it has sealed states."""
    there = _there(state)
    missing = (read_inventory(state).files & _FILES.keys()) - there
    return missing | {_FUSES} if (state / _RECORDS).exists() and _FUSES not in there else missing


def _put_aside(state: Path, chip: str) -> None:
    """Moves away records sealed for another chip, which no enclave of the next chip can open."""
    stamp = f"{chip or 'another chip'}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}".replace(" ", "-")
    for end in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            (host_directory(state) / f"records.db{end}").rename(host_directory(state) / f"records-of-{stamp}.db{end}")


def _write(state: Path, inventory: Inventory) -> None:
    said = {"version": _VERSION, "chip": inventory.chip, "files": sorted(inventory.files)}
    write_whole(state / FILE_NAME, json.dumps(said, indent=1).encode() + b"\n")
