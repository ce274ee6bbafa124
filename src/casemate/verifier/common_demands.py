"""Demands that are the same for every kind of TEE: the root, public seeds, report data, sandbox layers."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from casemate.verifier.demands import Kind, PolicyError, check_sizes, shown_member
from casemate.verifier.roots import Anchor, SimulatedRoot, VendorKey, VendorRoot
from casemate.wire.encodings.json_object import JsonObject
from casemate.wire.errors import WireError
from casemate.wire.protocol.sandbox_layers import LayerName

_DIGEST_SIZE = 32
_REPORT_DATA_SIZE = 64
_MAX_ROOTS = 16
"""Most roots of one policy: makers have one a product."""
_HEXADECIMAL = re.compile(r"0[xX][0-9a-fA-F]{1,16}", re.ASCII)
_MAX_VALUES = 4096
"""Most values that one member lists."""

PublicSeed = Literal["REFUSE_PUBLIC_SEED", "UNSAFE_PUBLIC_SEED"]
"""Anybody who knows the seed can make such evidence; for reproducible tests."""
Debug = Literal["REFUSE_DEBUG", "UNSAFE_ALLOW_DEBUG"]
"""The platform's owner may read and change all of what runs under a debugger."""


@dataclass(frozen=True, slots=True)
class ExpectedNonce:
    """REPORTDATA binds the enclave's keys and layers to this challenge, as ``wire.protocol.report_data`` says."""

    nonce: bytes

    def __post_init__(self) -> None:
        check_sizes("nonce", frozenset({self.nonce}), _DIGEST_SIZE)


@dataclass(frozen=True, slots=True)
class ExpectedReportData:
    """REPORTDATA is these 64 bytes: for enclaves that are not Casemate's."""

    value: bytes

    def __post_init__(self) -> None:
        check_sizes("report_data", frozenset({self.value}), _REPORT_DATA_SIZE)


@dataclass(frozen=True, slots=True)
class RequiredLayers:
    """Sandbox layers that must have been applied around the enclave's process and around its guest's."""

    enclave: frozenset[LayerName]
    guest: frozenset[LayerName]


@dataclass(frozen=True, slots=True)
class ExpectedReportDataPrefix:
    """REPORTDATA starts with these bytes: for enclaves that fill the rest with what their relying party cannot know."""

    prefix: bytes

    def __post_init__(self) -> None:
        if type(self.prefix) is not bytes:
            raise PolicyError(f"report_data has a prefix of type {type(self.prefix).__name__}, want bytes")
        if not 0 < len(self.prefix) <= _REPORT_DATA_SIZE:
            raise PolicyError(f"report_data has a prefix of {len(self.prefix)} bytes, want 1 to {_REPORT_DATA_SIZE}")


ReportDataValue = ExpectedNonce | ExpectedReportData | ExpectedReportDataPrefix
ReportDataDemand = ReportDataValue | Literal["FRESH_NONCE", "UNSAFE_ANY_REPORT_DATA"]
"""``FRESH_NONCE``: REPORTDATA must bind a nonce that the challenger fills in, and is refused until then.
``UNSAFE_ANY_REPORT_DATA``: nothing ties the evidence to this conversation, it may be anybody's and years old."""


@dataclass(frozen=True, slots=True)
class EndorsementDemand:
    """A policy's demands on the maker's endorsements, which are the same for every challenge."""

    roots: tuple[Anchor, ...]
    """One of which the chain must end in; all of them simulated, or none."""
    public_seed: PublicSeed
    minimum_evaluation_number: int | Literal["ANY_EVALUATION_NUMBER"]


@dataclass(frozen=True, slots=True)
class Terms:
    """A policy's demands on endorsements, and the time of the decision, for which the clock is read once."""

    demand: EndorsementDemand
    now: datetime


