"""Policies for SEV-SNP evidence. Every demand is a field, and the absence of a demand is written out."""

import re
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, Literal, Self

from casemate.verifier.common_demands import (
    Debug,
    ExpectedReportData,
    PublicSeed,
    ReportDataDemand,
    RequiredLayers,
    check_layers_are_bound,
    check_open,
    filled_in,
    layers_kind,
    number,
    octets,
    read_bits,
    report_data_kind,
    roots_kind,
)
from casemate.verifier.demands import (
    Comparison,
    Demand,
    Kind,
    PolicyError,
    at_least,
    bit,
    check_members,
    one_of,
    shown_member,
    words_alone,
    words_given,
)
from casemate.verifier.policy_text import PolicyFormat, parse_policy_text, print_policy_text
from casemate.verifier.roots import AMD_GENOA_ROOT, AMD_MILAN_ROOT, AMD_TURIN_ROOT, Anchor, SimulatedRoot
from casemate.verifier.rules import Rule
from casemate.wire.encodings.fields import MAX_U8, MAX_U32, MAX_U64
from casemate.wire.encodings.json_object import JsonObject
from casemate.wire.errors import WireError
from casemate.wire.snp.report import HOST_VMPL, GuestPolicy, PlatformInfo, SigningKey
from casemate.wire.snp.tcb import PARTS, Product, TcbVersion

_LEVELS = {"0": 0, "1": 1, "2": 2, "3": 3, "host": HOST_VMPL}
_MAX_VALUES = 4096
_ABI = re.compile(r"(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})", re.ASCII)
_FIRMWARE = re.compile(r"(0|[1-9]\d{0,2})(\.(0|[1-9]\d{0,2})){2}", re.ASCII)
_MAX_AGE = 10 * 366 * 24 * 3600
"""Ten years: no revocation list lives longer."""
_MASK = 'a mask such as "0x40"'

UnknownBits = int | Literal["UNSAFE_ANY_UNKNOWN_BITS"]
"""A mask of the bits that may be set besides those with a name here: AMD extends both fields without a new version."""


def _check_unknown_bits(name: str, value: object) -> None:
    if value == "UNSAFE_ANY_UNKNOWN_BITS" or (type(value) is int and 0 <= value <= MAX_U64):
        return
    want = "a mask of 64 bits or UNSAFE_ANY_UNKNOWN_BITS"
    raise PolicyError(f"{name}.unknown_bits is {shown_member(value)}, want {want}")


@dataclass(frozen=True, slots=True)
class AbiVersion:
    """The least firmware ABI that the guest's own policy must demand."""

    major: int
    minor: int


@dataclass(frozen=True, slots=True, order=True)
class FirmwareVersion:
    """A version of SEV-SNP firmware: its API version, and its build."""

    major: int
    minor: int
    build: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.build}"


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
    """The demand on bits of GUEST_POLICY for which there are no members like ``debug`` or ``smt``."""

    unknown_bits: UnknownBits

    def __post_init__(self) -> None:
        _check_unknown_bits("guest_policy", self.unknown_bits)


NO_UNKNOWN_BITS: Final = GuestPolicyDemand(unknown_bits=0)
"""Every bit of GUEST_POLICY must have a name here."""


def _signing_keys() -> Kind[frozenset[SigningKey]]:
    def read(body: JsonObject, name: str) -> frozenset[SigningKey]:
        texts = body.texts(name, limit=len(SigningKey))
        for text in texts:
            if text not in SigningKey.__members__:
                raise WireError(f"policy.{name}", got=ascii(text)[:80], want="VCEK or VLEK")
        return frozenset(SigningKey[text] for text in texts)

    def check(name: str, keys: frozenset[SigningKey]) -> None:
        if not keys or SigningKey.NONE in keys:
            raise PolicyError(f"{name} wants VCEK, VLEK or both")

    return Kind('a list of "VCEK" and "VLEK"', read, lambda keys: sorted(key.name for key in keys), check)


