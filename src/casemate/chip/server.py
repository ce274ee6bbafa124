"""The chip's answers to its host, which is hostile: a refusal is a ``Fault``, and nothing it sends ends the chip."""

import asyncio
import contextlib
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from casemate.chip.anchors import Anchors
from casemate.chip.enclave import Enclave
from casemate.chip.enclave_process import EnclaveProcess
from casemate.chip.errors import (
    CertificationError,
    LaunchError,
    LeafError,
    ParentError,
    PartWantedError,
    ReportRefusedError,
    StateError,
)
from casemate.chip.leaf_functions import LeafFunctions
from casemate.chip.runtime import RuntimeCopy
from casemate.chip.sgx.attester import SgxAttester
from casemate.chip.sgx.einit import einit, parse_sigstruct, signed_secs
from casemate.chip.sgx.epc import PageCache, epc_size_of, load
from casemate.chip.silicon import Silicon
from casemate.chip.spawner_link import Parent
from casemate.link.async_channel import AsyncChannel
from casemate.link.calls import NEWS, Reply, numbered, serve_frames
from casemate.link.channel import Frame
from casemate.link.errors import PeerGoneError
from casemate.process.memory import trim_heap
from casemate.wire.encodings.message import parse_message
from casemate.wire.errors import CasemateError
from casemate.wire.messages.chip import (
    Destroy,
    GetQuote,
    Initialise,
    Initialised,
    Load,
    Loaded,
    Quoted,
    QuoteTarget,
    QuoteTargetIs,
    Start,
    Started,
    StateIs,
    Stop,
)
from casemate.wire.messages.spawner import Configure
from casemate.wire.protocol.faults import Code, FaultError, refuse
from casemate.wire.protocol.lifecycle import Event, State, WrongStateError, after
from casemate.wire.protocol.tee import Tee

if TYPE_CHECKING:
    from casemate.chip.snp.commands import Firmware
    from casemate.chip.snp.paravirtual import ParavirtualGuest
    from casemate.chip.snp.platform import SnpPlatform
    from casemate.wire.messages.snp_firmware import VmProcessIs

AT_ONCE = 16
"""Requests of the host under way at a time; more wait in the socket."""

LARGE = 1024 * 1024
"""Longer requests (bytes), which are images, are taken one at a time: sixteen of them would be 1.6 GB."""

REASON_TIME = 0.2
"""Seconds that the news of an enclave's death wait for the parent's word on why."""

STEADY_TIME = 1.0
"""Seconds that a parent has to live to be replaced at once; one that dies sooner is replaced on demand alone."""

FIRMWARE_TAGS = range(0xB0, 0xC0)
"""Of the messages in :mod:`casemate.wire.messages.snp_firmware`, which is imported when the first one comes."""

_LAUNCH_START = bytes((0xB0,))
"""Tag of the one request that comes with a descriptor."""
_MAX_REASON = 1024
_REQUESTS = (Load, Initialise, Start, Stop, Destroy, QuoteTarget, GetQuote)
_CODES: dict[type[CasemateError], Code] = {
    LaunchError: Code.LAUNCH_REFUSED,
    WrongStateError: Code.WRONG_STATE,
    ReportRefusedError: Code.REPORT_REFUSED,
    LeafError: Code.REPORT_REFUSED,
    CertificationError: Code.UNAVAILABLE,
    ParentError: Code.UNAVAILABLE,
    StateError: Code.UNAVAILABLE,
    PartWantedError: Code.UNAVAILABLE,  # for the second time
}