def check_layers_are_bound(layers: object, demand: ReportDataDemand) -> None:
    """Refuses a policy that requires layers which nothing vouches for."""
    bound = isinstance(demand, ExpectedNonce) or demand == "FRESH_NONCE"
    if isinstance(layers, RequiredLayers) and not bound:
        raise PolicyError("layers are required, but only REPORTDATA that binds a nonce vouches for them")


def filled_in(demand: ReportDataDemand, nonce: bytes) -> ExpectedNonce:
    """The demand for one challenge; :class:`PolicyError` where it is not for a fresh nonce."""
    check_open(demand)
    return ExpectedNonce(nonce)


def check_open(demand: ReportDataDemand) -> None:
    """Refuses to fill in a challenge where the policy does not wait for one."""
    if demand != "FRESH_NONCE":
        raise PolicyError(f"report_data is {shown_member(demand)}, only FRESH_NONCE can be filled in")


def check_root(_name: str, root: Anchor) -> None:
    """Refuses a root with a digest of another size, or a key without a name."""
    if isinstance(root, VendorKey):
        check_sizes("root", frozenset({root.key_sha256}), _DIGEST_SIZE)
        if not root.name:
            raise PolicyError("root has an empty name, want the common name in its certificate")
    else:
        check_sizes("root", frozenset({root.sha256}), _DIGEST_SIZE)


def root_kind(*known: VendorRoot) -> Kind[Anchor]:
    """A policy's root: one of those that are built in, or what is told of another."""

    def read(body: JsonObject, name: str) -> Anchor:
        value = body.value(name)
        for root in known:
            if value == root.name:
                return root
        return _read_root(body.child(name))

    def plain(root: Anchor) -> Any:
        match root:
            case SimulatedRoot(sha256):
                return {"simulated_sha256": sha256.hex()}
            case VendorKey(name, key_sha256):
                return {"name": name, "key_sha256": key_sha256.hex()}
            case VendorRoot(name, sha256):
                return name if root in known else {"name": name, "sha256": sha256.hex()}

    names = ", ".join(root.name for root in known)
    takes = f'{names}, {{ simulated_sha256 = "..." }}, {{ name, key_sha256 }} or {{ name, sha256 }}, both "..."'
    return Kind(takes, read, plain, check_root)


def roots_kind(*known: VendorRoot) -> Kind[Anchor | tuple[Anchor, ...]]:
    """A policy's root, or several of which one must be that of the chain."""
    one = root_kind(*known)

    def read(body: JsonObject, name: str) -> Anchor | tuple[Anchor, ...]:
        value = body.value(name)
        if not isinstance(value, list):
            return one.read(body, name)
        if len(value) > _MAX_ROOTS:
            raise WireError(f"policy.{name}", got=f"{len(value)} roots", want=f"at most {_MAX_ROOTS}")
        return tuple(one.read(JsonObject("policy", {name: item}), name) for item in value)

    def plain(root: Anchor | tuple[Anchor, ...]) -> Any:
        return [one.plain(each) for each in root] if isinstance(root, tuple) else one.plain(root)

    def check(name: str, root: Anchor | tuple[Anchor, ...]) -> None:
        roots = root if isinstance(root, tuple) else (root,)
        if not all(isinstance(each, Anchor) for each in roots):
            raise PolicyError(f"{name} wants roots alone")
        if not 0 < len(roots) <= _MAX_ROOTS or len(set(roots)) != len(roots):
            raise PolicyError(f"{name} names {len(roots)} roots, want 1 to {_MAX_ROOTS}, each once")
        if len({isinstance(each, SimulatedRoot) for each in roots}) != 1:
            raise PolicyError(f"{name} names simulated roots beside others, want either kind alone")
        for each in roots:
            check_root(name, each)

    return Kind(f"{one.takes}; or a list of up to {_MAX_ROOTS} of them", read, plain, check)


