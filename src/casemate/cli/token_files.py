"""The file of a machine's access tokens, which its gateway reads anew whenever it changes."""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from casemate.cli.files import InputFileError, OutputFileError
from casemate.process.audit_log import NAME as AUDIT_LOG
from casemate.process.audit_log import log_act
from casemate.process.durable_files import write_whole
from casemate.process.ownership import PlaceError, check_own_folder, check_way, make_own_folder, open_own_file
from casemate.process.places import host_directory
from casemate.wire.errors import WireError, os_error_text
from casemate.wire.protocol.access_tokens import MAX_FILE, AccessTokens

FILE = "tokens.json"
LOCK = "tokens.lock"
"""Name of the lock file. It is in the state directory, since any user who can read a file can lock it."""


def read_tokens(state: Path) -> AccessTokens:
    """The tokens of the machine in ``state``, whether it runs or not.

    Raises:
        InputFileError: the file is damaged, or the host has put something else in its place.
    """
    path = host_directory(state) / FILE
    check_way(state)
    if os.path.lexists(state):
        check_own_folder(state)
    try:
        with os.fdopen(open_own_file(path, os.O_RDONLY), "rb") as file:
            return AccessTokens.parse(file.read(MAX_FILE + 1))
    except FileNotFoundError:
        return AccessTokens()
    except PlaceError as error:
        raise InputFileError(f"{error}: `casemate token` puts a file there once that is removed") from None
    except WireError as error:
        raise InputFileError(f"{path} is damaged ({error}): restore it, or remove it and make new tokens") from None


def change_tokens(state: Path, change: Callable[[AccessTokens], AccessTokens], *, what: str) -> None:
    """Replaces the file by what ``change`` returns, under a lock, and notes that in the audit log.

    Its draft is written, and the lock held, outside the host's folder: in there a hostile host could exchange the
    draft, and could hold the lock itself.
    """
    folder = host_directory(state)
    make_own_folder(state)
    make_own_folder(folder)
    with _alone(state):
        tokens = change(read_tokens(state))
        try:
            log_act(state, "tokens", what)
            write_whole(folder / FILE, tokens.encode(), drafts=state)
        except OSError as error:
            where = error.filename or state / AUDIT_LOG
            raise OutputFileError(f"{where} cannot be written: {os_error_text(error)}") from None


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    descriptor = open_own_file(folder / LOCK, os.O_RDWR | os.O_CREAT, private=True)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
