"""casemate.toml: what an enclave is called, what it may do, and who may call it.

Read by hand, key by key: a measured file must not mean more than it says, so an unknown key is refused, and whatever
widens access (``callers = "anyone"``) is written out. The enclave reads it again at boot, with the same function.

Example:
    [enclave]
    name = "keyword-search"
    product_id = 1
    security_version = 1
    engine = "javascript"
    main = "guest/main.js"

    [limits]
    memory_mib = 64
    time_ms = 2000
    output_kib = 256

    [callers]
    alice = "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="

    [entry.search]
    input = "schemas/search.input.json"
    output = "schemas/search.output.json"
    callers = ["alice"]
    plain = false
    stream = false

    [state]
    policy = "mrsigner"
    recovery = "operator"
    max_kib = 4096

    [ra_tls]
    enabled = true

    [ocall.time]
    input = { type = "null" }
    output = { type = "object", properties = { unix_ms = { type = "integer" } }, required = ["unix_ms"] }
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum
from itertools import islice
from typing import Any, TypeVar

from casemate.images.errors import ManifestError
from casemate.images.schemas.schemas import InboundSchema, OutboundSchema, SchemaError, inbound_schema, outbound_schema
from casemate.wire.encodings.json_text import encode_json, parse_json
from casemate.wire.encodings.toml_text import parse_toml
from casemate.wire.errors import WireError
from casemate.wire.protocol.call import MAX_OUTPUT
from casemate.wire.protocol.caller_key import PREFIX, parse_caller_key
from casemate.wire.protocol.image_index import check_path
from casemate.wire.protocol.seal_binding import SealBinding

MAX_MANIFEST = 256 * 1024
"""Longest manifest (bytes)."""
MAX_SCHEMA = 256 * 1024
"""Longest schema (bytes of JSON)."""
MAX_SCHEMAS = 1024 * 1024
"""All schemas together (bytes of JSON), each as often as it is named: the enclave compiles them before it serves."""
MAX_ENTRIES = 64
"""Most entry points, and most OCALLs: nobody audits more."""
MAX_CALLERS = 1024
"""Most named callers."""
MAX_U16 = 0xFFFF
"""ISVPRODID and ISVSVN have 16 bits."""
MIN_MEMORY_MIB, MAX_MEMORY_MIB = 16, 1024
"""A guest's memory: less does not start the engine; more needs a machine of its own."""
MIN_TIME_MS, MAX_TIME_MS = 1, 60_000
"""Time of one call: an enclave takes one call at a time, so a long one keeps all others waiting."""
MAX_STATE_KIB = 64 * 1024
"""A sealed state is held in the enclave's memory whole."""
MAX_OUTPUT_KIB = MAX_OUTPUT // 1024

_SCHEMAS = "schemas/"
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?", re.ASCII)
_CALLER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", re.ASCII)
_FUNCTION = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}", re.ASCII)
_LONGEST_RESEMBLANCE = 64
"""Longest unknown key that is compared with the ones there are (characters)."""
_MOST_COMPARED = 64
"""Unknown keys that are compared with the one that is missing."""

T = TypeVar("T")
Choice = TypeVar("Choice", bound=StrEnum)
ReadFile = Callable[[str], bytes | None]
"""The bytes of a measured file by its path, None where there is no such file."""


class Engine(StrEnum):
    """What runs the guest's code."""

    JAVASCRIPT = "javascript"


class Anyone(Enum):
    """The value of ``callers = "anyone"``: no signature is asked for."""

    ANYONE = "anyone"


ANYONE = Anyone.ANYONE


@dataclass(frozen=True, slots=True)
class Caller:
    """A party that signs its calls."""

    name: str
    public_key: bytes
    """Ed25519, 32 bytes."""


class Recovery(StrEnum):
    """What an operator may do when the state that is left is older than the anchor says."""

    OPERATOR = "operator"
    """Have it accepted, once, logged, and counted in every later receipt."""
    NEVER = "never"
    """Nothing: the state is gone."""


@dataclass(frozen=True, slots=True)
class StateRules:
    """The sealed state that the guest may keep."""

    policy: SealBinding
    recovery: Recovery
    max_kib: int
    """All keys and values together."""


@dataclass(frozen=True, slots=True)
class EntryPoint:
    """A function of the guest that may be called."""

    name: str
    input: InboundSchema
    output: OutboundSchema
    callers: tuple[Caller, ...] | Anyone
    plain: bool
    """It may also be called in the clear, by nobody in particular, under the operator's eyes."""
    stream: bool
    """It is an asynchronous generator: bytes in pieces, either way."""

    def admits(self, public_key: bytes | None) -> bool:
        """Whether a call signed by that key, or by nobody, may enter."""
        return self.callers is ANYONE or any(caller.public_key == public_key for caller in self.callers)


