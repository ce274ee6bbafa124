"""The text of casemate.toml, read key by key.

The manifest is measured: its bytes are in the image, and an enclave reads it again at boot with this same function. So
it must mean no more than it says. An unknown key is refused, and what widens access (``callers = "anyone"``,
``isolation = "shared"``) is written out. A reader in another language has to refuse what this one refuses: see the
bounds below, the bounds on TOML in :mod:`casemate.wire.encodings.toml_text`, and those on schemas in
:mod:`casemate.wire.encodings.json_text`.

Example:
    [enclave]
    name = "keyword-search"
    product_id = 1
    security_version = 1
    engine = "javascript"
    main = "guest/main.js"
    isolation = "caller"
    permissions = ["seal", "log"]

    [service]
    version = "1.4.0"
    family = "custom"
    description = "Finds documents by their words."

    [limits]
    memory_mib = 64
    time_ms = 2000
    output_kib = 256
    concurrent = 8
    guests = 4

    [callers]
    alice = "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    shop = { enclave = { mrsigner = "same", product_id = 4, min_security_version = 1 } }

    [entry.search]
    input = "schemas/search.input.json"
    output = "schemas/search.output.json"
    callers = ["alice"]
    plain = false
    stream = false
    kind = "query"

    [state]
    policy = "mrsigner"
    recovery = "operator"
    max_kib = 4096

    [ra_tls]
    enabled = true

    [ocall.time]
    input = { type = "null" }
    output = { type = "object", properties = { unix_ms = { type = "integer" } }, required = ["unix_ms"] }

    [errors]
    budget-spent = "The budget of this period is used up."
    not-yet = { reason = "The auction is still open.", details = "schemas/not-yet.json" }

    [receipt]
    metrics = true

    [run]
    engines = ["python"]
    memory_mib = 32
    time_ms = 1000
    output_kib = 64
    code_kib = 64

    [appraise]
    built = "2026-12-01"
    policies = { partner = "schemas/partner.policy.toml" }

    [keys.documents]
    purpose = "sign"
    algorithm = "ed25519"

    [monitor.ocalls]
    most = 600
    then = "slow"

    [uses.billing]
    mrsigner = "same"
    product_id = 3
    min_security_version = 2
    operations = ["charge"]
"""

import re
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from casemate.wire.encodings.fields import MAX_U16
from casemate.wire.encodings.toml_text import parse_toml
from casemate.wire.errors import WireError
from casemate.wire.protocol.call import MAX_OUTPUT, MAX_REASON
from casemate.wire.protocol.caller_key import PREFIX
from casemate.wire.protocol.capabilities import appraise, keys, run, service
from casemate.wire.protocol.capabilities import uses as uses_tables
from casemate.wire.protocol.capabilities.uses import EnclaveCaller, parse_enclave_caller, parse_uses
from casemate.wire.protocol.faults import Code
from casemate.wire.protocol.isolation import Isolation
from casemate.wire.protocol.manifest import (
    ANYONE,
    Anyone,
    Caller,
    DeclaredError,
    Engine,
    EntryPoint,
    Limits,
    Manifest,
    Monitored,
    MonitorRule,
    Ocall,
    Permission,
    Reaction,
    Recovery,
    StateRules,
)
from casemate.wire.protocol.manifest_table import (
    Files,
    ManifestError,
    ReadFile,
    Table,
    read_choice,
    read_public_key,
    read_schema,
    shown,
)
from casemate.wire.protocol.seal_binding import SealBinding

