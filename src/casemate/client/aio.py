"""The asyncio client: many calls under way over one connection to a host, or several to a gateway.

It differs from :mod:`casemate.client.sync` in ``await`` alone; what is not said here is said there. Calls of one
session enter the enclave in the order in which they were made, one at a time.
"""

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from casemate.client import asking
from casemate.client.asking import AsyncTransport, Journey, MachineDescription
from casemate.client.caller_keys import CallerKey
from casemate.client.core import AttestedEnclave, PendingCall, Result, arguments_of
from casemate.client.session import Session
from casemate.client.streaming import CANCEL_TIMEOUT, Chunks, Piece, StreamCore, cut, pieces
from casemate.client.timeouts import ASK_TIMEOUT, CALL_TIMEOUT, LAUNCH_TIMEOUT
from casemate.client.vm.aio import Vms
from casemate.images.image import Image
from casemate.link.errors import TimedOutError
from casemate.verifier import AnyPolicy
from casemate.wire.errors import CasemateError
from casemate.wire.messages.host import Call, EnclaveIs, EvidenceIs
from casemate.wire.protocol.call import MAX_CHUNK, StepTaken
from casemate.wire.protocol.tee import Tee

T = TypeVar("T")

AsyncChunks = Chunks | AsyncIterable[Piece]
"""The input of a stream."""


class Client:
    """A connection to a host; :func:`connect` makes it."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def keeps_order(self) -> bool:
        """Whether questions that are asked at once arrive in the order in which they were asked."""
        return self._transport.keeps_order

    async def close(self) -> None:
        """Hangs up; calls under way fail. Enclaves live on."""
        await self._transport.close()

    async def launch(
        self,
        image: Image,
        *,
        temporary: bool = False,
        tee: Tee = Tee.SGX,
        timeout: float = LAUNCH_TIMEOUT,
    ) -> int:
        """Has the host launch an image; its number for it, of which nothing is known until it is attested.

        Args:
            image: what to launch.
            temporary: for this program's errand: the machine does not launch it again when it starts anew. A gateway
                makes no difference.
            tee: as what it is to run: an SGX enclave, or a paravirtual SEV-SNP guest.
            timeout: seconds.
        """
        return await self.go(asking.launch(image, timeout, temporary=temporary, tee=tee))

    async def enclaves(self) -> tuple[EnclaveIs, ...]:
        """All enclaves, in the host's words."""
        return await self.go(asking.enclaves())

    async def start(self, enclave: int) -> EnclaveIs:
        """Starts a stopped enclave, with fresh keys: attest it again."""
        return await self._transport.ask(asking.start(enclave))

    async def stop(self, enclave: int) -> EnclaveIs:
        """Ends an enclave's process; its pages stay."""
        return await self._transport.ask(asking.stop(enclave))

    async def destroy(self, enclave: int) -> EnclaveIs:
        """Ends an enclave for good."""
        return await self._transport.ask(asking.destroy(enclave))

    async def machine(self) -> MachineDescription:
        """Which machine this is, in its gateway's words."""
        return await self._transport.ask(asking.machine())

    async def evidence(self, enclave: int, nonce: bytes, *, timeout: float = ASK_TIMEOUT) -> EvidenceIs:
        """The host's answer to a challenge, unverified; :meth:`attest` is what most want."""
        return await self._transport.ask(asking.evidence(enclave, nonce, timeout))

    async def attest(self, enclave: int, policy: AnyPolicy, *, timeout: float = ASK_TIMEOUT) -> "Enclave":
        """Challenges an enclave, appraises it by ``policy``, and opens a session with it."""
        return Enclave(self, enclave, await self.go(asking.attest(enclave, policy, timeout)))

    async def relay(self, call: Call, timeout: float) -> bytes:
        """Has the host carry a sealed call; the sealed response, unopened."""
        return (await self._transport.ask(asking.relay(call, timeout))).sealed

    @property
    def vms(self) -> Vms:
        """Confidential VMs on this host."""
        return Vms(self._transport)

    async def go(self, journey: Journey[T]) -> T:
        """Asks all that a journey asks; what it comes to."""
        return await asking.go_on(self._transport, journey)


