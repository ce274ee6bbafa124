"""The descriptors of a fresh copy: it keeps those that it was given, and none that the original had for itself."""

import os

from casemate.sandbox.python_confinement import OPEN_FILES

_HIGHEST = 4 * OPEN_FILES
"""None is higher: the base has few, and RLIMIT_NOFILE bounds its copies."""


def take_standard(errors: int) -> None:
    """Makes the pipe of this copy's last words all three of its standard descriptors.

    Those of the base are files that all copies would have in common, whoever's they are. Whether such a file is to
    block or to append is told to all who have it: one guest could write there what another one reads.
    """
    for standard in (0, 1, 2):
        os.dup2(errors, standard)


def close_others(keep: set[int]) -> None:
    """Closes all descriptors but these."""
    first = 0
    for number in sorted(keep):
        if first < number:
            os.closerange(first, number)
        first = number + 1
    os.closerange(first, max(first, _HIGHEST) + 1)
