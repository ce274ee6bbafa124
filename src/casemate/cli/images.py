"""Images as the command line names them: a folder to build, or the files of one that was built."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from casemate.cli.output import Screen
from casemate.process.extras import check_extra
from casemate.wire.errors import CasemateError, WireError
from casemate.wire.protocol.runtime_lock import Runtime, RuntimeLock, RuntimeLockError, RuntimePart, used

if TYPE_CHECKING:
    from casemate.client.local import LocalMachine
    from casemate.images.image import Image
    from casemate.images.keys import DeveloperKey
    from casemate.wire.protocol.manifest import Engine, Manifest

MANIFEST = "casemate.toml"

EPOCH_VARIABLE = "SOURCE_DATE_EPOCH"
"""See reproducible-builds.org/specs/source-date-epoch."""

DIGEST_TIMEOUT = 120.0
"""Longest wait for the runtime's digest (seconds): the first time, some hundred MiB are copied and hashed."""

_SECONDS_A_DAY = 86_400


class StaleLockError(CasemateError):
    """casemate.lock does not name the runtime that this computer would run the image with."""


class RuntimeDigestError(CasemateError):
    """The chip's program did not say which runtime it would run."""


@dataclass(frozen=True, slots=True)
class PlatformRuntime:
    """The runtime that this computer would run enclaves with."""

    platform: str
    parts: Runtime
    copy: str
    """The folder that holds it."""
    core_groups: Mapping[str, bytes] = field(default_factory=dict)
    """What the core's digest is over: the digests of the interpreter, of the packages, of Casemate's own files."""
    common: Mapping[str, bytes] = field(default_factory=dict)
    """The core's digest with each common interpreter of this platform, by the interpreter's name."""


def is_source(path: Path) -> bool:
    """Whether ``path`` is a folder to build."""
    return path.is_dir() and (path / MANIFEST).exists()


def image_of(target: Path, screen: Screen, *, key: Path | None = None) -> "Image":
    """The image in a file, or the one that a folder and its lock build. Writes nothing but a new developer's key.

    Args:
        target: a folder with a manifest, or an image's file.
        screen: told of a new developer's key.
        key: the developer's key file; None for the user's own.

    Raises:
        WireError: a file is malformed; better said here than by a chip.
    """
    if is_source(target):
        from casemate.images.functions.build import build

        return build(target, developer_key(key, screen), epoch=build_time()[0])
    from casemate.images.errors import ImageFileError
    from casemate.images.image import read_image

    try:
        image = read_image(target)
        image.parse_sigstruct()
        image.parse_sgxs()
    except (ImageFileError, WireError) as error:
        raise _another_kind(target) or error from None
    return image


def _another_kind(target: Path) -> CasemateError | None:
    """The error for a file that is recognisably not an image; None where it is not recognised."""
    from casemate.cli.file_kinds import FileKind, wrong_kind
    from casemate.cli.files import InputFileError, TooLongFileError, read_file
    from casemate.wire.messages.chip import MAX_SGXS

    try:
        data = read_file(target, what="image", limit=MAX_SGXS)
    except TooLongFileError as error:
        data = error.start
    except InputFileError:
        return None
    return wrong_kind(data, target, what="image", wanted=frozenset({FileKind.SGXS, FileKind.SIGSTRUCT}))


def developer_key(path: Path | None, screen: Screen) -> "DeveloperKey":
    """The key in the file that the user named, or the user's own, which is made on first use."""
    from casemate.cli.developer_key_file import default_key_path, load_key, load_or_create_key

    if path is not None:
        return load_key(path)
    path = default_key_path(os.environ)
    if not os.path.lexists(path):
        screen.note(
            f"made a developer's key: {path}. Keep it: whoever has it can sign your next version.", style="yellow"
        )
    return load_or_create_key(path)


def build_time() -> tuple[int, str]:
    """The time that goes into SIGSTRUCT's date (seconds since 1970, UTC), and where it is from."""
    given = os.environ.get(EPOCH_VARIABLE)
    if given is None:
        now = int(time.time())
        return now - now % _SECONDS_A_DAY, "today, UTC"
    if not given.isascii() or not given.isdigit():
        from casemate.images.errors import BuildTimeError

        raise BuildTimeError(f"{EPOCH_VARIABLE} is {given[:80]!r}, want seconds since 1970 in digits")
    return int(given[:20]), EPOCH_VARIABLE


