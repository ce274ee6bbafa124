"""casemate.lock: the runtimes that an image may run on, measured with the image.

A runtime has parts: the *core* (interpreter, libraries, Casemate's own code) and each *engine* that runs guests. The
lock lists the accepted digests in records of one width, so that a chip reads it in one pass over its bytes, and a
person can read it as well:

* record 0 is :data:`HEAD`, which names the format's version;
* each other record is a part's name and a platform's tag, padded with spaces, SHA-256 in lower-case hexadecimal, and a
  line feed (16, 1, 45, 1, 64 and 1 bytes);
* records are in strictly rising order of their bytes, so none occurs twice, and each lock has one spelling.

Several records with the same part and platform are several accepted digests.

An image that calls a service which comes with Casemate has one record more for each: the part is :data:`SERVICE`, the
service's name as in the manifest stands in the platform's place, and the digest is the service's MRENCLAVE. So the
image names one build of it, which nobody can exchange. A chip reads these records and makes nothing of them.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Self

from casemate.wire.encodings.message import Bytes32, Limit
from casemate.wire.errors import WireError

CORE = "core"
"""The part that every image runs on."""

SERVICE = "service"
"""The part of the records that name services' measurements."""

COMPONENT_SIZE = 16
PLATFORM_SIZE = 45
DIGEST_SIZE = 32
RECORD_SIZE = COMPONENT_SIZE + 1 + PLATFORM_SIZE + 1 + 2 * DIGEST_SIZE + 1
"""Bytes of a record, its line feed included."""

MAX_RECORDS = 256
"""Most digests in a lock; a chip reads it before it has checked anything else."""
MAX_LOCK = (1 + MAX_RECORDS) * RECORD_SIZE
"""Longest lock (bytes)."""

HEAD = (
    f"{'casemate.lock 2':{COMPONENT_SIZE}} {'platform':{PLATFORM_SIZE}} "
    f"{'SHA-256 of the files of that part of the runtime':>{2 * DIGEST_SIZE}}\n"
).encode()
"""The first record."""

RELOCK = "`casemate build --relock DIR` writes it anew"

