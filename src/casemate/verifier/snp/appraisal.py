"""Appraisal of SEV-SNP reports, and its explanation: one sequence of checks for both.

1. The report parses, and says that it is signed with the one algorithm.
2. The key's certificate leads to the root that the policy names, and nothing of it is revoked.
3. The key is of the kind, product, chip and TCB that the report names; it signed the report.
4. The platform's TCB, in its four readings, reaches the floors; none of them contradicts another; its firmware is
   committed.
5. The guest's own policy, privilege level, identity, launch digest and report data are what the policy demands; and for
   an attested function, the sandbox layers that its report data binds.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from casemate.verifier.binding import BINDING_RULES, SANDBOX_RULES, check_layers, check_report_data, layers_of
from casemate.verifier.chains import CHAIN_RULES
from casemate.verifier.checks import CheckTree, Step, Trail
from casemate.verifier.demands import compared, judge
from casemate.verifier.rules import Rule
from casemate.verifier.snp.certificates import report_signed_by
from casemate.verifier.snp.chain import (
    AMD_REVOCATION_RULES,
    AmdChain,
    AmdLifetime,
    check_amd_chain,
    check_amd_revocation,
)
from casemate.verifier.snp.endorsements import SnpEndorsements
from casemate.verifier.snp.evidence import SnpEvidence, VerifiedSnpEvidence
from casemate.verifier.snp.policy import AbiVersion, FirmwareVersion, PlatformDemand, SnpPolicy, UnknownBits, floor_for
from casemate.wire.encodings.spans import Span
from casemate.wire.errors import WireError
from casemate.wire.protocol.report_data import ReportDataBinding
from casemate.wire.snp.key_certificate import KeyCertificate
from casemate.wire.snp.report import (
    NO_MIGRATION_AGENT,
    SIGNED_SIZE,
    GuestPolicy,
    PlatformInfo,
    SigningKey,
    SnpReport,
)
from casemate.wire.snp.tcb import Product, TcbVersion

_ECDSA_P384_SHA384 = 1
_TCB_NAMES = ("reported_tcb", "committed_tcb", "launch_tcb", "current_tcb")
_TCB_RULES = (Rule.SNP_TCB_REPORTED, Rule.SNP_TCB_COMMITTED, Rule.SNP_TCB_LAUNCH, Rule.SNP_TCB_CURRENT)
_KEY_RULES = (
    Rule.SNP_SIGNING_KEY,
    Rule.SNP_KEY_EXTENSIONS,
    Rule.SNP_PRODUCT,
    Rule.SNP_CHIP_ID,
    Rule.SNP_TCB_FORMAT,
    Rule.SNP_KEY_TCB,
)
_MODELS: dict[Product, tuple[int, tuple[range, ...]]] = {
    Product.MILAN: (0x19, (range(0x10),)),
    Product.GENOA: (0x19, (range(0x10, 0x20), range(0xA0, 0xB0))),
    Product.TURIN: (0x1A, (range(0x20),)),
}
"""CPUID family and models; Bergamo and Siena are endorsed as Genoa."""


def appraise_snp(
    evidence: SnpEvidence, policy: SnpPolicy, endorsements: SnpEndorsements, now: datetime
) -> VerifiedSnpEvidence:
    """The verified evidence, if every rule holds.

    Args:
        evidence: the report.
        policy: what is demanded of it.
        endorsements: certificates, and the revocation list if there is one.
        now: the time; read it once a decision.

    Raises:
        RefusedError: the first rule that does not hold, with what it got and wanted.
        TypeError: ``now`` has no time zone.
    """
    if now.tzinfo is None:
        raise TypeError("now has no time zone")
    trail = Trail(thorough=False)
    found = _check(trail, evidence, policy, endorsements, now)
    return VerifiedSnpEvidence(
        report_hash=hashlib.sha256(evidence.report).digest(),
        report=found.report.value(),
        chain=found.chain.value(),
        reported_tcb=found.tcbs.value()["reported_tcb"],
        binding=found.binding.value(),
        appraised_at=now,
        expires_at=found.lifetime.value().expires_at,
        marks=found.lifetime.value().marks,
        passed=trail.passed(),
    )


def explain_snp(evidence: SnpEvidence, policy: SnpPolicy, endorsements: SnpEndorsements, now: datetime) -> CheckTree:
    """Every check that :func:`appraise_snp` makes, also those after the first refusal that do not depend on it.

    For people to look at; trust in evidence comes from :func:`appraise_snp` alone. Bad evidence never raises.
    """
    if now.tzinfo is None:
        raise TypeError("now has no time zone")
    trail = Trail(thorough=True)
    _check(trail, evidence, policy, endorsements, now)
    return trail.tree(_spans(evidence.report))


@dataclass(frozen=True, slots=True)
class _Findings:
    report: Step[SnpReport]
    chain: Step[AmdChain]
    tcbs: Step[dict[str, TcbVersion]]
    binding: Step[ReportDataBinding | None]
    lifetime: Step[AmdLifetime]


def _check(trail: Trail, evidence: SnpEvidence, policy: SnpPolicy, given: SnpEndorsements, now: datetime) -> _Findings:
    report = trail.group(
        "Report", (Rule.SNP_REPORT_FORMAT, Rule.SNP_SIGNATURE_ALGORITHM), lambda: _parse(trail, evidence.report)
    )
    chain = trail.group("Key's chain", CHAIN_RULES, lambda: check_amd_chain(trail, given, policy, now))
    lifetime = trail.group(
        "Revocation",
        AMD_REVOCATION_RULES,
        lambda: check_amd_revocation(trail, given, chain.value(), policy, now),
    )
    tcbs = trail.group("Key", _KEY_RULES, lambda: _check_key(trail, report.value(), chain.value(), policy))
    trail.group(
        "Report's signature",
        (Rule.SNP_SIGNATURE,),
        lambda: _check_signature(trail, evidence.report, report.value(), chain.value()),
    )
    trail.group(
        "TCB",
        (*_TCB_RULES, Rule.SNP_TCB_ORDER, Rule.SNP_FIRMWARE_ORDER, Rule.SNP_PROVISIONAL, Rule.SNP_FIRMWARE),
        lambda: _check_tcb(trail, report.value(), tcbs.value(), policy),
    )
    trail.group("Guest", _GUEST_RULES, lambda: _check_guest(trail, report.value(), policy))
    binding = trail.group(
        "Report data",
        BINDING_RULES,
        lambda: check_report_data(
            trail, report.value().report_data, evidence.bound, policy.report_data, at="report_data"
        ),
    )
    trail.group("Sandbox", SANDBOX_RULES, lambda: check_layers(trail, layers_of(binding.value()), policy.layers))
    return _Findings(report, chain, tcbs, binding, lifetime)


def _parse(trail: Trail, data: bytes) -> SnpReport:
    report = trail.parse(Rule.SNP_REPORT_FORMAT, SnpReport.parse, data, "an attestation report")
    trail.require(
        Rule.SNP_SIGNATURE_ALGORITHM,
        report.signature_algo == _ECDSA_P384_SHA384,
        got=report.signature_algo,
        want="1, ECDSA on P-384 with SHA-384",
        at=("signature_algo",),
    )
    return report


def _check_key(trail: Trail, report: SnpReport, chain: AmdChain, policy: SnpPolicy) -> dict[str, TcbVersion]:
    """The report's TCB versions, if what the certificate says of the key fits what the report says."""
    kind = _kind(report)
    masked = kind is SigningKey.VCEK and report.masks_chip_key  # then the firmware signs by no VCEK
    trail.expect(
        Rule.SNP_SIGNING_KEY,
        kind is chain.kind and kind in policy.signing_keys and not masked,
        got=f"a report signed by a {'key of no known kind' if kind is None else kind.name}"
        f"{', which MASK_CHIP_KEY forbids' if masked else ''}; a {chain.kind.name}",
        want=" or ".join(sorted(key.name for key in policy.signing_keys)),
        at=("key_info",),
    )
    try:
        key = KeyCertificate.parse(chain.leaf.extensions)
    except WireError as error:
        trail.refuse(Rule.SNP_KEY_EXTENSIONS, got=f"{error.field}: {error.got}", want=error.want)
    trail.found(Rule.SNP_KEY_EXTENSIONS, got=f"{key.product}, {key.tcb.encode().hex()}", want="AMD's extensions")
    fits = key.product is chain.product and _is_of(report, chain.product)
    trail.require(
        Rule.SNP_PRODUCT,
        fits,
        got=f"a key of {key.product}, a report of {_processor(report)}",
        want=f"{chain.product}, as the chain is",
    )
    _check_chip(trail, report, key, chain.kind, policy)
    tcbs = {name: _tcb(trail, name, chain.product, getattr(report, name)) for name in _TCB_NAMES}
    trail.expect(
        Rule.SNP_KEY_TCB,
        key.tcb == tcbs["reported_tcb"],
        got=key.tcb.shown,
        want=f"{tcbs['reported_tcb'].shown()}, the report's",
        at=("reported_tcb",),
    )
    return tcbs


