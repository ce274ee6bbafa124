"""Waits for a machine's supervisor where `casemate up` was typed: run as a file, so that nothing else is loaded.

``foreground.py PID [FOLDER]``: signals that ask this process to end are passed on, and its exit status is 0 or 1 like
the supervisor's. Where that was killed, FOLDER, a temporary state directory, is removed.
"""

import os
import signal
import sys
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The process that becomes this program has blocked them, until the handlers are installed."""


def main() -> int:
    """Waits; the supervisor's exit status."""
    supervisor = int(sys.argv[1])

    def pass_on(_number: int, _frame: FrameType | None) -> None:
        os.kill(supervisor, signal.SIGTERM)  # not reaped yet, so the number is still its own

    for number in SIGNALS:
        # nohup(1) has SIGHUP ignored, and a shell's & has SIGINT ignored: leave that as it is.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    code = os.waitstatus_to_exitcode(os.waitpid(supervisor, 0)[1])
    if code < 0 and len(sys.argv) > 2:
        import shutil

        shutil.rmtree(sys.argv[2], ignore_errors=True)
    if code:
        how = "ended" if code > 0 else "was killed"
        sys.stderr.write(f"the machine {how} by itself; machine.log in its state directory says why\n")
        return 1
    sys.stderr.write("the machine has ended\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
