"""What a relying party demands of SEV-SNP evidence. As for SGX: every field is given, and absence is written out."""

from dataclasses import dataclass, fields
from enum import Enum
from typing import Final, Literal

from casemate.verifier.policy import (
    REFUSE_DEBUG,
    UNSAFE_ALLOW_DEBUG,
    Absence,
    ExpectedReportData,
    PolicyError,
    PublicSeed,
)
from casemate.verifier.roots import SimulatedRoot, VendorRoot
from casemate.wire.snp.report import SigningKey
from casemate.wire.snp.tcb import TcbVersion

_SHA384_SIZE = 48
_HOST_DATA_SIZE = 32
_CHIP_ID_SIZE = 64
_HOST_VMPL = 0xFFFF_FFFF


class SnpAbsence(Enum):
    """The words for what a policy does not demand."""

    UNSAFE_ANY_GUEST = "UNSAFE_ANY_GUEST"
    ANY_HOST_DATA = "ANY_HOST_DATA"
    ANY_ID_KEY = "ANY_ID_KEY"
    ANY_AUTHOR_KEY = "ANY_AUTHOR_KEY"
    ANY_CHIP = "ANY_CHIP"
    ANY_TCB = "ANY_TCB"
    ANY_ABI = "ANY_ABI"
    ANY_GUEST_SVN = "ANY_GUEST_SVN"
    ANY_MIGRATION = "ANY_MIGRATION"
    ANY_SOCKETS = "ANY_SOCKETS"
    REFUSE_PROVISIONAL = "REFUSE_PROVISIONAL"
    ANY_PROVISIONAL = "ANY_PROVISIONAL"
    REQUIRE_REVOCATION_LIST = "REQUIRE_REVOCATION_LIST"
    UNSAFE_NO_REVOCATION_LIST = "UNSAFE_NO_REVOCATION_LIST"


UNSAFE_ANY_GUEST: Final = SnpAbsence.UNSAFE_ANY_GUEST
"""Any launch digest: any code at all."""
ANY_HOST_DATA: Final = SnpAbsence.ANY_HOST_DATA
ANY_ID_KEY: Final = SnpAbsence.ANY_ID_KEY
ANY_AUTHOR_KEY: Final = SnpAbsence.ANY_AUTHOR_KEY
ANY_CHIP: Final = SnpAbsence.ANY_CHIP
ANY_TCB: Final = SnpAbsence.ANY_TCB
ANY_ABI: Final = SnpAbsence.ANY_ABI
ANY_GUEST_SVN: Final = SnpAbsence.ANY_GUEST_SVN
ANY_MIGRATION: Final = SnpAbsence.ANY_MIGRATION
ANY_SOCKETS: Final = SnpAbsence.ANY_SOCKETS
REFUSE_PROVISIONAL: Final = SnpAbsence.REFUSE_PROVISIONAL
ANY_PROVISIONAL: Final = SnpAbsence.ANY_PROVISIONAL
"""Firmware that is not committed can be rolled back by the host."""
REQUIRE_REVOCATION_LIST: Final = SnpAbsence.REQUIRE_REVOCATION_LIST
UNSAFE_NO_REVOCATION_LIST: Final = SnpAbsence.UNSAFE_NO_REVOCATION_LIST
"""A revoked signer would not be noticed; a list that is given is still checked."""

Floor = TcbVersion | Literal[SnpAbsence.ANY_TCB]


