"""The spawner, from the chip's side: started from the runtime's copy, asked to fork enclaves, watched."""

import asyncio
import itertools
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

from casemate.chip.errors import SpawnerError
from casemate.chip.runtime import PYTHON, loader_environment
from casemate.link.async_channel import AsyncChannel
from casemate.link.errors import PeerGoneError
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.errors import WireError, os_error_text
from casemate.wire.messages.leaf import OptionalPart
from casemate.wire.messages.spawner import Configure, Exited, Kill, LoadPart, Spawn, Spawned, SpawnerReady
from casemate.wire.protocol.faults import Fault, FaultError

MODULE = "casemate.spawner"
CONTROL_DESCRIPTOR = 3
"""Where the spawner finds its end of the control socket."""

START_TIME = 20.0
"""Seconds that the spawner may take to import what enclaves need: it compiles it each time, having no .pyc files."""
SPAWN_TIME = 10.0
"""Seconds that one fork may take."""
KILL_TIME = 5.0
"""Seconds from Kill to Exited."""
END_TIME = 2.0
"""Seconds that the spawner has to end once its control socket is closed."""
FRAME_LIMIT = 64 * 1024
"""Longest frame between chip and spawner (bytes)."""

_REAP_INTERVAL = 0.01


class SpawnerProcess:
    """A running spawner process. Its death is reported once; it cannot be used after that."""

    def __init__(
        self, pid: int, channel: AsyncChannel, on_exited: Callable[[int, str], None], on_gone: Callable[[str], None]
    ) -> None:
        self._pid = pid
        self._channel = channel
        self._on_exited = on_exited
        self._on_gone = on_gone
        self._turn = asyncio.Lock()
        self._asked: asyncio.Future[Spawned | SpawnerReady] | None = None
        self._killing: dict[int, asyncio.Future[None]] = {}
        self._gone = False
        self._ended = False
        self._running: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls,
        runtime: Path,
        configure: Configure,
        *,
        on_exited: Callable[[int, str], None],
        on_gone: Callable[[str], None],
    ) -> "SpawnerProcess":
        """Starts the spawner of the verified copy in ``runtime``, and returns when it can fork.

        Args:
            runtime: the copy's folder.
            configure: the first frame.
            on_exited: told the number of each process that has ended, and why.
            on_gone: told why the spawner itself has ended, unless :meth:`end` did it.

        Raises:
            SpawnerError: it did not come up.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                pid = _launch(runtime, theirs.fileno())
            except OSError as error:
                ours.close()
                raise SpawnerError(f"{runtime / PYTHON} cannot be started: {os_error_text(error)}") from None
        spawner = cls(pid, AsyncChannel(ours, limit=FRAME_LIMIT), on_exited, on_gone)
        try:
            async with asyncio.timeout(START_TIME):
                await spawner._channel.send(encode_message(configure))
                frame = await spawner._channel.receive()
                answer: object = parse_message(frame.payload, SpawnerReady, Fault)
        except (PeerGoneError, WireError, TimeoutError) as error:
            await spawner.end()
            reason = str(error) or f"no answer within {START_TIME:g} s"
            raise SpawnerError(f"the spawner did not come up: {reason}") from None
        except BaseException:
            await spawner.end()
            raise
        if isinstance(answer, Fault):
            await spawner.end()
            raise SpawnerError(f"the spawner refused to start: {answer.reason}")
        spawner._running = asyncio.create_task(spawner._run())
        return spawner

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._pid

    async def spawn(self, run: int, descriptors: tuple[int, int]) -> int:
        """Has it fork an enclave with its two sockets, to be known as ``run``; gives the process id.

        Raises:
            FaultError: the spawner refused, for example because a required sandbox layer is missing.
            SpawnerError: it is gone, or silent.
        """
        spawned = await self._ask(Spawn(run), descriptors)
        if not isinstance(spawned, Spawned):
            raise SpawnerError("the spawner answered something else than was asked")
        return spawned.pid

    async def load(self, part: OptionalPart) -> None:
        """Has it load code that only some enclaves need, for all that it forks from now on.

        Raises:
            FaultError: it cannot.
            SpawnerError: it is gone, or silent.
        """
        await self._ask(LoadPart(part), ())

    async def _ask(self, message: object, descriptors: tuple[int, ...]) -> Spawned | SpawnerReady:
        async with self._turn:
            if self._gone:
                raise SpawnerError("the spawner is gone")
            self._asked = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(SPAWN_TIME):
                    await self._channel.send(encode_message(message), descriptors)
                    return await self._asked
            except PeerGoneError as error:
                raise SpawnerError(f"the spawner is gone: {error}") from None
            except TimeoutError:
                self._channel.close()  # what it will do with the request is unknown: end it
                raise SpawnerError(f"the spawner was silent for {SPAWN_TIME:g} s") from None
            finally:
                self._asked = None

    async def kill(self, run: int) -> None:
        """Ends an enclave's process and its guest; returns when both are gone, or with the spawner itself."""
        if self._gone:
            return
        gone = self._killing.setdefault(run, asyncio.get_running_loop().create_future())
        try:
            async with asyncio.timeout(KILL_TIME):
                await self._channel.send(encode_message(Kill(run)))
                await asyncio.shield(gone)
        except (PeerGoneError, TimeoutError):
            self._channel.close()  # a spawner that cannot kill is ended with all its children
        finally:
            self._killing.pop(run, None)

    async def end(self) -> None:
        """Ends the spawner, and with it every enclave and guest; returns when it has been reaped."""
        self._ended = True
        self._channel.close()
        if self._running is not None:
            await asyncio.wait({self._running})
        else:
            await self._reap()

    async def _run(self) -> None:
        reason = "it ended"
        try:
            while True:
                frame = await self._channel.receive()
                for descriptor in frame.descriptors:
                    os.close(descriptor)
                self._take(parse_message(frame.payload, Spawned, SpawnerReady, Fault, Exited))
        except (PeerGoneError, WireError) as error:
            reason = str(error)
        self._gone = True
        self._channel.close()
        if self._asked is not None and not self._asked.done():
            self._asked.set_exception(SpawnerError(f"the spawner is gone: {reason}"))
        await self._reap()
        for gone in self._killing.values():
            if not gone.done():
                gone.set_result(None)
        if not self._ended:
            self._on_gone(reason)

    def _take(self, message: object) -> None:
        waiting = self._asked if self._asked is not None and not self._asked.done() else None
        match message:
            case Spawned() | SpawnerReady() if waiting is not None:
                waiting.set_result(message)
            case Fault() if waiting is not None:
                waiting.set_exception(FaultError(message))
            case Exited(run, reason):
                gone = self._killing.get(run)
                if gone is not None and not gone.done():
                    gone.set_result(None)
                self._on_exited(run, reason)
            case _:
                raise WireError("spawner's message", got=type(message).__name__, want="Exited: nothing was asked")

    async def _reap(self) -> None:
        """Polls: a child watcher of asyncio's would be a thread of its own."""
        polls = round(END_TIME / _REAP_INTERVAL)
        for poll in itertools.count():
            if _has_ended(self._pid):
                return
            if poll == polls:
                os.kill(self._pid, signal.SIGKILL)  # not reaped yet, so the number is still its own
            await asyncio.sleep(_REAP_INTERVAL)


def _launch(runtime: Path, control: int) -> int:
    """Starts the copy's interpreter with the control socket as descriptor 3, and nothing else of ours."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        return os.posix_spawn(
            runtime / PYTHON,
            [str(runtime / PYTHON), "-I", "-S", "-B", "-m", MODULE],
            loader_environment(runtime),
            file_actions=[
                (os.POSIX_SPAWN_DUP2, null, 0),
                (os.POSIX_SPAWN_DUP2, 2, 1),
                (os.POSIX_SPAWN_DUP2, control, CONTROL_DESCRIPTOR),
            ],
        )
    finally:
        os.close(null)


def _has_ended(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True
