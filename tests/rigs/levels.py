"""Levels of tests, and what each may cost: how many inputs Hypothesis tries in a run of each profile."""

import os
from pathlib import PurePath
from typing import TypeVar

T = TypeVar("T")

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "ci")
"""``quick`` for `make quick`, ``ci`` for `make test`, ``nightly`` for `make nightly`."""
EXAMPLES = {
    "quick": {"unit": 20, "channel": 5, "chain": 2},
    "ci": {"unit": 100, "channel": 30, "chain": 10},
    "nightly": {"unit": 100_000, "channel": 5_000, "chain": 500},
}
"""An example costs microseconds in a unit and up to a second in a whole chain."""
_LEVELS = {"unit": "unit", "channel": "channel", "hostile": "channel", "crash": "channel"}


def level_of(test: PurePath) -> str:
    """``unit``, ``channel`` or ``chain``, by the folder of a test's path below tests."""
    return _LEVELS.get(test.parts[0], "chain")


def in_profile(usual: T, nightly: T) -> T:
    return nightly if PROFILE == "nightly" else usual
