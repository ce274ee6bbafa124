"""A root for guests whose engine is a program: below it are the libraries that the engine loads, and nothing else.

Landlock holds back who opens a file, not who asks whether there is one (stat, readlink, access). So code that has
escaped its engine could count the host's processes and learn of files. An empty root as Python's guests have it will
not do: their code is loaded before they enter it, and this engine is executed after that, by the loader.

The root is a folder in a temporary place, made once for all guests of a spawner:

    casemate-engine-root-XXXXXXXX/    mode 0700, locked (flock) as long as its spawner lives
        root/                         what guests see; folders can be passed through and not listed
            lib/...                   copies of the libraries
            proc/self/exe             a link that leads nowhere

The engine's binary is not there: it is executed by its descriptor. The engine asks where it lies (readlink, for Rust's
``current_exe``) once it loads a part of its own that guards imports, and panics where nothing answers: so the link.

A spawner that was killed leaves its folder behind; the lock is gone then, and the next start of the same user's removes
it.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from casemate.process.ownership import PlaceError, check_own_folder
from casemate.sandbox import linux
from casemate.sandbox.errors import UnavailableError
from casemate.sandbox.program import Program
from casemate.wire.errors import os_error_text

PREFIX = "casemate-engine-root-"
_ROOT = "root"
_EXECUTABLE = Path("proc", "self", "exe")
_FOLDER_MODE = 0o711
_FILE_MODE = 0o555
_SEPARATORS = frozenset(":;$")
"""Characters that no folder's name can have in LD_LIBRARY_PATH (ld.so(8))."""
_PLACES: tuple[str, ...] = ("/var/tmp", "/dev/shm")  # noqa: S108 - what is made there is checked
"""Where the root is made if the temporary folder will not do, for example since nothing there may be executed."""


@dataclass(frozen=True, slots=True)
class NoRoot:
    """There is no root for the guests, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class EngineRoot:
    """The root of a spawner's guests; the parent makes and removes it, each child enters it."""

    folder: Path
    lock: int
    """Descriptor of the folder; the lock is held as long as this process has it open."""
    root: int
    """Descriptor of the root; kept by a child until it has entered."""

    def enter(self) -> None:
        """Makes it the calling process's root and working directory; needs CAP_SYS_CHROOT, to be dropped after.

        Raises:
            UnavailableError: the process may not.
        """
        try:
            os.fchdir(self.root)
            os.chroot(".")
        except OSError as error:
            raise UnavailableError(f"chroot: {os_error_text(error)}") from None

    def remove(self) -> None:
        """Removes it; to be called once, when no process is left in it."""
        os.close(self.root)
        _remove(self.folder, self.lock)


def prepare_root(program: Program) -> EngineRoot | NoRoot:
    """Makes the root for a program, after removing those that killed spawners of this user's have left."""
    if not linux.IS_LINUX:
        return NoRoot("Linux alone has one")
    if any(_SEPARATORS.intersection(path) for path in program.libraries):
        return NoRoot("a library's path cannot be told to the loader")
    places = list(_places())
    for place in places:
        _remove_abandoned(place)
    reasons = []
    for place in places:
        try:
            return _make(place, program)
        except (OSError, PlaceError, UnavailableError) as error:
            reasons.append(f"{place}: {os_error_text(error) if isinstance(error, OSError) else error}")
    return NoRoot("; ".join(reasons))


def _places() -> Iterator[Path]:
    with contextlib.suppress(OSError):  # there is none that can be written to
        yield Path(tempfile.gettempdir())
    yield from map(Path, _PLACES)


def _make(place: Path, program: Program) -> EngineRoot:
    folder, lock = _new_folder(place)
    try:
        check_own_folder(folder, private=True)
        if os.fstatvfs(lock).f_flag & os.ST_NOEXEC:
            raise UnavailableError("nothing may be executed there (noexec)")
        (folder / _ROOT).mkdir()
        for library in program.libraries:
            _copy(library, folder / _ROOT)
        _link_executable(program, folder / _ROOT)
        for parent, _, _ in os.walk(folder / _ROOT):
            Path(parent).chmod(_FOLDER_MODE)
        root = os.open(folder / _ROOT, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except BaseException:
        _remove(folder, lock)
        raise
    return EngineRoot(folder, lock, root)


def _new_folder(place: Path, attempts: int = 8) -> tuple[Path, int]:
    """A new folder, and its descriptor, by which it is locked."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
    try:
        return folder, _lock(folder)
    except OSError:
        with contextlib.suppress(OSError):
            folder.rmdir()
        if attempts == 1:
            raise
    return _new_folder(place, attempts - 1)  # another spawner took it for abandoned before it was locked


def _copy(library: str, root: Path) -> None:
    """Copies a library to where the loader looks for it below the root; a link becomes what it leads to."""
    copy = root / os.path.normpath(library).lstrip("/")
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(library, copy)
    copy.chmod(_FILE_MODE)


def _link_executable(program: Program, root: Path) -> None:
    """Answers where the binary lies with a place below the root, where it is not."""
    link = root / _EXECUTABLE
    link.parent.mkdir(parents=True)
    link.symlink_to(Path("/", Path(program.path).name))


def _remove_abandoned(place: Path) -> None:
    """Removes folders of this user's that no process has locked. Those of other users are left alone."""
    try:
        names = os.listdir(place)  # noqa: PTH208 - names alone
    except OSError:
        return
    for name in names:
        if name.startswith(PREFIX):
            with contextlib.suppress(OSError):
                _remove(place / name, _lock(place / name))


def _lock(folder: Path) -> int:
    """Locks a folder of this user's; gives its descriptor.

    Raises:
        OSError: it is locked, another user's, no folder, or has been removed.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, f"{folder} is another user's")
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        folder.lstat()  # who removes it has the lock while doing so, and may have had it before
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _remove(folder: Path, lock: int) -> None:
    """Removes a locked folder, by its descriptor: whatever its path leads to by now stays as it is."""
    shutil.rmtree(_ROOT, ignore_errors=True, dir_fd=lock)
    with contextlib.suppress(OSError):
        folder.rmdir()
    os.close(lock)