@dataclass(frozen=True, slots=True)
class Ocall:
    """A question that the guest may ask the host."""

    name: str
    input: OutboundSchema
    """Of the arguments, which leave the enclave."""
    output: InboundSchema
    """Of the host's answer, which may be a lie."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one call may use."""

    memory_mib: int
    time_ms: int
    output_kib: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """An enclave's manifest; schemas are compiled, callers resolved."""

    name: str
    product_id: int
    """ISVPRODID."""
    security_version: int
    """ISVSVN."""
    debug: bool
    engine: Engine
    main: str
    """Path of the module that exports the entry points."""
    limits: Limits
    callers: tuple[Caller, ...]
    state: StateRules | None
    """None where the guest keeps nothing."""
    ra_tls: bool
    """It is a TLS server of its own, with its evidence in its certificate."""
    entries: tuple[EntryPoint, ...]
    ocalls: tuple[Ocall, ...]

    def entry(self, name: str) -> EntryPoint | None:
        """The entry point of that name."""
        return next((entry for entry in self.entries if entry.name == name), None)

    def ocall(self, name: str) -> Ocall | None:
        """The OCALL of that name."""
        return next((ocall for ocall in self.ocalls if ocall.name == name), None)

    def caller(self, public_key: bytes) -> Caller | None:
        """The named caller with that key."""
        return next((caller for caller in self.callers if caller.public_key == public_key), None)


def parse_manifest(text: bytes, read_file: ReadFile) -> Manifest:
    """The manifest in ``text``, with the schemas it names.

    Args:
        text: casemate.toml.
        read_file: gives the schemas and the main module; only measured files.

    Raises:
        ManifestError: names the key, what stood there, and what would do.
    """
    try:
        top = _Table("", parse_toml("casemate.toml", text, limit=MAX_MANIFEST))
    except WireError as error:
        raise ManifestError("the file", got=error.got, want=error.want) from None
    enclave, limits = top.table("enclave"), top.table("limits")
    read_file = _Sparing(read_file).read
    callers = _callers(top.table("callers", optional=True))
    manifest = Manifest(
        name=enclave.name("name", _NAME, "lower-case letters, digits and inner hyphens, at most 64"),
        product_id=enclave.integer("product_id", 0, MAX_U16),
        security_version=enclave.integer("security_version", 0, MAX_U16),
        debug=enclave.flag("debug", absent=False),
        engine=_choice(enclave, "engine", Engine),
        main=_main(enclave, read_file),
        limits=Limits(
            memory_mib=limits.integer("memory_mib", MIN_MEMORY_MIB, MAX_MEMORY_MIB),
            time_ms=limits.integer("time_ms", MIN_TIME_MS, MAX_TIME_MS),
            output_kib=limits.integer("output_kib", 1, MAX_OUTPUT_KIB),
        ),
        callers=callers,
        state=_state(top),
        ra_tls=_ra_tls(top),
        entries=_named(top.table("entry"), lambda name, table: _entry(name, table, callers, read_file)),
        ocalls=_named(top.table("ocall", optional=True), lambda name, table: _ocall(name, table, read_file)),
    )
    if not manifest.entries:
        raise ManifestError("entry", got="empty", want="at least one [entry.NAME]")
    for table in (enclave, limits, top):
        table.nothing_else()
    return manifest


class _Sparing:
    """Reads schemas until they are too many."""

    def __init__(self, read_file: ReadFile) -> None:
        self._read_file = read_file
        self._left = MAX_SCHEMAS

    def read(self, path: str) -> bytes | None:
        """A measured file."""
        content = self._read_file(path)
        if content is not None and path.startswith(_SCHEMAS):
            self._left -= len(content)
            if self._left < 0:
                raise ManifestError("the schemas", got=f"more than {MAX_SCHEMAS} bytes", want="less, all together")
        return content


