"""casemate.lock: the runtime that each platform must run an image with, measured with the image.

Example:
    [runtime]
    linux-x86_64-cp311 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
"""

import re
from dataclasses import dataclass
from typing import Self

from casemate.wire.errors import WireError
from casemate.wire.toml_text import parse_toml

MAX_LOCK = 64 * 1024
"""Longest lock file (bytes): some hundred platforms."""

_TAG = re.compile(r"[a-z0-9]+(?:[-_][a-z0-9]+){2,7}", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
_HEAD = """\
# The runtime that each platform runs this image with: SHA-256 over its files. Measured into the image.
# Written by `casemate build`; `casemate build --relock` writes this platform's line anew.
[runtime]
"""


def platform_tag(system: str, machine: str, version: tuple[int, int]) -> str:
    """A platform's name in the lock.

    Args:
        system: ``sys.platform``.
        machine: ``os.uname().machine``; Windows' and macOS' names for a processor become Linux's.
        version: of CPython, ``sys.version_info[:2]``.
    """
    machine = machine.lower()
    return f"{system.lower()}-{_MACHINES.get(machine, machine)}-cp{version[0]}{version[1]}"


@dataclass(frozen=True, slots=True)
class RuntimeLock:
    """Platform tags with their runtime digests, in the order of the tags."""

    digests: tuple[tuple[str, bytes], ...]

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """From the lock file's bytes."""
        document = parse_toml("casemate.lock", text, limit=MAX_LOCK)
        table = document.pop("runtime", None)
        if document or not isinstance(table, dict):
            raise WireError("casemate.lock", got=f"tables {sorted([*document])!r}", want="one table, [runtime]")
        return cls(tuple(sorted((_tag(tag), _digest(tag, digest)) for tag, digest in table.items())))

    def encode(self) -> bytes:
        """The lock file's bytes; parsing a file and encoding it again drops what a person added."""
        return (_HEAD + "".join(f'{tag} = "{digest.hex()}"\n' for tag, digest in self.digests)).encode()

    def digest(self, tag: str) -> bytes:
        """The digest of that platform's runtime; :class:`WireError` where the lock does not name the platform."""
        for known, digest in self.digests:
            if known == tag:
                return digest
        known = ", ".join(tag for tag, _ in self.digests) or "no platform"
        raise WireError("casemate.lock", got=f"{known} alone", want=f"a runtime digest for {tag}")

    def with_digest(self, tag: str, digest: bytes) -> Self:
        """The lock with that platform's line set."""
        _digest(_tag(tag), digest.hex())
        return type(self)(tuple(sorted((dict(self.digests) | {tag: digest}).items())))


def _tag(tag: str) -> str:
    if not _TAG.fullmatch(tag):
        raise WireError("casemate.lock runtime", got=repr(tag), want="a platform tag such as linux-x86_64-cp311")
    return tag


def _digest(tag: str, text: object) -> bytes:
    if not isinstance(text, str) or not _DIGEST.fullmatch(text):
        raise WireError(f"casemate.lock runtime.{tag}", got=repr(text)[:80], want="SHA-256 in lower-case hexadecimal")
    return bytes.fromhex(text)
