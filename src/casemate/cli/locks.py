"""Runtime locks as the command line reads them: of folders and images, and runtimes as colleagues tell of them."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from casemate.cli.file_kinds import FileKind, WrongKindError, wrong_kind
from casemate.cli.files import InputFileError, TooLongFileError, read_file
from casemate.cli.images import PlatformRuntime, image_of, is_source, source_manifest
from casemate.cli.output import Document, Screen, printable
from casemate.wire.encodings.json_object import parse_object
from casemate.wire.errors import WireError
from casemate.wire.protocol.runtime_lock import (
    CORE,
    DIGEST_SIZE,
    Record,
    Runtime,
    RuntimeLock,
    RuntimePart,
    used,
)

MAX_TOLD = 1 << 20
"""Longest file that `casemate lock show --json` may have printed (bytes): it holds whole locks, too."""

THIS_COMPUTER = "this computer"
"""Whose runtime it is, where it is that of the computer that runs this."""

ASK = "have `casemate lock show --json > FILE` run on the other computer, and give its FILE with --from"
"""What to do about a file that does not tell of a colleague's runtime."""

SHORTEST_DIGEST = 8
"""Fewest hexadecimal digits that name a digest."""

_GROUPS = {
    "interpreter": "another interpreter",
    "packages": "other packages",
    "casemate": "other code of Casemate's",
}
"""The groups that a core's digest is over; packages and interpreters of other platforms always differ."""

_MAX_LOCKS = 4096
_SHOWN_DIGITS = 16


class LockWordError(InputFileError):
    """What is to be dropped from a lock is not in it, or could be several things."""


class LackingRuntimeError(InputFileError):
    """A runtime has no part for the engine that a folder's code runs on."""

    advice = (
        "`casemate doctor` there says which engines that computer lacks; where its Casemate is older, bring it up to "
        "date, and have its runtime printed anew"
    )


@dataclass(frozen=True, slots=True)
class Locked:
    """A folder's or an image's lock, and the engine that its code runs on."""

    path: Path
    engine: str
    lock: RuntimeLock


@dataclass(frozen=True, slots=True)
class ToldRuntime:
    """The runtime of a computer, as `casemate lock show --json` tells of it there."""

    platform: str
    parts: Runtime
    core_groups: Mapping[str, bytes]
    """What the core's digest is over, by group; see :class:`casemate.cli.images.PlatformRuntime`."""


def locked(path: Path, screen: Screen) -> Locked:
    """The lock of a folder to build, or of an image that was built; an empty one where a folder has none yet.

    Raises:
        WireError: a lock, manifest or image is malformed.
        FolderError, ImageFileError: it is neither, or cannot be read.
    """
    if is_source(path):
        from casemate.images.lock import read_lock

        return Locked(path, source_manifest(path).engine, read_lock(path))
    contents = image_of(path, screen).contents()
    return Locked(path, contents.manifest.engine, contents.lock)


def source_lock(folder: Path) -> Locked:
    """The lock of a folder to build, which can be changed; FolderError where it is not one."""
    from casemate.images.errors import FolderError
    from casemate.images.lock import read_lock

    if not is_source(folder):
        raise FolderError(f"{folder} holds no casemate.toml: locks belong to folders that are built")
    return Locked(folder, source_manifest(folder).engine, read_lock(folder))


def runtime_document(here: PlatformRuntime) -> Document:
    """This computer's runtime, for ``--json``; :func:`parse_told` reads it elsewhere."""
    return {
        "casemate": version("casemate"),
        "python": ".".join(map(str, sys.version_info[:3])),
        "platform": here.platform,
        "parts": {part.component: part.digest.hex() for part in here.parts},
        "core_groups": {name: digest.hex() for name, digest in here.core_groups.items()},
    }


def read_told(path: Path) -> ToldRuntime:
    """The runtime in a file that a colleague's `casemate lock show --json` has printed.

    Raises:
        InputFileError: the file cannot be read, or is recognisably of another kind.
        WireError: it holds something else.
    """
    try:
        data = read_file(path, what="runtime", limit=MAX_TOLD)
    except TooLongFileError as error:
        raise _wrong_kind(error.start, path) or error from None
    try:
        return parse_told(f"runtime {path}", data)
    except WireError as error:
        versions = _versions(data)
        other = _wrong_kind(data, path)
        if other is None or versions:
            error.advice = versions + ASK
            raise
        raise other from None


def _wrong_kind(data: bytes, path: Path) -> WrongKindError | None:
    """The error for what is recognisably another kind of file; None where it is not."""
    other = wrong_kind(data, path, what="runtime", wanted=frozenset({FileKind.TOLD_RUNTIME}))
    return other and WrongKindError(str(other), "; ".join(filter(None, (other.advice, ASK))))


def _versions(told: bytes) -> str:
    """What to do about another version of Casemate that told of a runtime; empty where it is this one, or none."""
    mine = version("casemate")
    try:
        theirs = parse_object("runtime", told, limit=MAX_TOLD).child("runtime").text("casemate")
    except WireError:
        return ""
    there = f"Casemate is {printable(theirs)[:_SHOWN_DIGITS]} there and {mine} here: bring both to one version, then "
    return "" if theirs == mine else there


