"""``python -m casemate.testing.hostile``: carries out every attack on every mode, and shows the results.

Exit status 0 if all results are those in the table of docs/vm-attacks.md, 1 if not, 2 for a wrong command line.
"""

import sys

from casemate.process.extras import check_extra
from casemate.wire.errors import MissingExtraError


def main() -> int:
    """Carries out what the command line asks for, where the emulator and the assembler are installed."""
    try:
        check_extra("vm", "attacking confidential VMs")
    except MissingExtraError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    from casemate.testing.hostile.command import main as attack

    return attack(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
