"""SEV-SNP policies as text: TOML, or JSON with the same members. Every member but one is required.

root = "AMD_MILAN_ROOT"                       # or { simulated_sha256 = "..." }, { name = "...", sha256 = "..." },
                                              # { name = "...", key_sha256 = "..." }
public_seed = "REFUSE_PUBLIC_SEED"
revocation = "REQUIRE_REVOCATION_LIST"
signing_keys = ["VCEK"]
measurement = ["5fee..."]                     # or "UNSAFE_ANY_GUEST"
...
minimum_abi = "1.55"                          # or "ANY_ABI"
sockets = "ANY_SOCKETS"                       # or "1"
reported_tcb = { product = "Milan", boot_loader = 4, tee = 0, snp = 24, microcode = 219 }     # or "ANY_TCB"
platform_info = { required = ["ECC_EN"], forbidden = ["SMT_EN"], unknown_bits = "0x0" }       # or "ANY_PLATFORM"
report_data = "FRESH_NONCE"                   # or { nonce = "..." }, { equals = "..." }, "UNSAFE_ANY_REPORT_DATA"
layers = "ANY_SANDBOX"                        # or { enclave = ["seccomp"], guest = ["seccomp"] }
guest_policy = { unknown_bits = "0x0" }       # or "UNSAFE_ANY_UNKNOWN_BITS" in place of the mask

The last, and ``unknown_bits`` of ``platform_info``, may be left out: then no bit without a name is accepted.
"""

import json
import re
from collections.abc import Callable
from dataclasses import fields
from enum import Enum
from typing import Any

from casemate.verifier.roots import AMD_GENOA_ROOT, AMD_MILAN_ROOT, AMD_TURIN_ROOT, SimulatedRoot, VendorKey, VendorRoot
from casemate.verifier.sgx.policy import Absence, ExpectedNonce, ExpectedReportData, PolicyError, RequiredLayers
from casemate.verifier.sgx.policy_file import (
    LAYERS,
    REPORT_DATA,
    Member,
    PolicyFormat,
    plain_root,
    policy_body,
    read_layers,
    read_member,
    read_no_value,
    read_report_data,
    root_member,
    toml_value,
)
from casemate.verifier.snp.policy import (
    UNSAFE_ANY_UNKNOWN_BITS,
    AbiVersion,
    GuestPolicyDemand,
    PlatformDemand,
    SnpAbsence,
    SnpPolicy,
    UnknownBits,
    words_of,
)
from casemate.wire.encodings.json_object import JsonObject
from casemate.wire.errors import WireError
from casemate.wire.snp.report import PlatformInfo, SigningKey
from casemate.wire.snp.tcb import PARTS, Product, TcbVersion

_Reader = Callable[[JsonObject, str], Any]
_ROOTS = (AMD_MILAN_ROOT, AMD_GENOA_ROOT, AMD_TURIN_ROOT)
_WORDS: dict[str, Enum] = {word.value: word for words in (Absence, SnpAbsence) for word in words}
_OPTIONAL = ("guest_policy",)
_HEXADECIMAL = re.compile(r"0[xX][0-9a-fA-F]{1,16}", re.ASCII)
_MASK = 'a mask such as "0x40"'
_ABI = re.compile(r"(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})", re.ASCII)
_MAX_VALUES = 4096
_U8 = 0xFF
_U32 = 0xFFFF_FFFF
_U64 = 0xFFFF_FFFF_FFFF_FFFF


def parse_snp_policy(text: str) -> SnpPolicy:
    """The policy in ``text``: JSON if it starts with a brace, else TOML.

    Raises:
        PolicyError: it is neither, a member is missing, unknown or of the wrong kind, or the policy makes no sense.
    """
    try:
        body = policy_body(text)
        body.only(*_MEMBERS)
        given = {name: member for name, member in _MEMBERS.items() if name not in _OPTIONAL or name in body.names()}
        return SnpPolicy(
            **{
                name: read_member(body, name, member, {word: _WORDS[word] for word in words_of(name) if word in _WORDS})
                for name, member in given.items()
            }
        )
    except WireError as error:
        raise PolicyError(str(error)) from None


