"""A chip that measures nothing, and enclaves that give back what they are sent: for tests of the host alone."""

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tests.rigs.host.fake_enclave import FakeEnclave

from casemate.host.catalogue import Catalogue
from casemate.host.endorsements import CollateralCache, Endorsements
from casemate.host.orchestrator import Orchestrator
from casemate.host.state_keeper import StateKeeper
from casemate.host.tls_ports import TlsPorts
from casemate.host.vm.firmware import SevFirmware
from casemate.images.layout import lay_out
from casemate.link.async_channel import AsyncChannel
from casemate.link.calls import Caller, Reply, serve
from casemate.link.errors import PeerGoneError
from casemate.link.numbered_frames import NEWS, numbered
from casemate.wire.encodings.message import parse_message
from casemate.wire.messages import chip, entry, tls
from casemate.wire.protocol.faults import Code, fault, refuse
from casemate.wire.protocol.image_index import LOCK_PATH, MANIFEST_PATH
from casemate.wire.protocol.lifecycle import State
from casemate.wire.protocol.runtime_lock import RuntimeLock, RuntimePart
from casemate.wire.protocol.sandbox_layers import SandboxLayers
from casemate.wire.sgx.attributes import ALL_ATTRIBUTES, AttributeFlag, Attributes, CetAttributes, MiscSelect
from casemate.wire.sgx.sigstruct import KEY_SIZE, Sigstruct


def stream(content: bytes) -> bytes:
    """An SGXS stream with a lock and a manifest of that content, which this chip does not look at."""
    lock = RuntimeLock().with_runtime("linux-x86_64-cp311", [RuntimePart("core", bytes(32))])
    return lay_out({LOCK_PATH: lock.encode(), MANIFEST_PATH: content}, (), engine="javascript").encode()


def sigstruct(sgxs: bytes) -> bytes:
    """One that names the stream, signed by nobody: this chip does not look."""
    return Sigstruct(
        vendor=0,
        date=0x20260131,
        sw_defined=0,
        modulus=b"\x01" * KEY_SIZE,
        signature=bytes(KEY_SIZE),
        misc_select=MiscSelect(0),
        misc_mask=0,
        cet_attributes=CetAttributes(0),
        cet_attributes_mask=0,
        isv_family_id=bytes(16),
        attributes=Attributes(AttributeFlag.MODE64BIT, 3),
        attribute_mask=ALL_ATTRIBUTES,
        enclave_hash=hashlib.sha256(sgxs).digest(),
        isv_ext_prod_id=bytes(16),
        isv_prod_id=7,
        isv_svn=5,
        q1=bytes(KEY_SIZE),
        q2=bytes(KEY_SIZE),
    ).encode()