def _vmpl() -> Kind[frozenset[int]]:
    def read(body: JsonObject, name: str) -> frozenset[int]:
        texts = body.texts(name, limit=_MAX_VALUES)
        for text in texts:
            if text not in _LEVELS:
                raise WireError(f"policy.{name}", got=ascii(text)[:80], want=" or ".join(_LEVELS))
        return frozenset(_LEVELS[text] for text in texts)

    def plain(levels: frozenset[int]) -> list[str]:
        return sorted(text for text, level in _LEVELS.items() if level in levels)

    def check(name: str, levels: frozenset[int]) -> None:
        if not levels or not levels <= set(_LEVELS.values()):
            raise PolicyError(f"{name} is {sorted(levels)}, want levels of 0 to 3, or {HOST_VMPL:#x}")

    return Kind('a list of "0", "1", "2", "3", "host"', read, plain, check)


def _platform_info() -> Kind[PlatformDemand]:
    def read(body: JsonObject, name: str) -> PlatformDemand:
        demand = body.child(name)
        demand.only("required", "forbidden", "unknown_bits")
        unknown = _read_unknown_bits(demand) if "unknown_bits" in demand.names() else 0
        return PlatformDemand(_read_flags(demand, "required"), _read_flags(demand, "forbidden"), unknown)

    def plain(demand: PlatformDemand) -> dict[str, Any]:
        return {
            "required": sorted(flag.name or "" for flag in demand.required),
            "forbidden": sorted(flag.name or "" for flag in demand.forbidden),
            "unknown_bits": _plain_bits(demand.unknown_bits),
        }

    takes = (
        "{ required = [...], forbidden = [...], unknown_bits = ... }: lists of "
        f"{', '.join(PlatformInfo.__members__)}; {_MASK} or UNSAFE_ANY_UNKNOWN_BITS"
    )
    return Kind(takes, read, plain)


def _read_flags(body: JsonObject, name: str) -> frozenset[PlatformInfo]:
    texts = body.texts(name, limit=len(PlatformInfo))
    for text in texts:
        if text not in PlatformInfo.__members__:
            known = ", ".join(PlatformInfo.__members__)
            raise WireError(f"policy.platform_info.{name}", got=ascii(text)[:80], want=known)
    return frozenset(PlatformInfo[text] for text in texts)


def _guest_policy() -> Kind[GuestPolicyDemand]:
    def read(body: JsonObject, name: str) -> GuestPolicyDemand:
        demand = body.child(name)
        demand.only("unknown_bits")
        return GuestPolicyDemand(_read_unknown_bits(demand))

    def plain(demand: GuestPolicyDemand) -> dict[str, str]:
        return {"unknown_bits": _plain_bits(demand.unknown_bits)}

    return Kind(f"{{ unknown_bits = ... }}: {_MASK}, or UNSAFE_ANY_UNKNOWN_BITS", read, plain)


def _read_unknown_bits(body: JsonObject) -> UnknownBits:
    if body.value("unknown_bits") == "UNSAFE_ANY_UNKNOWN_BITS":
        return "UNSAFE_ANY_UNKNOWN_BITS"
    try:
        return read_bits(body, "unknown_bits", MAX_U64)
    except WireError as error:
        raise WireError(error.field, got=error.got, want=f"{_MASK}, or UNSAFE_ANY_UNKNOWN_BITS") from None


def _plain_bits(bits: UnknownBits) -> str:
    return bits if isinstance(bits, str) else f"{bits:#x}"


def _mitigations() -> Kind[int]:
    def check(name: str, bits: int) -> None:
        if not 0 < bits <= MAX_U64:
            raise PolicyError(f"{name} is {bits}, want 64 bits, some of them set")

    return Kind(_MASK, lambda body, name: read_bits(body, name, MAX_U64), lambda bits: bits, check)


def _sockets() -> Kind[int]:
    def read(body: JsonObject, name: str) -> int:
        text = body.text(name)
        if text != "1":
            raise WireError(f"policy.{name}", got=ascii(text)[:80], want="1 or ANY_SOCKETS")
        return 1

    return Kind('"1"', read, str)


