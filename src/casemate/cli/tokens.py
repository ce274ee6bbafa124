"""The file of a machine's access tokens, which its gateway reads anew whenever it changes."""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from casemate.cli.files import InputFileError
from casemate.link.places import host_directory
from casemate.wire.access_tokens import MAX_FILE, AccessTokens
from casemate.wire.audit import NAME, AuditEntry
from casemate.wire.errors import WireError

FILE = "tokens.json"


def read_tokens(state: Path) -> AccessTokens:
    """The tokens of the machine in ``state``, whether it runs or not.

    Raises:
        InputFileError: the file is damaged.
    """
    path = host_directory(state) / FILE
    try:
        with path.open("rb") as file:
            return AccessTokens.parse(file.read(MAX_FILE + 1))
    except FileNotFoundError:
        return AccessTokens()
    except WireError as error:
        raise InputFileError(f"{path} is damaged ({error}): restore it, or remove it and make new tokens") from None


def change_tokens(state: Path, change: Callable[[AccessTokens], AccessTokens], *, what: str) -> None:
    """Replaces the file by what ``change`` makes of it; nobody else changes it meanwhile, and the audit log says so.

    It is written, and the lock held, outside the host's folder: in there a hostile host could have put a link in its
    way, which a renaming replaces and never follows, and could hold the lock itself.
    """
    folder = host_directory(state)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone(state):
        tokens = change(read_tokens(state))
        draft = state / f"{FILE}.new"
        _write(draft, tokens.encode(), os.O_TRUNC)
        entry = AuditEntry(datetime.now(UTC).replace(microsecond=0), os.getuid(), "tokens", what)
        _write(state / NAME, entry.encode(), os.O_APPEND)
        draft.replace(folder / FILE)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(path: Path, content: bytes, how: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | how, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
