"""What a relying party demands of SGX evidence. There is no default: every field is given, and absence is written out.

``ANY_...`` means that a value is not looked at because something else covers it; ``UNSAFE_...`` gives up a protection.
:meth:`SgxPolicy.weaknesses` lists the latter, for whoever logs or shows the policy.
"""

from dataclasses import dataclass, fields, replace
from datetime import datetime
from enum import Enum
from typing import Final, Literal, Self

from casemate.verifier.roots import Anchor, SimulatedRoot, VendorKey, VendorRoot
from casemate.wire.errors import CasemateError
from casemate.wire.protocol.sandbox_layers import LayerName
from casemate.wire.sgx.tcb_info import TcbStatus

_DIGEST_SIZE = 32
_REPORT_DATA_SIZE = 64
_U16 = 0xFFFF


class PolicyError(CasemateError):
    """This policy says nothing, or contradicts itself."""


class Absence(Enum):
    """The words for what a policy does not demand, and for demands without a value."""

    ANY_MRENCLAVE = "ANY_MRENCLAVE"
    ANY_MRSIGNER = "ANY_MRSIGNER"
    UNSAFE_ANY_ENCLAVE = "UNSAFE_ANY_ENCLAVE"
    ANY_PRODUCT_ID = "ANY_PRODUCT_ID"
    ANY_SVN = "ANY_SVN"
    REFUSE_DEBUG = "REFUSE_DEBUG"
    UNSAFE_ALLOW_DEBUG = "UNSAFE_ALLOW_DEBUG"
    REFUSE_PUBLIC_SEED = "REFUSE_PUBLIC_SEED"
    UNSAFE_PUBLIC_SEED = "UNSAFE_PUBLIC_SEED"
    ANY_ADVISORY = "ANY_ADVISORY"
    ANY_EVALUATION_NUMBER = "ANY_EVALUATION_NUMBER"
    ANY_TCB_DATE = "ANY_TCB_DATE"
    MUST_BE_OFF = "MUST_BE_OFF"
    ANY_DYNAMIC_PLATFORM = "ANY_DYNAMIC_PLATFORM"
    ANY_CACHED_KEYS = "ANY_CACHED_KEYS"
    ANY_SMT = "ANY_SMT"
    FRESH_NONCE = "FRESH_NONCE"
    UNSAFE_ANY_REPORT_DATA = "UNSAFE_ANY_REPORT_DATA"
    UNSAFE_ANY_SANDBOX = "UNSAFE_ANY_SANDBOX"


ANY_MRENCLAVE: Final = Absence.ANY_MRENCLAVE
"""Code is not pinned by measurement; MRSIGNER must be."""
ANY_MRSIGNER: Final = Absence.ANY_MRSIGNER
"""The signer does not matter; MRENCLAVE must be pinned."""
UNSAFE_ANY_ENCLAVE: Final = Absence.UNSAFE_ANY_ENCLAVE
"""Any code at all, whoever signed it."""
ANY_PRODUCT_ID: Final = Absence.ANY_PRODUCT_ID
ANY_SVN: Final = Absence.ANY_SVN
REFUSE_DEBUG: Final = Absence.REFUSE_DEBUG
UNSAFE_ALLOW_DEBUG: Final = Absence.UNSAFE_ALLOW_DEBUG
"""The platform's owner may read and change all of the enclave."""
REFUSE_PUBLIC_SEED: Final = Absence.REFUSE_PUBLIC_SEED
UNSAFE_PUBLIC_SEED: Final = Absence.UNSAFE_PUBLIC_SEED
"""Anybody who knows the seed can make such evidence; for reproducible tests."""
ANY_ADVISORY: Final = Absence.ANY_ADVISORY
ANY_EVALUATION_NUMBER: Final = Absence.ANY_EVALUATION_NUMBER
ANY_TCB_DATE: Final = Absence.ANY_TCB_DATE
MUST_BE_OFF: Final = Absence.MUST_BE_OFF
ANY_DYNAMIC_PLATFORM: Final = Absence.ANY_DYNAMIC_PLATFORM
ANY_CACHED_KEYS: Final = Absence.ANY_CACHED_KEYS
ANY_SMT: Final = Absence.ANY_SMT
FRESH_NONCE: Final = Absence.FRESH_NONCE
"""REPORTDATA must bind a nonce that the challenger fills in by :meth:`SgxPolicy.with_nonce`; refuses until then."""
UNSAFE_ANY_REPORT_DATA: Final = Absence.UNSAFE_ANY_REPORT_DATA
"""Nothing ties the evidence to this conversation: it may be anybody's, and years old."""
UNSAFE_ANY_SANDBOX: Final = Absence.UNSAFE_ANY_SANDBOX
"""Whatever confines the enclave's processes, or nothing."""

AnyMrEnclave = Literal[Absence.ANY_MRENCLAVE, Absence.UNSAFE_ANY_ENCLAVE]
AnyMrSigner = Literal[Absence.ANY_MRSIGNER]
PublicSeed = Literal[Absence.REFUSE_PUBLIC_SEED, Absence.UNSAFE_PUBLIC_SEED]
AnyEvaluationNumber = Literal[Absence.ANY_EVALUATION_NUMBER]


