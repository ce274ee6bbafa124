"""A VM's process as the chip sees it: started with its key, asked one question at a time, and ended with its guest."""

import asyncio
import fcntl
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from casemate.link.async_channel import AsyncChannel
from casemate.link.calls import answer_of
from casemate.link.errors import PeerGoneError
from casemate.wire.encodings.message import encode_message
from casemate.wire.errors import WireError, os_error_text
from casemate.wire.messages.vm.silicon import PowerOn, Ready
from casemate.wire.protocol.faults import Code, refuse

MODULE = "casemate.vm"

START_TIME = 30.0
"""Seconds from the process's start to ``Ready``: it imports the emulator and confines itself on the way."""
END_TIME = 2.0
"""Seconds that a process has to end once it has closed its link."""
FRAME_LIMIT = 256 * 1024
"""Longest frame between chip and VM (bytes): the digests of one LAUNCH_UPDATE are 192 KiB."""

_DESCRIPTORS = {"--chip-fd": 3, "--hypervisor-fd": 4, "--dram-fd": 5}
_ABOVE = 16
"""Descriptors are moved above this, so that none is overwritten before it is in its place."""
_REAP_INTERVAL = 0.01
T = TypeVar("T")


class VmProcess:
    """One running process. Its death is told once, unless :meth:`end` caused it."""

    def __init__(self, pid: int, channel: AsyncChannel, on_end: Callable[[str], None]) -> None:
        self._pid = pid
        self._channel = channel
        self._on_end = on_end
        self._turn = asyncio.Lock()
        self._asked: asyncio.Future[bytes] | None = None
        self._fault: str | None = None
        self._gone: str | None = None
        self._ended = False
        self._running = asyncio.create_task(self._run())

    @classmethod
    async def start(
        cls, python: Path, power_on: PowerOn, dram: int, on_end: Callable[[str], None]
    ) -> "tuple[VmProcess, socket.socket]":
        """A process that is ready for pages, and the hypervisor's end of its socket.

        Args:
            python: the interpreter that has Casemate with all that it needs.
            power_on: the first frame.
            dram: the descriptor of the VM's memory; it stays the caller's.
            on_end: told why the process has ended.

        Raises:
            FaultError: it refused, died, or was too slow.
        """
        ours, chip_end = socket.socketpair()
        host_end, hypervisor_end = socket.socketpair()
        with chip_end, hypervisor_end:
            try:
                pid = _launch(python, (chip_end.fileno(), hypervisor_end.fileno(), dram))
            except OSError as error:
                ours.close()
                host_end.close()
                raise refuse(Code.UNAVAILABLE, f"{python} cannot be started: {os_error_text(error)}") from None
        process = cls(pid, AsyncChannel(ours, limit=FRAME_LIMIT), on_end)
        try:
            await process.ask(power_on, Ready, START_TIME)
        except BaseException:
            host_end.close()
            await process.end()
            raise
        return process, host_end

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._pid

    async def ask(self, question: object, wanted: type[T], timeout: float) -> T:
        """The process's answer to ``question``, after its answers to earlier ones.

        Raises:
            FaultError: it refused; or it is gone, or was silent for ``timeout`` seconds, and is ended.
        """
        async with self._turn:
            if self._gone is not None:
                raise refuse(Code.LOST, f"the VM's process is gone: {self._gone}")
            self._asked = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(timeout):
                    await self._channel.send(encode_message(question))
                    return answer_of(await self._asked, wanted)
            except PeerGoneError:
                self._channel.close()
                await asyncio.wait({self._running})
                raise refuse(Code.LOST, f"the VM's process is gone: {self._gone}") from None
            except TimeoutError:
                reason = f"no answer to {type(question).__name__} within {timeout:g} s"
                self.give_up(reason)
                raise refuse(Code.LOST, f"the VM's process was ended: {reason}") from None
            except WireError as error:
                self.give_up(f"it broke the chip's protocol: {error}")
                raise refuse(Code.LOST, f"the VM's process was ended: {self._fault}") from None
            except asyncio.CancelledError:
                self.give_up("a question was given up")  # its late answer would be taken for that to the next question
                raise
            finally:
                self._asked = None

    def give_up(self, reason: str) -> None:
        """Ends a process that does not do what it should, and reports that as a death."""
        self._fault = self._fault or reason
        self._channel.close()

    async def end(self) -> None:
        """Ends the process; it is dead when this returns."""
        self._ended = True
        self._channel.close()
        await asyncio.wait({self._running})

    async def _run(self) -> None:
        try:
            while True:
                frame = await self._channel.receive()
                for descriptor in frame.descriptors:
                    os.close(descriptor)
                if self._asked is None or self._asked.done():
                    raise WireError("a VM's message", got="unasked", want="answers alone")
                self._asked.set_result(frame.payload)
        except WireError as error:
            self._fault = f"it broke the chip's protocol: {error}"
        except PeerGoneError:
            pass  # its end of the socket or ours was closed
        self._channel.close()
        status = await self._reaped()
        self._gone = self._fault or _words(status)
        if self._asked is not None and not self._asked.done():
            self._asked.set_exception(PeerGoneError(self._gone))
        if not self._ended:
            self._on_end(self._gone)

    async def _reaped(self) -> int:
        """The process's wait status. Polls, since a child watcher of asyncio would add a thread."""
        deadline = asyncio.get_running_loop().time() + END_TIME
        while True:
            pid, status = _waited(self._pid)
            if pid == self._pid:
                return status
            if self._ended or self._fault or asyncio.get_running_loop().time() > deadline:
                os.kill(self._pid, signal.SIGKILL)  # not reaped yet, so the number is still its own
            await asyncio.sleep(_REAP_INTERVAL)


def _waited(pid: int) -> tuple[int, int]:
    try:
        return os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:  # the chip was started with SIGCHLD ignored: the kernel has reaped it
        return pid, 0


def _words(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return f"its process was ended by signal {-code}"
    return f"its process ended with status {code}"


def _launch(python: Path, descriptors: tuple[int, int, int]) -> int:
    """Starts the VM's program with three descriptors, and nothing else of ours."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    moved: list[int] = []
    try:
        # First out of the way of 3, 4 and 5: if one of ours had such a number, the DUP2 of another would overwrite it,
        # and a DUP2 of a number onto itself would leave it closed on exec.
        for number in descriptors:
            moved.append(fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, _ABOVE))  # noqa: PERF401 - closed if one fails
        options = [word for name, number in _DESCRIPTORS.items() for word in (name, str(number))]
        return os.posix_spawn(
            python,
            [str(python), "-I", "-m", MODULE, *options],
            {"LC_CTYPE": "C.UTF-8"},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, null, 0),
                (os.POSIX_SPAWN_DUP2, 2, 1),  # what it prints is logged, as its errors are
                *((os.POSIX_SPAWN_DUP2, have, want) for have, want in zip(moved, _DESCRIPTORS.values(), strict=True)),
            ],
        )
    finally:
        for number in (null, *moved):
            os.close(number)
