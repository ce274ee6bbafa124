"""The fused secrets: burnt once into a file that nobody else may read, and never changed.

The file is a magic, a version, the fields and a SHA-256 over all of it, which tells a damaged file from a good one. (It
is no MAC: who can write the file can write another chip.)
"""

import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

from casemate.chip.crypto import derive
from casemate.chip.errors import StateError
from casemate.chip.secret import Secret
from casemate.chip.state_directory import encode_checked, make_state, parse_checked
from casemate.process.plain_file import open_plain
from casemate.wire.encodings.message import Bytes16, Bytes32
from casemate.wire.errors import WireError, os_error_text

FILE_NAME = "fuses.bin"
MAX_FILE = 4096
"""Longest file that is read (bytes)."""

_MAGIC = b"casemate fuses v1\x00"
_OTHERS = 0o077


@dataclass(frozen=True, slots=True)
class Fuses:
    """The secrets that manufacturing put into this chip alone."""

    seeded: bool
    """Whether a public seed made them: anybody can then make the same chip."""
    root_provisioning_key: Secret
    """32 bytes; on hardware the maker keeps a copy. Keys follow from it, through :mod:`casemate.chip.svn_chains`."""
    root_seal_key: Secret
    """32 bytes; on hardware nobody else ever knew it. It enters each key but the provisioning key."""
    owner_epoch: bytes
    """16 bytes; changes when the machine changes hands."""


@dataclass(frozen=True, slots=True)
class _FuseFile:
    seeded: bool
    root_provisioning_key: Bytes32
    root_seal_key: Bytes32
    owner_epoch: Bytes16


def load_fuses(directory: Path, seed: str | None) -> Fuses:
    """The chip's fuses: read where they have been burnt, else burnt now, from ``seed`` or at random.

    Raises:
        StateError: the file is damaged, others can read it, or it was not made from this seed.
    """
    path = directory / FILE_NAME
    fuses = read_fuses(directory)
    if fuses is None:
        fuses = random_fuses() if seed is None else seeded_fuses(seed)
        make_state(path, encode_fuses(fuses))
        return fuses
    if seed is not None and encode_fuses(fuses) != encode_fuses(seeded_fuses(seed)):
        raise StateError(
            f"{path} holds the fuses of another chip than --seed {seed!r} makes: leave the seed out to run this chip, "
            "or name another state directory"
        )
    return fuses


def read_fuses(directory: Path) -> Fuses | None:
    """The fuses that have been burnt; None where none have been. :class:`StateError` as in :func:`load_fuses`."""
    path = directory / FILE_NAME
    try:
        return parse_fuses(_read_private(path), path)
    except FileNotFoundError:
        return None


def random_fuses() -> Fuses:
    """The fuses of a new chip."""
    return Fuses(
        seeded=False,
        root_provisioning_key=Secret(secrets.token_bytes(32)),
        root_seal_key=Secret(secrets.token_bytes(32)),
        owner_epoch=secrets.token_bytes(16),
    )


def seeded_fuses(seed: str) -> Fuses:
    """The fuses that follow from a public seed."""

    def part(label: bytes, size: int) -> bytes:
        return derive(seed.encode("utf-8", "surrogatepass"), b"casemate fuses v1 " + label, size)

    return Fuses(
        seeded=True,
        root_provisioning_key=Secret(part(b"root provisioning key", 32)),
        root_seal_key=Secret(part(b"root seal key", 32)),
        owner_epoch=part(b"owner epoch", 16),
    )


def encode_fuses(fuses: Fuses) -> bytes:
    """The file's bytes: they hold the secrets."""
    fields = _FuseFile(
        seeded=fuses.seeded,
        root_provisioning_key=fuses.root_provisioning_key.reveal(),
        root_seal_key=fuses.root_seal_key.reveal(),
        owner_epoch=fuses.owner_epoch,
    )
    return encode_checked(_MAGIC, fields)


def parse_fuses(content: bytes, path: Path) -> Fuses:
    """The way back; :class:`StateError` for anything but what :func:`encode_fuses` writes."""
    try:
        fields = parse_checked(_FuseFile, _MAGIC, content)
    except WireError:
        raise StateError(
            f"{path} is damaged: restore the whole state directory from a backup, or remove the directory to make "
            "another machine (everything sealed to this one is then lost)"
        ) from None
    return Fuses(
        seeded=fields.seeded,
        root_provisioning_key=Secret(fields.root_provisioning_key),
        root_seal_key=Secret(fields.root_seal_key),
        owner_epoch=fields.owner_epoch,
    )


def _read_private(path: Path) -> bytes:
    try:
        descriptor = open_plain(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StateError(
            f"{path} cannot be opened ({os_error_text(error)}): it must be a plain file of this user"
        ) from None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid():
            raise StateError(f"{path} belongs to user {status.st_uid}, the chip runs as {os.geteuid()}: chown it")
        if status.st_mode & _OTHERS:
            mode = stat.S_IMODE(status.st_mode)
            raise StateError(
                f"{path} has mode {mode:04o}, so others may have read it: treat its secrets as known and make a new "
                "machine, or `chmod 600` it if you are sure that nobody has"
            )
        return file.read(MAX_FILE)
