"""Policies for SGX evidence. Every demand is a field, and the absence of a demand is written out.

``ANY_...`` means that a value is not looked at because something else covers it; ``UNSAFE_...`` gives up a protection.
:meth:`SgxPolicy.weaknesses` lists the latter, for whoever logs or shows the policy.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from casemate.verifier.common_demands import (
    Debug,
    EndorsementDemand,
    PublicSeed,
    ReportDataDemand,
    RequiredLayers,
    check_layers_are_bound,
    filled_in,
    layers_kind,
    number,
    octets,
    read_bits,
    report_data_kind,
    root_kind,
)
from casemate.verifier.demands import (
    Demand,
    Kind,
    PolicyError,
    at_least,
    bit,
    check_members,
    equal,
    masked,
    off_if_told,
    one_of,
    words_alone,
    words_given,
)
from casemate.verifier.policy_text import PolicyFormat, parse_policy_text, print_policy_text
from casemate.verifier.roots import INTEL_SGX_ROOT, Anchor, SimulatedRoot
from casemate.verifier.rules import Rule
from casemate.wire.encodings.fields import MAX_U16, MAX_U32, MAX_U64
from casemate.wire.encodings.json_object import JsonObject, date_text
from casemate.wire.errors import WireError
from casemate.wire.sgx.attributes import AttributeFlag
from casemate.wire.sgx.tcb_info import TcbStatus

_MAX_AGE = 10 * 366 * 24 * 3600
"""Ten years: no collateral lives longer."""
_MAX_GRACE_DAYS = 10 * 366
_MAX_VALUES = 4096

OUT_OF_DATE = frozenset({TcbStatus.OUT_OF_DATE, TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED})
"""The statuses of a platform that has not been updated after a TCB recovery."""


@dataclass(frozen=True, slots=True)
class AcceptedStatus:
    """A TCB status that will do, and the advisories that may be open at it."""

    status: TcbStatus
    advisories: frozenset[str] | Literal["ANY_ADVISORY"]


@dataclass(frozen=True, slots=True)
class MaskedBits:
    """The bits of a field that a mask lets through are these."""

    value: int
    mask: int


def _masked_bits(maximum: int) -> Kind[MaskedBits]:
    def read(body: JsonObject, name: str) -> MaskedBits:
        table = body.child(name)
        table.only("value", "mask")
        return MaskedBits(read_bits(table, "value", maximum), read_bits(table, "mask", maximum))

    def plain(bits: MaskedBits) -> dict[str, str]:
        return {"value": f"{bits.value:#x}", "mask": f"{bits.mask:#x}"}

    def check(name: str, bits: MaskedBits) -> None:
        if type(bits.value) is not int or type(bits.mask) is not int:
            raise PolicyError(f"{name} has a value or a mask that is no int")
        if not 0 < bits.mask <= maximum:
            raise PolicyError(f"{name} has the mask {bits.mask:#x}, want some of the bits of {maximum:#x}")
        if bits.value & ~bits.mask:
            raise PolicyError(f"{name} wants {bits.value:#x}, of which the mask {bits.mask:#x} lets not all through")

    return Kind('{ value, mask }, both such as "0x5"', read, plain, check)


def _statuses() -> Kind[tuple[AcceptedStatus, ...]]:
    def read(body: JsonObject, name: str) -> tuple[AcceptedStatus, ...]:
        return tuple(map(_read_status, body.children(name, limit=len(TcbStatus))))

    def plain(accepted: tuple[AcceptedStatus, ...]) -> list[dict[str, Any]]:
        return [
            {
                "status": entry.status.value,
                "advisories": "ANY_ADVISORY" if isinstance(entry.advisories, str) else sorted(entry.advisories),
            }
            for entry in accepted
        ]

    def check(name: str, accepted: tuple[AcceptedStatus, ...]) -> None:
        if not all(isinstance(getattr(entry, "status", None), TcbStatus) for entry in accepted):
            raise PolicyError(f"{name} wants a tuple of AcceptedStatus, each of a TcbStatus")
        statuses = [entry.status for entry in accepted]
        if not statuses or len(set(statuses)) != len(statuses):
            raise PolicyError(f"{name} accepts {len(statuses)} statuses, want one or more, each once")

    takes = (
        f"a list of {{ status, advisories }}: a status is one of {', '.join(TcbStatus)}; advisories are a list of ids, "
        "or ANY_ADVISORY"
    )
    return Kind(takes, read, plain, check)


def _read_status(body: JsonObject) -> AcceptedStatus:
    body.only("status", "advisories")
    text = body.text("status")
    if text not in list(TcbStatus):
        raise WireError("policy.tcb.status", got=ascii(text)[:80], want=" or ".join(TcbStatus))
    if body.value("advisories") == "ANY_ADVISORY":
        return AcceptedStatus(TcbStatus(text), "ANY_ADVISORY")
    return AcceptedStatus(TcbStatus(text), frozenset(body.texts("advisories", limit=_MAX_VALUES)))


def _date() -> Kind[datetime]:
    def check(name: str, moment: datetime) -> None:
        if moment.tzinfo is None:
            raise PolicyError(f"{name} has no time zone")

    return Kind(
        'a time in quotes such as "2025-06-19T10:56:11Z"',
        lambda body, name: body.date(name),
        lambda moment: date_text(moment.astimezone(UTC)),
        check,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SgxPolicy:
    """The demands, all of them.

    Raises:
        PolicyError: a policy that names no enclave, accepts no status, or requires what it does not check.
    """

    root: Annotated[Anchor, Demand(root_kind(INTEL_SGX_ROOT), Rule.CHAIN_ROOT, "More [below](#roots)")]
    public_seed: Annotated[
        PublicSeed, Demand(words_alone(), Rule.CHAIN_SEEDED, "The latter for machines made with `--seed`")
    ]
    mr_enclave: Annotated[
        frozenset[bytes] | Literal["ANY_MRENCLAVE", "UNSAFE_ANY_ENCLAVE"],
        Demand(
            octets(32, "SHA-256 digests"),
            Rule.ENCLAVE_MR_ENCLAVE,
            "The enclave's measurement; `ANY_MRENCLAVE` only where `mr_signer` names signers",
            one_of("mr_enclave"),
        ),
    ]
    mr_signer: Annotated[
        frozenset[bytes] | Literal["ANY_MRSIGNER"],
        Demand(octets(32, "SHA-256 digests"), Rule.ENCLAVE_MR_SIGNER, "Of the signers' keys", one_of("mr_signer")),
    ]
    product_id: Annotated[
        int | Literal["ANY_PRODUCT_ID"],
        Demand(number(MAX_U16), Rule.ENCLAVE_PRODUCT_ID, "The signer's number for the product", equal("isv_prod_id")),
    ]
    minimum_svn: Annotated[
        int | Literal["ANY_SVN"],
        Demand(number(MAX_U16), Rule.ENCLAVE_SVN, "The oldest acceptable security version", at_least("isv_svn")),
    ]
    debug: Annotated[
        Debug,
        Demand(
            words_alone(),
            Rule.ENCLAVE_DEBUG,
            "Whoever runs an enclave under a debugger can read and change all of it",
            bit(
                "attributes.flags",
                AttributeFlag.DEBUG,
                strict="REFUSE_DEBUG",
                wanted=False,
                shown=("no DEBUG", "DEBUG"),
            ),
        ),
    ]
    tcb: Annotated[
        tuple[AcceptedStatus, ...],
        Demand(_statuses(), Rule.TCB_STATUS, "Each acceptable status, with the advisories that may be open at it"),
    ]
    minimum_evaluation_number: Annotated[
        int | Literal["ANY_EVALUATION_NUMBER"],
        Demand(number(MAX_U32), Rule.TCB_INFO_EVALUATION, "Of TCB info and QE identity (tcbEvaluationDataNumber)"),
    ]
    minimum_tcb_date: Annotated[
        datetime | Literal["ANY_TCB_DATE"],
        Demand(_date(), Rule.TCB_DATE, "The oldest acceptable date of the platform's TCB level"),
    ]
    dynamic_platform: Annotated[
        Literal["MUST_BE_OFF", "ANY_DYNAMIC_PLATFORM"],
        Demand(
            words_alone(),
            Rule.PLATFORM_DYNAMIC,
            "Where the PCK certificate tells, as those of the Platform CA do",
            off_if_told("platform.configuration.dynamic_platform"),
        ),
    ]
    cached_keys: Annotated[
        Literal["MUST_BE_OFF", "ANY_CACHED_KEYS"],
        Demand(
            words_alone(),
            Rule.PLATFORM_CACHED_KEYS,
            "Likewise",
            off_if_told("platform.configuration.cached_keys"),
        ),
    ]
    smt: Annotated[
        Literal["MUST_BE_OFF", "ANY_SMT"],
        Demand(words_alone(), Rule.PLATFORM_SMT, "Likewise", off_if_told("platform.configuration.smt_enabled")),
    ]
    report_data: Annotated[
        ReportDataDemand,
        Demand(
            report_data_kind(),
            Rule.BINDING_REPORT_DATA,
            "`FRESH_NONCE`: the evidence answers a challenge, and is refused until there is one",
        ),
    ]
    layers: Annotated[
        RequiredLayers | Literal["UNSAFE_ANY_SANDBOX"],
        Demand(layers_kind(), Rule.SANDBOX_ENCLAVE, "Sandbox layers that must be on"),
    ]

    ppid: Annotated[
        frozenset[bytes] | Literal["ANY_PPID"],
        Demand(
            octets(16),
            Rule.PLATFORM_PPID,
            "The machines that may answer, by the id in their PCK certificates",
            one_of("ppid", subject="platform"),
        ),
    ] = "ANY_PPID"
    platform_instance: Annotated[
        frozenset[bytes] | Literal["ANY_PLATFORM_INSTANCE"],
        Demand(
            octets(16),
            Rule.PLATFORM_INSTANCE,
            "Likewise, by the id that a machine gets anew when its owner resets it; certificates of the Platform CA "
            "alone have it",
            one_of("platform.instance_id", subject="platform"),
        ),
    ] = "ANY_PLATFORM_INSTANCE"
    maximum_collateral_age: Annotated[
        int | Literal["ANY_COLLATERAL_AGE"],
        Demand(
            number(_MAX_AGE, what="seconds"),
            Rule.COLLATERAL_AGE,
            "Since the issue of TCB info, QE identity and the PCK CA's revocation list, whichever is oldest. The list "
            "of the root does not count: Intel issues it once a year",
        ),
    ] = "ANY_COLLATERAL_AGE"
    recovery_grace_days: Annotated[
        int | Literal["ANY_RECOVERY_GRACE"],
        Demand(
            number(_MAX_GRACE_DAYS, what="days"),
            Rule.TCB_GRACE,
            "How long an out-of-date status that `tcb` accepts is accepted [after a TCB recovery](#tcb-recovery)",
        ),
    ] = "ANY_RECOVERY_GRACE"
    attributes: Annotated[
        MaskedBits | Literal["ANY_ATTRIBUTES"],
        Demand(
            _masked_bits(MAX_U64),
            Rule.ENCLAVE_ATTRIBUTES,
            "ATTRIBUTES.FLAGS, bit 0 first: INIT, DEBUG, MODE64BIT, and so on",
            masked("attributes.flags", 16),
        ),
    ] = "ANY_ATTRIBUTES"
    xfrm: Annotated[
        MaskedBits | Literal["ANY_XFRM"],
        Demand(_masked_bits(MAX_U64), Rule.ENCLAVE_XFRM, "ATTRIBUTES.XFRM, as XCR0", masked("attributes.xfrm", 16)),
    ] = "ANY_XFRM"
    misc_select: Annotated[
        MaskedBits | Literal["ANY_MISC_SELECT"],
        Demand(_masked_bits(MAX_U32), Rule.ENCLAVE_MISC_SELECT, "MISCSELECT", masked("misc_select", 8)),
    ] = "ANY_MISC_SELECT"
    config_id: Annotated[
        frozenset[bytes] | Literal["ANY_CONFIG_ID"],
        Demand(
            octets(64),
            Rule.ENCLAVE_CONFIG_ID,
            "CONFIGID, which whoever starts the enclave gives it; zeros without KSS",
            one_of("config_id"),
        ),
    ] = "ANY_CONFIG_ID"
    minimum_config_svn: Annotated[
        int | Literal["ANY_CONFIG_SVN"],
        Demand(number(MAX_U16), Rule.ENCLAVE_CONFIG_SVN, "CONFIGSVN, likewise", at_least("config_svn")),
    ] = "ANY_CONFIG_SVN"
    family_id: Annotated[
        frozenset[bytes] | Literal["ANY_FAMILY_ID"],
        Demand(octets(16), Rule.ENCLAVE_FAMILY_ID, "ISVFAMILYID, of the signer's choice", one_of("isv_family_id")),
    ] = "ANY_FAMILY_ID"
    extended_product_id: Annotated[
        frozenset[bytes] | Literal["ANY_EXTENDED_PRODUCT_ID"],
        Demand(
            octets(16),
            Rule.ENCLAVE_EXTENDED_PRODUCT_ID,
            "ISVEXTPRODID, of the signer's choice",
            one_of("isv_ext_prod_id"),
        ),
    ] = "ANY_EXTENDED_PRODUCT_ID"

    def __post_init__(self) -> None:
        check_members(self)
        if isinstance(self.recovery_grace_days, int) and not any(entry.status in OUT_OF_DATE for entry in self.tcb):
            raise PolicyError("recovery_grace_days is given, but tcb accepts no status that is out of date")
        if self.mr_enclave == "ANY_MRENCLAVE" and self.mr_signer == "ANY_MRSIGNER":
            raise PolicyError("names no enclave: give mr_enclave or mr_signer, or write UNSAFE_ANY_ENCLAVE")
        check_layers_are_bound(self.layers, self.report_data)

    def with_nonce(self, nonce: bytes) -> Self:
        """This policy for one challenge; :class:`PolicyError` where it does not demand a fresh nonce."""
        return replace(self, report_data=filled_in(self.report_data, nonce))

    def endorsement_demand(self) -> EndorsementDemand:
        """The part of it that concerns the maker's endorsements."""
        return EndorsementDemand((self.root,), self.public_seed, self.minimum_evaluation_number)

    def weaknesses(self) -> tuple[str, ...]:
        """The protections given up, by name; empty for a sound policy."""
        found = tuple(word for word in words_given(self) if word.startswith("UNSAFE_"))
        return (*found, "SIMULATED_ROOT") if isinstance(self.root, SimulatedRoot) else found

    def accepted(self, status: TcbStatus) -> AcceptedStatus | None:
        """The policy's entry for this status; None if it is not accepted."""
        return next((accepted for accepted in self.tcb if accepted.status is status), None)


def parse_policy(text: str) -> SgxPolicy:
    """The policy in ``text``: JSON if it starts with a brace, else TOML.

    Raises:
        PolicyError: it is neither, a member is missing, unknown or of the wrong kind, or the policy makes no sense.
    """
    return parse_policy_text(SgxPolicy, text)


def print_policy(policy: SgxPolicy, form: PolicyFormat = PolicyFormat.TOML) -> str:
    """The text of a policy; :func:`parse_policy` gives the same policy again."""
    return print_policy_text(policy, form)