def _check_chip(trail: Trail, report: SnpReport, key: KeyCertificate, kind: SigningKey, policy: SnpPolicy) -> None:
    """A VCEK is of one chip, which the report names or hides. A VLEK is of no chip, and its report may name any.

    A hidden chip's identity (MASK_CHIP_ID) is that of the key: nobody else has it.
    """
    hidden = not any(report.chip_id)
    chip = report.chip_id if kind is SigningKey.VLEK else (key.hw_id or b"").ljust(len(report.chip_id), b"\x00")
    right_key = key.hw_id is None if kind is SigningKey.VLEK else key.hw_id is not None
    trail.expect(
        Rule.SNP_CHIP_ID,
        right_key and (hidden or report.chip_id == chip),
        got="a hidden chip" if hidden else report.chip_id,
        want="any, for a VLEK" if kind is SigningKey.VLEK else f"{chip.hex()}, the key's",
        at=("chip_id",),
    )
    if isinstance(policy.chip_id, frozenset):
        trail.expect(
            Rule.SNP_CHIP_ID,
            chip in policy.chip_id,
            got=chip if any(chip) else "a chip that MASK_CHIP_ID hides, and a key of no chip",
            want=policy.chip_id,
            at=("chip_id",),
        )
    else:
        trail.waive(Rule.SNP_CHIP_ID, got=chip, by=policy.chip_id, at=("chip_id",))