class FakeChip:
    """Counts what it has loaded; refuses images that say so."""

    def __init__(self, link: AsyncChannel) -> None:
        self.link = link
        self.loaded: dict[int, bytes] = {}
        self.launchers: list[str] = []
        """For whom, in the order of loading."""
        self.running: dict[int, AsyncChannel] = {}
        self.starts = asyncio.Event()
        self.starts.set()
        """Cleared, it keeps whoever launches or starts an enclave waiting."""
        self.asked = 0
        """How many requests came."""
        self.most_loads = 0
        """How many images were under way at a time, at most: loaded, and not yet initialised."""
        self._loads = 0
        self._last = 100
        self._playing: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        await serve(self.link, self.answer, at_once=8)

    async def answer(self, message: bytes) -> Reply:
        request: object = parse_message(
            message,
            *(chip.Load, chip.Initialise, chip.Start, chip.Stop, chip.Destroy, chip.QuoteTarget, chip.GetQuote),
        )
        self.asked += 1
        match request:
            case chip.QuoteTarget():
                return Reply(chip.QuoteTargetIs(bytes(512)))
            case chip.GetQuote(number, report):
                return Reply(chip.Quoted(b"%d: " % number + report))
            case chip.Load(sgxs, launcher=launcher):
                self.launchers.append(launcher)
                self._last += 1
                number = self._last
                self.loaded[number] = sgxs
                self._loads += 1
                self.most_loads = max(self.most_loads, self._loads)
                return Reply(chip.Loaded(number, hashlib.sha256(sgxs).digest()))
            case chip.Initialise(number):
                await self.starts.wait()
                self._loads -= 1
                if b"refused" in self.loaded[number]:
                    raise refuse(Code.LAUNCH_REFUSED, "signature: got another, want the signer's")
                mr_enclave = hashlib.sha256(self.loaded[number]).digest()
                return Reply(chip.Initialised(number, mr_enclave, bytes(32), 7, 5, debug=False, launch_digest=None))
            case chip.Start(number):
                await self.starts.wait()
                ours, theirs = socket.socketpair()
                enclave = FakeEnclave(ours)
                self.running[number] = enclave.channel
                playing = asyncio.create_task(_play(enclave, is_ill=b"ill" in self.loaded[number]))
                self._playing.add(playing)
                return Reply(chip.Started(number), (theirs.detach(),))
            case chip.Stop(number):
                self.running.pop(number).close()
                return Reply(chip.StateIs(number, State.STOPPED, ""))
            case chip.Destroy(number):
                del self.loaded[number]
                if number in self.running:
                    self.running.pop(number).close()
                return Reply(chip.StateIs(number, State.DESTROYED, ""))
        raise AssertionError(request)

    async def lose(self, number: int) -> None:
        """The enclave dies, and the chip says so."""
        self.running.pop(number).close()
        await self.link.send(numbered(NEWS, chip.StateIs(number, State.LOST, "it was killed")))


async def _play(enclave: FakeEnclave, *, is_ill: bool) -> None:
    with suppress(PeerGoneError):
        await enclave.ready(4)
        while True:
            number, asked = await enclave.entered(entry.PlainEnter, entry.Enter, entry.Challenge, tls.TlsPrepare)
            match asked:
                case entry.Challenge() if is_ill:
                    await enclave.reply(number, fault(Code.INTERNAL, "it is ill"))
                case entry.Challenge(nonce):
                    said = entry.ChallengeAnswer(nonce, bytes(32), bytes(32), SandboxLayers((), ()), 7)
                    await enclave.reply(number, said)
                case entry.Enter(envelope):
                    await enclave.reply(number, entry.Left(envelope.sealed))
                case entry.PlainEnter("hang"):
                    pass
                case entry.PlainEnter(_, arguments):
                    await enclave.reply(number, entry.PlainLeft(arguments))
                case _:
                    await enclave.reply(number, tls.TlsPrepared(()))


@asynccontextmanager
async def host_of(folder: Path, *, starts: bool = True) -> AsyncIterator[tuple[Orchestrator, FakeChip]]:
    """An orchestrator with the catalogue in ``folder``, and a chip that has just been switched on.

    Without ``starts`` no enclave starts before the chip's event is set, those that the host launches again included.
    """
    ours, theirs = socket.socketpair()
    fake = FakeChip(AsyncChannel(theirs))
    if not starts:
        fake.starts.clear()
    link = Caller(AsyncChannel(ours))
    keeper = StateKeeper(folder / "records.db")
    catalogue = Catalogue(folder / "catalogue.db")
    orchestrator = Orchestrator(
        link,
        endorsements=Endorsements(CollateralCache(folder / "collateral.json"), SevFirmware(link), folder),
        keeper=keeper,
        catalogue=catalogue,
        tls_ports=TlsPorts(()),
    )
    tasks = [
        asyncio.create_task(fake.run()),
        asyncio.create_task(link.run(lambda news: orchestrator.on_news(parse_message(news, chip.StateIs)))),
    ]
    await orchestrator.restore()
    try:
        yield orchestrator, fake
    finally:
        orchestrator.chip_died()  # its gates close
        for enclave in fake.running.values():
            enclave.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await keeper.close()
        catalogue.close()
        ours.close()
        theirs.close()
