"""How old what a maker issues anew for its platforms may be."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from casemate.verifier.checks import Trail, shown
from casemate.verifier.rules import Rule

FOREVER: Final = datetime.max.replace(tzinfo=UTC)


def later(start: datetime, span: timedelta) -> datetime:
    """The end of a span; :data:`FOREVER` where the calendar ends before."""
    try:
        return start + span
    except OverflowError:  # documents may say the year 9999
        return FOREVER


def check_age(trail: Trail, issued: Mapping[str, datetime], maximum: int | str, now: datetime) -> datetime:
    """When the oldest of these documents becomes too old for the policy; :data:`FOREVER` where it does not ask.

    Args:
        trail: where the check is made.
        issued: when each document was issued, by its name.
        maximum: seconds, or the policy's word for any age.
        now: the time.
    """
    what, oldest = min(issued.items(), key=lambda item: item[1])

    def got() -> str:
        return f"{what} of {shown(oldest)}, {int((now - oldest).total_seconds())} seconds ago"

    if isinstance(maximum, str):
        trail.waive(Rule.COLLATERAL_AGE, got=got, by=maximum)
        return FOREVER
    too_old = later(oldest, timedelta(seconds=maximum))
    trail.expect(Rule.COLLATERAL_AGE, now <= too_old, got=got, want=f"{maximum} seconds at most")
    return too_old
