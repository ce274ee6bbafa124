"""``python -I -m casemate.supervisor``: one machine; see :mod:`casemate.supervisor.running`."""

import sys

# asyncio imports ssl if it can and works without: that is 2 MB of OpenSSL which nothing here speaks.
sys.modules["ssl"] = None  # type: ignore[assignment] # the import system's own way to say "not there"

from casemate.supervisor.running import main  # noqa: E402 - after that

if __name__ == "__main__":
    sys.exit(main())
