"""What becomes of a test whose program or data is not on this computer."""

import os
from typing import NoReturn

import pytest


def missing(reason: str) -> NoReturn:
    """Skips the test; fails it where ``CI`` is set, so that no promise goes unchecked there."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
