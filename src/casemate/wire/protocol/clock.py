"""Checks whether a computer's clock can be right, from the times that its machine already knows."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from casemate.wire.encodings.x509_dates import Validity

RELEASED = datetime(2026, 11, 1, tzinfo=UTC)
"""This version was released then: a clock that shows an earlier time is wrong."""

_STEP_BACK = timedelta(minutes=5)
"""A clock may be set back this much without a complaint."""
_SET = "set this computer's clock"
_RENEW = "`casemate machine renew` has the maker renew what is not valid now"


def clock_doubt(now: datetime, certificates: Mapping[str, Validity], last_seen: datetime | None) -> str:
    """What is wrong with ``now`` and what to do about it, in a sentence; empty where nothing is wrong.

    Args:
        now: what the clock says.
        certificates: the machine's, by their names for people.
        last_seen: the newest time in the machine's log; None where there is none.
    """
    says = f"the clock says {_shown(now)}"
    if now < RELEASED:
        return f"{says}, which is before this version of Casemate was made: {_SET}"
    for name, validity in certificates.items():
        if now < validity.not_before:
            early = _distance(validity.not_before - now)
            return (
                f"{says}, {early} before {name} becomes valid ({_shown(validity.not_before)}): {_SET}; or if it is "
                f"right now and was wrong when the certificate was made, {_RENEW}"
            )
        if now > validity.not_after:
            late = _distance(now - validity.not_after)
            return f"{says}, {late} after {name} has expired ({_shown(validity.not_after)}): {_RENEW}, or {_SET}"
    if last_seen is not None and now < last_seen - _STEP_BACK:
        return (
            f"{says}, {_distance(last_seen - now)} before the last entry of this machine's audit log "
            f"({_shown(last_seen)}): {_SET}"
        )
    return ""


def off_by(now: datetime, not_before: datetime, not_after: datetime) -> str:
    """How far ``now`` is outside these dates, such as "3 days too early"; empty where it is inside."""
    if now < not_before:
        return f"{_distance(not_before - now)} too early"
    return f"{_distance(now - not_after)} too late" if now > not_after else ""


def _shown(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _distance(span: timedelta) -> str:
    if span >= timedelta(days=2):
        return f"{span.days} days"
    hours = int(span.total_seconds()) // 3600
    if hours >= 2:
        return f"{hours} hours"
    return f"{int(span.total_seconds()) // 60} minutes"
