"""``python -I -m casemate.ocalls``: started by the supervisor; see :mod:`casemate.ocalls.serving`."""

import sys

from casemate.ocalls.serving import main

if __name__ == "__main__":
    sys.exit(main())
