"""What the platform's security version is worth: Intel's comparison, convergence with the quoting enclave, policy.

Source: Intel PCS API v4, "Get SGX TCB Info", and Intel's SGX-TDX-DCAP-QuoteVerificationLibrary, TcbLevelCheck.cpp.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from casemate.verifier.age import FOREVER, later
from casemate.verifier.checks import Trail, shown
from casemate.verifier.rules import Rule
from casemate.verifier.sgx.evidence import VerifiedTcb
from casemate.verifier.sgx.policy import OUT_OF_DATE, SgxPolicy
from casemate.wire.sgx.pck import PckExtension, PckTcb
from casemate.wire.sgx.qe_identity import QeIdentity, QeTcbLevel
from casemate.wire.sgx.tcb_info import TcbInfo, TcbLevel, TcbStatus

TCB_RULES = (Rule.TCB_LEVEL, Rule.TCB_STATUS, Rule.TCB_ADVISORIES, Rule.TCB_DATE)

_WITH_OUTDATED_QE = {
    TcbStatus.UP_TO_DATE: TcbStatus.OUT_OF_DATE,
    TcbStatus.SW_HARDENING_NEEDED: TcbStatus.OUT_OF_DATE,
    TcbStatus.CONFIGURATION_NEEDED: TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED,
    TcbStatus.CONFIGURATION_AND_SW_HARDENING_NEEDED: TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED,
}
"""The combined status if the quoting enclave is out of date, by the platform's status; other statuses stay."""


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A security version of the platform that is below what a TCB level wants."""

    component: int | None
    """1 to 16, as ``sgxtcbcomp01svn`` counts; None for PCESVN."""
    got: int
    want: int

    def shown(self, info: TcbInfo) -> str:
        """The text for people, with the component's name from the TCB info if it has one."""
        if self.component is None:
            return f"PCESVN is {self.got}, below {self.want}"
        name = info.component_names()[self.component - 1]
        words = ", ".join(filter(None, (name.category, name.type)))
        return f"component {self.component}{f' ({words})' if words else ''} is {self.got}, below {self.want}"


@dataclass(frozen=True, slots=True)
class ComparedLevel:
    """A TCB level, and what of the platform falls short of it; nothing where the level is reached."""

    level: TcbLevel
    shortfalls: tuple[Shortfall, ...]

    def shown(self, info: TcbInfo) -> str:
        """The text for people: the SVNs that are too low, and the level that they miss."""
        short = "; ".join(shortfall.shown(info) for shortfall in self.shortfalls)
        return f"short of {self.level.status} of {shown(self.level.tcb_date)}: {short}"


def check_tcb(trail: Trail, info: TcbInfo, qe_level: QeTcbLevel, pck: PckExtension, policy: SgxPolicy) -> VerifiedTcb:
    """The combined TCB status of platform and quoting enclave, checked against the policy."""
    level = reached_level(info.tcb_levels, pck.tcb)

    def have() -> str:
        return f"components {pck.tcb.components.hex()}, PCESVN {pck.tcb.pce_svn}"

    def short() -> str:
        return "; ".join(each.shown(info) for each in compare_levels(info.tcb_levels, pck.tcb) if each.shortfalls)

    if level is None:
        lowest = compare_levels(info.tcb_levels, pck.tcb)[-1]
        trail.refuse(
            Rule.TCB_LEVEL,
            got=lambda: f"{have()}, {lowest.shown(info)}",
            want="SVNs that reach one of the published levels",
        )
    trail.found(Rule.TCB_LEVEL, got=have, want=lambda: f"{level.components.hex()}, {level.pce_svn}: {level.status}")
    status = converged(level.status, qe_level.status)
    advisories = tuple(dict.fromkeys((*level.advisory_ids, *qe_level.advisory_ids)))
    _check_status(trail, status, advisories, short, policy)
    minimum = policy.minimum_tcb_date
    if isinstance(minimum, datetime):
        trail.expect(Rule.TCB_DATE, level.tcb_date >= minimum, got=level.tcb_date, want=minimum)
    else:
        trail.waive(Rule.TCB_DATE, got=level.tcb_date, by=minimum)
    return VerifiedTcb(
        status=status,
        platform_status=level.status,
        qe_status=qe_level.status,
        advisory_ids=advisories,
        tcb_date=level.tcb_date,
        evaluation_number=info.tcb_evaluation_data_number,
    )