@dataclass(frozen=True, slots=True)
class AbiVersion:
    """The least firmware ABI that the guest's own policy must demand."""

    major: int
    minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SnpPolicy:
    """The demands, all of them.

    Raises:
        PolicyError: a value of the wrong kind or size, or an empty set, which accepts nothing.
    """

    root: VendorRoot | SimulatedRoot
    """The ARK of one product."""
    public_seed: PublicSeed
    revocation: Literal[SnpAbsence.REQUIRE_REVOCATION_LIST, SnpAbsence.UNSAFE_NO_REVOCATION_LIST]
    signing_keys: frozenset[SigningKey]
    measurement: frozenset[bytes] | Literal[SnpAbsence.UNSAFE_ANY_GUEST]
    """Launch digests."""
    host_data: frozenset[bytes] | Literal[SnpAbsence.ANY_HOST_DATA]
    id_key_digest: frozenset[bytes] | Literal[SnpAbsence.ANY_ID_KEY]
    author_key_digest: frozenset[bytes] | Literal[SnpAbsence.ANY_AUTHOR_KEY]
    chip_id: frozenset[bytes] | Literal[SnpAbsence.ANY_CHIP]
    vmpl: frozenset[int]
    """Privilege levels 0 to 3; 0xFFFFFFFF is the host, which speaks for no guest."""
    minimum_guest_svn: int | Literal[SnpAbsence.ANY_GUEST_SVN]
    debug: Literal[Absence.REFUSE_DEBUG, Absence.UNSAFE_ALLOW_DEBUG]
    migration: Literal[Absence.MUST_BE_OFF, SnpAbsence.ANY_MIGRATION]
    smt: Literal[Absence.MUST_BE_OFF, Absence.ANY_SMT]
    sockets: Literal[1, SnpAbsence.ANY_SOCKETS]
    minimum_abi: AbiVersion | Literal[SnpAbsence.ANY_ABI]
    provisional: Literal[SnpAbsence.REFUSE_PROVISIONAL, SnpAbsence.ANY_PROVISIONAL]
    reported_tcb: Floor
    committed_tcb: Floor
    launch_tcb: Floor
    current_tcb: Floor
    report_data: ExpectedReportData | Literal[Absence.UNSAFE_ANY_REPORT_DATA]

    def __post_init__(self) -> None:
        for field in fields(self):
            _check_kind(field.name, getattr(self, field.name))
        for name, size in _SIZES.items():
            value = getattr(self, name)
            if isinstance(value, frozenset) and (not value or any(len(member) != size for member in value)):
                raise PolicyError(f"{name} wants one or more values of {size} bytes")
        if not self.vmpl or not all(level in (0, 1, 2, 3, _HOST_VMPL) for level in self.vmpl):
            raise PolicyError(f"vmpl is {sorted(self.vmpl)}, want levels of 0 to 3, or {_HOST_VMPL:#x}")
        if not self.signing_keys or SigningKey.NONE in self.signing_keys:
            raise PolicyError("signing_keys wants VCEK, VLEK or both")

    def weaknesses(self) -> tuple[str, ...]:
        """The protections given up, by name; empty for a sound policy."""
        values = [getattr(self, field.name) for field in fields(self)]
        found = [value.value for value in values if isinstance(value, Enum) and str(value.value).startswith("UNSAFE_")]
        return (*found, "SIMULATED_ROOT") if isinstance(self.root, SimulatedRoot) else tuple(found)


_SIZES = {
    "measurement": _SHA384_SIZE,
    "host_data": _HOST_DATA_SIZE,
    "id_key_digest": _SHA384_SIZE,
    "author_key_digest": _SHA384_SIZE,
    "chip_id": _CHIP_ID_SIZE,
}

_KINDS: dict[str, tuple[tuple[type, ...], tuple[object, ...]]] = {
    "root": ((VendorRoot, SimulatedRoot), ()),
    "public_seed": ((), (Absence.REFUSE_PUBLIC_SEED, Absence.UNSAFE_PUBLIC_SEED)),
    "revocation": ((), (REQUIRE_REVOCATION_LIST, UNSAFE_NO_REVOCATION_LIST)),
    "signing_keys": ((frozenset,), ()),
    "measurement": ((frozenset,), (UNSAFE_ANY_GUEST,)),
    "host_data": ((frozenset,), (ANY_HOST_DATA,)),
    "id_key_digest": ((frozenset,), (ANY_ID_KEY,)),
    "author_key_digest": ((frozenset,), (ANY_AUTHOR_KEY,)),
    "chip_id": ((frozenset,), (ANY_CHIP,)),
    "vmpl": ((frozenset,), ()),
    "minimum_guest_svn": ((int,), (ANY_GUEST_SVN,)),
    "debug": ((), (REFUSE_DEBUG, UNSAFE_ALLOW_DEBUG)),
    "migration": ((), (Absence.MUST_BE_OFF, ANY_MIGRATION)),
    "smt": ((), (Absence.MUST_BE_OFF, Absence.ANY_SMT)),
    "sockets": ((), (1, ANY_SOCKETS)),
    "minimum_abi": ((AbiVersion,), (ANY_ABI,)),
    "provisional": ((), (REFUSE_PROVISIONAL, ANY_PROVISIONAL)),
    "reported_tcb": ((TcbVersion,), (ANY_TCB,)),
    "committed_tcb": ((TcbVersion,), (ANY_TCB,)),
    "launch_tcb": ((TcbVersion,), (ANY_TCB,)),
    "current_tcb": ((TcbVersion,), (ANY_TCB,)),
    "report_data": ((ExpectedReportData,), (Absence.UNSAFE_ANY_REPORT_DATA,)),
}
"""What each field may hold, checked also where no type checker has looked: None must never mean "do not check"."""


def _check_kind(name: str, value: object) -> None:
    kinds, words = _KINDS[name]
    if type(value) in kinds or any(value is word or (value == word and type(value) is int) for word in words):
        return
    wanted = [*(kind.__name__ for kind in kinds), *(str(getattr(word, "value", word)) for word in words)]
    raise PolicyError(f"{name} is {value!r}, want {' or '.join(wanted)}")