def _abi() -> Kind[AbiVersion]:
    def read(body: JsonObject, name: str) -> AbiVersion:
        found = _ABI.fullmatch(body.text(name))
        if found is None or max(int(found[1]), int(found[2])) > MAX_U8:
            raise WireError(f"policy.{name}", got=ascii(body.text(name))[:80], want="MAJOR.MINOR or ANY_ABI")
        return AbiVersion(int(found[1]), int(found[2]))

    return Kind('MAJOR.MINOR in quotes such as "1.55"', read, lambda version: f"{version.major}.{version.minor}")


def _firmware() -> Kind[FirmwareVersion]:
    def read(body: JsonObject, name: str) -> FirmwareVersion:
        text = body.text(name)
        if _FIRMWARE.fullmatch(text):
            parts = [int(part) for part in text.split(".")]
            if max(parts) <= MAX_U8:
                return FirmwareVersion(*parts)
        raise WireError(f"policy.{name}", got=ascii(text)[:80], want="MAJOR.MINOR.BUILD")

    return Kind('MAJOR.MINOR.BUILD in quotes such as "1.55.29"', read, str)


Floor = TcbVersion | tuple[TcbVersion, ...] | Literal["ANY_TCB"]
"""One for each product that the policy is for."""


def floor_for(demand: Floor, product: Product) -> TcbVersion | Literal["ANY_TCB"]:
    """The floor for this product; another product's, which it cannot reach, where the policy has none for it."""
    if not isinstance(demand, tuple):
        return demand
    return next((floor for floor in demand if floor.product is product), demand[0])


def _tcb() -> Kind[TcbVersion | tuple[TcbVersion, ...]]:
    def read(body: JsonObject, name: str) -> TcbVersion | tuple[TcbVersion, ...]:
        if isinstance(body.value(name), list):
            return tuple(_read_tcb(name, table) for table in body.children(name, limit=len(Product)))
        return _read_tcb(name, body.child(name))

    def plain(floor: TcbVersion | tuple[TcbVersion, ...]) -> Any:
        return [_plain_tcb(each) for each in floor] if isinstance(floor, tuple) else _plain_tcb(floor)

    def check(name: str, floor: TcbVersion | tuple[TcbVersion, ...]) -> None:
        floors = floor if isinstance(floor, tuple) else (floor,)
        if not all(isinstance(each, TcbVersion) for each in floors):
            raise PolicyError(f"{name} wants floors alone")
        if not floors or len({each.product for each in floors}) != len(floors):
            raise PolicyError(f"{name} has {len(floors)} floors, want one for each product")

    parts = "; ".join(f"of {product}: {', '.join(PARTS[product])}" for product in Product)
    return Kind(f"{{ product, {parts} }}; or a list of them, each of another product", read, plain, check)


def _read_tcb(name: str, table: JsonObject) -> TcbVersion:
    text = table.text("product")
    if text not in list(Product):
        raise WireError(f"policy.{name}.product", got=ascii(text)[:80], want=" or ".join(Product))
    product = Product(text)
    table.only("product", *PARTS[product])
    return TcbVersion(product, **{part: table.uint(part, MAX_U8) for part in PARTS[product]})


def _plain_tcb(tcb: TcbVersion) -> dict[str, Any]:
    return {"product": str(tcb.product)} | {part: getattr(tcb, part) for part in PARTS[tcb.product]}


def _forbidden(at: GuestPolicy, strict: str = "MUST_BE_OFF") -> Comparison:
    """The guest's policy does not have the bit that allows something."""
    return bit("policy", at, strict=strict, wanted=False, shown=("forbidden", "allowed"))


