"""The blocking client: one call at a time over one connection to a host.

Every question has a time-out, a dead host is noticed at once, and nothing is ever asked again by itself: a call may
have had its effect although its answer was lost. :mod:`casemate.client.aio` is the same for asyncio.
"""

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
from casemate.link.calls import NEWS, answer_of, numbered, split
from casemate.link.channel import Channel
from casemate.link.errors import PeerGoneError, TimedOutError
from casemate.verifier import SgxPolicy, VerifiedSgxEvidence
from casemate.wire.errors import WireError
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
    """A connection to a host; :func:`connect` makes it. Not for two threads at a time."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._last = NEWS
        self._gone: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hangs up. Enclaves live on."""
        self._gone = self._gone or "this client is closed"
        self._channel.close()

    def launch(self, image: Image, *, timeout: float = LAUNCH_TIMEOUT) -> int:
        """Has the host launch an image; its number for it, of which nothing is known until it is attested."""
        return self._ask(Launch(image.name, image.sgxs, image.sigstruct), Launched, timeout).enclave

    def enclaves(self) -> tuple[EnclaveIs, ...]:
        """All enclaves, in the host's words."""
        return self._ask(ListEnclaves(), EnclavesAre, ASK_TIMEOUT).enclaves

    def start(self, enclave: int) -> EnclaveIs:
        """Starts a stopped enclave, with fresh keys: attest it again."""
        return self._ask(StartEnclave(enclave), EnclaveIs, LAUNCH_TIMEOUT)

    def stop(self, enclave: int) -> EnclaveIs:
        """Ends an enclave's process; its pages stay."""
        return self._ask(StopEnclave(enclave), EnclaveIs, ASK_TIMEOUT)

    def destroy(self, enclave: int) -> EnclaveIs:
        """Ends an enclave for good."""
        return self._ask(DestroyEnclave(enclave), EnclaveIs, ASK_TIMEOUT)

    def evidence(self, enclave: int, nonce: bytes, *, timeout: float = ASK_TIMEOUT) -> EvidenceIs:
        """The host's answer to a challenge, unverified; :meth:`attest` is what most want."""
        return self._ask(GetEvidence(enclave, nonce), EvidenceIs, timeout)

    def attest(self, enclave: int, policy: SgxPolicy, *, timeout: float = ASK_TIMEOUT) -> "Enclave":
        """Challenges an enclave, appraises it by ``policy``, and opens a session with it.

        Raises:
            RefusedError, ReceiptRefusedError: its evidence does not satisfy.
        """
        nonce = challenge()
        answer = self.evidence(enclave, nonce, timeout=timeout)
        return Enclave(self, enclave, appraise_answer(answer, nonce, policy, datetime.now(UTC)))

    def relay(self, call: Call, timeout: float) -> bytes:
        """Has the host carry a sealed call; the sealed response, unopened."""
        return self._ask(call, Answer, timeout).sealed

    def _ask(self, question: object, wanted: type[T], timeout: float) -> T:
        """The host's answer.

        Raises:
            HostRefusedError: the host refuses.
            PeerGoneError, TimedOutError: it died, or did not answer in time; the connection is of no use any more.
            WireError: it answered something malformed.
        """
        if self._gone is not None:
            raise PeerGoneError(self._gone)
        self._last += 1
        try:
            self._channel.send(numbered(self._last, question), timeout=timeout)
            number, message = split(self._receive(timeout))
            if number != self._last:
                raise WireError("number of an answer", got=number, want=self._last)
            return answer_of(message, wanted)
        except FaultError as error:
            raise HostRefusedError(error.fault) from None
        except (PeerGoneError, TimedOutError, WireError) as error:
            self._gone = f"the connection broke: {error}"
            self._channel.close()
            raise

    def _receive(self, timeout: float) -> bytes:
        frame = self._channel.receive(timeout=timeout)
        for descriptor in frame.descriptors:  # a host has none to give; one that does would fill this process's table
            os.close(descriptor)
        return frame.payload


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

    def call(self, entry: str, value: Any, *, caller: CallerKey | None = None, timeout: float = CALL_TIMEOUT) -> Result:
        """Calls an entry point: only the enclave sees ``value``, and only this client the result.

        Args:
            entry: the entry point's name.
            value: JSON.
            caller: who signs the call; None to call as nobody, where the entry point admits anyone.
            timeout: seconds, the wait for other clients' calls included.

        Raises:
            WireError: ``value`` is not JSON with one meaning everywhere; nothing was sent.
            EnclaveRefusedError: the enclave itself refuses; the code says why.
            HostRefusedError: the host refuses, or says that the enclave died. Attest again to know more.
            ResponseRefusedError, ReceiptRefusedError: somebody tampered with the answer.
            PeerGoneError, TimedOutError: no answer; whether the call had its effect is not known.
        """
        pending = self._attested.seal_call(entry, arguments_of(value), caller=caller, secrets=CallSecrets.fresh())
        return pending.open(self._client.relay(Call(self.number, pending.envelope), timeout))


def connect(path: Path | str) -> Client:
    """A client of the host that listens at ``path``.

    Raises:
        PeerGoneError: nobody listens there.
    """
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.connect(os.fspath(path))
    except OSError as error:
        sock.close()
        raise PeerGoneError(f"no host at {path}: {error.strerror}") from None
    return Client(Channel(sock))