@dataclass(frozen=True, slots=True)
class ExpectedNonce:
    """REPORTDATA binds the enclave's keys and layers to this challenge, as ``wire.protocol.report_data`` says."""

    nonce: bytes

    def __post_init__(self) -> None:
        _check_sizes("nonce", frozenset({self.nonce}), _DIGEST_SIZE)


@dataclass(frozen=True, slots=True)
class ExpectedReportData:
    """REPORTDATA is these 64 bytes: for enclaves that are not Casemate's."""

    value: bytes

    def __post_init__(self) -> None:
        _check_sizes("report_data", frozenset({self.value}), _REPORT_DATA_SIZE)


ReportDataDemand = ExpectedNonce | ExpectedReportData | Literal[Absence.FRESH_NONCE, Absence.UNSAFE_ANY_REPORT_DATA]


@dataclass(frozen=True, slots=True)
class AcceptedStatus:
    """A TCB status that will do, and the advisories that may be open at it."""

    status: TcbStatus
    advisories: frozenset[str] | Literal[Absence.ANY_ADVISORY]


@dataclass(frozen=True, slots=True)
class RequiredLayers:
    """Sandbox layers that must have been applied around the enclave's process and around its guest's."""

    enclave: frozenset[LayerName]
    guest: frozenset[LayerName]


@dataclass(frozen=True, slots=True)
class EndorsementDemand:
    """What a policy demands of whoever vouches for a platform; the same for every challenge."""

    root: Anchor
    public_seed: PublicSeed
    minimum_evaluation_number: int | AnyEvaluationNumber


def check_anchor(root: Anchor) -> None:
    """Refuses a root with a digest of another size, or a key without a name."""
    if isinstance(root, VendorKey):
        _check_sizes("root", frozenset({root.key_sha256}), _DIGEST_SIZE)
        if not root.name:
            raise PolicyError("root has an empty name, want the common name in its certificate")
    else:
        _check_sizes("root", frozenset({root.sha256}), _DIGEST_SIZE)


def check_layers_are_bound(layers: object, demand: ReportDataDemand) -> None:
    """Refuses a policy that requires layers which nothing vouches for."""
    bound = isinstance(demand, ExpectedNonce) or demand is FRESH_NONCE
    if isinstance(layers, RequiredLayers) and not bound:
        raise PolicyError("layers are required, but only REPORTDATA that binds a nonce vouches for them")


def filled_in(demand: ReportDataDemand, nonce: bytes) -> ExpectedNonce:
    """The demand for one challenge; :class:`PolicyError` where it is not for a fresh nonce."""
    if demand is not FRESH_NONCE:
        raise PolicyError(f"report_data is {shown_member(demand)}, only FRESH_NONCE can be filled in")
    return ExpectedNonce(nonce)


@dataclass(frozen=True, slots=True, kw_only=True)
class SgxPolicy:
    """The demands, all of them.

    Raises:
        PolicyError: a policy that names no enclave, accepts no status, or requires what it does not check.
    """

    root: Anchor
    public_seed: PublicSeed
    mr_enclave: frozenset[bytes] | AnyMrEnclave
    mr_signer: frozenset[bytes] | AnyMrSigner
    product_id: int | Literal[Absence.ANY_PRODUCT_ID]
    minimum_svn: int | Literal[Absence.ANY_SVN]
    debug: Literal[Absence.REFUSE_DEBUG, Absence.UNSAFE_ALLOW_DEBUG]
    tcb: tuple[AcceptedStatus, ...]
    minimum_evaluation_number: int | AnyEvaluationNumber
    """Of TCB info and QE identity (tcbEvaluationDataNumber)."""
    minimum_tcb_date: datetime | Literal[Absence.ANY_TCB_DATE]
    """The platform's TCB level must have been defined at this time or later."""
    dynamic_platform: Literal[Absence.MUST_BE_OFF, Absence.ANY_DYNAMIC_PLATFORM]
    cached_keys: Literal[Absence.MUST_BE_OFF, Absence.ANY_CACHED_KEYS]
    smt: Literal[Absence.MUST_BE_OFF, Absence.ANY_SMT]
    """The last three where the PCK certificate tells, which those of the Platform CA do."""
    report_data: ReportDataDemand
    layers: RequiredLayers | Literal[Absence.UNSAFE_ANY_SANDBOX]

    def __post_init__(self) -> None:
        for field in fields(self):
            _check_kind(field.name, getattr(self, field.name))
        self._check_enclave()
        self._check_tcb()
        if isinstance(self.minimum_tcb_date, datetime) and self.minimum_tcb_date.tzinfo is None:
            raise PolicyError("minimum_tcb_date has no time zone")
        check_layers_are_bound(self.layers, self.report_data)

    def with_nonce(self, nonce: bytes) -> Self:
        """This policy for one challenge; :class:`PolicyError` where it does not demand a fresh nonce."""
        return replace(self, report_data=filled_in(self.report_data, nonce))

    def endorsement_demand(self) -> EndorsementDemand:
        """The part of it that concerns the maker's endorsements."""
        return EndorsementDemand(self.root, self.public_seed, self.minimum_evaluation_number)

    def weaknesses(self) -> tuple[str, ...]:
        """The protections given up, by name; empty for a sound policy."""
        found = [
            value.value
            for value in (getattr(self, field.name) for field in fields(self))
            if isinstance(value, Absence) and value.value.startswith("UNSAFE_")
        ]
        return (*found, "SIMULATED_ROOT") if isinstance(self.root, SimulatedRoot) else tuple(found)

    def accepted(self, status: TcbStatus) -> AcceptedStatus | None:
        """What is accepted at this status."""
        return next((accepted for accepted in self.tcb if accepted.status is status), None)

    def _check_enclave(self) -> None:
        check_anchor(self.root)
        if isinstance(self.mr_enclave, frozenset):
            _check_sizes("mr_enclave", self.mr_enclave, _DIGEST_SIZE)
        if isinstance(self.mr_signer, frozenset):
            _check_sizes("mr_signer", self.mr_signer, _DIGEST_SIZE)
        elif self.mr_enclave is ANY_MRENCLAVE:
            raise PolicyError("names no enclave: give mr_enclave or mr_signer, or write UNSAFE_ANY_ENCLAVE")
        for name in ("product_id", "minimum_svn"):
            value = getattr(self, name)
            if isinstance(value, int) and not 0 <= value <= _U16:
                raise PolicyError(f"{name} is {value}, want 0 to {_U16}")

    def _check_tcb(self) -> None:
        statuses = [accepted.status for accepted in self.tcb]
        if not statuses or len(set(statuses)) != len(statuses):
            raise PolicyError(f"tcb accepts {len(statuses)} statuses, want one or more, each once")


