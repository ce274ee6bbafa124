"""What the platform's security version is worth: Intel's comparison, convergence with the quoting enclave, policy.

Source: Intel PCS API v4, "Get SGX TCB Info", and Intel's SGX-TDX-DCAP-QuoteVerificationLibrary, TcbLevelCheck.cpp.
"""

import operator
from datetime import datetime

from casemate.verifier.checks import Trail, shown
from casemate.verifier.rules import Rule
from casemate.verifier.sgx.evidence import VerifiedTcb
from casemate.verifier.sgx.policy import ANY_ADVISORY, SgxPolicy
from casemate.wire.sgx.pck import PckExtension, PckTcb
from casemate.wire.sgx.qe_identity import QeTcbLevel
from casemate.wire.sgx.tcb_info import TcbInfo, TcbLevel, TcbStatus

TCB_RULES = (Rule.TCB_LEVEL, Rule.TCB_STATUS, Rule.TCB_ADVISORIES, Rule.TCB_DATE)
PLATFORM_RULES = (Rule.PLATFORM_DYNAMIC, Rule.PLATFORM_CACHED_KEYS, Rule.PLATFORM_SMT)

_WITH_OUTDATED_QE = {
    TcbStatus.UP_TO_DATE: TcbStatus.OUT_OF_DATE,
    TcbStatus.SW_HARDENING_NEEDED: TcbStatus.OUT_OF_DATE,
    TcbStatus.CONFIGURATION_NEEDED: TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED,
    TcbStatus.CONFIGURATION_AND_SW_HARDENING_NEEDED: TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED,
}
"""What an out-of-date quoting enclave makes of a platform's status; the others are no better already."""


def check_tcb(trail: Trail, info: TcbInfo, qe_level: QeTcbLevel, pck: PckExtension, policy: SgxPolicy) -> VerifiedTcb:
    """What platform and quoting enclave together are worth, and that the policy accepts it."""
    level = reached_level(info.tcb_levels, pck.tcb)

    def have() -> str:
        return f"components {pck.tcb.components.hex()}, PCESVN {pck.tcb.pce_svn}"

    if level is None:
        trail.refuse(Rule.TCB_LEVEL, got=have, want="SVNs that reach one of the published levels")
    trail.found(Rule.TCB_LEVEL, got=have, want=lambda: f"{level.components.hex()}, {level.pce_svn}: {level.status}")
    status = converged(level.status, qe_level.status)
    advisories = tuple(dict.fromkeys((*level.advisory_ids, *qe_level.advisory_ids)))
    _check_status(trail, status, advisories, policy)
    minimum = policy.minimum_tcb_date
    if isinstance(minimum, datetime):
        trail.expect(Rule.TCB_DATE, level.tcb_date >= minimum, got=level.tcb_date, want=minimum)
    else:
        trail.waive(Rule.TCB_DATE, got=level.tcb_date, by=minimum.value)
    return VerifiedTcb(
        status=status,
        platform_status=level.status,
        qe_status=qe_level.status,
        advisory_ids=advisories,
        tcb_date=level.tcb_date,
        evaluation_number=info.tcb_evaluation_data_number,
    )


def reached_level(levels: tuple[TcbLevel, ...], tcb: PckTcb) -> TcbLevel | None:
    """The first level of which every component and PCESVN are reached; ``levels`` are in the order of ``TcbInfo``."""
    for level in levels:
        if tcb.pce_svn >= level.pce_svn and all(map(operator.ge, tcb.components, level.components)):
            return level
    return None


def converged(platform: TcbStatus, qe: TcbStatus) -> TcbStatus:
    """The status of platform and quoting enclave together (TcbLevelCheck.cpp, convergeTcbStatusWithQeTcbStatus)."""
    if TcbStatus.REVOKED in (platform, qe):
        return TcbStatus.REVOKED
    if qe is TcbStatus.UP_TO_DATE:
        return platform
    return _WITH_OUTDATED_QE.get(platform, platform)


def check_platform(trail: Trail, pck: PckExtension, policy: SgxPolicy) -> None:
    """How the platform is set up, where its certificate tells."""
    told = pck.platform.configuration if pck.platform is not None else None
    for rule, flag, demand in (
        (Rule.PLATFORM_DYNAMIC, told and told.dynamic_platform, policy.dynamic_platform),
        (Rule.PLATFORM_CACHED_KEYS, told and told.cached_keys, policy.cached_keys),
        (Rule.PLATFORM_SMT, told and told.smt_enabled, policy.smt),
    ):
        trail.expect(
            rule,
            not flag or demand.value != "MUST_BE_OFF",
            got="not told" if flag is None else "on" if flag else "off",
            want=demand.value,
        )


def _check_status(trail: Trail, status: TcbStatus, advisories: tuple[str, ...], policy: SgxPolicy) -> None:
    accepted = policy.accepted(status)
    trail.expect(
        Rule.TCB_STATUS,
        accepted is not None,
        got=lambda: f"{status}, advisories: {shown(advisories)}",
        want=lambda: " or ".join(sorted(entry.status for entry in policy.tcb)),
    )
    if accepted is None:
        return
    if accepted.advisories is ANY_ADVISORY:
        trail.waive(Rule.TCB_ADVISORIES, got=advisories, by=ANY_ADVISORY.value)
        return
    left = [advisory for advisory in advisories if advisory not in accepted.advisories]
    trail.expect(
        Rule.TCB_ADVISORIES,
        not left,
        got=left,
        want=lambda: f"none but {', '.join(sorted(accepted.advisories))}" if accepted.advisories else "none",
    )
