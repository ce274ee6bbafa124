"""The asyncio client: many calls under way over one connection to a host.

It differs from :mod:`casemate.client.sync` in ``await`` alone. Calls of one session enter the enclave in the order in
which they were made, one at a time.
"""

import asyncio
import contextlib
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from casemate.client.caller_keys import CallerKey
from casemate.client.core import AttestedEnclave, CallSecrets, Result, appraise_answer, arguments_of, challenge
from casemate.client.errors import HostRefusedError
from casemate.client.timeouts import ASK_TIMEOUT, CALL_TIMEOUT, LAUNCH_TIMEOUT
from casemate.images.image import Image
from casemate.link.async_channel import AsyncChannel
from casemate.link.calls import Caller
from casemate.link.errors import PeerGoneError
from casemate.verifier import SgxPolicy, VerifiedSgxEvidence
from casemate.wire.faults import FaultError
from casemate.wire.messages.host import (
    Answer,
    Call,
    DestroyEnclave,
    EnclaveIs,
    EnclavesAre,
    EvidenceIs,
    GetEvidence,
    Launch,
    Launched,
    ListEnclaves,
    StartEnclave,
    StopEnclave,
)

T = TypeVar("T")


class Client:
    """A connection to a host; :func:`connect` makes it."""

    def __init__(self, channel: AsyncChannel) -> None:
        self._channel = channel
        self._caller = Caller(channel)
        self._listening = asyncio.create_task(self._caller.run())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Hangs up; calls under way fail. Enclaves live on."""
        self._channel.close()
        self._listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._listening

    async def launch(self, image: Image, *, timeout: float = LAUNCH_TIMEOUT) -> int:  # noqa: ASYNC109 - as in sync
        """Has the host launch an image; its number for it, of which nothing is known until it is attested."""
        return (await self._ask(Launch(image.name, image.sgxs, image.sigstruct), Launched, timeout)).enclave

    async def enclaves(self) -> tuple[EnclaveIs, ...]:
        """All enclaves, in the host's words."""
        return (await self._ask(ListEnclaves(), EnclavesAre, ASK_TIMEOUT)).enclaves

    async def start(self, enclave: int) -> EnclaveIs:
        """Starts a stopped enclave, with fresh keys: attest it again."""
        return await self._ask(StartEnclave(enclave), EnclaveIs, LAUNCH_TIMEOUT)

    async def stop(self, enclave: int) -> EnclaveIs:
        """Ends an enclave's process; its pages stay."""
        return await self._ask(StopEnclave(enclave), EnclaveIs, ASK_TIMEOUT)

    async def destroy(self, enclave: int) -> EnclaveIs:
        """Ends an enclave for good."""
        return await self._ask(DestroyEnclave(enclave), EnclaveIs, ASK_TIMEOUT)

    async def evidence(self, enclave: int, nonce: bytes, *, timeout: float = ASK_TIMEOUT) -> EvidenceIs:  # noqa: ASYNC109 - as in sync
        """The host's answer to a challenge, unverified; :meth:`attest` is what most want."""
        return await self._ask(GetEvidence(enclave, nonce), EvidenceIs, timeout)

    async def attest(self, enclave: int, policy: SgxPolicy, *, timeout: float = ASK_TIMEOUT) -> "Enclave":  # noqa: ASYNC109 - as in sync
        """Challenges an enclave, appraises it by ``policy``, and opens a session with it.

        Raises:
            RefusedError, ReceiptRefusedError: its evidence does not satisfy.
        """
        nonce = challenge()
        answer = await self.evidence(enclave, nonce, timeout=timeout)
        return Enclave(self, enclave, appraise_answer(answer, nonce, policy, datetime.now(UTC)))

    async def relay(self, call: Call, timeout: float) -> bytes:  # noqa: ASYNC109 - as in sync
        """Has the host carry a sealed call; the sealed response, unopened."""
        return (await self._ask(call, Answer, timeout)).sealed

    async def _ask(self, question: object, wanted: type[T], timeout: float) -> T:  # noqa: ASYNC109 - as in sync
        """The host's answer.

        Raises:
            HostRefusedError: the host refuses.
            PeerGoneError, TimedOutError: it died, or did not answer in time.
            WireError: it answered something malformed.
        """
        try:
            answer, descriptors = await self._caller.call(question, wanted, timeout=timeout)
        except FaultError as error:
            raise HostRefusedError(error.fault) from None
        for descriptor in descriptors:  # a host has none to give; one that does would fill this process's table
            os.close(descriptor)
        return answer


class Enclave:
    """An attested enclave and a session with it; :meth:`Client.attest` makes it."""

    def __init__(self, client: Client, number: int, attested: AttestedEnclave) -> None:
        self._client = client
        self._attested = attested
        self.number = number
        """The host's number for it."""

    @property
    def evidence(self) -> VerifiedSgxEvidence:
        """What the appraisal found."""
        return self._attested.evidence

    @property
    def attested(self) -> AttestedEnclave:
        """The enclave without the connection."""
        return self._attested

    async def call(
        self,
        entry: str,
        value: Any,
        *,
        caller: CallerKey | None = None,
        timeout: float = CALL_TIMEOUT,  # noqa: ASYNC109 - as in sync
    ) -> Result:
        """Calls an entry point: only the enclave sees ``value``, and only this client the result.

        Arguments and errors are those of :meth:`casemate.client.sync.Enclave.call`.
        """
        pending = self._attested.seal_call(entry, arguments_of(value), caller=caller, secrets=CallSecrets.fresh())
        return pending.open(await self._client.relay(Call(self.number, pending.envelope), timeout))


async def connect(path: Path | str) -> Client:
    """A client of the host that listens at ``path``.

    Raises:
        PeerGoneError: nobody listens there.
    """
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(0)
    try:
        await asyncio.get_running_loop().sock_connect(sock, os.fspath(path))
    except OSError as error:
        sock.close()
        raise PeerGoneError(f"no host at {path}: {error.strerror}") from None
    return Client(AsyncChannel(sock))