def check_recovery_grace(
    trail: Trail, worth: VerifiedTcb, recovered_at: datetime | None, policy: SgxPolicy, now: datetime
) -> datetime:
    """Until when a TCB that is out of date is accepted; :data:`FOREVER` where it is not, or the policy does not ask.

    Args:
        trail: where the check is made.
        worth: what the TCB is worth.
        recovered_at: as :func:`recovery` says.
        policy: what is demanded.
        now: the time.
    """
    days = policy.recovery_grace_days
    got = f"{worth.status}, since {'no date that is known' if recovered_at is None else shown(recovered_at)}"
    if not isinstance(days, int):
        trail.waive(Rule.TCB_GRACE, got=worth.status, by=days)
        return FOREVER
    if worth.status not in OUT_OF_DATE:
        trail.found(Rule.TCB_GRACE, got=worth.status, want=f"at most {days} days out of date")
        return FOREVER
    end = FOREVER if recovered_at is None else later(recovered_at, timedelta(days=days))
    trail.expect(
        Rule.TCB_GRACE,
        recovered_at is not None and now <= end,
        got=got,
        want=f"at most {days} days out of date",
    )
    return end


def recovery(info: TcbInfo, pck: PckExtension, identity: QeIdentity, qe_level: QeTcbLevel) -> datetime | None:
    """When platform and quoting enclave fell out of date; None where their documents do not tell.

    The TCB recovery that a level lacks is the first after it: the earliest ``tcbDate`` among the levels that are not
    reached, of those after the reached level's own. Of platform and quoting enclave the one that is out of date counts,
    of both the one whose recovery came first. ``tcbDate`` and not ``issueDate``: the document is issued anew each day.
    """
    level = reached_level(info.tcb_levels, pck.tcb)
    dates = []
    if level is not None and level.status in OUT_OF_DATE:
        above = info.tcb_levels[: info.tcb_levels.index(level)]
        dates.append(min((each.tcb_date for each in above if each.tcb_date > level.tcb_date), default=None))
    if qe_level.status in OUT_OF_DATE:
        newer = [each.tcb_date for each in identity.tcb_levels if each.isv_svn > qe_level.isv_svn]
        dates.append(min((date for date in newer if date > qe_level.tcb_date), default=None))
    known = [date for date in dates if date is not None]
    return min(known) if known and len(known) == len(dates) else None


def compare_levels(levels: tuple[TcbLevel, ...], tcb: PckTcb) -> tuple[ComparedLevel, ...]:
    """The levels that the platform does not reach, in order, then the first that it reaches, if it does."""
    reached = reached_level(levels, tcb)
    compared = levels if reached is None else levels[: levels.index(reached) + 1]
    return tuple(ComparedLevel(level, _shortfalls(level, tcb)) for level in compared)


def _shortfalls(level: TcbLevel, tcb: PckTcb) -> tuple[Shortfall, ...]:
    pairs = enumerate(zip(tcb.components, level.components, strict=True), 1)
    short = [Shortfall(number, got, want) for number, (got, want) in pairs if got < want]
    if tcb.pce_svn < level.pce_svn:
        short.append(Shortfall(None, tcb.pce_svn, level.pce_svn))
    return tuple(short)


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


def _check_status(
    trail: Trail, status: TcbStatus, advisories: tuple[str, ...], short: Callable[[], str], policy: SgxPolicy
) -> None:
    accepted = policy.accepted(status)
    trail.expect(
        Rule.TCB_STATUS,
        accepted is not None,
        got=lambda: "; ".join(filter(None, (f"{status}, advisories: {shown(advisories)}", short()))),
        want=lambda: " or ".join(sorted(entry.status for entry in policy.tcb)),
    )
    if accepted is None:
        return
    if accepted.advisories == "ANY_ADVISORY":
        trail.waive(Rule.TCB_ADVISORIES, got=advisories, by="ANY_ADVISORY")
        return
    left = [advisory for advisory in advisories if advisory not in accepted.advisories]
    trail.expect(
        Rule.TCB_ADVISORIES,
        not left,
        got=left,
        want=lambda: f"none but {', '.join(sorted(accepted.advisories))}" if accepted.advisories else "none",
    )
