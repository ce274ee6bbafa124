"""How long what the simulated makers sign is good for."""

from datetime import UTC, datetime, timedelta

COLLATERAL_LIFE = timedelta(days=30)
"""As Intel's; revocation lists of both makers, too."""

_SEEDED_FROM = datetime(2025, 1, 1, tzinfo=UTC)
_SEEDED_UNTIL = datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC)
"""Certificates made from a seed have these dates, so that they are the same every time."""

_CLOCK_SKEW = timedelta(days=1)
"""A verifier's clock may be behind ours: a new certificate is valid since yesterday."""


def validity(seed: str | None, now: datetime, life: timedelta) -> tuple[datetime, datetime]:
    """From when to when a certificate made now is valid."""
    return (now - _CLOCK_SKEW, now + life) if seed is None else (_SEEDED_FROM, _SEEDED_UNTIL)
