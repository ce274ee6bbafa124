"""The chip's answers to its host, which is hostile: a refusal is a ``Fault``, and nothing it sends ends the chip.

``ChipServer.REQUESTS`` is the table of what a host may ask, and of what each request does to the enclave that it names.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from casemate.chip.anchors import Anchors
from casemate.chip.enclave import Enclave
from casemate.chip.enclave_runs import EnclaveRuns
from casemate.chip.errors import (
    CertificationError,
    LaunchError,
    LeafError,
    PartWantedError,
    ReportRefusedError,
    SpawnerError,
    StateError,
)
from casemate.chip.leaf_functions import LeafFunctions
from casemate.chip.runtime import RuntimeCopy
from casemate.chip.sgx.einit import einit, parse_sigstruct, signed_secs
from casemate.chip.sgx.epc import PageCache, epc_size_of, load
from casemate.chip.sgx.platform import SgxPlatform
from casemate.chip.tees import LAUNCHES, Platforms
from casemate.link.async_channel import AsyncChannel
from casemate.link.calls import Reply, serve_frames
from casemate.link.channel import Frame
from casemate.link.errors import PeerGoneError
from casemate.link.numbered_frames import NEWS, numbered
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
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.protocol.lifecycle import Event, WrongStateError, after

if TYPE_CHECKING:
    from casemate.chip.snp.commands import Firmware
    from casemate.chip.snp.platform import SnpPlatform
    from casemate.wire.messages.snp_firmware import VmProcessIs

AT_ONCE = 16
"""Requests of the host under way at a time; more wait in the socket."""

LARGE = 1024 * 1024
"""Longer requests (bytes), which are images, are taken one at a time: sixteen of them would be 1.6 GB."""

FIRMWARE_TAGS = range(0xB0, 0xC0)
"""Tags of the messages in :mod:`casemate.wire.messages.snp_firmware`, which is imported when the first one comes."""

_LAUNCH_START = bytes((0xB0,))
"""Tag of the one request that comes with a descriptor."""
_MAX_REASON = 1024
_CODES: dict[type[CasemateError], Code] = {
    LaunchError: Code.LAUNCH_REFUSED,
    WrongStateError: Code.WRONG_STATE,
    ReportRefusedError: Code.REPORT_REFUSED,
    LeafError: Code.REPORT_REFUSED,
    CertificationError: Code.UNAVAILABLE,
    SpawnerError: Code.UNAVAILABLE,
    StateError: Code.UNAVAILABLE,
    PartWantedError: Code.UNAVAILABLE,  # only reached if it is raised again after a new fork
}


@dataclass(frozen=True, slots=True)
class Asks:
    """A request that changes no enclave's state."""

    handler: Callable[[Any, Any], Awaitable[Reply]]
    """Given the server and the request."""


@dataclass(frozen=True, slots=True)
class Changes:
    """A request that is a step in the life of the enclave that it names.

    ``wire.protocol.lifecycle.TRANSITIONS`` says in which states the event is allowed, and what state follows.
    """

    event: Event
    handler: Callable[[Any, Enclave, Any], Awaitable[Reply | None]]
    """Does the work, given the server, the enclave and the request. Without a reply of its own, the enclave's new state
    is the reply."""