class Enclave(Session):
    """An attested enclave and a session with it; :meth:`Client.attest` makes it."""

    def __init__(self, client: Client, number: int, attested: AttestedEnclave) -> None:
        super().__init__(number, attested)
        self._client = client
        self._turn = asyncio.Lock()

    async def call(
        self,
        entry: str,
        value: Any,
        *,
        caller: CallerKey | None = None,
        timeout: float = CALL_TIMEOUT,
    ) -> Result:
        """Calls an entry point: only the enclave sees ``value``, and only this client the result."""
        async with self.in_turn(timeout) as left:
            return await self._client.go(
                asking.call(self.number, self.attested, entry, value, caller=caller, timeout=left)
            )

    def stream(
        self,
        entry: str,
        value: Any,
        chunks: AsyncChunks = b"",
        *,
        caller: CallerKey | None = None,
        timeout: float = CALL_TIMEOUT,
    ) -> "Stream":
        """Calls an entry point that takes and gives streams of bytes, however long, in bounded memory.

        ``chunks`` may be an asynchronous iterable, too. A blocking file is read in a thread.
        """
        return Stream(
            self._client, self, StreamCore(self.attested, entry, arguments_of(value), caller), chunks, timeout
        )

    @contextlib.asynccontextmanager
    async def in_turn(self, seconds: float) -> AsyncIterator[float]:
        """One call of the session at a time, where two could overtake each other and the enclave refuse the first.

        Gives the seconds that are left of ``seconds``.
        """
        if self._client.keeps_order:
            yield seconds
            return
        begin = time.monotonic()
        try:
            async with asyncio.timeout(seconds):
                await self._turn.acquire()
        except TimeoutError:
            raise TimedOutError(f"this session's calls before it took longer than {seconds:g} s") from None
        try:
            yield seconds - (time.monotonic() - begin)
        finally:
            self._turn.release()


class Stream:
    """A call whose input and output pass in pieces; :meth:`Enclave.stream` makes it."""

    def __init__(self, client: Client, enclave: Enclave, core: StreamCore, chunks: AsyncChunks, timeout: float) -> None:
        self._client = client
        self._enclave = enclave
        self._core = core
        self._pieces = _pieces(chunks)
        self._timeout = timeout

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        core = self._core
        try:
            while not core.is_over:
                piece = await anext(self._pieces, b"") if core.wants_input else None
                output = await self._step(piece)
                if output:
                    yield output
        finally:
            await self.close()

    @property
    def sent(self) -> int:
        """Bytes of input that were taken so far."""
        return self._core.sent.size

    @property
    def received(self) -> int:
        """Bytes of output so far."""
        return self._core.received.size

    @property
    def result(self) -> Result:
        """What the function returned, with a receipt over all that passed, once the output was read to its end."""
        return self._core.result

    async def close(self) -> None:
        """Gives the stream up, unless it is over."""
        await self._pieces.aclose()
        if not self._core.is_open:
            self._core.cancel()
            return
        with contextlib.suppress(CasemateError):  # the enclave gives up idle streams by itself
            async with self._enclave.in_turn(CANCEL_TIMEOUT) as left:
                step = self._core.cancel()
                if step is not None:
                    step.heard(await self._carried(step, left), StepTaken)

    async def _step(self, piece: bytes | None) -> bytes:
        try:
            async with self._enclave.in_turn(self._timeout) as left:
                step = self._core.step(piece)
                return self._core.take(await self._carried(step, left))
        except BaseException as error:
            self._core.breaks(error)
            raise

    async def _carried(self, step: PendingCall, seconds: float) -> bytes:
        return await self._client.relay(Call(self._enclave.number, step.envelope), seconds)


async def _pieces(chunks: AsyncChunks) -> AsyncGenerator[bytes, None]:
    """The input in pieces; a blocking file is read in a thread."""
    if isinstance(chunks, AsyncIterable):
        async for piece in chunks:
            for part in cut(piece):
                yield part
    elif hasattr(chunks, "read"):
        while piece := await asyncio.to_thread(chunks.read, MAX_CHUNK):
            for part in cut(piece):
                yield part
    else:
        for part in pieces(chunks):
            yield part


async def connect(
    where: Path | str,
    *,
    token: str | None = None,
    verify: Path | str | ssl.SSLContext | None = None,
    unsafe_token_over_http: bool = False,
) -> Client:
    """A client of the host that listens at a Unix socket, or of a gateway, as :func:`casemate.client.sync.connect`."""
    from casemate.client.address import check_path, gateway_address, is_url

    if is_url(where):
        from casemate.client.http_transport import AsyncHttpTransport

        return Client(
            AsyncHttpTransport(
                gateway_address(str(where), token=token, verify=verify, unsafe_token_over_http=unsafe_token_over_http)
            )
        )
    from casemate.client.unix_transport import AsyncUnixTransport

    check_path(token=token, verify=verify)
    return Client(await AsyncUnixTransport.connect(where))