class _Table:
    """A TOML table from which keys are taken one by one, so that what is left over is unknown."""

    __slots__ = ("_left", "_path")

    def __init__(self, path: str, values: dict[str, Any]) -> None:
        self._path = path
        self._left = dict(values)

    def key(self, name: str) -> str:
        """The dotted key of a member, for errors."""
        return f"{self._path}.{name}" if self._path else name

    def names(self) -> list[str]:
        """The members not yet taken."""
        return list(self._left)

    def take(self, name: str, want: str) -> Any:
        """A member that must be there."""
        if name not in self._left:
            for other in islice(self._left, _MOST_COMPARED):
                if _resembles(other, name):
                    raise ManifestError(self.key(_shown(other)), got="an unknown key", want=f"{name!r}, spelled so")
            raise ManifestError(self.key(name), got="not there", want=want)
        return self._left.pop(name)

    def table(self, name: str, *, optional: bool = False) -> "_Table":
        """A table inside."""
        value = self._left.pop(name, {}) if optional else self.take(name, f"a table [{self.key(name)}]")
        if not isinstance(value, dict):
            raise ManifestError(self.key(name), got=_shown(value), want="a table")
        return _Table(self.key(name), value)

    def integer(self, name: str, least: int, most: int) -> int:
        """An integer within bounds."""
        value = self.take(name, f"an integer from {least} to {most}")
        if type(value) is not int or not least <= value <= most:
            raise ManifestError(self.key(name), got=_shown(value), want=f"an integer from {least} to {most}")
        return value

    def flag(self, name: str, *, absent: bool) -> bool:
        """True or false."""
        value = self._left.pop(name, absent)
        if not isinstance(value, bool):
            raise ManifestError(self.key(name), got=_shown(value), want="true or false")
        return value

    def text(self, name: str, want: str) -> str:
        """A string."""
        value = self.take(name, want)
        if not isinstance(value, str):
            raise ManifestError(self.key(name), got=_shown(value), want=want)
        return value

    def name(self, name: str, pattern: re.Pattern[str], want: str) -> str:
        """A string of a safe kind."""
        value = self.text(name, want)
        if not pattern.fullmatch(value):
            raise ManifestError(self.key(name), got=_shown(value), want=want)
        return value

    def nothing_else(self) -> None:
        """Refuses keys that nobody has taken."""
        for name in self._left:
            raise ManifestError(self.key(_shown(name)), got="an unknown key", want="it removed, or spelled right")


