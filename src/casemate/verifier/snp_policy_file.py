"""SEV-SNP policies as text: TOML, or JSON with the same members. Every member is required.

root = "AMD_MILAN_ROOT"                       # or { simulated_sha256 = "..." }
public_seed = "REFUSE_PUBLIC_SEED"
revocation = "REQUIRE_REVOCATION_LIST"
signing_keys = ["VCEK"]
measurement = ["5fee..."]                     # or "UNSAFE_ANY_GUEST"
...
minimum_abi = "1.55"                          # or "ANY_ABI"
sockets = "ANY_SOCKETS"                       # or "1"
reported_tcb = { product = "Milan", boot_loader = 4, tee = 0, snp = 24, microcode = 219 }     # or "ANY_TCB"
platform_info = { required = ["ALIAS_CHECK_COMPLETE"], forbidden = ["SMT_EN"] }               # or "ANY_PLATFORM"
report_data = "FRESH_NONCE"                   # or { nonce = "..." }, { equals = "..." }, "UNSAFE_ANY_REPORT_DATA"
layers = "ANY_SANDBOX"                        # or { enclave = ["seccomp"], guest = ["seccomp"] }
"""

import json
import re
from collections.abc import Callable
from dataclasses import fields
from enum import Enum
from typing import Any

from casemate.verifier.policy import Absence, ExpectedNonce, ExpectedReportData, PolicyError, RequiredLayers
from casemate.verifier.policy_file import PolicyFormat, policy_body, read_layers, read_report_data, toml_value
from casemate.verifier.roots import AMD_GENOA_ROOT, AMD_MILAN_ROOT, AMD_TURIN_ROOT, SimulatedRoot, VendorRoot
from casemate.verifier.snp_policy import AbiVersion, PlatformDemand, SnpAbsence, SnpPolicy
from casemate.wire.errors import WireError
from casemate.wire.json_object import JsonObject
from casemate.wire.snp.report import PlatformInfo, SigningKey
from casemate.wire.snp.tcb import PARTS, Product, TcbVersion

_Reader = Callable[[JsonObject, str], Any]
_ROOTS = {root.name: root for root in (AMD_MILAN_ROOT, AMD_GENOA_ROOT, AMD_TURIN_ROOT)}
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
        return SnpPolicy(**{name: _member(body, name, read) for name, read in _MEMBERS.items()})
    except WireError as error:
        raise PolicyError(str(error)) from None


def print_snp_policy(policy: SnpPolicy, form: PolicyFormat = PolicyFormat.TOML) -> str:
    """The text of a policy; :func:`parse_snp_policy` gives the same policy again."""
    members = {field.name: _plain(getattr(policy, field.name)) for field in fields(policy)}
    members["sockets"] = str(members["sockets"])
    if form is PolicyFormat.JSON:
        return json.dumps(members, indent=2) + "\n"
    return "".join(f"{name} = {toml_value(value)}\n" for name, value in members.items())


def _member(body: JsonObject, name: str, read: _Reader) -> Any:
    """A word for an absence, or the member's value; whether the word fits the member is the policy's to say."""
    value = body.value(name)
    if isinstance(value, str):
        for words in (SnpAbsence, Absence):
            if value in words.__members__:
                return words[value]
    return read(body, name)


def _word(body: JsonObject, name: str) -> object:
    raise WireError(f"policy.{name}", got=ascii(body.value(name))[:80], want="one of its words")


def _root(body: JsonObject, name: str) -> VendorRoot | SimulatedRoot:
    value = body.value(name)
    if isinstance(value, str):
        if value not in _ROOTS:
            raise WireError(f"policy.{name}", got=ascii(value)[:80], want=" or ".join(_ROOTS))
        return _ROOTS[value]
    root = body.child(name)
    root.only("simulated_sha256")
    return SimulatedRoot(root.hexadecimal("simulated_sha256", 32))


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
    demand.only("required", "forbidden")
    return PlatformDemand(_flags(demand, "required"), _flags(demand, "forbidden"))


def _flags(body: JsonObject, name: str) -> frozenset[PlatformInfo]:
    texts = body.texts(name, limit=len(PlatformInfo))
    for text in texts:
        if text not in PlatformInfo.__members__:
            known = ", ".join(PlatformInfo.__members__)
            raise WireError(f"policy.platform_info.{name}", got=ascii(text)[:80], want=known)
    return frozenset(PlatformInfo[text] for text in texts)


def _bits(body: JsonObject, name: str) -> int:
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


_MEMBERS: dict[str, _Reader] = {
    "root": _root,
    "public_seed": _word,
    "revocation": _word,
    "signing_keys": _keys,
    "measurement": _digests(48),
    "host_data": _digests(32),
    "id_key_digest": _digests(48),
    "author_key_digest": _digests(48),
    "family_id": _digests(16),
    "image_id": _digests(16),
    "report_id": _digests(32),
    "chip_id": _digests(64),
    "platform_info": _platform,
    "mitigations": _bits,
    "vmpl": _levels,
    "minimum_guest_svn": _svn,
    "debug": _word,
    "migration": _word,
    "smt": _word,
    "sockets": _sockets,
    "minimum_abi": _abi,
    "provisional": _word,
    "reported_tcb": _tcb,
    "committed_tcb": _tcb,
    "launch_tcb": _tcb,
    "current_tcb": _tcb,
    "report_data": read_report_data,
    "layers": read_layers,
}


def _plain(value: object) -> Any:  # noqa: C901, PLR0911 - one line a kind of value
    """A policy's value as JSON and TOML have it."""
    match value:
        case SimulatedRoot(sha256):
            return {"simulated_sha256": sha256.hex()}
        case VendorRoot():
            return value.name
        case ExpectedReportData(data):
            return {"equals": data.hex()}
        case ExpectedNonce(nonce):
            return {"nonce": nonce.hex()}
        case RequiredLayers(enclave, guest):
            return {"enclave": sorted(enclave), "guest": sorted(guest)}
        case AbiVersion(major, minor):
            return f"{major}.{minor}"
        case PlatformDemand(required, forbidden):
            return {"required": sorted(map(_item, required)), "forbidden": sorted(map(_item, forbidden))}
        case TcbVersion():
            return {"product": str(value.product)} | {part: getattr(value, part) for part in PARTS[value.product]}
        case frozenset():
            return sorted(map(_item, value))
        case Enum():
            return value.value
        case _:
            return value


def _item(item: object) -> str:
    if isinstance(item, bytes):
        return item.hex()
    if isinstance(item, SigningKey | PlatformInfo):
        return item.name or ""
    return "host" if item == _U32 else str(item)
