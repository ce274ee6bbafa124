"""One machine's processes: vendor on demand, chip, host; started in that order, ended together."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial

from casemate.link.async_channel import AsyncChannel
from casemate.link.calls import answer_of
from casemate.link.errors import PeerGoneError
from casemate.link.places import host_directory, host_socket, listen
from casemate.supervisor.options import MachineOptions
from casemate.supervisor.vendor_desk import VendorDesk
from casemate.wire.errors import CasemateError
from casemate.wire.faults import Code, Fault, FaultError, refuse
from casemate.wire.message import encode_message, parse_message
from casemate.wire.messages.supervisor import Certified, Certify, ChipReady, MicrocodeIs, MicrocodeUpdate

CHIP_START_TIMEOUT = 50.0
"""Longest start of the chip (seconds): a first start copies and hashes the runtime."""

REFRESH_PERIOD = 24 * 60 * 60.0
"""How often collateral is fetched from the vendor (seconds)."""

DRAIN_TIMEOUT = 5.0
"""How long a process may take to end after SIGTERM (seconds) before it is killed."""


ENVIRONMENT = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "XDG_CACHE_HOME")
"""All that chip and host inherit of the environment."""


class MachineError(CasemateError):
    """A process of the machine did not start, or died."""


class Machine:
    """The running processes. :meth:`start` once, then :meth:`died` tells of a death, and :meth:`end` ends all."""

    def __init__(self, options: MachineOptions) -> None:
        self.options = options
        self.vendor = VendorDesk(options.state, options.seed)
        self.root_certificate = b""
        self.ready: ChipReady | None = None
        self.chip: asyncio.subprocess.Process | None = None
        self.host: asyncio.subprocess.Process | None = None
        self._chip_link: AsyncChannel | None = None
        self._microcode: asyncio.Future[MicrocodeIs] | None = None
        self._listening: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Starts vendor (to make what is missing), chip and host.

        Raises:
            MachineError, FaultError: what did not start, and why.
        """
        chip_end, host_end = socket.socketpair()
        try:
            # The chip hashes the runtime meanwhile; if it then has to be certified, that waits its turn.
            self.root_certificate, _ = await asyncio.gather(self.vendor.initialise(), self._start_chip(chip_end))
            await asyncio.gather(self.refresh_collateral(), self._start_host(host_end))
        finally:
            chip_end.close()
            host_end.close()

    async def refresh_collateral(self) -> None:
        """Puts what the vendor publishes now where the host finds it."""
        collateral = await self.vendor.collateral()
        path = host_directory(self.options.state) / "collateral.json"
        draft = path.with_suffix(".new")
        draft.write_bytes(collateral)
        draft.replace(path)

    async def keep_collateral_fresh(self) -> None:
        """Asks the vendor anew each day, until cancelled: what it publishes is good for thirty."""
        while True:
            await asyncio.sleep(REFRESH_PERIOD)
            with contextlib.suppress(FaultError):  # tomorrow, then
                await self.refresh_collateral()

    async def update_microcode(self, cpu_svn: bytes, pce_svn: int) -> MicrocodeIs:
        """Has the chip raise its TCB; it is certified anew on the way."""
        if self._chip_link is None or self._microcode is not None:
            raise refuse(Code.BUSY, "the chip is not there, or updates its microcode already")
        self._microcode = asyncio.get_running_loop().create_future()
        try:
            await self._chip_link.send(encode_message(MicrocodeUpdate(cpu_svn, pce_svn)))
            return await asyncio.wait_for(self._microcode, CHIP_START_TIMEOUT)
        finally:
            self._microcode = None

    async def died(self) -> str:
        """Waits until chip or host ends, and says which."""
        if self.chip is None or self.host is None:
            raise MachineError("the machine has not been started")
        chip = asyncio.create_task(self.chip.wait(), name="chip")
        host = asyncio.create_task(self.host.wait(), name="host")
        done, waiting = await asyncio.wait({chip, host}, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        return ", ".join(f"{task.get_name()} ended with {task.result()}" for task in done)

    async def end(self) -> None:
        """Ends host, then chip (and with it every enclave and guest)."""
        if self._listening is not None:
            self._listening.cancel()
        for process in (self.host, self.chip):
            if process is None or process.returncode is not None:
                continue
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), DRAIN_TIMEOUT)
            except TimeoutError:
                process.kill()
                await process.wait()

    async def _start_chip(self, for_host: socket.socket) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            options = self.options
            arguments = ["--host-fd", str(for_host.fileno()), "--supervisor-fd", str(theirs.fileno())]
            arguments += ["--state", str(options.state), "--pool", str(options.pool)]
            arguments += ["--seed", options.seed] if options.seed is not None else []
            arguments += [part for layer in options.layers for part in ("--layer", layer)]
            self.chip = await self._spawn("casemate.chip", arguments, (for_host.fileno(), theirs.fileno()))
        self._chip_link = AsyncChannel(ours)
        try:
            self.ready = await asyncio.wait_for(self._until_ready(self._chip_link), CHIP_START_TIMEOUT)
        except TimeoutError:
            raise MachineError(f"the chip was not ready within {CHIP_START_TIMEOUT:g} s") from None
        except PeerGoneError:
            raise MachineError(f"the chip died at its start; see {options.state / 'machine.log'}") from None
        self._listening = asyncio.create_task(self._listen(self._chip_link))

    async def _start_host(self, for_chip: socket.socket) -> None:
        directory = host_directory(self.options.state)
        with listen(host_socket(self.options.state)) as listener:
            arguments = ["--directory", str(directory), "--chip-fd", str(for_chip.fileno())]
            arguments += ["--listener-fd", str(listener.fileno())]
            self.host = await self._spawn("casemate.host", arguments, (for_chip.fileno(), listener.fileno()))

    async def _spawn(self, module: str, arguments: list[str], inherited: tuple[int, ...]) -> asyncio.subprocess.Process:
        log = os.open(self.options.state / "machine.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            return await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-m", module, *arguments,
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=inherited, env=_environment(),
            )  # fmt: skip
        finally:
            os.close(log)

    async def _until_ready(self, link: AsyncChannel) -> ChipReady:
        while True:
            said: object = parse_message((await link.receive()).payload, Certify, ChipReady, Fault)
            match said:
                case Certify():
                    await self._certify(link, said)
                case ChipReady():
                    return said
                case Fault():
                    raise FaultError(said)

    async def _listen(self, link: AsyncChannel) -> None:
        """What the chip says once it is ready."""
        try:
            while True:
                payload = (await link.receive()).payload
                said: object = parse_message(payload, Certify, MicrocodeIs, Fault)
                if isinstance(said, Certify):
                    await self._certify(link, said)
                elif self._microcode is not None and not self._microcode.done():
                    _settle(self._microcode, partial(answer_of, payload, MicrocodeIs))
        except PeerGoneError:
            return  # `died` tells

    async def _certify(self, link: AsyncChannel, request: Certify) -> None:
        try:
            answer: object = Certified(await self.vendor.certify(request))
        except FaultError as error:
            answer = error.fault
        await link.send(encode_message(answer))


def _environment() -> dict[str, str]:
    """What a machine's processes may know of their owner's environment: where things lie, and no tokens."""
    return {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}


def _settle(future: asyncio.Future[MicrocodeIs], value: Callable[[], MicrocodeIs]) -> None:
    try:
        future.set_result(value())
    except CasemateError as error:
        future.set_exception(error)