MAX_MANIFEST = 256 * 1024
"""Longest manifest (bytes)."""
MAX_ENTRIES = 64
"""Most entry points, and most OCALLs: nobody audits more."""
MAX_CALLERS = 1024
"""Most named callers."""
MIN_MEMORY_MIB, MAX_MEMORY_MIB = 16, 1024
"""A guest's memory: the engine does not start with less; more needs a machine of its own."""
MIN_TIME_MS, MAX_TIME_MS = 1, 60_000
"""Time of one call: it holds a guest and one of the enclave's ``concurrent`` places for as long."""
MAX_CONCURRENT, DEFAULT_CONCURRENT = 64, 8
"""Calls that an enclave serves at once; 1, and no more, where its guest is shared."""
MAX_GUESTS, DEFAULT_GUESTS = 64, 4
"""Guests that an enclave has at once; 1, and no more, where it is shared."""
MAX_GUESTS_MIB = DEFAULT_GUESTS * MAX_MEMORY_MIB
"""``guests`` times ``memory_mib`` (MiB): what one enclave may take of its machine. The default fits every memory."""
MAX_STATE_KIB = 64 * 1024
"""Largest sealed state (KiB): the enclave holds all of it in memory."""
MAX_OUTPUT_KIB = MAX_OUTPUT // 1024
MAX_MONITORED = 10**9
"""Highest count of a rule of the monitor."""

MAIN_FILES: Final[Mapping[Engine, tuple[str, tuple[str, ...]]]] = {
    Engine.JAVASCRIPT: ("JavaScript", (".js", ".mjs")),
    Engine.PYTHON: ("Python", (".py",)),
}
"""The language of each engine, and how the names of its main modules end."""

NEEDED_PERMISSIONS: Final[Mapping[Engine, tuple[Permission, ...]]] = {
    Engine.JAVASCRIPT: (),
    Engine.PYTHON: (Permission.RANDOM, Permission.NOW),
}
"""What an engine cannot keep from its guests, so that their manifests must grant it."""

KEYS: Final = {
    "": (
        *("enclave", "limits", "callers", "entry", "ocall", "state", "ra_tls", "errors", "receipt", "monitor"),
        *("uses", "run", "appraise", "service", "keys"),
    ),
    "enclave": ("name", "product_id", "security_version", "debug", "engine", "main", "isolation", "permissions"),
    "limits": ("memory_mib", "time_ms", "output_kib", "concurrent", "guests"),
    "entry.NAME": ("input", "output", "callers", "plain", "stream", *service.OF_ENTRY),
    "ocall.NAME": ("input", "output"),
    "state": ("policy", "recovery", "max_kib"),
    "ra_tls": ("enabled",),
    "errors.NAME": ("reason", "details"),
    "receipt": ("metrics", "inner"),
    "monitor.NAME": ("most", "then"),
    **uses_tables.KEYS,
    "run": run.KEYS,
    "appraise": appraise.KEYS,
    "service": service.KEYS,
    "keys.NAME": keys.KEYS,
}
"""The keys that each table may have; those of ``callers``, ``entry``, ``ocall``, ``errors``, ``uses``, ``keys`` are
names that the author chose, those of ``monitor`` are what is counted."""

GUEST = "guest/"
"""The folder of the guest's code."""
ENCLAVE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?", re.ASCII)
CALLER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", re.ASCII)
ERROR_NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*", re.ASCII)
FUNCTION_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}", re.ASCII)
"""Names of entry points and OCALLs."""
MAX_ERROR_NAME = 64
"""Longest name of an error (characters)."""

T = TypeVar("T")