def _demanded(at: GuestPolicy, strict: str) -> Comparison:
    """The guest's policy has the bit that demands something: the firmware starts no such guest without it."""
    return bit("policy", at, strict=strict, wanted=True, shown=("not demanded", "demanded"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SnpPolicy:
    """The demands, all of them.

    Raises:
        PolicyError: a value of the wrong kind or size, or an empty set, which accepts nothing.
    """

    root: Annotated[
        Anchor | tuple[Anchor, ...],
        Demand(
            roots_kind(AMD_MILAN_ROOT, AMD_GENOA_ROOT, AMD_TURIN_ROOT),
            Rule.CHAIN_ROOT,
            "As in [quotes' policies](cli.md#roots). Each product has its own: a policy for a fleet lists several",
        ),
    ]
    public_seed: Annotated[
        PublicSeed, Demand(words_alone(), Rule.CHAIN_SEEDED, "The latter for machines made with `--seed`")
    ]
    revocation: Annotated[
        Literal["REQUIRE_REVOCATION_LIST", "UNSAFE_NO_REVOCATION_LIST"],
        Demand(
            words_alone(), Rule.CRL_FORMAT, "With the latter a list that is given is still checked, but none has to be"
        ),
    ]
    signing_keys: Annotated[
        frozenset[SigningKey],
        Demand(_signing_keys(), Rule.SNP_SIGNING_KEY, "The key of the chip, or of a cloud provider"),
    ]
    measurement: Annotated[
        frozenset[bytes] | Literal["UNSAFE_ANY_GUEST"],
        Demand(octets(48, "launch digests"), Rule.SNP_MEASUREMENT, comparison=one_of("measurement")),
    ]
    host_data: Annotated[
        frozenset[bytes] | Literal["ANY_HOST_DATA"],
        Demand(octets(32), Rule.SNP_HOST_DATA, comparison=one_of("host_data")),
    ]
    id_key_digest: Annotated[
        frozenset[bytes] | Literal["ANY_ID_KEY"],
        Demand(octets(48, "SHA-384 digests"), Rule.SNP_ID_KEY, comparison=one_of("id_key_digest")),
    ]
    author_key_digest: Annotated[
        frozenset[bytes] | Literal["ANY_AUTHOR_KEY"],
        Demand(
            octets(48, "SHA-384 digests"),
            Rule.SNP_AUTHOR_KEY,
            comparison=one_of("author_key_digest", requires="has_author_key"),
        ),
    ]
    family_id: Annotated[
        frozenset[bytes] | Literal["ANY_FAMILY_ID"],
        Demand(
            octets(16),
            Rule.SNP_FAMILY_ID,
            "As the guest's id block has it, zeros without one",
            one_of("family_id"),
        ),
    ]
    image_id: Annotated[
        frozenset[bytes] | Literal["ANY_IMAGE_ID"],
        Demand(octets(16), Rule.SNP_IMAGE_ID, "Likewise", one_of("image_id")),
    ]
    report_id: Annotated[
        frozenset[bytes] | Literal["ANY_REPORT_ID"],
        Demand(
            octets(32),
            Rule.SNP_REPORT_ID,
            "Of one launch of the guest, for as long as it lasts: to recognise a guest that was appraised before",
            one_of("report_id"),
        ),
    ]
    chip_id: Annotated[
        frozenset[bytes] | Literal["ANY_CHIP"],
        Demand(octets(64), Rule.SNP_CHIP_ID, "The machines that may answer"),
    ]
    platform_info: Annotated[
        PlatformDemand | Literal["ANY_PLATFORM"],
        Demand(
            _platform_info(),
            Rule.SNP_PLATFORM_INFO,
            "What must be so on the machine, and what not, by [the names below](#bits-by-name)",
        ),
    ]
    mitigations: Annotated[
        int | Literal["ANY_MITIGATIONS"],
        Demand(
            _mitigations(),
            Rule.SNP_MITIGATIONS,
            "Its bits must be in both vectors of mitigations, at launch and now; reports have them from version 5 on",
        ),
    ]
    vmpl: Annotated[
        frozenset[int],
        Demand(_vmpl(), Rule.SNP_VMPL, 'Who asked for the report; `"host"` speaks for no guest', one_of("vmpl")),
    ]
    minimum_guest_svn: Annotated[
        int | Literal["ANY_GUEST_SVN"],
        Demand(
            number(MAX_U32), Rule.SNP_GUEST_SVN, "The oldest acceptable version of the guest", at_least("guest_svn")
        ),
    ]
    debug: Annotated[
        Debug,
        Demand(
            words_alone(),
            Rule.SNP_DEBUG,
            "Whether the host may decrypt the guest's memory",
            _forbidden(GuestPolicy.DEBUG, "REFUSE_DEBUG"),
        ),
    ]
    migration: Annotated[
        Literal["MUST_BE_OFF", "ANY_MIGRATION"],
        Demand(
            words_alone(),
            Rule.SNP_MIGRATION,
            "Off: the guest's policy forbids a migration agent, and it has none",
        ),
    ]
    smt: Annotated[
        Literal["MUST_BE_OFF", "ANY_SMT"],
        Demand(
            words_alone(),
            Rule.SNP_SMT,
            "Off: the guest does not run beside sibling threads",
            _forbidden(GuestPolicy.SMT),
        ),
    ]
    sockets: Annotated[Literal[1, "ANY_SOCKETS"], Demand(_sockets(), Rule.SNP_SOCKET)]
    minimum_abi: Annotated[
        AbiVersion | Literal["ANY_ABI"],
        Demand(_abi(), Rule.SNP_ABI, "The least firmware ABI that the guest's policy must demand"),
    ]
    provisional: Annotated[
        Literal["REFUSE_PROVISIONAL", "ANY_PROVISIONAL"],
        Demand(words_alone(), Rule.SNP_PROVISIONAL, "Firmware that is not committed can be rolled back by its host"),
    ]
    reported_tcb: Annotated[
        Floor, Demand(_tcb(), Rule.SNP_TCB_REPORTED, "A floor, compared part by part; so are the next three")
    ]
    committed_tcb: Annotated[Floor, Demand(_tcb(), Rule.SNP_TCB_COMMITTED)]
    launch_tcb: Annotated[Floor, Demand(_tcb(), Rule.SNP_TCB_LAUNCH)]
    current_tcb: Annotated[Floor, Demand(_tcb(), Rule.SNP_TCB_CURRENT)]
    report_data: Annotated[
        ReportDataDemand,
        Demand(
            report_data_kind(),
            Rule.BINDING_REPORT_DATA,
            "`FRESH_NONCE`: for a challenge that `casemate verify --report-data` fills in (of an attested function "
            "`--binding`, as for SGX), and refused without",
        ),
    ]
    layers: Annotated[
        RequiredLayers | Literal["ANY_SANDBOX"],
        Demand(
            layers_kind(), Rule.SANDBOX_ENCLAVE, "Sandbox layers, of which only attested functions tell; a VM has none"
        ),
    ]
    guest_policy: Annotated[
        GuestPolicyDemand,
        Demand(
            _guest_policy(),
            Rule.SNP_GUEST_POLICY,
            "Which bits the guest's own policy may have besides those with a name here",
        ),
    ] = NO_UNKNOWN_BITS
    cxl: Annotated[
        Literal["MUST_BE_OFF", "ANY_CXL"],
        Demand(
            words_alone(),
            Rule.SNP_CXL,
            "Off: none of the guest's memory is behind CXL",
            _forbidden(GuestPolicy.CXL_ALLOW),
        ),
    ] = "ANY_CXL"
    memory_encryption: Annotated[
        Literal["AES_256_XTS", "ANY_MEMORY_ENCRYPTION"],
        Demand(
            words_alone(),
            Rule.SNP_AES_256_XTS,
            "The guest's policy demands that algorithm; else AES-128 may do",
            _demanded(GuestPolicy.MEM_AES_256_XTS, "AES_256_XTS"),
        ),
    ] = "ANY_MEMORY_ENCRYPTION"
    rapl: Annotated[
        Literal["MUST_BE_OFF", "ANY_RAPL"],
        Demand(
            words_alone(),
            Rule.SNP_RAPL,
            "Off: the guest's policy demands that nobody reads the processor's use of energy",
            _demanded(GuestPolicy.RAPL_DIS, "MUST_BE_OFF"),
        ),
    ] = "ANY_RAPL"
    ciphertext_hiding: Annotated[
        Literal["MUST_BE_ON", "ANY_CIPHERTEXT_HIDING"],
        Demand(
            words_alone(),
            Rule.SNP_CIPHERTEXT_HIDING,
            "On: the guest's policy demands that the host reads no ciphertext of its memory",
            _demanded(GuestPolicy.CIPHERTEXT_HIDING_DRAM, "MUST_BE_ON"),
        ),
    ] = "ANY_CIPHERTEXT_HIDING"
    page_swap: Annotated[
        Literal["MUST_BE_OFF", "ANY_PAGE_SWAP"],
        Demand(
            words_alone(),
            Rule.SNP_PAGE_SWAP,
            "Off: the guest's policy demands that the host swaps and moves none of its pages",
            _demanded(GuestPolicy.PAGE_SWAP_DISABLE, "MUST_BE_OFF"),
        ),
    ] = "ANY_PAGE_SWAP"
    minimum_firmware: Annotated[
        FirmwareVersion | Literal["ANY_FIRMWARE"],
        Demand(
            _firmware(),
            Rule.SNP_FIRMWARE,
            "The oldest acceptable API version and build of the firmware that the platform has committed to, "
            "below which it cannot go back",
        ),
    ] = "ANY_FIRMWARE"
    maximum_collateral_age: Annotated[
        int | Literal["ANY_COLLATERAL_AGE"],
        Demand(number(_MAX_AGE, what="seconds"), Rule.COLLATERAL_AGE, "Since the issue of the root's revocation list"),
    ] = "ANY_COLLATERAL_AGE"

    def __post_init__(self) -> None:
        check_members(self)
        if isinstance(self.maximum_collateral_age, int) and self.revocation != "REQUIRE_REVOCATION_LIST":
            raise PolicyError("maximum_collateral_age is given, but no revocation list is required")
        check_layers_are_bound(self.layers, self.report_data)

    def with_nonce(self, nonce: bytes) -> Self:
        """This policy for one challenge of an attested function: 32 bytes, which its report data binds.

        Raises:
            PolicyError: it does not demand a fresh nonce.
        """
        return replace(self, report_data=filled_in(self.report_data, nonce))

    def with_report_data(self, data: bytes) -> Self:
        """This policy for one challenge of 64 bytes; :class:`PolicyError` where it does not demand a fresh one."""
        check_open(self.report_data)
        return replace(self, report_data=ExpectedReportData(data))

    @property
    def roots(self) -> tuple[Anchor, ...]:
        """The roots of which one must be the chain's."""
        return self.root if isinstance(self.root, tuple) else (self.root,)

    def weaknesses(self) -> tuple[str, ...]:
        """The protections given up, by name; empty for a sound policy."""
        nested = (getattr(value, "unknown_bits", 0) for value in (self.platform_info, self.guest_policy))
        words = (*words_given(self), *(value for value in nested if isinstance(value, str)))
        found = tuple(dict.fromkeys(word for word in words if word.startswith("UNSAFE_")))
        return (*found, "SIMULATED_ROOT") if isinstance(self.roots[0], SimulatedRoot) else found


def parse_snp_policy(text: str) -> SnpPolicy:
    """The policy in ``text``: JSON if it starts with a brace, else TOML.

    Raises:
        PolicyError: it is neither, a member is missing, unknown or of the wrong kind, or the policy makes no sense.
    """
    return parse_policy_text(SnpPolicy, text)


def print_snp_policy(policy: SnpPolicy, form: PolicyFormat = PolicyFormat.TOML) -> str:
    """The text of a policy; :func:`parse_snp_policy` gives the same policy again."""
    return print_policy_text(policy, form)
