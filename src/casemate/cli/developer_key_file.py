"""The developer's key in a PEM file of this user's: mode 0600, and refused where others could have read it."""

import os
from collections.abc import Mapping
from pathlib import Path

from casemate.images.errors import KeyFileError
from casemate.images.keys import DeveloperKey
from casemate.process.durable_files import write_once
from casemate.process.ownership import PlaceError, read_own_secret
from casemate.wire.errors import os_error_text

MAX_KEY_FILE = 64 * 1024
"""Longest key file that is read (bytes)."""


def default_key_path(environ: Mapping[str, str]) -> Path:
    """Where a user's key lies: $XDG_CONFIG_HOME/casemate/developer.pem, or below ~/.config."""
    home = Path(environ["XDG_CONFIG_HOME"]) if environ.get("XDG_CONFIG_HOME") else Path("~/.config").expanduser()
    return home / "casemate" / "developer.pem"


def load_key(path: Path) -> DeveloperKey:
    """The key in a file that is this user's, or root's, and that nobody else can read.

    Raises:
        KeyFileError: it is not, it cannot be read, or it holds no key that EINIT takes.
    """
    try:
        return DeveloperKey.from_pem(read_own_secret(path, MAX_KEY_FILE))
    except PlaceError as error:
        raise KeyFileError(str(error)) from None
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {os_error_text(error)}") from None
    except KeyFileError as error:
        raise KeyFileError(f"{path}: {error}") from None


def load_or_create_key(path: Path) -> DeveloperKey:
    """The key in a file, made on first use; :class:`KeyFileError` as in :func:`load_key`."""
    if os.path.lexists(path):
        return load_key(path)
    key = DeveloperKey.generate()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_once(path, key.pem())
    except FileExistsError:
        return load_key(path)  # another process has made one meanwhile: use that
    except OSError as error:
        raise KeyFileError(f"{path} cannot be written: {os_error_text(error)}") from None
    return key
