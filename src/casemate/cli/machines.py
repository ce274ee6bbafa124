"""The machine that a command talks to, and enclaves on it as the command line names them."""

from pathlib import Path
from typing import TYPE_CHECKING

from casemate.wire.errors import CasemateError

if TYPE_CHECKING:
    from casemate.client.local import LocalMachine


class MachineStaysError(CasemateError):
    """The machine was told to end, and has not."""


def state_directory(given: Path | None) -> Path:
    """The state directory that the user named, or the default one."""
    from casemate.link.places import default_state_directory

    return default_state_directory() if given is None else given


def machine_on(given: Path | None) -> "LocalMachine":
    """The machine that runs on a state directory; ``NoMachineError`` if none does."""
    from casemate.client.local import running_machine

    return running_machine(state_directory(given))


def enclave_number(target: str) -> int | None:
    """The number that ``target`` is; None where it is a path."""
    return int(target) if target.isascii() and target.isdigit() and len(target) < 20 else None  # noqa: PLR2004 - u64


def fingerprint(machine: "LocalMachine") -> str:
    """SHA-256 of the machine's root certificate, which policies name."""
    import hashlib

    return hashlib.sha256(machine.status.root_certificate).hexdigest()
