"""What a relying party demands of SEV-SNP evidence. As for SGX: every field is given, and absence is written out."""

from dataclasses import dataclass, fields, replace
from enum import Enum
from typing import Final, Literal, Self

from casemate.verifier.roots import Anchor, SimulatedRoot, VendorKey, VendorRoot
from casemate.verifier.sgx.policy import (
    FRESH_NONCE,
    REFUSE_DEBUG,
    UNSAFE_ALLOW_DEBUG,
    Absence,
    ExpectedNonce,
    ExpectedReportData,
    PolicyError,
    PublicSeed,
    ReportDataDemand,
    RequiredLayers,
    check_anchor,
    check_layers_are_bound,
    filled_in,
    shown_member,
)
from casemate.wire.snp.report import PlatformInfo, SigningKey
from casemate.wire.snp.tcb import TcbVersion

_SHA384_SIZE = 48
_HOST_DATA_SIZE = 32
_CHIP_ID_SIZE = 64
_NAME_SIZE = 16
_REPORT_ID_SIZE = 32
_U64 = 0xFFFF_FFFF_FFFF_FFFF
_HOST_VMPL = 0xFFFF_FFFF


class SnpAbsence(Enum):
    """The words for what a policy does not demand."""

    UNSAFE_ANY_GUEST = "UNSAFE_ANY_GUEST"
    ANY_HOST_DATA = "ANY_HOST_DATA"
    ANY_ID_KEY = "ANY_ID_KEY"
    ANY_AUTHOR_KEY = "ANY_AUTHOR_KEY"
    ANY_FAMILY_ID = "ANY_FAMILY_ID"
    ANY_IMAGE_ID = "ANY_IMAGE_ID"
    ANY_REPORT_ID = "ANY_REPORT_ID"
    ANY_CHIP = "ANY_CHIP"
    ANY_PLATFORM = "ANY_PLATFORM"
    ANY_MITIGATIONS = "ANY_MITIGATIONS"
    ANY_TCB = "ANY_TCB"
    ANY_ABI = "ANY_ABI"
    ANY_GUEST_SVN = "ANY_GUEST_SVN"
    ANY_MIGRATION = "ANY_MIGRATION"
    ANY_SOCKETS = "ANY_SOCKETS"
    REFUSE_PROVISIONAL = "REFUSE_PROVISIONAL"
    ANY_PROVISIONAL = "ANY_PROVISIONAL"
    REQUIRE_REVOCATION_LIST = "REQUIRE_REVOCATION_LIST"
    UNSAFE_NO_REVOCATION_LIST = "UNSAFE_NO_REVOCATION_LIST"
    UNSAFE_ANY_UNKNOWN_BITS = "UNSAFE_ANY_UNKNOWN_BITS"
    ANY_SANDBOX = "ANY_SANDBOX"


UNSAFE_ANY_GUEST: Final = SnpAbsence.UNSAFE_ANY_GUEST
"""Any launch digest: any code at all."""
ANY_HOST_DATA: Final = SnpAbsence.ANY_HOST_DATA
ANY_ID_KEY: Final = SnpAbsence.ANY_ID_KEY
ANY_AUTHOR_KEY: Final = SnpAbsence.ANY_AUTHOR_KEY
ANY_FAMILY_ID: Final = SnpAbsence.ANY_FAMILY_ID
ANY_IMAGE_ID: Final = SnpAbsence.ANY_IMAGE_ID
ANY_REPORT_ID: Final = SnpAbsence.ANY_REPORT_ID
"""Any launch of the guest: its report id is another one each time."""
ANY_CHIP: Final = SnpAbsence.ANY_CHIP
ANY_PLATFORM: Final = SnpAbsence.ANY_PLATFORM
"""However the machine is set up: SMT, ECC, and whether its firmware has looked for aliases in DRAM."""
ANY_MITIGATIONS: Final = SnpAbsence.ANY_MITIGATIONS
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

UNSAFE_ANY_UNKNOWN_BITS: Final = SnpAbsence.UNSAFE_ANY_UNKNOWN_BITS
"""Bits without a name here may be set, whatever they allow or say."""

ANY_SANDBOX: Final = SnpAbsence.ANY_SANDBOX
"""A VM is confined by what its report says; only an attested function tells of layers around its processes."""

Floor = TcbVersion | Literal[SnpAbsence.ANY_TCB]
UnknownBits = int | Literal[SnpAbsence.UNSAFE_ANY_UNKNOWN_BITS]
"""A mask of the bits that may be set besides those with a name here: AMD extends both fields without a new version."""


def _check_unknown_bits(name: str, value: object) -> None:
    if value is UNSAFE_ANY_UNKNOWN_BITS or (type(value) is int and 0 <= value <= _U64):
        return
    want = "a mask of 64 bits or UNSAFE_ANY_UNKNOWN_BITS"
    raise PolicyError(f"{name}.unknown_bits is {shown_member(value)}, want {want}")