def _check_signature(trail: Trail, data: bytes, report: SnpReport, chain: AmdChain) -> None:
    try:
        r, s = report.signature()
    except WireError as error:
        trail.refuse(Rule.SNP_SIGNATURE, got=f"{error.field}: {error.got}", want=error.want)
    good = report_signed_by(chain.leaf.public_key, r, s, data[:SIGNED_SIZE])
    trail.expect(
        Rule.SNP_SIGNATURE,
        good,
        got="a good signature" if good else "a bad signature",
        want=f"a good signature by {chain.leaf.common_name}",
        at=("signature_r", "signature_s"),
    )


def _check_tcb(trail: Trail, report: SnpReport, tcbs: dict[str, TcbVersion], policy: SnpPolicy) -> None:
    for rule, name in zip(_TCB_RULES, _TCB_NAMES, strict=True):
        floor, tcb = floor_for(getattr(policy, name), tcbs[name].product), tcbs[name]
        if isinstance(floor, TcbVersion):
            got = _below(tcb, floor)
            trail.expect(rule, tcb.reaches(floor), got=got, want=_or_above(tcb, floor), at=(name,))
        else:
            trail.waive(rule, got=tcb.shown, by=floor, at=(name,))
    current = (report.current_major, report.current_minor, report.current_build)
    committed = (report.committed_major, report.committed_minor, report.committed_build)
    _check_order(trail, tcbs, current, committed)
    provisional = current != committed or tcbs["current_tcb"] != tcbs["committed_tcb"]
    trail.expect(
        Rule.SNP_PROVISIONAL,
        not provisional or policy.provisional == "ANY_PROVISIONAL",
        got=f"firmware {_dotted(current)}, committed {_dotted(committed)}",
        want=policy.provisional,
        at=("current_tcb", "committed_tcb"),
    )
    _check_firmware(trail, committed, policy.minimum_firmware)


def _or_above(tcb: TcbVersion, floor: TcbVersion) -> Callable[[], str]:
    """The floor for people; its numbers say nothing where it is for another product."""
    return lambda: f"{'' if tcb.product is floor.product else f'{floor.product}: '}{floor.shown()} or above"


def _below(tcb: TcbVersion, floor: TcbVersion) -> Callable[[], str]:
    """A TCB version for people, with the parts that are older than the floor's."""

    def said() -> str:
        if tcb.product is not floor.product:
            return f"{tcb.product}, for which the policy has no floor: {tcb.shown()}"
        parts = tcb.parts_below(floor)
        below = ", ".join(f"{part} is below {getattr(floor, part)}" for part in parts)
        return f"{tcb.shown()}{f': {below}' if below else ''}"

    return said


