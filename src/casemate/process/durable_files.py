"""Writing files whole: after a crash or a power cut there is the old file or the new one, and never a part of either.

The order of steps is what makes it so:

1. The content goes into a draft with a name of its own, and is synchronised. A rename that reached the disk before the
   content did would leave an empty file behind after a power cut.
2. The draft takes the file's name, in one step: readers see the old file or the new one.
3. The folder is synchronised. Before that, a power cut may bring back the old name, although the writer was told that
   the new file is there.
"""

import fcntl
import os
import secrets
from pathlib import Path

from casemate.wire.errors import os_error_text

_PRIVATE = 0o600


class DurableFileError(OSError):
    """A file could not be written. Has the cause's ``errno``.

    The file is as it was, unless the disk failed in the last step: then it is new, and may not survive a power cut.
    """

    def __init__(self, path: Path, cause: OSError) -> None:
        super().__init__(cause.errno, os_error_text(cause), str(path))


def write_whole(path: Path, content: bytes, *, mode: int = _PRIVATE, drafts: Path | None = None) -> None:
    """Replaces a file, or makes it; durable when it returns.

    Args:
        path: the file; where its name is a link, the link is replaced and not followed.
        content: all of it.
        mode: its permissions, less the umask.
        drafts: the folder in which the draft is written, for a file in a folder that another process may write to: in
            there, that process could exchange the draft. On the same file system.

    Raises:
        DurableFileError: it could not be written.
    """
    try:
        draft = _written(path, content, mode, drafts or path.parent)
        try:
            draft.replace(path)
        except OSError:
            draft.unlink()
            raise
        sync_directory(path.parent)
    except OSError as error:
        raise DurableFileError(path, error) from None


def write_once(path: Path, content: bytes) -> None:
    """Makes a file of mode 0600 where there is none; durable when it returns.

    Raises:
        FileExistsError: something has this name already, and stays.
        DurableFileError: it could not be written.
    """
    try:
        draft = _written(path, content, _PRIVATE, path.parent)
        try:
            os.link(draft, path)  # unlike a rename, it never replaces
        finally:
            draft.unlink()
        sync_directory(path.parent)
    except FileExistsError as error:
        raise FileExistsError(error.errno, os_error_text(error), str(path)) from None
    except OSError as error:
        raise DurableFileError(path, error) from None


def sync(descriptor: int) -> None:
    """Returns when what was written is on the disk itself."""
    if hasattr(fcntl, "F_FULLFSYNC"):  # macOS: fsync stops at the drive's cache
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fsync(descriptor)


def sync_content(descriptor: int) -> None:
    """Like :func:`sync`, for a file whose length and place are unchanged, which may avoid a write of the journal."""
    if hasattr(os, "fdatasync"):
        os.fdatasync(descriptor)
    else:
        sync(descriptor)


def sync_directory(directory: Path) -> None:
    """Returns when the names in a folder are on the disk itself."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def _written(path: Path, content: bytes, mode: int, folder: Path) -> Path:
    draft = folder / f".{path.name}.{secrets.token_hex(8)}"
    # O_EXCL: whatever else has this name, such as a link that somebody put there, is an error and is not written to.
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            sync(descriptor)
    except OSError:
        draft.unlink()
        raise
    return draft
