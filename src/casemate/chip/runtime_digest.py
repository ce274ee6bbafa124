"""The digests of a runtime: of each of its parts, and within a part of each group of files.

A part's digest is over the digests of its groups. So the core that the same Casemate has with another interpreter can
be told without that interpreter: by exchanging the digest of one group.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from casemate.chip.runtime import component_of
from casemate.chip.runtime_sources import MODULES, PACKAGES
from casemate.wire.protocol.runtime_lock import CORE, Runtime, RuntimePart

INTERPRETER = "interpreter"
"""The group of files that :mod:`casemate.chip.interpreter_files` lists."""
_PACKAGES = "packages"
_OWN = "casemate"

_LABEL = b"casemate runtime v3\x00"
_IN_LIBRARY = 2
"""Folders above what stands in the library folder: ``lib/python3.11/NAME``."""


@dataclass(frozen=True, slots=True)
class MeasuredFile:
    """A file of a runtime, as its digest knows it."""

    path: str
    """The file's path in the copy."""
    executable: bool
    sha256: bytes


@dataclass(frozen=True, slots=True)
class MeasuredRuntime:
    """All digests of a runtime."""

    parts: Runtime
    core_groups: Mapping[str, bytes]
    """The digests that the core's is over, by group."""


def measure(files: Iterable[MeasuredFile]) -> MeasuredRuntime:
    """The digests of a runtime that consists of these files, in whatever order."""
    members: dict[str, dict[str, list[MeasuredFile]]] = {}
    for file in files:
        groups = members.setdefault(component_of(file.path), {})
        groups.setdefault(group_of(file.path), []).append(file)
    digests = {
        component: {group: group_digest(group, of) for group, of in groups.items()}
        for component, groups in members.items()
    }
    parts = tuple(RuntimePart(component, part_digest(component, of)) for component, of in sorted(digests.items()))
    return MeasuredRuntime(parts, digests.get(CORE, {}))


def group_of(path: str) -> str:
    """The group of a file in the copy: of Casemate's own, of the packages, or of the interpreter's."""
    folders = path.split("/")
    name = folders[_IN_LIBRARY] if len(folders) > _IN_LIBRARY else ""
    if name == _OWN:
        return _OWN
    stem = name.partition(".")[0]
    return _PACKAGES if stem in PACKAGES or stem in MODULES or name == "cffi.libs" else INTERPRETER


def group_digest(group: str, files: Iterable[MeasuredFile]) -> bytes:
    """SHA-256 over the paths, modes and hashes of a group's files."""
    digest = hashlib.sha256(_LABEL + group.encode() + b"\x00")
    for file in sorted(files, key=lambda file: file.path.encode()):
        path = file.path.encode()
        digest.update(len(path).to_bytes(4, "little") + path + bytes((file.executable,)) + file.sha256)
    return digest.digest()


def part_digest(component: str, groups: Mapping[str, bytes]) -> bytes:
    """SHA-256 over the digests of a part's groups, which a runtime lock names."""
    digest = hashlib.sha256(_LABEL + component.encode() + b"\x00")
    for group, of in sorted(groups.items()):
        digest.update(group.encode() + b"\x00" + of)
    return digest.digest()


def copy_name(parts: Runtime) -> str:
    """The name of the folder that holds a copy of these parts: the digest of their digests."""
    digest = hashlib.sha256(_LABEL)
    for part in parts:
        digest.update(part.component.encode() + b"\x00" + part.digest)
    return digest.hexdigest()