def print_snp_policy(policy: SnpPolicy, form: PolicyFormat = PolicyFormat.TOML) -> str:
    """The text of a policy; :func:`parse_snp_policy` gives the same policy again."""
    members = {field.name: _plain(getattr(policy, field.name)) for field in fields(policy)}
    members["sockets"] = str(members["sockets"])
    if form is PolicyFormat.JSON:
        return json.dumps(members, indent=2) + "\n"
    return "".join(f"{name} = {toml_value(value)}\n" for name, value in members.items())


def _digests(size: int) -> _Reader:
    def read(body: JsonObject, name: str) -> frozenset[bytes]:
        digests = {text: text for text in body.texts(name, limit=_MAX_VALUES)}
        return frozenset(JsonObject(f"policy.{name}", dict(digests)).hexadecimal(text, size) for text in digests)

    return read


def _keys(body: JsonObject, name: str) -> frozenset[SigningKey]:
    texts = body.texts(name, limit=len(SigningKey))
    for text in texts:
        if text not in SigningKey.__members__:
            raise WireError(f"policy.{name}", got=ascii(text)[:80], want="VCEK or VLEK")
    return frozenset(SigningKey[text] for text in texts)


def _platform(body: JsonObject, name: str) -> PlatformDemand:
    demand = body.child(name)
    demand.only("required", "forbidden", "unknown_bits")
    unknown = _unknown_bits(demand) if "unknown_bits" in demand.names() else 0
    return PlatformDemand(_flags(demand, "required"), _flags(demand, "forbidden"), unknown)


def _guest_policy(body: JsonObject, name: str) -> GuestPolicyDemand:
    demand = body.child(name)
    demand.only("unknown_bits")
    return GuestPolicyDemand(_unknown_bits(demand))


def _unknown_bits(body: JsonObject) -> UnknownBits:
    if body.value("unknown_bits") == UNSAFE_ANY_UNKNOWN_BITS.value:
        return UNSAFE_ANY_UNKNOWN_BITS
    try:
        return _bits(body, "unknown_bits")
    except WireError as error:
        raise WireError(error.field, got=error.got, want=f"{_MASK}, or {UNSAFE_ANY_UNKNOWN_BITS.value}") from None


def _flags(body: JsonObject, name: str) -> frozenset[PlatformInfo]:
    texts = body.texts(name, limit=len(PlatformInfo))
    for text in texts:
        if text not in PlatformInfo.__members__:
            known = ", ".join(PlatformInfo.__members__)
            raise WireError(f"policy.platform_info.{name}", got=ascii(text)[:80], want=known)
    return frozenset(PlatformInfo[text] for text in texts)


def _bits(body: JsonObject, name: str) -> int:
    """A mask: a number, or the same in hexadecimal as text, since JSON has no such numbers."""
    value = body.value(name)
    if isinstance(value, str) and _HEXADECIMAL.fullmatch(value):
        return int(value, 16)
    return body.uint(name, _U64)


def _levels(body: JsonObject, name: str) -> frozenset[int]:
    texts = body.texts(name, limit=_MAX_VALUES)
    known = {"0": 0, "1": 1, "2": 2, "3": 3, "host": _U32}
    for text in texts:
        if text not in known:
            raise WireError(f"policy.{name}", got=ascii(text)[:80], want=" or ".join(known))
    return frozenset(known[text] for text in texts)


def _svn(body: JsonObject, name: str) -> int:
    return body.uint(name, _U32)


def _sockets(body: JsonObject, name: str) -> int:
    if body.text(name) != "1":
        raise WireError(f"policy.{name}", got=ascii(body.text(name))[:80], want="1 or ANY_SOCKETS")
    return 1


def _abi(body: JsonObject, name: str) -> AbiVersion:
    found = _ABI.fullmatch(body.text(name))
    if found is None or max(int(found[1]), int(found[2])) > _U8:
        raise WireError(f"policy.{name}", got=ascii(body.text(name))[:80], want="MAJOR.MINOR or ANY_ABI")
    return AbiVersion(int(found[1]), int(found[2]))


