"""Children of a test's own process."""

import asyncio
import inspect
import os
import select
import signal
import warnings
from collections.abc import Callable
from typing import Any

PATIENCE = 20.0
"""How long a child may take (seconds): one that waits for ever is a failure."""


def in_child(do: Callable[[], object]) -> str:
    """What ``do`` gives in a forked child, or the error that it raises there; a coroutine is run."""
    read_end, write_end = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks with threads, which are the test's subject
        pid = os.fork()
    if pid == 0:
        try:
            said = str(outcome(do()))
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(write_end, said.encode()[:4096])
        os._exit(0)
    os.close(write_end)
    try:
        if not select.select([read_end], [], [], PATIENCE)[0]:
            os.kill(pid, signal.SIGKILL)
            return "the child hangs"
        return os.read(read_end, 4096).decode()
    finally:
        os.close(read_end)
        os.waitpid(pid, 0)


def outcome(value: Any) -> Any:
    """A call's result, of either client."""
    if not inspect.iscoroutine(value):
        return value
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(value)
    finally:
        loop.close()
