"""The table ``[service]``: an image that says what it is, so that others can find, start and call it.

A service's entry points are its *operations*: each is a ``query``, which changes nothing, or a ``command``. The name of
the service is the image's.

Example:
    [service]
    version = "1.4.0"
    family = "crypto"
    description = "Signs with keys that never leave it."
    configuration = "schemas/configuration.json"
    hooks = ["start", "health"]

    [entry.sign]
    kind = "command"
    idempotent = true
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

from casemate.wire.errors import WireError
from casemate.wire.protocol.isolation import Isolation
from casemate.wire.protocol.manifest_table import Files, ManifestError, Schema, Table, read_choice, read_schema, shown

KEYS: Final = ("version", "family", "description", "configuration", "hooks")
OF_ENTRY: Final = ("kind", "idempotent")
"""Keys of ``[entry.NAME]`` that only services have."""

MAX_DESCRIPTION = 256
"""Longest description (bytes)."""
_MAX_PART = 999_999
VERSION = re.compile(r"(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})", re.ASCII)
"""Three numbers with points between."""
_VERSION_WORDS = f"three numbers such as 1.4.0, each at most {_MAX_PART}"


class Family(StrEnum):
    """What services are about."""

    CRYPTO = "crypto"
    STORAGE = "storage"
    COMPUTE = "compute"
    BLOCKCHAIN = "blockchain"
    AI = "ai"
    CUSTOM = "custom"


class Kind(StrEnum):
    """What an operation may do to its service's state."""

    QUERY = "query"
    """It changes nothing: the enclave refuses it to write."""
    COMMAND = "command"
    """It may change something."""


class Hook(StrEnum):
    """What a service's main module may export besides its operations; called as ``hook(configuration, context)``."""

    INITIALIZE = "initialize"
    """In every new guest, before its first call. Cheap, and without asking the enclave anything."""
    START = "start"
    """Once for each launch, before the first call is served."""
    RECONFIGURE = "reconfigure"
    """After each new configuration."""
    HEALTH = "health"
    """Whenever the host asks how the service is."""
    SHUTDOWN = "shutdown"
    """Before the service is stopped in good order."""


@dataclass(frozen=True, slots=True, order=True)
class ServiceVersion:
    """A service's version; versions have an order."""

    major: int
    minor: int
    patch: int

    @classmethod
    def parse(cls, field: str, text: str) -> Self:
        """Three numbers with points between; :class:`WireError`, naming the field, for anything else."""
        found = VERSION.fullmatch(text)
        if found is None:
            raise WireError(field, got=shown(text), want=_VERSION_WORDS)
        return cls(*(int(part) for part in found.groups()))

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


@dataclass(frozen=True, slots=True)
class ServiceRules:
    """The table ``[service]``."""

    version: ServiceVersion
    family: Family
    description: str
    """One line."""
    configuration: Schema | None
    """The schema of what the deployment's owner configures; None where nothing can be."""
    hooks: frozenset[Hook]


@dataclass(frozen=True, slots=True)
class OperationRules:
    """What ``[entry.NAME]`` says of an operation."""

    kind: Kind
    idempotent: bool
    """A caller that has lost the answer may ask again: twice does as much as once."""


def parse_service(top: Table, files: Files, *, isolation: Isolation) -> ServiceRules | None:
    """The table; None where it is absent.

    Args:
        top: of the manifest.
        files: give the schema of the configuration.
        isolation: of the guests.

    Raises:
        ManifestError: names the key.
    """
    if "service" not in top:
        return None
    table = top.table("service", KEYS)
    configuration = read_schema(table, "configuration", files) if "configuration" in table else None
    if configuration is not None and "state" not in top:
        raise ManifestError(
            table.key("configuration"),
            got="a schema, and there is no [state]",
            want="a state, in which the newest configuration is kept",
            advice="add [state] with policy, recovery and max_kib to casemate.toml",
        )
    hooks = _hooks(table, isolation)
    if Hook.RECONFIGURE in hooks and configuration is None:
        raise ManifestError(
            table.key("hooks"),
            got='"reconfigure"',
            want="a key configuration, or no such hook: nothing can be configured",
        )
    _check_names(top, hooks)
    return ServiceRules(
        _version(table), read_choice(table, "family", Family), _description(table), configuration, hooks
    )


def parse_operation(entry: Table, *, of_service: bool) -> OperationRules | None:
    """The keys of ``[entry.NAME]`` that only services have; None where the manifest has no ``[service]``.

    Raises:
        ManifestError: names the key.
    """
    if not of_service:
        stray = next((key for key in OF_ENTRY if key in entry), None)
        if stray is not None:
            raise ManifestError(
                entry.key(stray),
                got="there, and there is no [service]",
                want="a table [service], or the key left out",
                advice="add [service] with version, family and description to casemate.toml, or remove the key",
            )
        return None
    kind = read_choice(entry, "kind", Kind)
    idempotent = entry.flag("idempotent", absent=kind is Kind.QUERY)
    if kind is Kind.QUERY and not idempotent:
        raise ManifestError(
            entry.key("idempotent"),
            got="false",
            want='true, or kind = "command": what changes nothing can be asked twice',
        )
    return OperationRules(kind, idempotent)


def _version(table: Table) -> ServiceVersion:
    try:
        return ServiceVersion.parse(table.key("version"), table.text("version", _VERSION_WORDS))
    except WireError as error:
        raise ManifestError(error.field, got=error.got, want=error.want) from None


def _description(table: Table) -> str:
    want = f"one line of at most {MAX_DESCRIPTION} bytes"
    text = table.text("description", want)
    if not text.strip() or not text.isprintable() or len(text.encode()) > MAX_DESCRIPTION:
        raise ManifestError(table.key("description"), got=shown(text), want=want)
    return text


def _hooks(table: Table, isolation: Isolation) -> frozenset[Hook]:
    if "hooks" not in table:
        return frozenset()
    known = ", ".join(f'"{hook}"' for hook in Hook)
    want, key = f"a list of names out of {known}", table.key("hooks")
    names = table.value("hooks", want)
    if not isinstance(names, list) or any(not isinstance(name, str) or name not in tuple(Hook) for name in names):
        raise ManifestError(key, got=shown(names), want=want)
    if len(set(names)) < len(names):
        raise ManifestError(key, got=shown(names), want="each name once")
    alone = next((name for name in names if name != Hook.INITIALIZE), None)
    if isolation is Isolation.SHARED and alone is not None:
        want = 'isolation = "caller" or "call": this hook runs in a guest of its own, and a shared enclave has one'
        raise ManifestError(key, got=f'"{alone}"', want=want)
    return frozenset(Hook(name) for name in names)


def _check_names(top: Table, hooks: frozenset[Hook]) -> None:
    """An export is an operation or a hook."""
    entries = top.table("entry")
    both = next((hook for hook in Hook if hook in hooks and hook in entries), None)
    if both is not None:
        raise ManifestError(entries.key(both), got="the name of a hook too", want="another name")