def parse_manifest(text: bytes, read_file: ReadFile) -> Manifest:
    """The manifest in ``text``, with the schemas it names.

    Args:
        text: casemate.toml.
        read_file: gives the schemas and the main module; only measured files.

    Raises:
        ManifestError: names the key, what stood there, and what would be accepted.
    """
    try:
        top = Table("", parse_toml("casemate.toml", text, limit=MAX_MANIFEST), KEYS[""])
    except WireError as error:
        raise ManifestError("the file", got=error.got, want=error.want) from None
    enclave, limits = top.table("enclave", KEYS["enclave"]), top.table("limits", KEYS["limits"])
    engine = read_choice(enclave, "engine", Engine)
    isolation = read_choice(enclave, "isolation", Isolation, absent=Isolation.CALLER)
    files = Files(read_file)
    receipt = top.table("receipt", KEYS["receipt"], optional=True)
    callers = _callers(top.table("callers", optional=True))
    by_name = {caller.name: caller for caller in callers}
    signing = tuple(caller for caller in callers if isinstance(caller, Caller))
    enclaves = tuple(caller for caller in callers if isinstance(caller, EnclaveCaller))
    manifest = Manifest(
        name=enclave.name("name", ENCLAVE_NAME, "lower-case letters, digits and inner hyphens, at most 64"),
        product_id=enclave.integer("product_id", 0, MAX_U16),
        security_version=enclave.integer("security_version", 0, MAX_U16),
        debug=enclave.flag("debug", absent=False),
        engine=engine,
        isolation=isolation,
        permissions=_permissions(enclave, engine),
        main=_main(enclave, engine, files),
        limits=_limits(limits, isolation),
        callers=signing,
        enclave_callers=enclaves,
        uses=parse_uses(top),
        state=_state(top),
        ra_tls=_ra_tls(top),
        entries=_functions(
            top.table("entry"),
            KEYS["entry.NAME"],
            lambda name, table: _entry(name, table, by_name, files, of_service="service" in top),
        ),
        ocalls=_functions(
            top.table("ocall", optional=True), KEYS["ocall.NAME"], lambda name, table: _ocall(name, table, files)
        ),
        errors=_errors(top.table("errors", optional=True), files),
        monitor=_monitor(top.table("monitor", tuple(Monitored), optional=True)),
        receipt_metrics=receipt.flag("metrics", absent=False),
        receipt_inner=receipt.flag("inner", absent=False),
        run=run.parse_run(top),
        appraise=appraise.parse_appraise(top, files),
        keys=keys.parse_keys(top),
        service=service.parse_service(top, files, isolation=isolation),
    )
    if not manifest.entries:
        raise ManifestError("entry", got="empty", want="at least one [entry.NAME]")
    return manifest


def _main(table: Table, engine: Engine, files: Files) -> str:
    """The path of the main module: a measured file of the guest, in the engine's language."""
    language, suffixes = MAIN_FILES[engine]
    want = f"a {language} file under {GUEST}, such as {GUEST}main{suffixes[0]}"
    path = table.text("main", want)
    if not path.startswith(GUEST) or not path.endswith(suffixes):
        raise ManifestError(table.key("main"), got=shown(path), want=want)
    files.read(table.key("main"), path)
    return path


def _permissions(table: Table, engine: Engine) -> frozenset[Permission]:
    """The permissions by name: none where the key is left out, all that the engine cannot keep from its guests."""
    key, known = table.key("permissions"), ", ".join(f'"{permission}"' for permission in Permission)
    names = table.value("permissions", f"a list of {known}") if "permissions" in table else []
    if not isinstance(names, list):
        raise ManifestError(key, got=shown(names), want=f"a list of {known}")
    granted: set[Permission] = set()
    for name in names:
        if not isinstance(name, str) or name not in tuple(Permission):
            raise ManifestError(key, got=shown(name), want=f"names out of {known}")
        if name in granted:
            raise ManifestError(key, got=f"{name!r} twice", want="each name once")
        granted.add(Permission(name))
    needed = NEEDED_PERMISSIONS[engine]
    if not granted.issuperset(needed):
        listed = ", ".join(f'"{permission}"' for permission in Permission if permission in granted.union(needed))
        line = f"permissions = [{listed}]"
        raise ManifestError(
            key,
            got=shown(names) if names else "not there",
            want=f"{line}: {MAIN_FILES[engine][0]} code can be kept from neither",
            advice=f"write {line} below [enclave] in casemate.toml",
        )
    return frozenset(granted)


