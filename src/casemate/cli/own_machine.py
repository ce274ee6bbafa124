"""The user's own machine, found by its state directory."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from casemate.wire.errors import CasemateError

if TYPE_CHECKING:
    from casemate.client.local import LocalMachine


EXPORTED = ("CASEMATE_STATE", "CASEMATE_URL", "CASEMATE_TOKEN")
"""The variables that `casemate up` prints for other shells to export."""


class MachineStaysError(CasemateError):
    """The machine was told to end, and still runs."""


class MachineGoneError(CasemateError):
    """The state directory was in memory, and its machine has ended."""


def state_directory(given: Path | None) -> Path:
    """The state directory that the user named, or the default one.

    Raises:
        MachineGoneError: it was that of a machine of `casemate up --dev`, which has ended.
    """
    from casemate.process.places import default_state_directory, was_dev_state

    place = default_state_directory() if given is None else given
    if was_dev_state(place) and not os.path.lexists(place):
        raise MachineGoneError(f"the machine on {place} has ended, and with it its state in memory; {unset_line()}")
    return place


def unset_line() -> str:
    """The shell command that removes what `casemate up` exported."""
    return f"unset {' '.join(EXPORTED)}"


def machine_on(given: Path | None) -> "LocalMachine":
    """The machine that runs on a state directory; ``NoMachineError`` if none does."""
    from casemate.client.local import running_machine

    return running_machine(state_directory(given))


def enclave_number(target: str) -> int | None:
    """The number that ``target`` is; None where it is a path."""
    return int(target) if target.isascii() and target.isdigit() and len(target) < 20 else None


def enclave_of(target: str) -> int | str:
    """The enclave that the user has named, as the client takes it: by its number, or by a function's name."""
    number = enclave_number(target)
    return target if number is None else number


def fingerprint(machine: "LocalMachine") -> str:
    """SHA-256 of the machine's root certificate, which policies name."""
    import hashlib

    return hashlib.sha256(machine.status.root_certificate).hexdigest()