@dataclass(frozen=True, slots=True)
class AbiVersion:
    """The least firmware ABI that the guest's own policy must demand."""

    major: int
    minor: int


@dataclass(frozen=True, slots=True)
class PlatformDemand:
    """How the machine must be set up. Bits of PLATFORM_INFO without a name here are refused unless named by mask."""

    required: frozenset[PlatformInfo]
    forbidden: frozenset[PlatformInfo]
    unknown_bits: UnknownBits = 0

    def __post_init__(self) -> None:
        _check_unknown_bits("platform_info", self.unknown_bits)
        both = self.required & self.forbidden
        if both:
            names = ", ".join(sorted(flag.name or "" for flag in both))
            raise PolicyError(f"platform_info both requires and forbids {names}")


@dataclass(frozen=True, slots=True)
class GuestPolicyDemand:
    """What the guest's own policy (GUEST_POLICY) may hold besides the bits that ``debug``, ``smt`` etc. are about."""

    unknown_bits: UnknownBits

    def __post_init__(self) -> None:
        _check_unknown_bits("guest_policy", self.unknown_bits)


NO_UNKNOWN_BITS: Final = GuestPolicyDemand(unknown_bits=0)
"""Every bit of GUEST_POLICY must have a name here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnpPolicy:
    """The demands, all of them.

    Raises:
        PolicyError: a value of the wrong kind or size, or an empty set, which accepts nothing.
    """

    root: Anchor
    """The ARK of one product."""
    public_seed: PublicSeed
    revocation: Literal[SnpAbsence.REQUIRE_REVOCATION_LIST, SnpAbsence.UNSAFE_NO_REVOCATION_LIST]
    signing_keys: frozenset[SigningKey]
    measurement: frozenset[bytes] | Literal[SnpAbsence.UNSAFE_ANY_GUEST]
    """Launch digests."""
    host_data: frozenset[bytes] | Literal[SnpAbsence.ANY_HOST_DATA]
    id_key_digest: frozenset[bytes] | Literal[SnpAbsence.ANY_ID_KEY]
    author_key_digest: frozenset[bytes] | Literal[SnpAbsence.ANY_AUTHOR_KEY]
    family_id: frozenset[bytes] | Literal[SnpAbsence.ANY_FAMILY_ID]
    image_id: frozenset[bytes] | Literal[SnpAbsence.ANY_IMAGE_ID]
    """Both as the id block has them; zeros without one."""
    report_id: frozenset[bytes] | Literal[SnpAbsence.ANY_REPORT_ID]
    """Of one launch of the guest, for as long as that lasts."""
    chip_id: frozenset[bytes] | Literal[SnpAbsence.ANY_CHIP]
    platform_info: PlatformDemand | Literal[SnpAbsence.ANY_PLATFORM]
    mitigations: int | Literal[SnpAbsence.ANY_MITIGATIONS]
    """Bits that both vectors must have, at launch and now; reports tell from version 5 on."""
    vmpl: frozenset[int]
    """Privilege levels 0 to 3; 0xFFFFFFFF is the host, which speaks for no guest."""
    minimum_guest_svn: int | Literal[SnpAbsence.ANY_GUEST_SVN]
    debug: Literal[Absence.REFUSE_DEBUG, Absence.UNSAFE_ALLOW_DEBUG]
    migration: Literal[Absence.MUST_BE_OFF, SnpAbsence.ANY_MIGRATION]
    """Off: the guest's policy forbids a migration agent, and it has none."""
    smt: Literal[Absence.MUST_BE_OFF, Absence.ANY_SMT]
    sockets: Literal[1, SnpAbsence.ANY_SOCKETS]
    minimum_abi: AbiVersion | Literal[SnpAbsence.ANY_ABI]
    provisional: Literal[SnpAbsence.REFUSE_PROVISIONAL, SnpAbsence.ANY_PROVISIONAL]
    reported_tcb: Floor
    committed_tcb: Floor
    launch_tcb: Floor
    current_tcb: Floor
    report_data: ReportDataDemand
    """``FRESH_NONCE``: of an attested function, by :meth:`with_nonce`; of another guest the challenger's own 64 bytes,
    by :meth:`with_report_data`. Refuses until then."""
    layers: RequiredLayers | Literal[SnpAbsence.ANY_SANDBOX]
    guest_policy: GuestPolicyDemand = NO_UNKNOWN_BITS
    """May be left out: then no bit without a name is accepted."""

    def __post_init__(self) -> None:
        for field in fields(self):
            _check_kind(field.name, getattr(self, field.name))
        check_anchor(self.root)
        for name, size in _SIZES.items():
            value = getattr(self, name)
            if isinstance(value, frozenset) and (not value or any(len(member) != size for member in value)):
                raise PolicyError(f"{name} wants one or more values of {size} bytes")
        if not self.vmpl or not all(level in (0, 1, 2, 3, _HOST_VMPL) for level in self.vmpl):
            raise PolicyError(f"vmpl is {sorted(self.vmpl)}, want levels of 0 to 3, or {_HOST_VMPL:#x}")
        if not self.signing_keys or SigningKey.NONE in self.signing_keys:
            raise PolicyError("signing_keys wants VCEK, VLEK or both")
        if isinstance(self.mitigations, int) and not 0 < self.mitigations <= _U64:
            raise PolicyError(f"mitigations is {self.mitigations}, want 64 bits, some of them set")
        check_layers_are_bound(self.layers, self.report_data)

    def with_nonce(self, nonce: bytes) -> Self:
        """This policy for one challenge of an attested function: 32 bytes, which its report data binds.

        Raises:
            PolicyError: it does not demand a fresh nonce.
        """
        return replace(self, report_data=filled_in(self.report_data, nonce))

    def with_report_data(self, data: bytes) -> Self:
        """This policy for one challenge of 64 bytes; :class:`PolicyError` where it does not demand a fresh one."""
        if self.report_data is not FRESH_NONCE:
            raise PolicyError(f"report_data is {shown_member(self.report_data)}, only FRESH_NONCE can be filled in")
        return replace(self, report_data=ExpectedReportData(data))

    def weaknesses(self) -> tuple[str, ...]:
        """The protections given up, by name; empty for a sound policy."""
        values = [getattr(self, field.name) for field in fields(self)]
        values += [getattr(value, "unknown_bits", None) for value in (self.platform_info, self.guest_policy)]
        found = [value.value for value in values if isinstance(value, Enum) and str(value.value).startswith("UNSAFE_")]
        found = list(dict.fromkeys(found))
        return (*found, "SIMULATED_ROOT") if isinstance(self.root, SimulatedRoot) else tuple(found)


