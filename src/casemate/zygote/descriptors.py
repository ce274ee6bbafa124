"""The descriptors of a fresh copy: it keeps those that it was given, and none that the original had for itself."""

import os

from casemate.sandbox.python_confinement import OPEN_FILES

_HIGHEST = 4 * OPEN_FILES
"""None is higher: the base has few, and RLIMIT_NOFILE bounds its copies."""


def close_others(keep: set[int]) -> None:
    """Closes all descriptors but these."""
    first = 0
    for number in sorted(keep):
        if first < number:
            os.closerange(first, number)
        first = number + 1
    os.closerange(first, max(first, _HIGHEST) + 1)
