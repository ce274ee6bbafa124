"""The chip's second stage: run as a file by the interpreter of the runtime's copy, which lacks this room alone."""

import os
import sys

import casemate


def main() -> int:
    """Hardens the process again, since becoming another program has undone it; then runs the chip to its end."""
    # This room's folder beside the copy's rooms; they come first.
    casemate.__path__.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120
    # asyncio imports ssl if it can and works without: that is 3 MB of OpenSSL which nothing here speaks.
    sys.modules["ssl"] = None  # type: ignore[assignment] # the import system's own way to say "not there"
    from casemate.process.hardening import keep_secrets_in

    keep_secrets_in()
    from casemate.chip.machine import run_machine
    from casemate.chip.options import ChipOptions

    return run_machine(ChipOptions.from_word(sys.argv[-1]))


if __name__ == "__main__":
    sys.exit(main())