def _check_firmware(trail: Trail, committed: tuple[int, int, int], minimum: FirmwareVersion | str) -> None:
    """Judges the committed firmware, below which no rollback can go."""
    at = ("committed_major", "committed_minor", "committed_build")
    if isinstance(minimum, FirmwareVersion):
        good = FirmwareVersion(*committed) >= minimum
        trail.expect(Rule.SNP_FIRMWARE, good, got=_dotted(committed), want=f"{minimum} or above", at=at)
    else:
        trail.waive(Rule.SNP_FIRMWARE, got=_dotted(committed), by=minimum, at=at)


def _check_order(
    trail: Trail, tcbs: dict[str, TcbVersion], current: tuple[int, ...], committed: tuple[int, ...]
) -> None:
    """Checks that the platform has not committed to or reported a higher TCB than it runs, as no firmware does.

    AMD 56860, chapter 3: CommittedTcb is what the platform cannot go back below, so what runs is never older;
    SNP_CONFIG refuses a ReportedTcb beyond CurrentTcb. Each part counts alone. Two relations are not checked, since
    genuine reports lack them: that the reported TCB reaches the committed one (hosts report an older one while
    certificates spread through a fleet, as the VLEK report of the tests does), and where the launch TCB stands (a guest
    may come from another machine, and firmware that is not committed may be taken back while the guest runs).
    """
    now = tcbs["current_tcb"]
    for name in ("committed_tcb", "reported_tcb"):
        trail.expect(
            Rule.SNP_TCB_ORDER,
            now.reaches(tcbs[name]),
            got=f"{name.removesuffix('_tcb')} {tcbs[name].shown()}",
            want=f"no part above the current {now.shown()}",
            at=(name, "current_tcb"),
        )
    trail.expect(
        Rule.SNP_FIRMWARE_ORDER,
        committed <= current,
        got=f"committed firmware {_dotted(committed)}",
        want=f"at most the current {_dotted(current)}",
        at=("committed_major", "committed_minor", "committed_build", "current_major", "current_minor", "current_build"),
    )


def _check_guest(trail: Trail, report: SnpReport, policy: SnpPolicy) -> None:
    """Guest and machine are what the policy accepts, by the report; the rules are in their documented order."""
    for rule in _GUEST_RULES:
        if rule in _GUEST_FUNCTIONS:
            _GUEST_FUNCTIONS[rule](trail, report, policy)
        else:
            judge(trail, compared(SnpPolicy)[rule], policy, report)


def _check_sockets(trail: Trail, report: SnpReport, policy: SnpPolicy) -> None:
    single = bool(report.policy & GuestPolicy.SINGLE_SOCKET)
    any_sockets = policy.sockets == "ANY_SOCKETS"
    trail.expect(
        Rule.SNP_SOCKET,
        single or any_sockets,
        got="one socket" if single else "any number of sockets",
        want="ANY_SOCKETS" if any_sockets else "one socket",
        at=("policy",),
    )


def _check_abi(trail: Trail, report: SnpReport, policy: SnpPolicy) -> None:
    abi, floor = (report.policy >> 8 & 0xFF, report.policy & 0xFF), policy.minimum_abi
    trail.expect(
        Rule.SNP_ABI,
        not isinstance(floor, AbiVersion) or abi >= (floor.major, floor.minor),
        got=_dotted(abi),
        want=f"{floor.major}.{floor.minor} or above" if isinstance(floor, AbiVersion) else floor,
        at=("policy",),
    )


def _check_guest_policy(trail: Trail, report: SnpReport, policy: SnpPolicy) -> None:
    unknown = policy.guest_policy.unknown_bits
    stray = _stray(report.policy, sum(GuestPolicy) | 0xFFFF, unknown)
    trail.expect(
        Rule.SNP_GUEST_POLICY,
        not stray and bool(report.policy & GuestPolicy.RESERVED_ONE),
        got=_with_stray(report.policy, stray),
        want=f"bit 17, and {_bits_allowed(unknown)}",
        at=("policy",),
    )


def _check_migration(trail: Trail, report: SnpReport, policy: SnpPolicy) -> None:
    """The guest's policy forbids a migration agent, and there is none."""
    allowed = policy.migration != "MUST_BE_OFF"
    is_set = bool(report.policy & GuestPolicy.MIGRATE_MA)
    trail.expect(
        Rule.SNP_MIGRATION,
        allowed or not is_set,
        got="allowed" if is_set else "forbidden",
        want=policy.migration,
        at=("policy",),
    )
    alone = report.report_id_ma == NO_MIGRATION_AGENT
    trail.expect(
        Rule.SNP_MIGRATION,
        allowed or alone,
        got="no migration agent" if alone else f"migration agent {report.report_id_ma.hex()}",
        want=policy.migration,
        at=("report_id_ma",),
    )