@dataclass(frozen=True, slots=True)
class Terms:
    """What endorsements are judged by: a policy's demand of them, and the time, which is read once a decision."""

    demand: EndorsementDemand
    now: datetime


_KINDS: dict[str, tuple[tuple[type, ...], tuple[Absence, ...]]] = {
    "root": ((VendorRoot, VendorKey, SimulatedRoot), ()),
    "public_seed": ((), (REFUSE_PUBLIC_SEED, UNSAFE_PUBLIC_SEED)),
    "mr_enclave": ((frozenset,), (ANY_MRENCLAVE, UNSAFE_ANY_ENCLAVE)),
    "mr_signer": ((frozenset,), (ANY_MRSIGNER,)),
    "product_id": ((int,), (ANY_PRODUCT_ID,)),
    "minimum_svn": ((int,), (ANY_SVN,)),
    "debug": ((), (REFUSE_DEBUG, UNSAFE_ALLOW_DEBUG)),
    "tcb": ((tuple,), ()),
    "minimum_evaluation_number": ((int,), (ANY_EVALUATION_NUMBER,)),
    "minimum_tcb_date": ((datetime,), (ANY_TCB_DATE,)),
    "dynamic_platform": ((), (MUST_BE_OFF, ANY_DYNAMIC_PLATFORM)),
    "cached_keys": ((), (MUST_BE_OFF, ANY_CACHED_KEYS)),
    "smt": ((), (MUST_BE_OFF, ANY_SMT)),
    "report_data": ((ExpectedNonce, ExpectedReportData), (FRESH_NONCE, UNSAFE_ANY_REPORT_DATA)),
    "layers": ((RequiredLayers,), (UNSAFE_ANY_SANDBOX,)),
}
"""What each field may hold, checked also where no type checker has looked: None must never mean "do not check"."""


def _check_kind(name: str, value: object) -> None:
    kinds, allowed = _KINDS[name]
    if type(value) in kinds or (isinstance(value, Absence) and value in allowed):
        return
    wanted = [*(kind.__name__ for kind in kinds), *(word.value for word in allowed)]
    raise PolicyError(f"{name} is {shown_member(value)}, want {' or '.join(wanted)}")


def words_of(name: str) -> tuple[str, ...]:
    """The words that a member takes in place of a value."""
    return tuple(word.value for word in _KINDS[name][1])


def shown_member(value: object) -> str:
    """A value that a member cannot take, for an error: a word or number as it is written, else what kind it is of."""
    if isinstance(value, Enum):
        return str(value.value)
    return (
        ascii(value)[:80]
        if value is None or isinstance(value, str | int | float)
        else f"a value of type {type(value).__name__}"
    )


def _check_sizes(name: str, values: frozenset[bytes], size: int) -> None:
    if not values:
        raise PolicyError(f"{name} is an empty set, which accepts nothing: name a value, or write ANY_{name.upper()}")
    for value in values:
        if len(value) != size:
            raise PolicyError(f"{name} has a value of {len(value)} bytes, want {size}")