class ChipServer:
    """All enclaves of this chip, on behalf of one host at a time: the enclaves of a host end with its link."""

    def __init__(
        self,
        host: AsyncChannel,
        silicon: Silicon,
        anchors: Anchors,
        *,
        platform: str,
        runtime: RuntimeCopy,
        configure: Configure,
        power_firmware: "Callable[[Callable[[VmProcessIs], None]], Firmware]",
        snp: "Callable[[], SnpPlatform]",
    ) -> None:
        """Serves ``host`` first.

        Args:
            host: its link.
            silicon: the fuses and what follows from them.
            anchors: of sealed states.
            platform: tag of the machine that images are built for.
            runtime: what enclaves run on.
            configure: the first frame to the parent of enclaves.
            power_firmware: makes the SEV-SNP firmware, which tells what it is given of the deaths of VMs.
            snp: this chip's SEV-SNP platform, which is made when it is first wanted.
        """
        self._host = host
        self._hosts: asyncio.Queue[AsyncChannel] = asyncio.Queue()
        self._hosts.put_nowait(host)
        self._silicon = silicon
        self._leaf = LeafFunctions(anchors)
        self._snp = snp
        self._platform = platform
        self._runtime = runtime
        self._configure = configure
        self._cache = PageCache()
        self._enclaves: dict[int, Enclave] = {}
        self._last_number = 0
        self._runs: dict[int, tuple[Enclave, EnclaveProcess]] = {}
        self._last_run = 0
        self._power_firmware = power_firmware
        self._firmware: Firmware | None = None
        self._parent: Parent | None = None
        self._parent_started = 0.0
        self._parent_turn = asyncio.Lock()
        self._load_turn = asyncio.Lock()
        self._init_turn = asyncio.Lock()
        self._ended = False
        self._background: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serves one host after the other, until cancelled; starts the parent meanwhile."""
        self._in_background(self._warm_up())
        while True:
            self._host = await self._hosts.get()
            await serve_frames(
                self._host,
                self._answer_frame,
                at_once=AT_ONCE,
                takes=lambda message: message[:1] == _LAUNCH_START,
                large=LARGE,
            )
            await self._end_enclaves()
            if self._firmware is not None:
                await self._firmware.end_guests()

    def take_host(self, link: AsyncChannel) -> None:
        """Serves another host at ``link``, once the present one is gone and its enclaves have ended."""
        self._hosts.put_nowait(link)

    async def end(self) -> None:
        """Ends the parent, and every enclave with it."""
        self._ended = True
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        if self._firmware is not None:
            await self._firmware.end_guests()
        if self._parent is not None:
            await self._parent.end()

    def _answer_frame(self, frame: Frame) -> Awaitable[Reply]:
        if frame.payload and frame.payload[0] in FIRMWARE_TAGS:
            return self._answer_of_firmware(frame)
        return self.answer(frame.payload)

    async def _answer_of_firmware(self, frame: Frame) -> Reply:
        try:
            if self._firmware is None:
                self._firmware = self._power_firmware(self._tell_of_vm)
            return await self._firmware.answer(frame)
        except StateError as error:
            raise refuse(Code.UNAVAILABLE, str(error)) from None

    async def answer(self, message: bytes) -> Reply:
        """The reply to one request; :class:`FaultError` or :class:`WireError` where it is refused."""
        request: object = parse_message(message, *_REQUESTS)
        try:
            match request:
                case Load():
                    return Reply(await self._load(request))
                case Initialise(number, sigstruct):
                    return Reply(await self._initialise(self._enclave(number), sigstruct))
                case Start(number):
                    return await self._start(self._enclave(number))
                case Stop(number):
                    return Reply(await self._stop(self._enclave(number)))
                case Destroy(number):
                    return Reply(await self._destroy(self._enclave(number)))
                case QuoteTarget():
                    return Reply(QuoteTargetIs(self._silicon.quote_target.encode()))
                case GetQuote(number, report):
                    return Reply(Quoted(self._enclave(number).attester.evidence(report)))
        except tuple(_CODES) as error:
            raise refuse(_CODES[type(error)], str(error)) from None
        raise refuse(Code.MALFORMED, "no request of a host")

    async def _load(self, asked: Load) -> Loaded:
        self._cache.take(size := epc_size_of(asked.sgxs))  # before the work: what has no room is not measured
        try:
            async with self._load_turn:  # one at a time, in a thread: leaf functions of others go on meanwhile
                loaded = await asyncio.to_thread(load, asked.sgxs)
                trim_heap()  # parsing takes several times what is kept
        except BaseException:
            self._cache.give_back(size)
            raise
        self._last_number += 1
        self._enclaves[self._last_number] = Enclave(self._last_number, loaded, asked.tee, asked.launcher)
        return Loaded(self._last_number, loaded.mr_enclave)

    async def _initialise(self, enclave: Enclave, sigstruct: bytes) -> Initialised:
        async with enclave.turn:
            after(enclave.state, Event.INITIALISE)
            signed = parse_sigstruct(sigstruct)
            async with self._init_turn:  # one at a time: what one image costs is not multiplied by others
                secs = await asyncio.to_thread(
                    einit,
                    enclave.loaded,
                    signed_secs(signed, enclave.loaded.ecreate),
                    signed,
                    platform=self._platform,
                    runtime=self._runtime.parts,
                )
                enclave.launched = SgxAttester(self._silicon, secs)
                if enclave.tee is Tee.SNP:
                    enclave.launched = await self._launch_guest(enclave)
            enclave.step(Event.INITIALISE)
        return Initialised(
            enclave=enclave.number,
            mr_enclave=secs.mr_enclave,
            mr_signer=secs.mr_signer,
            isv_prod_id=secs.isv_prod_id,
            isv_svn=secs.isv_svn,
            debug=secs.attributes.debug,
            launch_digest=enclave.attester.identity.measurement if enclave.tee is Tee.SNP else None,
        )

    async def _launch_guest(self, enclave: Enclave) -> "ParavirtualGuest":
        """The same image as a guest of SEV-SNP: what EINIT has found of it is its identity block."""
        from casemate.chip.snp.paravirtual import ParavirtualGuest

        platform, who = self._snp(), enclave.attester.identity
        return await asyncio.to_thread(ParavirtualGuest.launch, platform, enclave.loaded.pages, who)

    async def _start(self, enclave: Enclave) -> Reply:
        async with enclave.turn:
            after(enclave.state, Event.START)
            parent = await self._live_parent()
            try:
                host_end = await self._run_process(enclave, parent)
            except PartWantedError as wanted:
                await parent.load(wanted.part)
                host_end = await self._run_process(enclave, parent)
            enclave.step(Event.START)
            return Reply(Started(enclave.number), (host_end.detach(),))

    async def _run_process(self, enclave: Enclave, parent: Parent) -> socket.socket:
        """A booted process of the enclave, and the host's end of its socket."""
        enclave.launched = attester = enclave.attester.started()
        ours, leaf_end = socket.socketpair()
        host_end, entry_end = socket.socketpair()
        self._last_run += 1
        process = EnclaveProcess(
            self._last_run,
            ours,
            answer=lambda question: self._leaf.answer(attester, question, enclave.launcher),
            on_end=lambda reason: self._lost(enclave, process, reason),
        )
        enclave.process = process
        self._runs[process.run] = (enclave, process)
        try:
            with leaf_end, entry_end:
                await self._spawn(parent, process, (leaf_end.fileno(), entry_end.fileno()))
            await process.boot(enclave.boot_message())
        except BaseException as error:
            host_end.close()
            await self._end_process(enclave)
            if isinstance(error, FaultError) and error.fault.code is Code.LOST and process.exited.done():
                raise refuse(Code.LOST, f"{error.fault.reason}: {process.exited.result()}") from None
            raise
        if enclave.process is not process:  # its socket ended between its last word and now
            host_end.close()
            await parent.kill(process.run)
            raise refuse(Code.LOST, "the enclave ended as soon as it had booted")
        return host_end

    async def _spawn(self, parent: Parent, process: EnclaveProcess, descriptors: tuple[int, int]) -> None:
        try:
            await parent.spawn(process.run, descriptors)
        except CasemateError as error:
            self._exited(process.run, f"it was not started: {error}")
            raise

    async def _stop(self, enclave: Enclave) -> StateIs:
        async with enclave.turn:
            after(enclave.state, Event.STOP)
            await self._end_process(enclave)
            enclave.step(Event.STOP)
            return _state(enclave)

    async def _destroy(self, enclave: Enclave) -> StateIs:
        async with enclave.turn:
            after(enclave.state, Event.DESTROY)
            await self._end_process(enclave)
            enclave.step(Event.DESTROY)
            del self._enclaves[enclave.number]
            self._cache.give_back(enclave.loaded.epc_size)
            return _state(enclave)

    async def _end_process(self, enclave: Enclave) -> None:
        """Ends the enclave's process, if it has one; it is dead when this returns."""
        process, enclave.process = enclave.process, None
        if process is None:
            return
        process.close()
        if self._parent is not None and not process.exited.done():
            await self._parent.kill(process.run)

    async def _end_enclaves(self) -> None:
        """What a host has launched is of no use to the next one, which knows nothing of it."""
        for enclave in tuple(self._enclaves.values()):
            await self._destroy(enclave)

    def _enclave(self, number: int) -> Enclave:
        try:
            return self._enclaves[number]
        except KeyError:
            raise refuse(Code.UNKNOWN_ENCLAVE, f"there is no enclave {number} on this chip") from None

    def _lost(self, enclave: Enclave, process: EnclaveProcess, reason: str) -> None:
        """A process has ended that nobody asked to end."""
        if enclave.process is not process:
            return  # told already, or being ended
        enclave.process = None
        process.close()
        if enclave.state is State.RUNNING:  # else it is booting: whoever boots it tells
            enclave.step(Event.DIE, reason)
            self._in_background(self._tell(enclave, process))

    async def _tell(self, enclave: Enclave, process: EnclaveProcess) -> None:
        """News for the host, with the parent's reason if that comes soon; a process without a socket is ended."""
        await asyncio.wait({process.exited}, timeout=REASON_TIME)
        if not process.exited.done() and self._parent is not None:
            await self._parent.kill(process.run)
        if process.exited.done():
            enclave.reason = f"{enclave.reason}: {process.exited.result()}"
        await self._send_news(_state(enclave))

    def _tell_of_vm(self, news: "VmProcessIs") -> None:
        self._in_background(self._send_news(news))

    async def _send_news(self, news: object) -> None:
        with contextlib.suppress(PeerGoneError):
            await self._host.send(numbered(NEWS, news))

    async def _live_parent(self) -> Parent:
        """The parent, started if there is none."""
        async with self._parent_turn:
            if self._parent is None:
                self._parent_started = asyncio.get_running_loop().time()
                self._parent = await Parent.start(
                    self._runtime.directory,
                    self._configure,
                    on_exited=self._exited,
                    on_gone=self._parent_gone,
                )
            return self._parent

    async def _warm_up(self) -> None:
        try:
            await self._live_parent()
        except ParentError as error:  # whoever starts an enclave is told, and tries again
            sys.stderr.write(f"casemate.chip: {error}\n")

    def _exited(self, run: int, reason: str) -> None:
        if run not in self._runs:
            return  # said twice: it had ended before it was to be killed
        enclave, process = self._runs.pop(run)
        process.exited.set_result(reason)
        self._lost(enclave, process, "its process ended")

    def _parent_gone(self, reason: str) -> None:
        """Every enclave goes with its parent; what they were is in their pages, so they can be loaded anew."""
        self._parent = None
        for run in tuple(self._runs):
            self._exited(run, f"the parent of all enclaves died: {reason}")
        sys.stderr.write(f"casemate.chip: the parent of all enclaves died: {reason}\n")
        if not self._ended and asyncio.get_running_loop().time() - self._parent_started > STEADY_TIME:
            self._in_background(self._warm_up())

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _state(enclave: Enclave) -> StateIs:
    reason = enclave.reason.encode("utf-8", "replace")[:_MAX_REASON].decode("utf-8", "ignore")
    return StateIs(enclave.number, enclave.state, reason)