def octets(size: int, what: str = "values") -> Kind[frozenset[bytes]]:
    """A list of values of one size, each of which will do."""

    def read(body: JsonObject, name: str) -> frozenset[bytes]:
        texts = body.texts(name, limit=_MAX_VALUES)
        places = {f"{name}[{number}]": text for number, text in enumerate(texts)}  # as errors name them
        values = JsonObject("policy", dict(places))
        return frozenset(values.hexadecimal(place, size) for place in places)

    def plain(values: frozenset[bytes]) -> list[str]:
        return sorted(value.hex() for value in values)

    def check(name: str, values: frozenset[bytes]) -> None:
        check_sizes(name, values, size)

    return Kind(f"a list of {what} ({size} bytes, hex)", read, plain, check)


def number(maximum: int, minimum: int = 0, what: str = "a number") -> Kind[int]:
    """A whole number."""

    def check(name: str, value: int) -> None:
        if not minimum <= value <= maximum:
            raise PolicyError(f"{name} is {value}, want {minimum} to {maximum}")

    return Kind(f"{what} up to {maximum}", lambda body, name: body.uint(name, maximum), lambda value: value, check)


def report_data_kind() -> Kind[ReportDataValue]:
    """What REPORTDATA must be."""

    def read(body: JsonObject, name: str) -> ReportDataValue:
        demand = body.child(name)
        if demand.has("prefix"):
            demand.only("prefix")
            return ExpectedReportDataPrefix(demand.hexadecimal("prefix"))
        if demand.has("nonce"):
            demand.only("nonce")
            return ExpectedNonce(demand.hexadecimal("nonce", _DIGEST_SIZE))
        demand.only("equals")
        return ExpectedReportData(demand.hexadecimal("equals", _REPORT_DATA_SIZE))

    def plain(demand: ReportDataValue) -> dict[str, str]:
        match demand:
            case ExpectedNonce(nonce):
                return {"nonce": nonce.hex()}
            case ExpectedReportData(value):
                return {"equals": value.hex()}
            case ExpectedReportDataPrefix(prefix):
                return {"prefix": prefix.hex()}

    takes = '{ nonce = "(32 bytes, hex)" }, { equals = "(64 bytes, hex)" } or { prefix = "(1 to 64 bytes, hex)" }'
    return Kind(takes, read, plain)


def read_bits(body: JsonObject, name: str, maximum: int) -> int:
    """A mask: a number, or the same in hexadecimal as text, since JSON has no such numbers."""
    value = body.value(name)
    if isinstance(value, str) and _HEXADECIMAL.fullmatch(value) and int(value, 16) <= maximum:
        return int(value, 16)
    return body.uint(name, maximum)


def layers_kind() -> Kind[RequiredLayers]:
    """Which sandbox layers must be on."""

    def read(body: JsonObject, name: str) -> RequiredLayers:
        layers = body.child(name)
        layers.only("enclave", "guest")

        def named(which: str) -> frozenset[LayerName]:
            texts = layers.texts(which, limit=len(LayerName))
            return frozenset(_layer(f"policy.layers.{which}", text) for text in texts)

        return RequiredLayers(named("enclave"), named("guest"))

    def plain(layers: RequiredLayers) -> dict[str, list[str]]:
        return {"enclave": sorted(layers.enclave), "guest": sorted(layers.guest)}

    return Kind(f"{{ enclave = [...], guest = [...] }} of {', '.join(LayerName)}", read, plain)


def _layer(field: str, text: str) -> LayerName:
    try:
        return LayerName(text)
    except ValueError:
        raise WireError(field, got=ascii(text)[:80], want=" or ".join(LayerName)) from None


def _read_root(root: JsonObject) -> Anchor:
    if root.has("simulated_sha256"):
        root.only("simulated_sha256")
        return SimulatedRoot(root.hexadecimal("simulated_sha256", _DIGEST_SIZE))
    if root.has("key_sha256"):
        root.only("name", "key_sha256")
        return VendorKey(root.text("name"), root.hexadecimal("key_sha256", _DIGEST_SIZE))
    root.only("name", "sha256")
    return VendorRoot(root.text("name"), root.hexadecimal("sha256", _DIGEST_SIZE))