def _limits(table: Table, isolation: Isolation) -> Limits:
    """The table [limits]: one guest and one call at a time where the guest is shared."""
    memory_mib = table.integer("memory_mib", MIN_MEMORY_MIB, MAX_MEMORY_MIB)
    shared = isolation is Isolation.SHARED
    concurrent = table.integer("concurrent", 1, MAX_CONCURRENT, absent=1 if shared else DEFAULT_CONCURRENT)
    guests = table.integer("guests", 1, MAX_GUESTS, absent=1 if shared else DEFAULT_GUESTS)
    for name, value in (("concurrent", concurrent), ("guests", guests)):
        if shared and value > 1:
            want = '1, or the key left out: with isolation = "shared" one guest serves one call at a time'
            raise ManifestError(table.key(name), got=value, want=want)
    if guests * memory_mib > MAX_GUESTS_MIB:
        want = f"at most {MAX_GUESTS_MIB // memory_mib} with memory_mib = {memory_mib}: {MAX_GUESTS_MIB} MiB in all"
        raise ManifestError(table.key("guests"), got=guests, want=want)
    return Limits(
        memory_mib=memory_mib,
        time_ms=table.integer("time_ms", MIN_TIME_MS, MAX_TIME_MS),
        output_kib=table.integer("output_kib", 1, MAX_OUTPUT_KIB),
        concurrent=concurrent,
        guests=guests,
    )


def _functions(table: Table, known: tuple[str, ...], parse: Callable[[str, Table], T]) -> tuple[T, ...]:
    """A table of tables, one for each function's name."""
    names = table.names()
    if len(names) > MAX_ENTRIES:
        raise ManifestError(table.key("*"), got=f"{len(names)} of them", want=f"at most {MAX_ENTRIES}")
    found = []
    for name in names:
        if not FUNCTION_NAME.fullmatch(name):
            raise ManifestError(
                table.key(shown(name)), got="no name of a function", want="letters, digits, _; at most 64"
            )
        found.append(parse(name, table.table(name, known)))
    return tuple(found)


def _callers(table: Table) -> tuple[Caller | EnclaveCaller, ...]:
    """The named callers; no key under two names."""
    names = table.names()
    if len(names) > MAX_CALLERS:
        raise ManifestError("callers", got=f"{len(names)} of them", want=f"at most {MAX_CALLERS}")
    by_key: dict[bytes, str] = {}
    found: list[Caller | EnclaveCaller] = []
    for name in names:
        if not CALLER_NAME.fullmatch(name) or name == ANYONE.value:
            raise ManifestError(table.key(shown(name)), got="no name for a caller", want="letters, digits, . _ @ -")
        if table.holds_table(name):
            found.append(parse_enclave_caller(table, name))
            continue
        public_key = read_public_key(table.key(name), table.text(name, f"{PREFIX}BASE64"))
        if public_key in by_key:
            raise ManifestError(table.key(name), got=f"the key of {by_key[public_key]}", want="one name for each key")
        by_key[public_key] = name
        found.append(Caller(name, public_key))
    enclaves = len(found) - len(by_key)
    if enclaves > uses_tables.MAX_USES:
        raise ManifestError("callers", got=f"{enclaves} enclaves", want=f"at most {uses_tables.MAX_USES} of them")
    return tuple(found)


def _entry(
    name: str, table: Table, callers: Mapping[str, Caller | EnclaveCaller], files: Files, *, of_service: bool
) -> EntryPoint:
    admitted = _admitted(table, callers)
    keys = tuple(each for each in admitted if isinstance(each, Caller)) if admitted is not ANYONE else ANYONE
    entry = EntryPoint(
        name=name,
        input=read_schema(table, "input", files),
        output=read_schema(table, "output", files),
        callers=keys,
        enclaves=() if admitted is ANYONE else tuple(each for each in admitted if isinstance(each, EnclaveCaller)),
        plain=table.flag("plain", absent=False),
        stream=table.flag("stream", absent=False),
        operation=service.parse_operation(table, of_service=of_service),
    )
    if entry.plain and entry.callers is not ANYONE:
        raise ManifestError(
            table.key("plain"), got="true", want='false, or callers = "anyone": nobody signs in the clear'
        )
    if entry.plain and entry.stream:
        raise ManifestError(table.key("plain"), got="true", want="false for a stream, whose pieces are sealed")
    return entry