def _resembles(written: str, meant: str) -> bool:
    """Whether two letters at most were added, left out or exchanged (Levenshtein's distance), whatever their case."""
    if len(written) > _LONGEST_RESEMBLANCE:
        return False
    written, meant = written.lower().replace("-", "_"), meant.lower()
    row = list(range(len(meant) + 1))
    for at, letter in enumerate(written, 1):
        diagonal, row[0] = row[0], at
        for other, expected in enumerate(meant, 1):
            diagonal, row[other] = row[other], min(row[other] + 1, row[other - 1] + 1, diagonal + (letter != expected))
    return row[-1] <= min(2, len(meant) // 3)


def _shown(value: object) -> str:
    """A value for a message, short, and as TOML has it."""
    text = repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 80 else f"{text[:80]}..."


def _main(table: _Table, read_file: ReadFile) -> str:
    """The main module: a measured JavaScript file of the guest."""
    want = "a JavaScript file under guest/, such as guest/main.js"
    path = table.text("main", want)
    if not path.startswith("guest/") or not path.endswith((".js", ".mjs")):
        raise ManifestError(table.key("main"), got=_shown(path), want=want)
    _read(table.key("main"), path, read_file)
    return path


def _read(key: str, path: str, read_file: ReadFile) -> bytes:
    """A measured file."""
    try:
        check_path(path)
    except WireError as error:
        raise ManifestError(key, got=error.got, want=error.want) from None
    content = read_file(path)
    if content is None:
        raise ManifestError(key, got=_shown(path), want="a file that is there and measured")
    return content


def _named(table: _Table, parse: Callable[[str, _Table], T]) -> tuple[T, ...]:
    """A table of tables, one for each function's name."""
    names = table.names()
    if len(names) > MAX_ENTRIES:
        raise ManifestError(table.key("*"), got=f"{len(names)} of them", want=f"at most {MAX_ENTRIES}")
    found = []
    for name in names:
        if not _FUNCTION.fullmatch(name):
            raise ManifestError(
                table.key(_shown(name)), got="no name of a function", want="letters, digits, _; at most 64"
            )
        inner = table.table(name)
        found.append(parse(name, inner))
        inner.nothing_else()
    return tuple(found)


def _callers(table: _Table) -> tuple[Caller, ...]:
    """The named callers; no key under two names."""
    names = table.names()
    if len(names) > MAX_CALLERS:
        raise ManifestError("callers", got=f"{len(names)} of them", want=f"at most {MAX_CALLERS}")
    by_key: dict[bytes, str] = {}
    for name in names:
        if not _CALLER.fullmatch(name) or name == ANYONE.value:
            raise ManifestError(table.key(_shown(name)), got="no name for a caller", want="letters, digits, . _ @ -")
        public_key = _public_key(table.key(name), table.text(name, f"{PREFIX}BASE64"))
        if public_key in by_key:
            raise ManifestError(table.key(name), got=f"the key of {by_key[public_key]}", want="one name for each key")
        by_key[public_key] = name
    return tuple(Caller(name, public_key) for public_key, name in by_key.items())


def _public_key(key: str, text: str) -> bytes:
    """A caller's key in its one spelling."""
    try:
        return parse_caller_key(key, text)
    except WireError as error:
        raise ManifestError(key, got=error.got, want=error.want) from None


def _entry(name: str, table: _Table, callers: tuple[Caller, ...], read_file: ReadFile) -> EntryPoint:
    entry = EntryPoint(
        name=name,
        input=_schema(table, "input", inbound_schema, read_file),
        output=_schema(table, "output", outbound_schema, read_file),
        callers=_admitted(table, callers),
        plain=table.flag("plain", absent=False),
        stream=table.flag("stream", absent=False),
    )
    if entry.plain and entry.callers is not ANYONE:
        raise ManifestError(
            table.key("plain"), got="true", want='false, or callers = "anyone": nobody signs in the clear'
        )
    if entry.plain and entry.stream:
        raise ManifestError(table.key("plain"), got="true", want="false for a stream, whose pieces are sealed")
    return entry


def _state(top: _Table) -> StateRules | None:
    """The table [state]; both of its choices are written out."""
    if "state" not in top.names():
        return None
    table = top.table("state")
    rules = StateRules(
        policy=_choice(table, "policy", SealBinding),
        recovery=_choice(table, "recovery", Recovery),
        max_kib=table.integer("max_kib", 1, MAX_STATE_KIB),
    )
    table.nothing_else()
    return rules


def _ra_tls(top: _Table) -> bool:
    """The table [ra_tls]: off where it is absent."""
    if "ra_tls" not in top.names():
        return False
    table = top.table("ra_tls")
    enabled = table.take("enabled", "true or false")
    if not isinstance(enabled, bool):
        raise ManifestError(table.key("enabled"), got=_shown(enabled), want="true or false")
    table.nothing_else()
    return enabled


def _choice(table: _Table, name: str, choices: type[Choice]) -> Choice:
    """One of a few words."""
    known = " or ".join(repr(choice.value) for choice in choices)
    text = table.text(name, known)
    try:
        return choices(text)
    except ValueError:
        raise ManifestError(table.key(name), got=_shown(text), want=known) from None


def _ocall(name: str, table: _Table, read_file: ReadFile) -> Ocall:
    return Ocall(
        name=name,
        input=_schema(table, "input", outbound_schema, read_file),
        output=_schema(table, "output", inbound_schema, read_file),
    )


def _admitted(table: _Table, callers: tuple[Caller, ...]) -> tuple[Caller, ...] | Anyone:
    """Who may call: a list of names, or ``"anyone"``; never by silence."""
    want = 'a list of names from [callers], or "anyone"'
    value = table.take("callers", want)
    key = table.key("callers")
    if value == ANYONE.value:
        return ANYONE
    if not isinstance(value, list) or not value:
        raise ManifestError(key, got=_shown(value), want=want)
    by_name = {caller.name: caller for caller in callers}
    admitted: dict[str, Caller] = {}
    for name in value:
        if not isinstance(name, str) or name not in by_name:
            raise ManifestError(key, got=_shown(name), want="a name from [callers]")
        if name in admitted:
            raise ManifestError(key, got=f"{name!r} twice", want="each name once")
        admitted[name] = by_name[name]
    return tuple(admitted.values())


def _schema(table: _Table, name: str, compile_schema: Callable[[Any], T], read_file: ReadFile) -> T:
    """A schema: a file under schemas/, or written inline."""
    key = table.key(name)
    value = table.take(name, "the path of a JSON Schema under schemas/, or an inline table")
    if isinstance(value, str):
        if not value.startswith(_SCHEMAS):
            raise ManifestError(key, got=_shown(value), want="a path under schemas/, where files are measured")
        text, key = _read(key, value, read_file), f"{key} ({value})"
    elif isinstance(value, dict):
        text = _inline(key, value)
    else:
        raise ManifestError(key, got=_shown(value), want="a path or an inline table")
    try:
        return compile_schema(parse_json("schema", text, limit=MAX_SCHEMA))
    except WireError as error:
        raise ManifestError(key, got=error.got, want=error.want) from None
    except SchemaError as error:
        raise ManifestError(f"{key} at {error.pointer or '/'}", got=error.got, want=error.want) from None


def _inline(key: str, value: dict[str, Any]) -> bytes:
    """A schema written in TOML, as JSON; TOML's dates and infinities are none."""
    try:
        return encode_json(value)
    except (TypeError, ValueError, RecursionError):
        raise ManifestError(key, got="a value that JSON does not have", want="values that JSON has") from None
