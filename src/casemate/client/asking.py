"""What a client asks of a host, as plain values: one question, the answer that is wanted, and how long to wait.

Both clients build their questions here and differ in how they wait alone; the transports carry them, over a Unix
socket as they are, over HTTP as :mod:`casemate.client.rest` writes them.
"""

from collections.abc import Generator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, Protocol, TypeVar

from casemate.client.caller_keys import CallerKey
from casemate.client.core import (
    AttestedEnclave,
    CallSecrets,
    Result,
    appraise_answer,
    arguments_of,
    challenge,
)
from casemate.client.timeouts import ASK_TIMEOUT, LAUNCH_TIMEOUT
from casemate.images.image import Image
from casemate.verifier import AnyPolicy
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
from casemate.wire.protocol.runtime_lock import Runtime
from casemate.wire.protocol.tee import Tee

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class GetMachine:
    """Which machine this is. Only gateways answer it: ``MachineDescription``."""


@dataclass(frozen=True, slots=True)
class MachineDescription:
    """A machine in its gateway's words; nothing vouches for them."""

    platform: str
    runtime: Runtime
    """What its enclaves run on, as runtime locks name it."""
    seeded: bool
    root_certificate: bytes
    """The simulated vendor's root (DER)."""
    version: str
    """Casemate's, there."""


@dataclass(frozen=True, slots=True)
class Ask(Generic[T]):
    """One question to a host."""

    question: object
    wanted: type[T]
    timeout: float
    """Seconds for all of it: connecting, sending, waiting for others, and every repetition."""


class Transport(Protocol):
    """Carries questions to a host and believes nothing of what comes back."""

    def ask(self, ask: Ask[T]) -> T:
        """The host's answer; the errors are those of :meth:`casemate.client.sync.Client`."""
        ...

    def close(self) -> None:
        """Hangs up."""
        ...


class AsyncTransport(Protocol):
    """The same for asyncio."""

    keeps_order: bool
    """Whether questions that are asked at once arrive in the order in which they were asked."""

    async def ask(self, ask: Ask[T]) -> T:
        """The host's answer."""
        ...

    async def close(self) -> None:
        """Hangs up; questions under way fail."""
        ...


Journey = Generator[Ask[Any], Any, T]
"""A conversation: yields what to ask, is sent each answer, and returns what the caller wanted."""


def go(transport: Transport, journey: Journey[T]) -> T:
    """Asks all that a journey asks; what it comes to."""
    answer = None
    try:
        while True:
            answer = transport.ask(journey.send(answer))
    except StopIteration as done:
        value: T = done.value
        return value


async def go_on(transport: AsyncTransport, journey: Journey[T]) -> T:
    """The same for asyncio."""
    answer = None
    try:
        while True:
            answer = await transport.ask(journey.send(answer))
    except StopIteration as done:
        value: T = done.value
        return value


def launch(image: Image, timeout: float, *, temporary: bool, tee: Tee) -> Journey[int]:
    """The host's number for a new enclave."""
    launched: Launched = yield Ask(Launch(image.name, image.sgxs, image.sigstruct, temporary, tee), Launched, timeout)
    return launched.enclave


def enclaves() -> Journey[tuple[EnclaveIs, ...]]:
    """All enclaves."""
    found: EnclavesAre = yield Ask(ListEnclaves(), EnclavesAre, ASK_TIMEOUT)
    return found.enclaves


def start(enclave: int) -> Ask[EnclaveIs]:
    """Starts a stopped enclave."""
    return Ask(StartEnclave(enclave), EnclaveIs, LAUNCH_TIMEOUT)


def stop(enclave: int) -> Ask[EnclaveIs]:
    """Ends an enclave's process."""
    return Ask(StopEnclave(enclave), EnclaveIs, ASK_TIMEOUT)


def destroy(enclave: int) -> Ask[EnclaveIs]:
    """Ends an enclave for good."""
    return Ask(DestroyEnclave(enclave), EnclaveIs, ASK_TIMEOUT)


def machine() -> Ask[MachineDescription]:
    """Which machine this is."""
    return Ask(GetMachine(), MachineDescription, ASK_TIMEOUT)


def evidence(enclave: int, nonce: bytes, timeout: float) -> Ask[EvidenceIs]:
    """An answer to a challenge."""
    return Ask(GetEvidence(enclave, nonce), EvidenceIs, timeout)


def attest(enclave: int, policy: AnyPolicy, timeout: float) -> Journey[AttestedEnclave]:
    """Challenges and appraises."""
    nonce = challenge()
    answer: EvidenceIs = yield evidence(enclave, nonce, timeout)
    return appraise_answer(answer, nonce, policy, datetime.now(UTC))


def relay(call: Call, timeout: float) -> Ask[Answer]:
    """A sealed call."""
    return Ask(call, Answer, timeout)


def call(
    enclave: int, attested: AttestedEnclave, entry: str, value: Any, *, caller: CallerKey | None, timeout: float
) -> Journey[Result]:
    """Seals, has it carried, and opens."""
    pending = attested.seal_call(entry, arguments_of(value), caller=caller, secrets=CallSecrets.fresh())
    answer: Answer = yield relay(Call(enclave, pending.envelope), timeout)
    return pending.open(answer.sealed)
