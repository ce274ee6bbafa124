"""Interpreters that many computers have: the core's digest with each of them, told without having it.

`common_interpreters.toml` beside this holds the digest of each interpreter's own files, as measured by
`scripts/common_interpreters.py`. It says nothing of Casemate's code, so it stays as it is when that changes. It lies
outside the rooms that enclaves consist of: no runtime contains it.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

from casemate.chip.runtime_digest import INTERPRETER, part_digest
from casemate.wire.protocol.runtime_lock import CORE

FILE = "common_interpreters.toml"


@dataclass(frozen=True, slots=True)
class CommonInterpreter:
    """One build of CPython."""

    name: str
    """What a person knows it by."""
    platform: str
    """Its tag in runtime locks."""
    digest: bytes
    """SHA-256 over its files, as :func:`casemate.chip.runtime_digest.group_digest` takes it."""


def common_interpreters() -> tuple[CommonInterpreter, ...]:
    """The interpreters that this version of Casemate knows."""
    rows = tomllib.loads((resources.files(__package__) / FILE).read_text())["interpreter"]
    return tuple(CommonInterpreter(row["name"], row["platform"], bytes.fromhex(row["sha256"])) for row in rows)


def common_cores(platform: str, here: Mapping[str, bytes]) -> dict[str, bytes]:
    """By interpreter, the digest of the core that it has together with the packages and the Casemate that are here.

    Args:
        platform: this computer's tag. Packages differ between platforms, so interpreters of others are left out.
        here: the core's groups on this computer.
    """
    return {
        common.name: part_digest(CORE, {**here, INTERPRETER: common.digest})
        for common in common_interpreters()
        if common.platform == platform
    }