def parse_told(what: str, data: bytes) -> ToldRuntime:
    """The runtime that a document of `casemate lock show --json` tells of; WireError where it is another document."""
    document = parse_object(what, data, limit=MAX_TOLD)
    document.only("runtime", "locks")
    document.children("locks", limit=_MAX_LOCKS)
    told = document.child("runtime")
    told.only("casemate", "python", "platform", "parts", "core_groups")
    platform, parts, groups = told.text("platform"), told.child("parts"), told.child("core_groups")
    runtime = tuple(RuntimePart(name, parts.hexadecimal(name, DIGEST_SIZE)) for name in sorted(parts.names()))
    RuntimeLock().accepting(platform, runtime)  # refuses names that no lock can have
    return ToldRuntime(platform, runtime, {name: groups.hexadecimal(name, DIGEST_SIZE) for name in groups.names()})


def differences(theirs: ToldRuntime, here: PlatformRuntime) -> Iterator[str]:
    """In what another computer's core differs from the one here, as far as the two can be compared."""
    for group, words in _GROUPS.items():
        comparable = group == "casemate" or theirs.platform == here.platform
        if comparable and theirs.core_groups.get(group) != here.core_groups.get(group):
            yield f"has {words} than {THIS_COMPUTER}"


def needed(parts: Runtime, engine: str, *, where: str) -> Runtime:
    """The parts that an image with that engine has to be locked to; LackingRuntimeError where one is missing."""
    found = used(parts, engine)
    if {part.component for part in found} != {CORE, engine}:
        has = ", ".join(part.component for part in parts) or "nothing"
        raise LackingRuntimeError(f"{where} has {has}, the folder wants {CORE} and {engine}")
    return found


def common_runtime(here: PlatformRuntime, engine: str) -> Runtime:
    """The core with each common interpreter, and that engine as it is here; nothing where none is known."""
    if not here.common:
        return ()
    engines = [part for part in needed(here.parts, engine, where=THIS_COMPUTER) if part.component != CORE]
    return (*(RuntimePart(CORE, core) for core in here.common.values()), *engines)


def matching(lock: RuntimeLock, word: str) -> tuple[Record, ...]:
    """The records that a platform's tag, or the first digits of one digest, names.

    Raises:
        LockWordError: there is none, or the digits begin several digests.
    """
    records = tuple(record for record in lock.records if record.platform == word)
    if records:
        return records
    if len(word) < SHORTEST_DIGEST or not set(word.lower()) <= set("0123456789abcdef"):
        raise LockWordError(
            f"{word[:80]!r} is in no line of casemate.lock, want a platform that it names or at least "
            f"{SHORTEST_DIGEST} digits of a digest"
        )
    records = tuple(record for record in lock.records if record.digest.hex().startswith(word.lower()))
    if len({record.digest for record in records}) != 1:
        said = f"begins {len(records)} digests of casemate.lock: give more digits" if records else "begins no digest"
        raise LockWordError(f"{word[:80]} {said}" + ("" if records else " of casemate.lock"))
    return records


def owner(record: Record, here: PlatformRuntime) -> str:
    """Whose runtime a record is of, as far as this computer can tell; empty where it cannot."""
    if record.platform != here.platform:
        return ""
    mine = any((part.component, part.digest) == (record.component, record.digest) for part in here.parts)
    names = [name for name, core in here.common.items() if (record.component, record.digest) == (CORE, core)]
    return "; ".join([*([THIS_COMPUTER] if mine else []), *names])


def problems(of: Locked, here: PlatformRuntime) -> Iterator[str]:
    """What keeps this computer, or every computer of a platform that is listed, from running it."""
    for part in needed(here.parts, of.engine, where=THIS_COMPUTER):
        accepted = of.lock.digests(part.component, here.platform)
        if part.digest not in accepted:
            yield (
                f"{part.component} of {THIS_COMPUTER} ({here.platform}) is {short(part.digest)}, the lock accepts "
                f"{' or '.join(map(short, accepted)) or 'none'}: `casemate lock add DIR` accepts it, too"
            )
    for platform in of.lock.platforms():
        for component in (CORE, of.engine):
            if not of.lock.digests(component, platform):
                yield (
                    f"{platform} has no line for {component}, so no computer of that platform runs it: add the runtime "
                    f"of one (`casemate lock add DIR --from FILE`), or `casemate lock drop DIR {platform}`"
                )
    yield from _unbuilt(of)


def _unbuilt(of: Locked) -> Iterator[str]:
    """Says so where the image beside a folder's lock was built with another one."""
    from casemate.images.image import SGXS_SUFFIX, read_image

    if not is_source(of.path):
        return
    name = source_manifest(of.path).name
    if (of.path / f"{name}{SGXS_SUFFIX}").exists() and read_image(of.path / name).contents().lock != of.lock:
        yield f"{name}{SGXS_SUFFIX} beside it was built with another lock: `casemate build DIR` makes it anew"


def short(digest: bytes) -> str:
    """A digest's first digits, for people."""
    return f"{digest.hex()[:_SHOWN_DIGITS]}..."
