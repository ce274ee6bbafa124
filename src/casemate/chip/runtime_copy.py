"""The chip's own copy of the runtime: kept by content hash, hashed again at each start, made anew where it was touched.

The digest is of the files that enclaves really run on, so EINIT can hold an image's runtime lock against it. Copies are
shared between machines of one user and lie where every user can read them. Who runs as the same user can change a copy
after it was hashed; where Casemate runs as root, nobody else is that user.
"""

import contextlib
import hashlib
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from casemate.chip.errors import RuntimeCopyError
from casemate.chip.interpreter_files import SourceFile
from casemate.chip.runtime import HOLDS, PYTHON, RuntimeCopy, loader_environment, unused
from casemate.chip.runtime_digest import MeasuredFile, copy_name, measure
from casemate.process.ownership import PlaceError, check_own_folder, check_way
from casemate.wire.errors import os_error_text
from casemate.wire.protocol.runtime_lock import Runtime

SYSTEM_ROOT = Path("/var/cache/casemate/runtime")
KEPT_COPIES = 3
"""Copies that stay when a new one is made, the most recently used ones: each takes some 170 MB."""

LEFTOVER_AGE = 3600.0
"""Seconds after which an unfinished copy is taken to be left over from an interrupted start."""

HINTS = "hints"
COMPILED = "compiled"
PROBE_TIME = 20.0
"""Seconds that a new copy's interpreter may take to say where it found itself."""

_HINT_LABEL = b"casemate runtime hint v3\x00"
_CHUNK = 1 << 20
_THREADS = 4
_FOLDER_MODE, _FILE_MODE, _PROGRAM_MODE = 0o755, 0o444, 0o555
_OTHERS_WRITE = 0o022
_DIGEST_LENGTH = 64
T = TypeVar("T")
_NEW, _OLD = ".new-", ".old-"

_PROBE = """
import sys
paths = [sys.executable, sys.prefix, sys.exec_prefix, *sys.path]
try:
    with open("/proc/self/maps") as maps:
        paths += [line.split(None, 5)[5].rstrip() for line in maps if "libpython" in line]
except OSError:
    pass
print(*paths, sep="\\0", end="")
"""


def prepare_runtime(sources: Sequence[SourceFile], root: Path) -> RuntimeCopy:
    """The copy of these files below ``root``: found and verified, or made.

    Raises:
        RuntimeCopyError: it can be neither, or its interpreter would not stay inside it.
    """
    try:
        hint = _hint_file(sources, root)
        known = _read_hint(hint)
        if known is not None:
            with contextlib.suppress(RuntimeCopyError):  # missing or touched: made anew below
                with contextlib.suppress(OSError):  # gone, or another user's: verifying says so
                    os.utime(root / known)  # marks it as recently used, so that no other chip removes it meanwhile
                copy = RuntimeCopy(root / known, verify_copy(root / known), rebuilt=False)
                check_confined(copy.directory)
                return copy
        copy = _make(sources, root)
        _write_hint(hint, copy.directory.name)
        _forget_old(root, keep=copy.directory)
    except OSError as error:
        raise RuntimeCopyError(f"the runtime cannot be copied to {root}: {error}") from None
    return copy


def verify_copy(directory: Path) -> Runtime:
    """The digests of what lies in ``directory`` now, which must be the ones that name it.

    Raises:
        RuntimeCopyError: it is another, or the folder holds what no copy has.
    """
    try:
        parts = measure(hash_copy(directory)).parts
    except OSError as error:
        raise RuntimeCopyError(f"{directory} cannot be read: {os_error_text(error)}") from None
    if (name := copy_name(parts)) != directory.name:
        raise RuntimeCopyError(f"{directory} holds other files than its name says: digest {name}")
    return parts


def compiled_folder(directory: Path) -> Path:
    """Where the chip keeps compiled modules for the copy in ``directory``: beside it, for this user alone."""
    folder = directory.parent / COMPILED / directory.name
    try:
        for path in (folder.parent, folder):
            path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise RuntimeCopyError(f"{folder} cannot be made: {os_error_text(error)}") from None
    return folder


def cache_root() -> Path:
    """Where copies are kept: for all users where this is root, else in the user's cache.

    Raises:
        RuntimeCopyError: neither can be used.
    """
    refusals = []
    for root in _candidates():
        try:
            check_way(root)  # before anything is made there
            root.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
            check_own_folder(root)
        except PlaceError as error:
            refusals.append(str(error))
            continue
        except OSError as error:
            refusals.append(f"{root}: {os_error_text(error)}")
            continue
        if os.access(root, os.W_OK):
            return root
        refusals.append(f"{root} cannot be written to")
    raise RuntimeCopyError(f"no folder for the runtime's copy that this user alone can write to: {'; '.join(refusals)}")


def _candidates() -> Iterator[Path]:
    if os.geteuid() == 0:
        yield SYSTEM_ROOT
    named = os.environ.get("XDG_CACHE_HOME", "")
    home = Path(os.environ.get("HOME") or pwd.getpwuid(os.geteuid()).pw_dir)
    yield (Path(named) if os.path.isabs(named) else home / ".cache") / "casemate" / "runtime"  # noqa: PTH117 - of ""


def _make(sources: Sequence[SourceFile], root: Path) -> RuntimeCopy:
    fresh = Path(tempfile.mkdtemp(prefix=_NEW, dir=root))
    try:
        parts = measure(_copy_all(sources, fresh)).parts
        target = root / copy_name(parts)
        if target.exists():
            try:
                verify_copy(target)
            except RuntimeCopyError:
                target.rename(root / fresh.name.replace(_NEW, _OLD))
        try:
            fresh.rename(target)
        except OSError:
            if not target.exists():  # else another chip was faster, or it has been there all the time
                raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    verify_copy(target)
    check_confined(target)
    return RuntimeCopy(target, parts, rebuilt=True)


