"""Decimal numbers, read strictly: each number has one spelling, so two readers cannot read a text differently."""

import re

from casemate.wire.errors import WireError

MAX_DIGITS = 20
"""Most digits of an accepted number: as many as 64 bits need."""

_DECIMAL = re.compile(rf"0|[1-9][0-9]{{0,{MAX_DIGITS - 1}}}")


def decimal(what: str, text: str, *, most: int) -> int:
    """The number in ``text``, from 0 to ``most``.

    Only ASCII digits: no sign, space, underscore, leading zero, fraction, or digit of another script, all of which
    Python's ``int`` accepts.

    Raises:
        WireError: it is spelled otherwise, or larger.
    """
    if not _DECIMAL.fullmatch(text) or (number := int(text)) > most:
        raise WireError(what, got=ascii(text[:40]), want=f"a decimal number from 0 to {most}, digits alone")
    return number
