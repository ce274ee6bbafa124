"""Policies as text, for files and for people: TOML, or JSON with the same members. Every member is required.

root = "INTEL_SGX_ROOT"                       # or { simulated_sha256 = "..." }, { name = "...", sha256 = "..." },
                                              # { name = "...", key_sha256 = "..." }
public_seed = "REFUSE_PUBLIC_SEED"
mr_enclave = ["4f0c..."]                      # or "ANY_MRENCLAVE"
mr_signer = "ANY_MRSIGNER"
...
report_data = "FRESH_NONCE"                   # or { nonce = "..." }, { equals = "..." }
layers = { enclave = ["seccomp"], guest = ["seccomp"] }

[[tcb]]
status = "UpToDate"
advisories = []                               # or "ANY_ADVISORY"
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import Enum, StrEnum
from typing import Any, TypeVar

from casemate.verifier.roots import INTEL_SGX_ROOT, Anchor, SimulatedRoot, VendorKey, VendorRoot
from casemate.verifier.sgx.policy import (
    ANY_ADVISORY,
    Absence,
    AcceptedStatus,
    ExpectedNonce,
    ExpectedReportData,
    PolicyError,
    RequiredLayers,
    SgxPolicy,
    words_of,
)
from casemate.wire.encodings.json_object import JsonObject, date_text, parse_object
from casemate.wire.encodings.toml_text import parse_toml
from casemate.wire.errors import WireError
from casemate.wire.protocol.sandbox_layers import LayerName
from casemate.wire.sgx.tcb_info import TcbStatus

AnyEnum = TypeVar("AnyEnum", bound=StrEnum)
_Reader = Callable[[JsonObject, str], Any]

MAX_POLICY = 256 * 1024
"""Longest policy (bytes)."""

_MAX_VALUES = 4096
_DIGEST_SIZE = 32
_U16 = 0xFFFF
_U32 = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Member:
    """How one member of a policy's text is read."""

    read: _Reader
    """For values that are not words."""
    takes: str = ""
    """Those values, for errors; empty for a member that takes words alone."""


class PolicyFormat(StrEnum):
    """How a policy is written down."""

    TOML = "toml"
    JSON = "json"


def parse_policy(text: str) -> SgxPolicy:
    """The policy in ``text``: JSON if it starts with a brace, else TOML.

    Raises:
        PolicyError: it is neither, a member is missing, unknown or of the wrong kind, or the policy makes no sense.
    """
    try:
        body = policy_body(text)
        body.only(*_MEMBERS)
        return SgxPolicy(
            **{
                name: read_member(body, name, member, {word: Absence[word] for word in words_of(name)})
                for name, member in _MEMBERS.items()
            }
        )
    except WireError as error:
        raise PolicyError(str(error)) from None


def print_policy(policy: SgxPolicy, form: PolicyFormat = PolicyFormat.TOML) -> str:
    """The text of a policy; :func:`parse_policy` gives the same policy again."""
    members = {field.name: _plain(getattr(policy, field.name)) for field in fields(policy)}
    if form is PolicyFormat.JSON:
        return json.dumps(members, indent=2) + "\n"
    tables = members.pop("tcb")
    lines = [f"{name} = {toml_value(value)}" for name, value in members.items()]
    for table in tables:
        lines += ["", "[[tcb]]", *(f"{name} = {toml_value(value)}" for name, value in table.items())]
    return "\n".join(lines) + "\n"


def policy_body(text: str) -> JsonObject:
    """The members of a policy's text; :class:`WireError` where it has none."""
    if text.lstrip().startswith("{"):
        return parse_object("policy", text.encode("utf-8", "replace"), limit=MAX_POLICY)
    return JsonObject("policy", parse_toml("policy", text.encode("utf-8", "replace"), limit=MAX_POLICY))


def read_member(body: JsonObject, name: str, member: Member, words: Mapping[str, Enum]) -> Any:
    """One of the member's words, or its value.

    Raises:
        WireError: it is neither, or not there; the error lists the words, and says what else the member takes.
    """
    where = f"policy.{name}"
    try:
        value = body.value(name)
        return words[value] if isinstance(value, str) and value in words else member.read(body, name)
    except WireError as error:
        if error.field != where:  # something within the member's value, of which the error says enough
            raise
        raise WireError(where, got=error.got, want=wanted(member.takes, tuple(words))) from None


def wanted(takes: str, words: tuple[str, ...]) -> str:
    """What a member takes, for errors."""
    choice = "" if not words else words[0] if len(words) == 1 else f"one of {', '.join(words)}"
    return f"{takes}, or {choice}" if takes and choice else takes or choice


def root_member(*known: VendorRoot) -> Member:
    """A policy's root: one of those that are built in, or what is told of another."""

    def read(body: JsonObject, name: str) -> Anchor:
        value = body.value(name)
        for root in known:
            if value == root.name:
                return root
        return _read_root(body.child(name))

    names = ", ".join(root.name for root in known)
    return Member(
        read, f'{names}, {{ simulated_sha256 = "..." }}, {{ name, key_sha256 }} or {{ name, sha256 }}, both "..."'
    )


def _read_root(root: JsonObject) -> Anchor:
    if root.has("simulated_sha256"):
        root.only("simulated_sha256")
        return SimulatedRoot(root.hexadecimal("simulated_sha256", _DIGEST_SIZE))
    if root.has("key_sha256"):
        root.only("name", "key_sha256")
        return VendorKey(root.text("name"), root.hexadecimal("key_sha256", _DIGEST_SIZE))
    root.only("name", "sha256")
    return VendorRoot(root.text("name"), root.hexadecimal("sha256", _DIGEST_SIZE))


