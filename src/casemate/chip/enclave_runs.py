"""The processes of this chip's enclaves, and the spawner, which forks them: :mod:`casemate.spawner`.

Each enclave has one process at most, with a number of its own that is never used again.
"""

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from casemate.chip.enclave import Enclave
from casemate.chip.enclave_process import EnclaveProcess
from casemate.chip.errors import PartWantedError, SpawnerError
from casemate.chip.leaf_functions import LeafFunctions
from casemate.chip.runtime import RuntimeCopy
from casemate.chip.spawner_link import SpawnerProcess
from casemate.link.channel import enlarge_send_buffer
from casemate.wire.errors import CasemateError
from casemate.wire.messages.spawner import Configure
from casemate.wire.protocol.faults import Code, FaultError, refuse
from casemate.wire.protocol.lifecycle import Event, State

if TYPE_CHECKING:
    from casemate.wire.messages.leaf import OptionalPart

REASON_TIME = 0.2
"""Seconds that the news of an enclave's death wait for the spawner's word on why."""

STEADY_TIME = 1.0
"""Seconds that a spawner has to live to be replaced at once; one that dies sooner is replaced on demand alone."""


class EnclaveRuns:
    """Runs enclaves in processes.

    Args:
        leaf: answers their leaf functions.
        runtime: what they run on.
        configure: the first frame to their spawner.
        on_lost: sends the news that a running enclave has ended which nobody asked to end.
    """

    def __init__(
        self,
        leaf: LeafFunctions,
        runtime: RuntimeCopy,
        configure: Configure,
        on_lost: Callable[[Enclave], Awaitable[None]],
    ) -> None:
        self.spawner: SpawnerProcess | None = None
        """The process that enclaves are forked from, while there is one."""
        self._leaf = leaf
        self._runtime = runtime
        self._configure = configure
        self._on_lost = on_lost
        self._runs: dict[int, tuple[Enclave, EnclaveProcess]] = {}
        self._last_run = 0
        self._parent_started = 0.0
        self._parent_turn = asyncio.Lock()
        self._ended = False
        self._background: set[asyncio.Task[None]] = set()

    def warm_up(self) -> None:
        """Starts the spawner in the background, so that the first enclave need not wait for it."""
        self.in_background(self._warm_up())

    async def start(self, enclave: Enclave) -> socket.socket:
        """A process of the enclave that has booted; the host's end of its socket.

        Raises:
            FaultError: the enclave did not boot.
            SpawnerError: no process can be forked.
            PartWantedError: the enclave asked again for code that its spawner has loaded.
        """
        spawner = await self._live_spawner()
        loaded: set[OptionalPart] = set()
        while True:
            try:
                return await self._start(enclave, spawner)
            except PartWantedError as wanted:
                if wanted.part in loaded:
                    raise
                await spawner.load(wanted.part)
                loaded.add(wanted.part)

    async def end(self, enclave: Enclave) -> None:
        """Ends the enclave's process, if it has one; it is dead when this returns."""
        process, enclave.process = enclave.process, None
        if process is None:
            return
        process.close()
        if self.spawner is not None and not process.exited.done():
            await self.spawner.kill(process.run)

    async def close(self) -> None:
        """Ends the spawner, and every enclave with it."""
        self._ended = True
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        if self.spawner is not None:
            await self.spawner.end()

    def in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs ``work`` to its end, or to the chip's."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _start(self, enclave: Enclave, spawner: SpawnerProcess) -> socket.socket:
        """A booted process of the enclave, and the host's end of its socket."""
        enclave.launched = attester = enclave.attester.started()
        ours, leaf_end = socket.socketpair()
        host_end, entry_end = socket.socketpair()
        for end in (host_end, entry_end):  # here, since the enclave may set no option of its sockets
            enlarge_send_buffer(end)
        self._last_run += 1
        process = EnclaveProcess(
            self._last_run,
            ours,
            answer=lambda question: self._leaf.answer(attester, question, enclave.launcher),
            on_end=lambda reason: self._note_end(enclave, process, reason),
        )
        enclave.process = process
        self._runs[process.run] = (enclave, process)
        try:
            with leaf_end, entry_end:
                await self._spawn(spawner, process, (leaf_end.fileno(), entry_end.fileno()))
            await process.boot(enclave.boot_message())
        except BaseException as error:
            host_end.close()
            await self.end(enclave)
            if isinstance(error, FaultError) and error.fault.code is Code.LOST and process.exited.done():
                raise refuse(Code.LOST, f"{error.fault.reason}: {process.exited.result()}") from None
            raise
        if enclave.process is not process:  # its socket ended between its last word and now
            host_end.close()
            await spawner.kill(process.run)
            raise refuse(Code.LOST, "the enclave ended as soon as it had booted")
        return host_end

    async def _spawn(self, spawner: SpawnerProcess, process: EnclaveProcess, descriptors: tuple[int, int]) -> None:
        try:
            await spawner.spawn(process.run, descriptors)
        except CasemateError as error:
            self._exited(process.run, f"it was not started: {error}")
            raise

    def _note_end(self, enclave: Enclave, process: EnclaveProcess, reason: str) -> None:
        """A process has ended that nobody asked to end."""
        if enclave.process is not process:
            return  # told already, or being ended
        enclave.process = None
        process.close()
        if enclave.state is State.RUNNING:  # else it is booting: whoever boots it tells
            enclave.step(Event.DIE, reason)
            self.in_background(self._tell(enclave, process))

    async def _tell(self, enclave: Enclave, process: EnclaveProcess) -> None:
        """News for the host, with the spawner's reason if that comes soon; a process without a socket is ended."""
        await asyncio.wait({process.exited}, timeout=REASON_TIME)
        if not process.exited.done() and self.spawner is not None:
            await self.spawner.kill(process.run)
        if process.exited.done():
            enclave.reason = f"{enclave.reason}: {process.exited.result()}"
        await self._on_lost(enclave)

    async def _live_spawner(self) -> SpawnerProcess:
        """The spawner, started if there is none."""
        async with self._parent_turn:
            if self.spawner is None:
                self._parent_started = asyncio.get_running_loop().time()
                self.spawner = await SpawnerProcess.start(
                    self._runtime.directory,
                    self._configure,
                    on_exited=self._exited,
                    on_gone=self._parent_gone,
                )
            return self.spawner

    async def _warm_up(self) -> None:
        try:
            await self._live_spawner()
        except SpawnerError as error:  # whoever starts an enclave is told, and tries again
            sys.stderr.write(f"casemate.chip: {error}\n")

    def _exited(self, run: int, reason: str) -> None:
        if run not in self._runs:
            return  # said twice: it had ended before it was to be killed
        enclave, process = self._runs.pop(run)
        process.exited.set_result(reason)
        self._note_end(enclave, process, "its process ended")

    def _parent_gone(self, reason: str) -> None:
        """Every enclave goes with its spawner; what they were is in their pages, so they can be loaded anew."""
        self.spawner = None
        for run in tuple(self._runs):
            self._exited(run, f"the spawner died: {reason}")
        sys.stderr.write(f"casemate.chip: the spawner died: {reason}\n")
        if not self._ended and asyncio.get_running_loop().time() - self._parent_started > STEADY_TIME:
            self.in_background(self._warm_up())
