"""``python -I -m casemate.gateway``: the host, and HTTP in the same process. Started by the supervisor."""

import sys

from casemate.gateway.http.no_command_line import leave_out_command_line

leave_out_command_line()

from casemate.gateway.process import main  # noqa: E402 - it imports uvicorn

if __name__ == "__main__":
    sys.exit(main())
