"""Children that confine themselves and try things: what a test can see of them."""

import os
import signal
import warnings
from collections.abc import Callable
from dataclasses import dataclass

NOBODY = 65534


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended."""

    signal: signal.Signals | None
    said: str


def run_child(body: Callable[[], object], *, user: int | None = None) -> Ended:
    """Forks; the child changes its user, runs ``body``, and says what that returned or raised."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pytest's helpers have threads; the child has one
        pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            if user is not None:
                os.setgroups([])
                os.setresgid(user, user, user)
                os.setresuid(user, user, user)
            os.write(writing, str(body()).encode())
        except BaseException as error:
            os.write(writing, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as output:
        said = output.read().decode()
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return Ended(signal.Signals(-code) if code < 0 else None, said)


Run = Callable[[Callable[[], object]], Ended]