def plain_root(root: Anchor, *known: VendorRoot) -> Any:
    """A policy's root as JSON and TOML have it."""
    match root:
        case SimulatedRoot(sha256):
            return {"simulated_sha256": sha256.hex()}
        case VendorKey(name, key_sha256):
            return {"name": name, "key_sha256": key_sha256.hex()}
        case VendorRoot(name, sha256):
            return name if root in known else {"name": name, "sha256": sha256.hex()}


def read_no_value(body: JsonObject, name: str) -> object:
    """For members that take words alone: whatever else stands there is refused."""
    raise WireError(f"policy.{name}", got=ascii(body.value(name))[:80], want="one of its words")


def _digests(body: JsonObject, name: str) -> frozenset[bytes]:
    digests = {text: text for text in body.texts(name, limit=_MAX_VALUES)}
    return frozenset(JsonObject(f"policy.{name}", dict(digests)).hexadecimal(text, 32) for text in digests)


def _u16(body: JsonObject, name: str) -> int:
    return body.uint(name, _U16)


def _u32(body: JsonObject, name: str) -> int:
    return body.uint(name, _U32)


def _date(body: JsonObject, name: str) -> datetime:
    return body.date(name)


def _statuses(body: JsonObject, name: str) -> tuple[AcceptedStatus, ...]:
    return tuple(map(_status, body.children(name, limit=len(TcbStatus))))


def _status(body: JsonObject) -> AcceptedStatus:
    body.only("status", "advisories")
    status = _one_of(TcbStatus, "policy.tcb.status", body.text("status"))
    if body.value("advisories") == ANY_ADVISORY.value:
        return AcceptedStatus(status, ANY_ADVISORY)
    return AcceptedStatus(status, frozenset(body.texts("advisories", limit=_MAX_VALUES)))


def read_report_data(body: JsonObject, name: str) -> ExpectedNonce | ExpectedReportData:
    """The member of that name: the value of a demand on REPORTDATA."""
    demand = body.child(name)
    if demand.has("nonce"):
        demand.only("nonce")
        return ExpectedNonce(demand.hexadecimal("nonce", 32))
    demand.only("equals")
    return ExpectedReportData(demand.hexadecimal("equals", 64))


def read_layers(body: JsonObject, name: str) -> RequiredLayers:
    """The member of that name: sandbox layers that are required."""
    layers = body.child(name)
    layers.only("enclave", "guest")

    def named(which: str) -> frozenset[LayerName]:
        texts = layers.texts(which, limit=len(LayerName))
        return frozenset(_one_of(LayerName, f"policy.layers.{which}", text) for text in texts)

    return RequiredLayers(named("enclave"), named("guest"))


def _one_of(cls: type[AnyEnum], field: str, text: str) -> AnyEnum:
    try:
        return cls(text)
    except ValueError:
        raise WireError(field, got=ascii(text)[:80], want=" or ".join(cls)) from None


REPORT_DATA = '{ nonce = "(32 bytes, hex)" } or { equals = "(64 bytes, hex)" }'
"""What a demand on REPORTDATA takes besides words."""
LAYERS = f"{{ enclave = [...], guest = [...] }} of {', '.join(LayerName)}"
_DIGESTS = "a list of SHA-256 digests (32 bytes, hex)"
_STATUSES = (
    f"a list of {{ status, advisories }}: a status is one of {', '.join(TcbStatus)}; advisories are a list of ids, or "
    f"{ANY_ADVISORY.value}"
)

_MEMBERS: dict[str, Member] = {
    "root": root_member(INTEL_SGX_ROOT),
    "public_seed": Member(read_no_value),
    "mr_enclave": Member(_digests, _DIGESTS),
    "mr_signer": Member(_digests, _DIGESTS),
    "product_id": Member(_u16, f"a number up to {_U16}"),
    "minimum_svn": Member(_u16, f"a number up to {_U16}"),
    "debug": Member(read_no_value),
    "tcb": Member(_statuses, _STATUSES),
    "minimum_evaluation_number": Member(_u32, f"a number up to {_U32}"),
    "minimum_tcb_date": Member(_date, 'a time in quotes such as "2025-06-19T10:56:11Z"'),
    "dynamic_platform": Member(read_no_value),
    "cached_keys": Member(read_no_value),
    "smt": Member(read_no_value),
    "report_data": Member(read_report_data, REPORT_DATA),
    "layers": Member(read_layers, LAYERS),
}


def _plain(value: object) -> Any:
    """A policy's value as JSON and TOML have it."""
    match value:
        case Absence():
            return value.value
        case SimulatedRoot() | VendorKey() | VendorRoot():
            return plain_root(value, INTEL_SGX_ROOT)
        case ExpectedNonce(nonce):
            return {"nonce": nonce.hex()}
        case ExpectedReportData(data):
            return {"equals": data.hex()}
        case RequiredLayers(enclave, guest):
            return {"enclave": sorted(enclave), "guest": sorted(guest)}
        case AcceptedStatus(status, advisories):
            return {"status": status.value, "advisories": _plain(advisories)}
        case datetime():
            return date_text(value.astimezone(UTC))
        case frozenset():
            return sorted(item.hex() if isinstance(item, bytes) else str(item) for item in value)
        case tuple():
            return [_plain(item) for item in value]
        case _:
            return value


def toml_value(value: object) -> str:
    """An inline TOML value. JSON's strings are TOML's, but for DEL, which TOML wants escaped."""
    match value:
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case list():
            return f"[{', '.join(map(toml_value, value))}]"
        case dict():
            return f"{{ {', '.join(f'{name} = {toml_value(item)}' for name, item in value.items())} }}"
        case _:
            return str(value)