_SIZES = {
    "measurement": _SHA384_SIZE,
    "host_data": _HOST_DATA_SIZE,
    "id_key_digest": _SHA384_SIZE,
    "author_key_digest": _SHA384_SIZE,
    "family_id": _NAME_SIZE,
    "image_id": _NAME_SIZE,
    "report_id": _REPORT_ID_SIZE,
    "chip_id": _CHIP_ID_SIZE,
}

_KINDS: dict[str, tuple[tuple[type, ...], tuple[object, ...]]] = {
    "root": ((VendorRoot, VendorKey, SimulatedRoot), ()),
    "public_seed": ((), (Absence.REFUSE_PUBLIC_SEED, Absence.UNSAFE_PUBLIC_SEED)),
    "revocation": ((), (REQUIRE_REVOCATION_LIST, UNSAFE_NO_REVOCATION_LIST)),
    "signing_keys": ((frozenset,), ()),
    "measurement": ((frozenset,), (UNSAFE_ANY_GUEST,)),
    "host_data": ((frozenset,), (ANY_HOST_DATA,)),
    "id_key_digest": ((frozenset,), (ANY_ID_KEY,)),
    "author_key_digest": ((frozenset,), (ANY_AUTHOR_KEY,)),
    "family_id": ((frozenset,), (ANY_FAMILY_ID,)),
    "image_id": ((frozenset,), (ANY_IMAGE_ID,)),
    "report_id": ((frozenset,), (ANY_REPORT_ID,)),
    "chip_id": ((frozenset,), (ANY_CHIP,)),
    "platform_info": ((PlatformDemand,), (ANY_PLATFORM,)),
    "mitigations": ((int,), (ANY_MITIGATIONS,)),
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
    "report_data": ((ExpectedNonce, ExpectedReportData), (Absence.FRESH_NONCE, Absence.UNSAFE_ANY_REPORT_DATA)),
    "layers": ((RequiredLayers,), (ANY_SANDBOX,)),
    "guest_policy": ((GuestPolicyDemand,), ()),
}
"""What each field may hold, checked also where no type checker has looked: None must never mean "do not check"."""


def _check_kind(name: str, value: object) -> None:
    kinds, words = _KINDS[name]
    if type(value) in kinds or any(value is word or (value == word and type(value) is int) for word in words):
        return
    wanted = [*(kind.__name__ for kind in kinds), *(str(getattr(word, "value", word)) for word in words)]
    raise PolicyError(f"{name} is {shown_member(value)}, want {' or '.join(wanted)}")


def words_of(name: str) -> tuple[str, ...]:
    """The words that a member takes in place of a value."""
    return tuple(str(getattr(word, "value", word)) for word in _KINDS[name][1])
