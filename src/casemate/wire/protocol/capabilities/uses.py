"""The tables ``[uses.NAME]`` and ``[callers.NAME]`` with ``enclave``: which enclaves this one calls, and is called by.

Both demand an identity, and mean a whole policy by it: what is not written is refused (a debug enclave, evidence of
another chip) or left to the enclave's owner (which deployment). The demands are measured, so a host that binds a name
to another enclave gains a refusal.

Example:
    [uses.billing]
    mrsigner = "same"
    product_id = 3
    min_security_version = 2
    operations = ["charge", "refund"]
    layers = { enclave = ["seccomp"], guest = ["seccomp"] }

    [uses.billing.evidence]
    root = "INTEL_SGX_ROOT"
    tcb_statuses = ["UpToDate"]
    min_evaluation_number = 17
    max_age_days = 30

    [callers]
    alice = "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="

    [callers.shop]
    enclave = { mrsigner = "same", product_id = 4, min_security_version = 1 }
"""

import re
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Final, TypeVar

from casemate.wire.encodings.fields import MAX_U16, MAX_U32
from casemate.wire.protocol.function_name import MAX_FUNCTION_NAME, NAME
from casemate.wire.protocol.manifest_table import ManifestError, Table, read_choice, read_public_key, shown
from casemate.wire.protocol.sandbox_layers import LayerName
from casemate.wire.sgx.tcb_info import TcbStatus

_IDENTITY: Final = ("mrsigner", "product_id", "min_security_version", "mrenclave", "service")
DEMANDS: Final = (*_IDENTITY, "layers", "owner", "deployment", "evidence")
KEYS: Final = {
    "uses.NAME": (*DEMANDS, "operations", "repeatable"),
    "callers.NAME": ("enclave",),
    "uses.NAME.evidence": ("root", "tcb_statuses", "min_evaluation_number", "max_age_days"),
    "uses.NAME.layers": ("enclave", "guest"),
}
"""The keys of each table; ``enclave`` has :data:`DEMANDS`."""

MAX_USES = 64
"""Most enclaves that one enclave calls, and most that its manifest admits as callers: each is a policy to audit."""
MAX_OPERATIONS = 64
"""Most operations of one table: as many as an image has entry points."""
MAX_AGE_DAYS = 366
"""Oldest collateral: makers issue it each month, with a validity below that."""

