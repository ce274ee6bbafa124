"""Images as the command line names them: a folder to build, or the files of one that was built."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from casemate.cli.output import Screen
from casemate.wire.errors import CasemateError

if TYPE_CHECKING:
    from casemate.images.image import Image
    from casemate.images.keys import DeveloperKey

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
class Runtime:
    """The runtime that this computer would run enclaves with."""

    platform: str
    digest: bytes


def is_source(path: Path) -> bool:
    """Whether ``path`` is a folder to build."""
    return path.is_dir() and (path / MANIFEST).exists()


def image_of(target: Path, screen: Screen, *, key: Path | None = None) -> "Image":
    """The image in files, or the one that a folder makes with the lock that it has; nothing is written but a new key.

    Args:
        target: a folder with a manifest, or an image's file.
        screen: told of a new developer's key.
        key: the developer's key file; None for the user's own.

    Raises:
        WireError: a file is malformed; better said here than by a chip.
    """
    if is_source(target):
        from casemate.images.build import build

        return build(target, developer_key(key, screen), epoch=build_time()[0])
    from casemate.images.image import read_image

    image = read_image(target)
    image.parse_sigstruct()
    image.parse_sgxs()
    return image


def developer_key(path: Path | None, screen: Screen) -> "DeveloperKey":
    """The key in the file that the user named, or the user's own, which is made on first use."""
    from casemate.images.keys import default_key_path, load_key, load_or_create_key

    if path is not None:
        return load_key(path)
    path = default_key_path(os.environ)
    if not os.path.lexists(path):
        screen.say(
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


def runtime() -> Runtime:
    """What the chip's program, asked in a process of its own, would run enclaves with."""
    command = [sys.executable, "-I", "-m", "casemate.chip", "runtime-digest"]
    try:
        asked = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=DIGEST_TIMEOUT, check=True
        )
        said = json.loads(asked.stdout)
        return Runtime(str(said["platform"]), bytes.fromhex(said["digest"]))
    except subprocess.TimeoutExpired:
        raise RuntimeDigestError(f"the runtime's digest did not come within {DIGEST_TIMEOUT:g} s") from None
    except subprocess.CalledProcessError as error:
        complaint = error.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise RuntimeDigestError(f"the runtime's digest cannot be told: {' '.join(complaint)[:1000]}") from None
    except (ValueError, KeyError, TypeError):
        raise RuntimeDigestError("the runtime's digest: got other words, want JSON {platform, digest}") from None


def lock(folder: Path, screen: Screen, *, relock: bool) -> None:
    """Sees to it that casemate.lock names this computer's runtime.

    A missing lock is written. One that names another runtime, or not this platform, stays as it is unless ``relock``
    says so, since MRENCLAVE changes with it.

    Raises:
        StaleLockError: it would have to change.
    """
    from casemate.images.lock import read_lock, write_lock

    here = runtime()
    known = read_lock(folder)
    locked = dict(known.digests).get(here.platform)
    if locked == here.digest:
        return
    if known.digests and not relock:
        got = f"names {locked.hex()}" if locked is not None else "names no runtime"
        raise StaleLockError(f"casemate.lock {got} for {here.platform}, this computer runs {here.digest.hex()}")
    write_lock(folder, known.with_digest(here.platform, here.digest))
    screen.say(f"casemate.lock now names the runtime {here.digest.hex()[:16]}... for {here.platform}")