def check_confined(directory: Path) -> None:
    """Starts the copy's interpreter, and refuses one that finds its modules or its library anywhere else."""
    command = [str(directory / PYTHON), "-I", "-S", "-B", "-c", _PROBE]
    try:
        answer = subprocess.run(
            command,
            env=loader_environment(directory),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROBE_TIME,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        words = getattr(error, "stderr", None) or b""
        raise RuntimeCopyError(
            f"the interpreter copied to {directory} does not start ({error}; {words[-500:].decode('utf-8', 'replace')})"
        ) from None
    inside = f"{directory.resolve()}/"
    for path in answer.stdout.decode("utf-8", "replace").split("\0"):
        if not f"{os.path.realpath(path)}/".startswith(inside):
            raise RuntimeCopyError(
                f"the interpreter copied to {directory} reaches outside for {path}: run Casemate with another build of "
                "Python, such as the distribution's, uv's or pyenv's"
            )


def _copy_all(sources: Sequence[SourceFile], fresh: Path) -> list[MeasuredFile]:
    folders = {folder for file in sources for folder in (fresh / file.path).parents if fresh in folder.parents}
    for folder in sorted(folders):
        folder.mkdir()
    for folder in (fresh, *folders):
        folder.chmod(_FOLDER_MODE)

    def copy(file: SourceFile) -> MeasuredFile:
        digest = hashlib.sha256()
        mode = _PROGRAM_MODE if file.executable else _FILE_MODE
        with file.source.open("rb") as reader, (fresh / file.path).open("xb") as writer:
            while chunk := reader.read(_CHUNK):
                digest.update(chunk)
                writer.write(chunk)
            os.fchmod(writer.fileno(), mode)
        return MeasuredFile(file.path, file.executable, digest.digest())

    return _in_parallel(copy, sources)


def _in_parallel(work: Callable[[T], MeasuredFile], items: Sequence[T]) -> list[MeasuredFile]:
    """Results in the order of the items; threads help, since hashing and copying release the interpreter's lock."""
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(work, items))


def _files_of(directory: Path) -> Iterator[tuple[str, bool]]:
    """Each file's path and whether it is executable; refuses links and files that others may write to."""
    owners = {0, os.geteuid()}
    for folder, folders, files in os.walk(directory):
        for name in (*folders, *files, "."):
            path = Path(folder, name)
            status = path.lstat()
            plain = stat.S_ISDIR(status.st_mode) or (stat.S_ISREG(status.st_mode) and status.st_nlink == 1)
            if not plain or status.st_uid not in owners or status.st_mode & _OTHERS_WRITE:
                raise RuntimeCopyError(f"{path} is a link, or others may write to it")
            if stat.S_ISREG(status.st_mode):
                yield path.relative_to(directory).as_posix(), bool(status.st_mode & stat.S_IXUSR)


def hash_copy(directory: Path) -> list[MeasuredFile]:
    """Each file that lies in ``directory`` now; RuntimeCopyError where others could change one."""

    def hashed(file: tuple[str, bool]) -> MeasuredFile:
        path, executable = file
        with (directory / path).open("rb", buffering=0) as content:
            return MeasuredFile(path, executable, hashlib.file_digest(content, "sha256").digest())

    return _in_parallel(hashed, list(_files_of(directory)))


def _hint_file(sources: Sequence[SourceFile], root: Path) -> Path:
    """A file that remembers these sources' digest by their sizes and times, so that they are not hashed at each start.

    A wrong note does no harm: a copy's digest is always taken of the copy itself.
    """
    digest = hashlib.sha256(_HINT_LABEL)
    for file in sources:
        status = file.source.stat()
        fields = (file.path, file.executable, file.source, status.st_size, status.st_mtime_ns, status.st_ino)
        digest.update(repr(fields).encode("utf-8", "surrogateescape"))
    return root / HINTS / digest.hexdigest()


def _read_hint(hint: Path) -> str | None:
    try:
        text = hint.read_text("ascii")
    except (OSError, UnicodeDecodeError):
        return None
    return text if _is_digest(text) else None


def _write_hint(hint: Path, digest: str) -> None:
    hint.parent.mkdir(exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=hint.parent, prefix=_NEW, delete=False) as file:
        file.write(digest)
    Path(file.name).replace(hint)


def _is_digest(name: str) -> bool:
    return len(name) == _DIGEST_LENGTH and set(name) <= set("0123456789abcdef")


def _forget_old(root: Path, *, keep: Path) -> None:
    """Removes the least recently used copies that no chip runs on, and what interrupted starts have left."""
    copies = sorted((path for path in root.iterdir() if _is_digest(path.name) and path != keep), key=_last_used)
    for path in copies[: -(KEPT_COPIES - 1)]:
        with unused(path) as is_unused:
            if is_unused:
                with contextlib.suppress(FileNotFoundError):  # another chip tidies up at the same time
                    path.rename(aside := root / f"{_OLD}{path.name}")
                    shutil.rmtree(aside, ignore_errors=True)
                shutil.rmtree(root / COMPILED / path.name, ignore_errors=True)
                (root / HOLDS / path.name).unlink(missing_ok=True)
    for path in root.iterdir():
        if path.name.startswith((_NEW, _OLD)) and time.time() - _last_used(path) > LEFTOVER_AGE:
            shutil.rmtree(path, ignore_errors=True)
    for hint in (root / HINTS).iterdir():
        if not (root / (_read_hint(hint) or HINTS)).is_dir() or hint.name.startswith(_NEW):
            hint.unlink(missing_ok=True)


def _last_used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
