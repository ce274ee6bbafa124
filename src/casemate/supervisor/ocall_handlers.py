"""The process of the operator's own OCALL handlers: started, watched, and started anew when it dies or hangs.

It is linked with the host by a socket pair of which each gets an end, whenever one of them was started anew. It is no
part of the machine that the machine cannot do without: as long as it is not there, hosts refuse the OCALLs that it
would answer.
"""

import asyncio
import contextlib
import signal
import socket
import time
from pathlib import Path

from casemate.link.async_channel import AsyncChannel
from casemate.link.calls import Caller
from casemate.link.channel import enlarge_send_buffer
from casemate.link.errors import PeerGoneError, TimedOutError
from casemate.process.places import OCALLS_LOG
from casemate.supervisor.errors import MachineError
from casemate.supervisor.machine_log import MachineLog
from casemate.supervisor.process import Deaths, Process
from casemate.wire.encodings.message import encode_message
from casemate.wire.errors import CasemateError, WireError
from casemate.wire.messages.control import ProcessIs
from casemate.wire.messages.ocalls import AreYouThere, HandlersAre, ListHandlers, ServeHost, TakeHandlers
from casemate.wire.protocol.faults import FaultError

LOAD_TIMEOUT = 30.0
"""How long the module may take to load (seconds)."""

CHECK_PERIOD = 5.0
"""How often the process is asked whether it still answers (seconds)."""

CHECK_TIMEOUT = 10.0
"""Silence after which it is ended (seconds): its code blocks the whole process, or the loop of its coroutines."""

END_TIMEOUT = 3.0
"""How long it may take to end after SIGTERM (seconds) before it is killed."""


class OcallHandlers:
    """The handlers' process of one machine: :meth:`start` once, then :meth:`keep_running`, and :meth:`end` at last.

    Args:
        module: the operator's file.
        state: the state directory.
        log: the machine's.
    """

    def __init__(self, module: Path, state: Path, log: MachineLog) -> None:
        self.names: tuple[str, ...] = ()
        """The OCALLs that are answered."""
        self.module = module
        self._log_file = state / OCALLS_LOG
        self._log = log
        self._process = Process("handlers", log)
        self._deaths = Deaths()
        self._link: AsyncChannel | None = None
        self._caller: Caller | None = None
        self._listening: asyncio.Task[None] | None = None
        self._host: AsyncChannel | None = None
        """The link over which the host is told where to ask."""

    @property
    def shown(self) -> ProcessIs:
        """The process as `casemate status` shows it."""
        return self._process.shown()

    def note_stopped(self, pid: int) -> None:
        """As :meth:`Process.note_stopped`."""
        self._process.note_stopped(pid)

    async def start(self) -> None:
        """Starts the process, and returns once it has loaded the module.

        Raises:
            MachineError: it cannot load it; with the traceback of the operator's code.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            arguments = ["--module", str(self.module), "--log", str(self._log_file)]
            arguments += ["--supervisor-fd", str(theirs.fileno())]
            try:
                await self._process.start("casemate.ocalls", arguments, [theirs.fileno()], whole_environment=True)
            except BaseException:
                ours.close()
                raise
        self._link = AsyncChannel(ours)
        self._caller = Caller(self._link)
        self._listening = asyncio.create_task(self._caller.run())
        try:
            said, _ = await self._caller.call(ListHandlers(), HandlersAre, timeout=LOAD_TIMEOUT)
        except FaultError as error:
            await self._process.end(END_TIMEOUT)
            raise MachineError(error.fault.reason) from None
        except TimedOutError:
            await self._process.end(END_TIMEOUT, number=signal.SIGABRT)  # its log shows where it hangs
            raise MachineError(f"{self.module} was not loaded within {LOAD_TIMEOUT:g} s") from None
        except (PeerGoneError, WireError):
            await self._process.wait()
            raise MachineError(f"{self.module} cannot be loaded: {self._process.note_death()}") from None
        self.names = said.names
        await self._connect()

    async def serve_host(self, control: socket.socket) -> None:
        """Has a new host ask these handlers.

        Args:
            control: the supervisor's end of a socket pair, whose other end that host has inherited; owned.
        """
        if self._host is not None:
            self._host.close()
        self._host = AsyncChannel(control)
        await self._connect()

    async def keep_running(self) -> None:
        """Starts the process anew whenever it dies or hangs, until cancelled."""
        while True:
            checking = asyncio.create_task(self._until_silent())
            await self._process.wait()
            checking.cancel()
            died = self._process.note_death()
            now = time.monotonic()
            self._deaths.note(now)
            self._log.say(died)
            await asyncio.sleep(self._deaths.pause(now))
            await self.hang_up()
            try:
                await self.start()
            except (CasemateError, OSError) as error:
                self._log.say(f"the handlers of OCALLs were not started anew: {error}")
            else:
                self._log.say("the handlers of OCALLs were started anew")

    async def end(self) -> None:
        """Ends the process."""
        await self._process.end(END_TIMEOUT)
        await self.hang_up()
        if self._host is not None:
            self._host.close()

    async def hang_up(self) -> None:
        """Closes the link to a process that has ended."""
        if self._link is not None:
            self._link.close()
        if self._listening is not None:
            self._listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listening

    async def _until_silent(self) -> None:
        """Ends the process once it does not answer any more; the machine's log then shows where it hangs."""
        caller = self._caller
        while caller is not None:
            await asyncio.sleep(CHECK_PERIOD)
            try:
                await caller.call(AreYouThere(), HandlersAre, timeout=CHECK_TIMEOUT)
            except TimedOutError:
                self._log.say(f"the handlers of OCALLs were silent for {CHECK_TIMEOUT:g} s: they are started anew")
                await self._process.end(END_TIMEOUT, number=signal.SIGABRT)
                return
            except (CasemateError, OSError):  # it has ended, which is noticed elsewhere
                return

    async def _connect(self) -> None:
        """Links host and handlers, where both are there. Who has gone meanwhile is linked when it is there again."""
        if self._caller is None or self._host is None or not self.names:
            return
        host_end, handlers_end = socket.socketpair()
        with host_end, handlers_end:
            enlarge_send_buffer(host_end)
            with contextlib.suppress(CasemateError, OSError):
                descriptors = (handlers_end.fileno(),)
                await self._caller.call(ServeHost(), HandlersAre, timeout=LOAD_TIMEOUT, descriptors=descriptors)
                await self._host.send(encode_message(TakeHandlers(self.names)), (host_end.fileno(),))