SERVICE = re.compile(r"casemate:([a-z][a-z0-9-]{0,35})", re.ASCII)
"""A service that comes with Casemate; its name fits into a record of the lock."""
OPERATION = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}", re.ASCII)
"""Operations are entry points."""
SAME: Final = "same"
_USE_NAME = re.compile(NAME, re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SIMULATED: Final = "simulated_sha256"

Word = TypeVar("Word", bound=StrEnum)


class Same(Enum):
    """The value of ``mrsigner = "same"``: whoever has signed this enclave."""

    SIGNER = SAME


@dataclass(frozen=True, slots=True)
class SignerDemand:
    """A product of a signer's, from some version on."""

    mrsigner: bytes | Same
    """SHA-256 of the signer's key."""
    product_id: int
    min_security_version: int


@dataclass(frozen=True, slots=True)
class MeasurementDemand:
    """One code alone."""

    mrenclave: bytes


@dataclass(frozen=True, slots=True)
class ServiceDemand:
    """The service of this release that has the name: ``casemate.lock`` has its measurement since the build."""

    service: str
    """Without ``casemate:``."""


@dataclass(frozen=True, slots=True)
class LayersDemand:
    """Sandbox layers that must be applied around the enclave's process and around its guest's."""

    enclave: frozenset[LayerName]
    guest: frozenset[LayerName]


@dataclass(frozen=True, slots=True)
class DeploymentDemand:
    """One deployment of one owner's, and no other of the same image."""

    owner: bytes
    """Its owner's public key, Ed25519."""
    name: str


class MakerRoot(StrEnum):
    """A maker's root certificate, by the name that policies have for it."""

    INTEL_SGX_ROOT = "INTEL_SGX_ROOT"


@dataclass(frozen=True, slots=True)
class SimulatedRoot:
    """The root certificate of a simulated maker, by its digest."""

    sha256: bytes


@dataclass(frozen=True, slots=True)
class EvidenceDemand:
    """What is asked of evidence that another chip signed."""

    root: MakerRoot | SimulatedRoot
    tcb_statuses: tuple[TcbStatus, ...]
    min_evaluation_number: int
    max_age_days: int
    """Of the collateral, since its issue."""


@dataclass(frozen=True, slots=True)
class PeerDemands:
    """What one enclave demands of another."""

    identity: SignerDemand | MeasurementDemand | ServiceDemand
    layers: LayersDemand
    """Empty sets where none is demanded."""
    deployment: DeploymentDemand | None
    """None: any, those without an owner included."""
    evidence: EvidenceDemand | None
    """None: a REPORT of the same chip is the one proof that counts."""


@dataclass(frozen=True, slots=True)
class Use:
    """A table ``[uses.NAME]``: an enclave that the guest may call."""

    name: str
    demands: PeerDemands
    operations: tuple[str, ...]
    """The entry points that the guest may call there."""
    repeatable: tuple[str, ...]
    """Those of them that may be carried out twice: they are called again where nobody can tell whether they were."""


@dataclass(frozen=True, slots=True)
class EnclaveCaller:
    """A table ``[callers.NAME]`` with ``enclave``: a caller that proves itself by its evidence."""

    name: str
    demands: PeerDemands


def parse_uses(top: Table) -> tuple[Use, ...]:
    """The tables ``[uses.NAME]``, in the manifest's order.

    Raises:
        ManifestError: names the key.
    """
    table = top.table("uses", optional=True)
    names = table.names()
    if len(names) > MAX_USES:
        raise ManifestError(table.key("*"), got=f"{len(names)} of them", want=f"at most {MAX_USES}")
    for name in names:
        if not is_use_name(name):
            want = f"lower-case letters, digits and inner hyphens, not digits alone, at most {MAX_FUNCTION_NAME}"
            raise ManifestError(table.key(shown(name)), got="no name of an enclave", want=want)
    return tuple(_use(name, table.table(name, KEYS["uses.NAME"])) for name in names)


def parse_enclave_caller(callers: Table, name: str) -> EnclaveCaller:
    """The member of ``[callers]`` that is a table.

    Raises:
        ManifestError: names the key.
    """
    table = callers.table(name, KEYS["callers.NAME"])
    return EnclaveCaller(name, _demands(table.table("enclave", DEMANDS)))


def is_use_name(name: str) -> bool:
    """Whether a table ``[uses.NAME]`` can have the name: it is also that of a deployment, where none is bound to it."""
    return len(name) <= MAX_FUNCTION_NAME and _USE_NAME.fullmatch(name) is not None


def _use(name: str, table: Table) -> Use:
    operations = _operations(table, "operations", "a list of the entry points that this enclave calls there")
    repeatable: tuple[str, ...] = ()
    if "repeatable" in table:
        repeatable = _operations(table, "repeatable", "a list of those operations that may be carried out twice")
        unknown = next((operation for operation in repeatable if operation not in operations), None)
        if unknown is not None:
            raise ManifestError(table.key("repeatable"), got=shown(unknown), want="names out of operations")
    return Use(name, _demands(table), operations, repeatable)


def _operations(table: Table, name: str, want: str) -> tuple[str, ...]:
    key = table.key(name)
    operations = table.value(name, want)
    if not isinstance(operations, list) or not operations or len(operations) > MAX_OPERATIONS:
        raise ManifestError(key, got=shown(operations), want=f"{want}, 1 to {MAX_OPERATIONS}")
    for operation in operations:
        if not isinstance(operation, str) or not OPERATION.fullmatch(operation):
            raise ManifestError(key, got=shown(operation), want="names of entry points: letters, digits, _")
        if operations.count(operation) > 1:
            raise ManifestError(key, got=f"{operation!r} twice", want="each name once")
    return tuple(operations)


def _demands(table: Table) -> PeerDemands:
    if "layers" in table:
        layers = table.table("layers", KEYS["uses.NAME.layers"])
        demanded = LayersDemand(frozenset(_layers(layers, "enclave")), frozenset(_layers(layers, "guest")))
    else:
        demanded = LayersDemand(frozenset(), frozenset())
    return PeerDemands(_identity(table), demanded, _deployment(table), _evidence(table))


def _identity(table: Table) -> SignerDemand | MeasurementDemand | ServiceDemand:
    kinds = [name for name in ("mrenclave", "mrsigner", "service") if name in table]
    if len(kinds) != 1:
        raise ManifestError(
            table.key("mrsigner"),
            got=" and ".join(kinds) if kinds else "not there, nor mrenclave, nor service",
            want="one of mrsigner, mrenclave and service",
            advice='write mrsigner = "same" for an image that you sign with the same key, with product_id and '
            "min_security_version"
            if not kinds
            else "keep one: mrenclave for one build alone, mrsigner for later versions too",
        )
    if kinds != ["mrsigner"]:
        for name in ("product_id", "min_security_version"):
            if name in table:
                raise ManifestError(
                    table.key(name),
                    got=f"beside {kinds[0]}",
                    want="mrsigner beside it",
                    advice=f"remove {name}: {kinds[0]} names one build, whose version is part of it",
                )
    match kinds[0]:
        case "mrenclave":
            return MeasurementDemand(_measurement(table))
        case "service":
            return ServiceDemand(_service(table))
        case _:
            return SignerDemand(
                Same.SIGNER if table.value("mrsigner", SAME) == SAME else _digest(table, "mrsigner", f'"{SAME}" or '),
                table.integer("product_id", 0, MAX_U16),
                table.integer("min_security_version", 0, MAX_U16),
            )


def _measurement(table: Table) -> bytes:
    if table.value("mrenclave", "64 hexadecimal digits") == SAME:
        raise ManifestError(
            table.key("mrenclave"),
            got=shown(SAME),
            want="64 hexadecimal digits",
            advice='write mrsigner = "same": a measurement cannot contain itself, nor two measurements each other',
        )
    return _digest(table, "mrenclave")


def _service(table: Table) -> str:
    want = "casemate: and the name of a service that comes with Casemate, such as casemate:crypto"
    return table.name("service", SERVICE, want).removeprefix("casemate:")


def _digest(table: Table, name: str, other: str = "") -> bytes:
    return bytes.fromhex(table.name(name, _SHA256, f"{other}64 lower-case hexadecimal digits"))


def _deployment(table: Table) -> DeploymentDemand | None:
    if "owner" not in table and "deployment" not in table:
        return None
    owner = read_public_key(table.key("owner"), table.text("owner", "the owner's key, ed25519:BASE64"))
    name = table.name("deployment", _USE_NAME, "the deployment's name, as its owner launches it")
    if len(name) > MAX_FUNCTION_NAME:
        raise ManifestError(table.key("deployment"), got=shown(name), want=f"at most {MAX_FUNCTION_NAME} characters")
    return DeploymentDemand(owner, name)


def _evidence(table: Table) -> EvidenceDemand | None:
    if "evidence" not in table:
        return None
    evidence = table.table("evidence", KEYS["uses.NAME.evidence"])
    return EvidenceDemand(
        _root(evidence),
        tuple(_words(evidence, "tcb_statuses", TcbStatus)),
        evidence.integer("min_evaluation_number", 0, MAX_U32),
        evidence.integer("max_age_days", 1, MAX_AGE_DAYS),
    )


def _root(evidence: Table) -> MakerRoot | SimulatedRoot:
    if evidence.holds_table("root"):
        return SimulatedRoot(_digest(evidence.table("root", (_SIMULATED,)), _SIMULATED))
    want = f'{" or ".join(MakerRoot)}, or {{ {_SIMULATED} = "64 hexadecimal digits" }}'
    evidence.value("root", want)
    return read_choice(evidence, "root", MakerRoot)


def _layers(table: Table, name: str) -> list[LayerName]:
    return _words(table, name, LayerName, empty=True) if name in table else []


def _words(table: Table, name: str, words: type[Word], *, empty: bool = False) -> list[Word]:
    """A list of words out of a few, none of them twice."""
    key, want = table.key(name), f"a list out of {', '.join(words)}"
    given = table.value(name, want)
    if not isinstance(given, list) or not (given or empty):
        raise ManifestError(key, got=shown(given), want=want)
    found: list[Word] = []
    for word in given:
        if not isinstance(word, str) or word not in tuple(words):
            raise ManifestError(key, got=shown(word), want=want)
        if word in found:
            raise ManifestError(key, got=f"{word!r} twice", want="each once")
        found.append(words(word))
    return found
