"""``python -I -m casemate.gateway``: the host, and HTTP in the same process. Started by the supervisor."""

import sys

from casemate.gateway.process import main

if __name__ == "__main__":
    sys.exit(main())