def _check_platform_info(trail: Trail, report: SnpReport, policy: SnpPolicy) -> None:
    """How the machine is set up."""
    info, demand = report.platform_info, policy.platform_info
    if isinstance(demand, PlatformDemand):
        required, forbidden = sum(demand.required), sum(demand.forbidden)
        stray = _stray(info, sum(PlatformInfo), demand.unknown_bits)
        trail.expect(
            Rule.SNP_PLATFORM_INFO,
            info & required == required and not info & forbidden and not stray,
            got=_with_stray(info, stray),
            want=f"all of {required:#x}, none of {forbidden:#x}, and {_bits_allowed(demand.unknown_bits)}",
            at=("platform_info",),
        )
    else:
        trail.waive(Rule.SNP_PLATFORM_INFO, got=f"{info:#x}", by=demand, at=("platform_info",))


def _check_mitigations(trail: Trail, report: SnpReport, policy: SnpPolicy) -> None:
    """Which mitigations the firmware has; reports before version 5 do not tell."""
    vectors, at = (report.launch_mitigations, report.current_mitigations), ("launch_mitigations", "current_mitigations")
    got = " at launch, ".join("not told" if vector is None else f"{vector:#x}" for vector in vectors)
    wanted = policy.mitigations
    if isinstance(wanted, int):
        good = all(vector is not None and vector & wanted == wanted for vector in vectors)
        trail.expect(Rule.SNP_MITIGATIONS, good, got=got, want=f"all of {wanted:#x}, at launch and now", at=at)
    else:
        trail.waive(Rule.SNP_MITIGATIONS, got=got, by=wanted, at=at)


def _stray(bits: int, known: int, allowed: UnknownBits) -> int:
    """The bits that have no name here and that the policy's mask does not allow."""
    return 0 if allowed == "UNSAFE_ANY_UNKNOWN_BITS" else bits & ~(known | allowed)


def _with_stray(bits: int, stray: int) -> str:
    return f"{bits:#x}" if not stray else f"{bits:#x}, of which {stray:#x} has no name here"


def _bits_allowed(allowed: UnknownBits) -> str:
    """The policy's demand on unnamed bits, for an error."""
    if allowed == "UNSAFE_ANY_UNKNOWN_BITS":
        return "any bits without a name"
    return f"of the bits without a name {f'none but {allowed:#x}' if allowed else 'none'} (unknown_bits)"


_GUEST_FUNCTIONS: dict[Rule, Callable[[Trail, SnpReport, SnpPolicy], None]] = {
    Rule.SNP_MIGRATION: _check_migration,
    Rule.SNP_SOCKET: _check_sockets,
    Rule.SNP_ABI: _check_abi,
    Rule.SNP_GUEST_POLICY: _check_guest_policy,
    Rule.SNP_PLATFORM_INFO: _check_platform_info,
    Rule.SNP_MITIGATIONS: _check_mitigations,
}
_GUEST_RULES = tuple(rule for rule in Rule if rule in _GUEST_FUNCTIONS or rule in compared(SnpPolicy))


def _kind(report: SnpReport) -> SigningKey | None:
    try:
        return report.signing_key
    except WireError:
        return None


def _is_of(report: SnpReport, product: Product) -> bool:
    """Whether the report's CPUID is one of the product's; reports before version 3 do not tell."""
    if report.cpuid_family is None or report.cpuid_model is None:
        return True
    family, models = _MODELS[product]
    return report.cpuid_family == family and any(report.cpuid_model in span for span in models)


def _processor(report: SnpReport) -> str:
    if report.cpuid_family is None or report.cpuid_model is None:
        return "a processor that it does not name"
    return f"family {report.cpuid_family:#x}, model {report.cpuid_model:#x}"


def _tcb(trail: Trail, name: str, product: Product, data: bytes) -> TcbVersion:
    return trail.parse(Rule.SNP_TCB_FORMAT, lambda raw: TcbVersion.parse(product, raw), data, f"{name} of {product}")


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _spans(report: bytes) -> tuple[Span, ...]:
    try:
        return SnpReport.parse(report).spans()
    except WireError:
        return ()