def _tcb(body: JsonObject, name: str) -> TcbVersion:
    table = body.child(name)
    text = table.text("product")
    try:
        product = Product(text)
    except ValueError:
        raise WireError(f"policy.{name}.product", got=ascii(text)[:80], want=" or ".join(Product)) from None
    table.only("product", *PARTS[product])
    return TcbVersion(product, **{part: table.uint(part, _U8) for part in PARTS[product]})


_PLATFORM = (
    f"{{ required = [...], forbidden = [...], unknown_bits = ... }}: lists of {', '.join(PlatformInfo.__members__)}; "
    f"{_MASK} or {UNSAFE_ANY_UNKNOWN_BITS.value}"
)
_TCB = "{ product, " + "; ".join(f"of {product}: {', '.join(PARTS[product])}" for product in Product) + " }"


def _listed(size: int, what: str = "values") -> Member:
    return Member(_digests(size), f"a list of {what} ({size} bytes, hex)")


_MEMBERS: dict[str, Member] = {
    "root": root_member(*_ROOTS),
    "public_seed": Member(read_no_value),
    "revocation": Member(read_no_value),
    "signing_keys": Member(_keys, 'a list of "VCEK" and "VLEK"'),
    "measurement": _listed(48, "launch digests"),
    "host_data": _listed(32),
    "id_key_digest": _listed(48, "SHA-384 digests"),
    "author_key_digest": _listed(48, "SHA-384 digests"),
    "family_id": _listed(16),
    "image_id": _listed(16),
    "report_id": _listed(32),
    "chip_id": _listed(64),
    "platform_info": Member(_platform, _PLATFORM),
    "mitigations": Member(_bits, _MASK),
    "vmpl": Member(_levels, 'a list of "0", "1", "2", "3", "host"'),
    "minimum_guest_svn": Member(_svn, f"a number up to {_U32}"),
    "debug": Member(read_no_value),
    "migration": Member(read_no_value),
    "smt": Member(read_no_value),
    "sockets": Member(_sockets, '"1"'),
    "minimum_abi": Member(_abi, 'MAJOR.MINOR in quotes such as "1.55"'),
    "provisional": Member(read_no_value),
    "reported_tcb": Member(_tcb, _TCB),
    "committed_tcb": Member(_tcb, _TCB),
    "launch_tcb": Member(_tcb, _TCB),
    "current_tcb": Member(_tcb, _TCB),
    "report_data": Member(read_report_data, REPORT_DATA),
    "layers": Member(read_layers, LAYERS),
    "guest_policy": Member(_guest_policy, f"{{ unknown_bits = ... }}: {_MASK}, or {UNSAFE_ANY_UNKNOWN_BITS.value}"),
}


def _plain(value: object) -> Any:  # noqa: C901 - one line a kind of value
    """A policy's value as JSON and TOML have it."""
    match value:
        case SimulatedRoot() | VendorKey() | VendorRoot():
            return plain_root(value, *_ROOTS)
        case ExpectedReportData(data):
            return {"equals": data.hex()}
        case ExpectedNonce(nonce):
            return {"nonce": nonce.hex()}
        case RequiredLayers(enclave, guest):
            return {"enclave": sorted(enclave), "guest": sorted(guest)}
        case AbiVersion(major, minor):
            return f"{major}.{minor}"
        case PlatformDemand(required, forbidden, unknown_bits):
            return {
                "required": sorted(map(_item, required)),
                "forbidden": sorted(map(_item, forbidden)),
                "unknown_bits": _mask(unknown_bits),
            }
        case GuestPolicyDemand(unknown_bits):
            return {"unknown_bits": _mask(unknown_bits)}
        case TcbVersion():
            return {"product": str(value.product)} | {part: getattr(value, part) for part in PARTS[value.product]}
        case frozenset():
            return sorted(map(_item, value))
        case Enum():
            return value.value
        case _:
            return value


def _mask(bits: UnknownBits) -> str:
    return f"{bits:#x}" if isinstance(bits, int) else bits.value


def _item(item: object) -> str:
    if isinstance(item, bytes):
        return item.hex()
    if isinstance(item, SigningKey | PlatformInfo):
        return item.name or ""
    return "host" if item == _U32 else str(item)