class ChipServer:
    """All enclaves of this chip, on behalf of one host at a time: the enclaves of a host end with its link."""

    def __init__(
        self,
        host: AsyncChannel,
        sgx: SgxPlatform,
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
            sgx: this chip's SGX platform: keys, provisioning and quoting.
            anchors: of sealed states.
            platform: tag of the machine that images are built for.
            runtime: what enclaves run on.
            configure: the first frame to the spawner.
            power_firmware: makes the SEV-SNP firmware, which tells what it is given of the deaths of VMs.
            snp: this chip's SEV-SNP platform, which is made when it is first wanted.
        """
        self._host = host
        self._hosts: asyncio.Queue[AsyncChannel] = asyncio.Queue()
        self._hosts.put_nowait(host)
        self._platforms = Platforms(sgx, snp)
        self._platform = platform
        self._runtime = runtime
        self._cache = PageCache()
        self._enclaves: dict[int, Enclave] = {}
        self._last_number = 0
        self.runs = EnclaveRuns(
            LeafFunctions(anchors), runtime, configure, on_lost=lambda enclave: self._send_news(_state(enclave))
        )
        self._power_firmware = power_firmware
        self._firmware: Firmware | None = None
        self._load_turn = asyncio.Lock()
        self._init_turn = asyncio.Lock()

    async def run(self) -> None:
        """Serves one host after the other, until cancelled; starts the spawner meanwhile."""
        self.runs.warm_up()
        while True:
            self._host = await self._hosts.get()
            await serve_frames(
                self._host,
                self._answer_frame,
                at_once=AT_ONCE,
                takes=lambda message: message[:1] == _LAUNCH_START,
                large=LARGE,
            )
            # What a host has launched is of no use to the next one, which knows nothing of it.
            for enclave in tuple(self._enclaves.values()):
                await self._change(enclave, self.DESTROY, Destroy(enclave.number))
            if self._firmware is not None:
                await self._firmware.end_guests()

    def take_host(self, link: AsyncChannel) -> None:
        """Serves another host at ``link``, once the present one is gone and its enclaves have ended."""
        self._hosts.put_nowait(link)

    async def end(self) -> None:
        """Ends every VM, the spawner, and every enclave with it."""
        if self._firmware is not None:
            await self._firmware.end_guests()
        await self.runs.close()

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
        request: Any = parse_message(message, *self.REQUESTS)
        rule = self.REQUESTS[type(request)]
        try:
            if isinstance(rule, Asks):
                return await rule.handler(self, request)
            return await self._change(self._enclave(request.enclave), rule, request)
        except tuple(_CODES) as error:
            raise refuse(_CODES[type(error)], str(error)) from None

    async def _change(self, enclave: Enclave, rule: Changes, request: object) -> Reply:
        """Takes a step of an enclave's life cycle when its work is done; refuses one that its state does not allow."""
        async with enclave.turn:
            after(enclave.state, rule.event)  # before any work
            reply = await rule.handler(self, enclave, request)
            enclave.step(rule.event)
        return Reply(_state(enclave)) if reply is None else reply

    async def _load(self, asked: Load) -> Reply:
        self._cache.take(size := epc_size_of(asked.sgxs))  # before the work: what has no room is not measured
        try:
            async with self._load_turn:  # one at a time, in a thread: leaf functions of others go on meanwhile
                loaded = await asyncio.to_thread(load, asked.sgxs)
                trim_heap()  # parsing takes several times what is kept
        except BaseException:
            self._cache.give_back(size)
            raise
        self._last_number += 1
        self._enclaves[self._last_number] = Enclave(
            self._last_number, loaded, asked.tee, asked.launcher, asked.deployment
        )
        return Reply(Loaded(self._last_number, loaded.mr_enclave))

    async def _quote_target(self, _: QuoteTarget) -> Reply:
        return Reply(QuoteTargetIs(self._platforms.sgx.quote_target.encode()))

    async def _quote(self, asked: GetQuote) -> Reply:
        return Reply(Quoted(self._enclave(asked.enclave).attester.evidence(asked.report)))

    async def _initialise(self, enclave: Enclave, asked: Initialise) -> Reply:
        signed = parse_sigstruct(asked.sigstruct)
        async with self._init_turn:  # one at a time: what one image costs is not multiplied by others
            secs = await asyncio.to_thread(
                einit,
                enclave.loaded,
                signed_secs(signed, enclave.loaded.ecreate, enclave.deployment),
                signed,
                platform=self._platform,
                runtime=self._runtime.parts,
            )
            enclave.launched = await LAUNCHES[enclave.tee](self._platforms, enclave.loaded, secs)
        return Reply(
            Initialised(
                enclave=enclave.number,
                mr_enclave=secs.mr_enclave,
                mr_signer=secs.mr_signer,
                isv_prod_id=secs.isv_prod_id,
                isv_svn=secs.isv_svn,
                debug=secs.attributes.debug,
                launch_digest=enclave.attester.launch_digest,
            )
        )

    async def _start(self, enclave: Enclave, _: Start) -> Reply:
        host_end = await self.runs.start(enclave)
        return Reply(Started(enclave.number), (host_end.detach(),))

    async def _stop(self, enclave: Enclave, _: Stop) -> None:
        await self.runs.end(enclave)

    async def _destroy(self, enclave: Enclave, _: Destroy) -> None:
        await self.runs.end(enclave)
        del self._enclaves[enclave.number]
        self._cache.give_back(enclave.loaded.epc_size)

    def _enclave(self, number: int) -> Enclave:
        try:
            return self._enclaves[number]
        except KeyError:
            raise refuse(Code.UNKNOWN_ENCLAVE, f"there is no enclave {number} on this chip") from None

    def _tell_of_vm(self, news: "VmProcessIs") -> None:
        self.runs.in_background(self._send_news(news))

    async def _send_news(self, news: object) -> None:
        with contextlib.suppress(PeerGoneError):
            await self._host.send(numbered(NEWS, news))

    DESTROY: ClassVar = Changes(Event.DESTROY, _destroy)
    REQUESTS: ClassVar[dict[type, Asks | Changes]] = {
        Load: Asks(_load),
        Initialise: Changes(Event.INITIALISE, _initialise),
        Start: Changes(Event.START, _start),
        Stop: Changes(Event.STOP, _stop),
        Destroy: DESTROY,
        QuoteTarget: Asks(_quote_target),
        GetQuote: Asks(_quote),
    }
    """All that a host may ask, but for the commands of SEV-SNP firmware, and what it does to an enclave."""


def _state(enclave: Enclave) -> StateIs:
    reason = enclave.reason.encode("utf-8", "replace")[:_MAX_REASON].decode("utf-8", "ignore")
    return StateIs(enclave.number, enclave.state, reason)