def runtime() -> PlatformRuntime:
    """The runtime that the chip's program would run enclaves with, asked in a process of its own."""
    check_extra("machine", "the runtime of enclaves")
    command = [sys.executable, "-I", "-m", "casemate.chip", "runtime-digest"]
    try:
        asked = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=DIGEST_TIMEOUT, check=True
        )
        said = json.loads(asked.stdout)
        parts = tuple(RuntimePart(name, bytes.fromhex(digest)) for name, digest in said["runtime"].items())
        groups, common = (
            {str(name): bytes.fromhex(digest) for name, digest in said[member].items()}
            for member in ("core_groups", "common")
        )
        return PlatformRuntime(str(said["platform"]), parts, str(said["copy"]), groups, common)
    except subprocess.TimeoutExpired:
        raise RuntimeDigestError(f"the runtime's digests did not come within {DIGEST_TIMEOUT:g} s") from None
    except subprocess.CalledProcessError as error:
        complaint = error.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise RuntimeDigestError(f"the runtime's digests cannot be told: {' '.join(complaint)[:1000]}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise RuntimeDigestError(
            "the runtime's digests: got other words, want JSON {platform, runtime, copy, core_groups, common}"
        ) from None


def source_manifest(folder: Path) -> "Manifest":
    """The manifest of a folder to build.

    Raises:
        FolderError: a file is missing or cannot be measured, or all of them are too large.
        ManifestError: casemate.toml or a schema that it names is not as it has to be.
    """
    from casemate.images.functions.folder import measured_files
    from casemate.wire.protocol.manifest_text import parse_manifest

    files = measured_files(folder)
    return parse_manifest(files[MANIFEST], files.get)


def lock(folder: Path, screen: Screen, *, relock: bool, machine: "LocalMachine | None" = None) -> None:
    """Makes casemate.lock accept this computer's runtime: the core, and the engine that the folder's manifest names.

    A missing lock is written. One that accepts another runtime, or not this platform, stays as it is unless ``relock``
    says so, since MRENCLAVE changes with it. Then this platform's records are replaced: an older runtime is not
    accepted any longer. A lock that cannot be read, such as one of an earlier version, is replaced whole.

    Args:
        folder: to build.
        screen: told of what is written.
        relock: replace what a lock accepts.
        machine: one that was just started on this computer, and so knows its runtime. Otherwise, the chip's program is
            asked, which takes a third of a second.

    Raises:
        StaleLockError: it would have to change.
        RuntimeLockError: it cannot be read, and ``relock`` is not given.
    """
    from casemate.images.lock import read_lock, write_lock

    engine = source_manifest(folder).engine
    try:
        known = read_lock(folder)
    except RuntimeLockError as error:
        if not relock:
            raise
        known = RuntimeLock()
        screen.note(f"casemate.lock was {error.got}: it is written anew, for this platform alone", style="yellow")
    platform, parts = _runtime_here() if machine is None else (machine.status.platform, machine.status.runtime)
    wanted = used(parts, engine)
    stale = [part for part in wanted if part.digest not in known.digests(part.component, platform)]
    renewed = known.with_runtime(platform, wanted)
    if renewed == known or not (stale or relock):
        return
    if known.records and not relock:
        raise StaleLockError(
            f"casemate.lock accepts {_accepted(known, stale[0].component, platform)} as {stale[0].component} for "
            f"{platform}, this computer runs {stale[0].digest.hex()}"
        )
    write_lock(folder, renewed)
    named = ", ".join(f"{part.component} {part.digest.hex()[:16]}..." for part in wanted)
    screen.note(f"casemate.lock now names this runtime for {platform}: {named}")


def own_lock(engine: "Engine", *, machine: "LocalMachine | None" = None) -> RuntimeLock:
    """A lock of this computer's runtime alone, for a copy of a folder that stays here; nothing is written.

    Args:
        engine: the function's.
        machine: as for :func:`lock`.
    """
    platform, parts = _runtime_here() if machine is None else (machine.status.platform, machine.status.runtime)
    return RuntimeLock().with_runtime(platform, used(parts, engine))


def _runtime_here() -> tuple[str, Runtime]:
    here = runtime()
    return here.platform, here.parts


def _accepted(lock: RuntimeLock, component: str, platform: str) -> str:
    """The digests that a lock accepts, shortened to one line."""
    digests = lock.digests(component, platform)
    if not digests:
        return "nothing"
    return digests[0].hex() + (f" and {len(digests) - 1} more" if digests[1:] else "")