_TAG = re.compile(r"[a-z0-9]+(?:[-_][a-z0-9]+){2,7}", re.ASCII)
_SERVICE_NAME = re.compile(r"casemate:[a-z][a-z0-9-]*", re.ASCII)
_COMPONENT = re.compile(r"[a-z][a-z0-9-]*", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
_SHOWN = 40
"""Bytes of a malformed record that an error shows."""


def platform_tag(system: str, machine: str, version: tuple[int, int]) -> str:
    """A platform's name in the lock.

    Args:
        system: ``sys.platform``.
        machine: ``os.uname().machine``; Windows' and macOS' names for a processor become Linux's.
        version: of CPython, ``sys.version_info[:2]``.
    """
    machine = machine.lower()
    return f"{system.lower()}-{_MACHINES.get(machine, machine)}-cp{version[0]}{version[1]}"


class RuntimeLockError(WireError):
    """These bytes are not a runtime lock of this version."""


@dataclass(frozen=True, slots=True)
class RuntimePart:
    """One part of a runtime."""

    component: Annotated[str, Limit(COMPONENT_SIZE)]
    """:data:`CORE` or an engine's name."""
    digest: Bytes32
    """SHA-256 over the part's files."""


Runtime = tuple[RuntimePart, ...]
"""All parts of a runtime, in the order of their names."""


def used(runtime: Runtime, engine: str) -> Runtime:
    """The parts that an image with that engine runs on, which its lock has to name."""
    return tuple(part for part in runtime if part.component in (CORE, engine))


@dataclass(frozen=True, slots=True, order=True)
class Record:
    """One accepted digest."""

    component: str
    platform: str
    digest: bytes

    def __post_init__(self) -> None:
        if not _COMPONENT.fullmatch(self.component) or len(self.component) > COMPONENT_SIZE:
            raise RuntimeLockError("casemate.lock component", got=repr(self.component)[:80], want="core or an engine")
        named, wanted = _TAG, "a tag such as linux-x86_64-cp311"
        if self.component == SERVICE:
            named, wanted = _SERVICE_NAME, "a service's name such as casemate:crypto"
        if not named.fullmatch(self.platform) or len(self.platform) > PLATFORM_SIZE:
            raise RuntimeLockError("casemate.lock platform", got=repr(self.platform)[:80], want=wanted)
        if len(self.digest) != DIGEST_SIZE:
            raise RuntimeLockError(
                "casemate.lock digest", got=f"{len(self.digest)} bytes", want=f"{DIGEST_SIZE} bytes of SHA-256"
            )

    @classmethod
    def parse(cls, line: bytes) -> Self:
        text = line.decode("ascii", "replace")
        digest = text[-1 - 2 * DIGEST_SIZE : -1]
        if _DIGEST.fullmatch(digest):
            platform = text[COMPONENT_SIZE + 1 : COMPONENT_SIZE + 1 + PLATFORM_SIZE]
            record = cls(text[:COMPONENT_SIZE].rstrip(" "), platform.rstrip(" "), bytes.fromhex(digest))
            if record.encode() == line:
                return record
        raise RuntimeLockError(
            "casemate.lock record",
            got=f"{text[:_SHOWN]!r}...",
            want=f"part, platform and SHA-256, padded to {RECORD_SIZE} bytes: {RELOCK}",
        )

    def encode(self) -> bytes:
        return f"{self.component:{COMPONENT_SIZE}} {self.platform:{PLATFORM_SIZE}} {self.digest.hex()}\n".encode(
            "ascii"
        )


@dataclass(frozen=True, slots=True)
class RuntimeLock:
    """All records, in rising order."""

    records: tuple[Record, ...] = ()

    def __post_init__(self) -> None:
        if len(self.records) > MAX_RECORDS:
            raise RuntimeLockError("casemate.lock", got=f"{len(self.records)} records", want=f"at most {MAX_RECORDS}")

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """Parses the lock file in one pass, in time linear in its length.

        Raises:
            RuntimeLockError: too long, of another version, or with a record that is malformed or out of order.
        """
        if len(text) > MAX_LOCK:
            raise RuntimeLockError("casemate.lock", got=f"{len(text)} bytes", want=f"at most {MAX_LOCK}: {RELOCK}")
        if not text.startswith(HEAD):
            raise RuntimeLockError("casemate.lock", got=_other_format(text), want=f"version 2: {RELOCK}")
        if len(text) % RECORD_SIZE:
            raise RuntimeLockError(
                "casemate.lock", got=f"{len(text)} bytes", want=f"records of {RECORD_SIZE} bytes: {RELOCK}"
            )
        records: list[Record] = []
        before = b""
        for at in range(RECORD_SIZE, len(text), RECORD_SIZE):
            line = text[at : at + RECORD_SIZE]
            records.append(Record.parse(line))
            if line <= before:
                raise RuntimeLockError(
                    "casemate.lock record",
                    got=f"{line[:_SHOWN].decode()!r}... at byte {at}",
                    want=f"each record once, in rising order: {RELOCK}",
                )
            before = line
        return cls(tuple(records))

    def encode(self) -> bytes:
        """The lock file's bytes; ``encode(parse(text)) == text``."""
        return HEAD + b"".join(record.encode() for record in self.records)

    def digests(self, component: str, platform: str) -> tuple[bytes, ...]:
        """The digests that the lock accepts for that part on that platform; empty where it names none."""
        return tuple(
            record.digest for record in self.records if (record.component, record.platform) == (component, platform)
        )

    def platforms(self) -> tuple[str, ...]:
        """The platforms that have a record, in order."""
        return tuple(sorted({record.platform for record in self.records if record.component != SERVICE}))

    def service(self, name: str) -> bytes | None:
        """MRENCLAVE of the service ``casemate:NAME``; None where the lock names no, or more than one, build of it."""
        found = self.digests(SERVICE, f"casemate:{name}")
        return found[0] if len(found) == 1 else None

    def services(self) -> tuple[str, ...]:
        """The names of all services in the lock, without ``casemate:``."""
        return tuple(
            dict.fromkeys(
                record.platform.removeprefix("casemate:") for record in self.records if record.component == SERVICE
            )
        )

    def with_services(self, measurements: Mapping[str, bytes]) -> Self:
        """The lock with these services' measurements (MRENCLAVE by name), and no others."""
        others = [record for record in self.records if record.component != SERVICE]
        mine = [Record(SERVICE, f"casemate:{name}", digest) for name, digest in measurements.items()]
        return type(self)(tuple(sorted([*others, *mine])))

    def with_runtime(self, platform: str, runtime: Iterable[RuntimePart]) -> Self:
        """The lock that accepts these parts, and no others, on that platform."""
        others = [record for record in self.records if record.platform != platform]
        mine = [Record(part.component, platform, part.digest) for part in runtime]
        return type(self)(tuple(sorted({*others, *mine})))

    def accepting(self, platform: str, runtime: Iterable[RuntimePart]) -> Self:
        """The lock that accepts these parts on that platform, beside all that this one accepts."""
        mine = (Record(part.component, platform, part.digest) for part in runtime)
        return type(self)(tuple(sorted({*self.records, *mine})))

    def without(self, records: Iterable[Record]) -> Self:
        """The lock without these records."""
        dropped = set(records)
        return type(self)(tuple(record for record in self.records if record not in dropped))


def _other_format(text: bytes) -> str:
    """The format that these bytes have instead of version 2, for the error."""
    if b"[runtime]" in text:
        return "the TOML that earlier versions of Casemate wrote"
    if text.startswith(b"casemate.lock "):
        return f"of another version, {text[:COMPONENT_SIZE].decode('ascii', 'replace').rstrip()!r}"
    return "not a runtime lock"
