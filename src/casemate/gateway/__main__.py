"""``python -I -m casemate.gateway``: the host, and HTTP in the same process. Started by the supervisor."""

import sys

from casemate.gateway.http.no_command_line import leave_out_command_line
from casemate.sandbox.host import telling_of_links
from casemate.wire.errors import MissingExtraError, importing

leave_out_command_line()

try:
    with importing("machine", "the gateway"):
        from casemate.gateway.process import main
except MissingExtraError as error:
    sys.exit(str(error))

if __name__ == "__main__":
    with telling_of_links("the gateway"):
        sys.exit(main())