def _ocall(name: str, table: Table, files: Files) -> Ocall:
    return Ocall(name=name, input=read_schema(table, "input", files), output=read_schema(table, "output", files))


def _state(top: Table) -> StateRules | None:
    """The table [state]; it has no defaults."""
    if "state" not in top:
        return None
    table = top.table("state", KEYS["state"])
    return StateRules(
        binding=read_choice(table, "policy", SealBinding),
        recovery=read_choice(table, "recovery", Recovery),
        max_kib=table.integer("max_kib", 1, MAX_STATE_KIB),
    )


def _ra_tls(top: Table) -> bool:
    """The table [ra_tls]: off where it is absent."""
    return "ra_tls" in top and top.table("ra_tls", KEYS["ra_tls"]).flag("enabled")


def _errors(table: Table, files: Files) -> tuple[DeclaredError, ...]:
    """The table [errors]: by its name, the words of each error, or a table with words and a schema of details."""
    names = table.names()
    if len(names) > MAX_ENTRIES:
        raise ManifestError("errors", got=f"{len(names)} of them", want=f"at most {MAX_ENTRIES}")
    found = []
    for name in names:
        key = table.key(shown(name))
        if not ERROR_NAME.fullmatch(name) or len(name) > MAX_ERROR_NAME:
            want = f"lower-case letters, digits and inner hyphens, at most {MAX_ERROR_NAME}"
            raise ManifestError(key, got="no name of an error", want=want)
        if name in tuple(Code):
            raise ManifestError(key, got="a code of Casemate's own", want="another name")
        if table.holds_table(name):
            inner = table.table(name, KEYS["errors.NAME"])
            details = read_schema(inner, "details", files) if "details" in inner else None
            found.append(DeclaredError(name, _reason(inner, "reason"), details))
        else:
            found.append(DeclaredError(name, _reason(table, name), None))
    return tuple(found)


def _reason(table: Table, name: str) -> str:
    want = f"words for the caller, at most {MAX_REASON} bytes"
    words = table.text(name, want)
    if not words.strip() or len(words.encode()) > MAX_REASON or not words.isprintable():
        raise ManifestError(table.key(name), got=shown(words), want=f"{want}, in one line")
    return words


def _monitor(table: Table) -> tuple[MonitorRule, ...]:
    """The tables [monitor.NAME], in the order of what is counted."""
    rules = []
    for subject in Monitored:
        if subject in table:
            rule = table.table(subject, KEYS["monitor.NAME"])
            rules.append(
                MonitorRule(subject, rule.integer("most", 1, MAX_MONITORED), read_choice(rule, "then", Reaction))
            )
    return tuple(rules)


def _admitted(
    table: Table, callers: Mapping[str, Caller | EnclaveCaller]
) -> tuple[Caller | EnclaveCaller, ...] | Anyone:
    """The callers admitted: a list of names, or ``"anyone"``; there is no default."""
    want = 'a list of names from [callers], or "anyone"'
    value = table.value("callers", want)
    key = table.key("callers")
    if value == ANYONE.value:
        return ANYONE
    if not isinstance(value, list) or not value:
        raise ManifestError(key, got=shown(value), want=want)
    admitted: dict[str, Caller | EnclaveCaller] = {}
    for name in value:
        if not isinstance(name, str) or name not in callers:
            raise ManifestError(key, got=shown(name), want="a name from [callers]")
        if name in admitted:
            raise ManifestError(key, got=f"{name!r} twice", want="each name once")
        admitted[name] = callers[name]
    return tuple(admitted.values())
