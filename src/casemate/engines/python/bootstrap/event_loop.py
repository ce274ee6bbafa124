"""The event loop of asyncio in a guest: timers and tasks, without descriptors.

A guest has one thread and no sockets, so nothing can happen while it waits but its own timers. Where nothing is left to
run, what is awaited will never come, and the wait ends with an exception instead of the call's time.
"""

import asyncio
import time
from asyncio import base_events, events
from collections.abc import Awaitable, Callable
from typing import Any

Report = Callable[[str, BaseException], None]
"""Prints an exception that no call raises: what happened, and the exception."""


class NothingLeftError(RuntimeError):
    """What is awaited can never come."""

    def __init__(self) -> None:
        super().__init__("what is awaited can never come: nothing is left to run")


class GuestLoop(base_events.BaseEventLoop):
    """Runs tasks and timers.

    Args:
        report: told each exception that nobody catches.
        is_idle: asked when nothing can run at once; the loop stops where it says true.
    """

    def __init__(
        self, report: Report = lambda _what, _thrown: None, is_idle: Callable[[], bool] = lambda: False
    ) -> None:
        super().__init__()
        self._report = report
        self._is_idle = is_idle
        self._selector = self  # what the base class waits with

    def select(self, timeout: float | None) -> list[Any]:
        """Waits for the next timer (seconds; None where there is none)."""
        if timeout is None or timeout > 0:
            if self._is_idle():
                self.stop()
            elif timeout is None:
                raise NothingLeftError
            else:
                time.sleep(timeout)
        return []

    def outcome(self, awaitable: Awaitable[Any]) -> object:
        """What it gives or raises, once it has."""

        async def wait() -> object:
            return await awaitable

        return self.run_until_complete(wait())

    def has_more(self) -> bool:
        """Whether a task, a timer or a callback is left."""
        return bool(self._ready or self._scheduled or asyncio.all_tasks(self))

    def abandon(self) -> None:
        """Ends what is left: each coroutine's ``finally`` runs now, and none is resumed later."""
        for task in asyncio.all_tasks(self):
            coroutine = task.get_coro()
            try:
                coroutine.close()
            except BaseException as thrown:  # the program's own
                self._report("a task was ended", thrown)
        self.close()

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Of tasks that failed and callbacks that raised."""
        thrown = context.get("exception")
        if isinstance(thrown, BaseException):
            self._report("a task or callback failed, and nobody waited for it", thrown)

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Would wake the loop from another thread; there is none."""

    _ready: Any
    _scheduled: Any


def _refused(name: str) -> Callable[..., Any]:
    def refuse(*_: Any, **__: Any) -> Any:
        raise NotImplementedError(
            f"{name}: inside an enclave there are tasks and timers, and no connections, processes, signals or pipes"
        )

    return refuse


for _name in (
    *("add_reader", "add_signal_handler", "add_writer", "connect_accepted_socket", "connect_read_pipe"),
    *("connect_write_pipe", "create_connection", "create_datagram_endpoint", "create_server", "create_unix_connection"),
    *("create_unix_server", "getaddrinfo", "getnameinfo", "sendfile", "sock_accept", "sock_connect", "sock_recv"),
    *("sock_recv_into", "sock_recvfrom", "sock_recvfrom_into", "sock_sendall", "sock_sendfile", "sock_sendto"),
    *("start_tls", "subprocess_exec", "subprocess_shell"),
):
    setattr(GuestLoop, _name, _refused(_name))


def install(report: Report) -> None:
    """Has ``asyncio.run`` and its kin, which a program may call itself, use such loops, too."""

    class Policy(asyncio.DefaultEventLoopPolicy):
        def new_event_loop(self) -> events.AbstractEventLoop:
            return GuestLoop(report)

    asyncio.set_event_loop_policy(Policy())
