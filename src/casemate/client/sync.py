"""The blocking client: one call at a time over one connection, to a host's Unix socket or to a gateway.

Every request has a time-out, a dead host is noticed at once, and no call is ever made again by itself: it may have had
its effect although its answer was lost. Made from ``aio.py``, the same for asyncio, by ``make fix``: change that.
"""

import contextlib
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from casemate.client.address import address_of
from casemate.client.blocking_parts import Chunks, Turns, open_transport, read_pieces
from casemate.client.caller_keys import CallerKey
from casemate.client.core import (
    AttestedEnclave,
    CallSecrets,
    PendingCall,
    Result,
    appraise_answer,
    arguments_of,
    challenge,
)
from casemate.client.errors import AttestAgainError, HostRefusedError, OtherProtocolError
from casemate.client.streaming import CANCEL_TIMEOUT, StreamCore
from casemate.client.transport import GetMachine, MachineDescription, Transport
from casemate.client.vm.sync import Vms
from casemate.images.image import Image
from casemate.verifier import AnyPolicy, AnyVerifiedEvidence
from casemate.wire.errors import CasemateError
from casemate.wire.messages.functions import DRAIN, FunctionIs, GetFunction, ListFunctions, SwitchFunction
from casemate.wire.messages.host import (
    Call,
    DestroyEnclave,
    EnclaveIs,
    EvidenceIs,
    GetEvidence,
    Launch,
    ListEnclaves,
    StartEnclave,
    StopEnclave,
)
from casemate.wire.messages.machine_log import LogIs, ReadLog
from casemate.wire.messages.services import GetService, ListServices, ServiceIs
from casemate.wire.messages.verbs import ASK_TIMEOUT, CALL_TIMEOUT, LAUNCH_TIMEOUT
from casemate.wire.protocol.call import StepTaken
from casemate.wire.protocol.faults import Code
from casemate.wire.protocol.function_name import checked_name
from casemate.wire.protocol.tee import Tee


class Client:
    """A connection to a host; :func:`connect` makes it. Not for two threads at a time.

    What each method may raise, besides what it says itself:

    * ``HostRefusedError``: the host refuses; ``AttestAgainError``, one of them: the enclave has new keys.
    * ``GatewayRefusedError``: the gateway does: ``TokenRefusedError``, ``RoleRefusedError``, or another.
    * ``PeerGoneError``, ``TimedOutError``: it died, or did not answer in time. ``NoHostError``, one of the
      first: nobody was there, and nothing was sent.
    * ``TlsRefusedError``: the gateway's certificate is not trusted.
    * ``WireError``: it answered something malformed.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def keeps_order(self) -> bool:
        """Whether requests that are made at once arrive in the order in which they were made."""
        return self._transport.keeps_order

    def close(self) -> None:
        """Hangs up; calls under way fail. Enclaves live on."""
        self._transport.close()

    def launch(
        self,
        image: Image,
        *,
        temporary: bool = False,
        tee: Tee = Tee.SGX,
        candidate: bool = False,
        owner: bytes | None = None,
        timeout: float = LAUNCH_TIMEOUT,
    ) -> int:
        """Has the host launch an image; its number for it, of which nothing is known until it is attested.

        Args:
            image: what to launch.
            temporary: for this program's errand: the machine does not launch it again when it starts anew. A gateway
                makes no difference.
            tee: as what it is to run: an SGX enclave, or a paravirtual SEV-SNP guest.
            candidate: it is to replace another by :meth:`switch`; until then it answers to its number alone.
            owner: the Ed25519 public key whose deployment it is to be: with the image's name it makes an identity that
                evidence shows and sealed state is bound to.
            timeout: seconds.
        """
        request = Launch(image.name, image.sgxs, image.sigstruct, temporary, tee, candidate, owner)
        return (self._transport.answer(request, timeout)).enclave

    def enclaves(self) -> tuple[EnclaveIs, ...]:
        """All enclaves, in the host's words."""
        return (self._transport.answer(ListEnclaves())).enclaves

    def log(self, after: int = 0) -> LogIs:
        """What debug enclaves have printed, and the machine's events, in the host's words; a few hundred at most.

        Args:
            after: the number of the last entry that is known already. Where the answer's ``host`` is another than
                before, numbers have started anew: ask again with 0.
        """
        return self._transport.answer(ReadLog(after))

    def functions(self) -> tuple[FunctionIs, ...]:
        """All names that enclaves were deployed under, in the host's words."""
        return (self._transport.answer(ListFunctions())).functions

    def function(self, name: str) -> FunctionIs:
        """What a name stands for, in the host's words: the enclave that was deployed under it, or the only one.

        Raises:
            WireError: that can be no function's name; nothing was sent.
            HostRefusedError: no enclave bears that name, or several do and none was deployed.
        """
        return self._transport.answer(GetFunction(checked_name(name)))

    def services(self) -> tuple[ServiceIs, ...]:
        """The installed services, in the host's words, without their operations' schemas."""
        return (self._transport.answer(ListServices())).services

    def installed(self, service: str) -> ServiceIs:
        """An installed service, in the host's words: its operations, their schemas, how it is."""
        return self._transport.answer(GetService(checked_name(service)))

    def service(self, name: str, policy: AnyPolicy, *, caller: CallerKey | None = None) -> "Service":
        """A service, whose operations are methods of what this returns. It is attested before its first call.

        Args:
            name: the service's.
            policy: whom to trust; the name is the host's word alone.
            caller: who signs the calls; None to call as nobody.
        """
        return Service(self, checked_name(name), policy, caller)

    def switch(
        self, name: str, enclave: int, *, replaces: int = 0, drain: int = DRAIN, timeout: float = LAUNCH_TIMEOUT
    ) -> FunctionIs:
        """Has an enclave that bears a name answer to it, once it runs and has answered a challenge of the host's.

        Where anything fails, the name stays where it is.

        Args:
            name: the function's.
            enclave: its number; started, if it does not run.
            replaces: the number of the enclave that answers to the name now; 0 for none.
            drain: seconds for which that one may go on with its sessions, at most; then it is stopped.
            timeout: seconds.

        Raises:
            HostRefusedError: another answers to the name meanwhile, or the enclave cannot take its place.
        """
        return self._transport.answer(SwitchFunction(checked_name(name), enclave, replaces, drain), timeout)

    def start(self, enclave: int | str) -> EnclaveIs:
        """Starts a stopped enclave, by its number or name, with fresh keys: attest it again."""
        return self._transport.answer(StartEnclave(self._number(enclave)))

    def stop(self, enclave: int | str) -> EnclaveIs:
        """Ends an enclave's process; its pages stay."""
        return self._transport.answer(StopEnclave(self._number(enclave)))

    def destroy(self, enclave: int | str) -> EnclaveIs:
        """Ends an enclave for good, and has its name mean nothing any more."""
        return self._transport.answer(DestroyEnclave(self._number(enclave)))

    def machine(self) -> MachineDescription:
        """Which machine this is, in its gateway's words; :class:`NotOfferedError` on a Unix socket."""
        return self._transport.answer(GetMachine())

    def evidence(self, enclave: int | str, nonce: bytes, *, timeout: float = ASK_TIMEOUT) -> EvidenceIs:
        """The host's answer to a challenge, unverified; :meth:`attest` is what most want."""
        return self._transport.answer(GetEvidence(self._number(enclave), nonce), timeout)

    def attest(self, enclave: int | str, policy: AnyPolicy, *, timeout: float = ASK_TIMEOUT) -> "Enclave":
        """Challenges an enclave, appraises it by ``policy``, and opens a session with it.

        Args:
            enclave: the host's number for it, or a function's name: then the host says which enclave that is now, and
                the session stays with it when another takes its place.
            policy: whom to trust. A name is the host's word alone: only the policy says which code it may stand for.
            timeout: seconds.

        Raises:
            RefusedError, ReceiptRefusedError: its evidence does not satisfy.
        """
        nonce = challenge()
        number = self._number(enclave)
        answer = self.evidence(number, nonce, timeout=timeout)
        return Enclave(self, number, appraise_answer(answer, nonce, policy, datetime.now(UTC)))

    def _number(self, enclave: int | str) -> int:
        """The number of an enclave that the user has named."""
        return enclave if isinstance(enclave, int) else (self.function(enclave)).current.enclave

    def relay(self, call: Call, timeout: float) -> bytes:
        """Has the host carry a sealed call; the sealed response, unopened.

        Raises:
            OtherProtocolError: the host cannot read the call.
        """
        try:
            return (self._transport.answer(call, timeout)).sealed
        except HostRefusedError as error:
            if error.fault.code is Code.MALFORMED:
                raise OtherProtocolError(error.fault) from None
            raise

    @property
    def vms(self) -> Vms:
        """Confidential VMs on this host."""
        return Vms(self._transport)


class Enclave:
    """An attested enclave and a session with it; :meth:`Client.attest` makes it."""

    def __init__(self, client: Client, number: int, attested: AttestedEnclave) -> None:
        self._client = client
        self._attested = attested
        self._turns = Turns(keeps_order=client.keeps_order)
        self.number = number
        """The host's number for it."""

    @property
    def evidence(self) -> AnyVerifiedEvidence:
        """The verified evidence of the enclave."""
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
            FunctionRefusedError: the function refuses, with an error that its manifest declares.
            EnclaveRefusedError: the enclave itself refuses; the code says why.
            AttestAgainError: the enclave was started anew.
            HostRefusedError: the host refuses, or says that the enclave died. Attest again to know more.
            ResponseRefusedError, ReceiptRefusedError: somebody tampered with the answer.
            PeerGoneError, TimedOutError: no answer; whether the call had its effect is not known.
        """
        with self._turns.turn(timeout) as left:
            arguments = arguments_of(value)
            pending = self._attested.seal_call(entry, arguments, caller=caller, secrets=CallSecrets.fresh())
            return pending.open(self._client.relay(Call(self.number, pending.envelope), left))

    def stream(
        self,
        entry: str,
        value: Any,
        chunks: Chunks = b"",
        *,
        caller: CallerKey | None = None,
        timeout: float = CALL_TIMEOUT,
    ) -> "Stream":
        """Calls an entry point that takes and gives streams of bytes, however long, in bounded memory.

        Args:
            entry: the entry point's name.
            value: JSON.
            chunks: the input: bytes, an iterable of pieces, or a binary file. Read as the function asks for more.
            caller: who signs the steps.
            timeout: seconds for each step.

        Raises:
            WireError: ``value`` is not JSON with one meaning everywhere.

        What :meth:`call` may raise, iterating may raise; what ``chunks`` raises, too, and the stream is given up.
        """
        core = StreamCore(self._attested, entry, arguments_of(value), caller)
        return Stream(self._client, self.number, self._turns, core, chunks, timeout=timeout)


class Service:
    """A service's operations, as methods of their names; :meth:`Client.service` makes it.

    The first call attests whichever enclave the name stands for. Where the session is over, because the enclave was
    started anew or another version has taken its place, a call raises ``AttestAgainError`` and the next one attests
    again: whether the lost one had its effect, nobody can tell.
    """

    def __init__(self, client: Client, name: str, policy: AnyPolicy, caller: CallerKey | None) -> None:
        self._client = client
        self._name = name
        self._policy = policy
        self._caller = caller
        self._enclave: Enclave | None = None

    def attested(self) -> Enclave:
        """The enclave that the session is with, attested now if there is none.

        Raises:
            RefusedError, ReceiptRefusedError: its evidence does not satisfy the policy.
        """
        if self._enclave is None:
            self._enclave = self._client.attest(self._name, self._policy)
        return self._enclave

    def call(self, operation: str, value: Any, *, timeout: float = CALL_TIMEOUT) -> Result:
        """Calls an operation, with its receipt; raises what :meth:`Client.attest` and :meth:`Enclave.call` do."""
        enclave = self.attested()
        try:
            return enclave.call(operation, value, caller=self._caller, timeout=timeout)
        except AttestAgainError:
            if self._enclave is enclave:
                self._enclave = None
            raise

    def __getattr__(self, operation: str) -> "Operation":
        if operation.startswith("_"):
            raise AttributeError(operation)
        return Operation(self, operation)


class Operation:
    """An operation of a service: a function of its arguments' members, or of one value."""

    def __init__(self, service: Service, name: str) -> None:
        self._service = service
        self._name = name

    def __call__(self, value: Any = None, /, **members: Any) -> Any:
        """The operation's result.

        Args:
            value: JSON: the whole arguments.
            members: instead of it, the members of arguments that are an object.
        """
        if members and value is not None:
            raise TypeError(f"{self._name}() takes one value, or members by their names; not both")
        return (self._service.call(self._name, members or value)).value


class Stream:
    """A call whose input and output pass in pieces; :meth:`Enclave.stream` makes it.

    Iterating gives the output as it comes, once. The stream begins with the first step; leaving the loop, or the
    ``with`` block, before its end gives it up.
    """

    def __init__(
        self, client: Client, number: int, turns: Turns, core: StreamCore, chunks: Chunks, *, timeout: float
    ) -> None:
        self._client = client
        self._number = number
        self._turns = turns
        self._core = core
        self._pieces = read_pieces(chunks)
        self._timeout = timeout

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[bytes]:
        core = self._core
        try:
            while not core.is_over:
                piece = next(self._pieces, b"") if core.wants_input else None
                output = self._step(piece)
                if output:
                    yield output
        finally:
            self.close()

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
        """The function's result with a receipt over the whole stream, available when the output was read to its end.

        Raises:
            FunctionRefusedError: the function refused.
            StreamBrokenError: the stream ended without a result.
            RuntimeError: it has not ended.
        """
        return self._core.result

    def close(self) -> None:
        """Gives the stream up, unless it is over."""
        self._pieces.close()
        if not self._core.is_open:
            self._core.cancel()
            return
        with contextlib.suppress(CasemateError):  # the enclave gives up idle streams by itself
            self._cancel()

    def _cancel(self) -> None:
        with self._turns.turn(CANCEL_TIMEOUT) as left:
            step = self._core.cancel()
            if step is not None:
                step.heard(self._carried(step, left), StepTaken)

    def _step(self, piece: bytes | None) -> bytes:
        try:
            with self._turns.turn(self._timeout) as left:
                step = self._core.step(piece)
                return self._core.open_output(self._carried(step, left))
        except BaseException as error:
            self._core.breaks(error)
            raise

    def _carried(self, step: PendingCall, seconds: float) -> bytes:
        return self._client.relay(Call(self._number, step.envelope), seconds)


def connect(
    where: Path | str,
    *,
    token: str | None = None,
    verify: Path | str | ssl.SSLContext | None = None,
    unsafe_token_over_http: bool = False,
) -> Client:
    """A client of the host that listens at a Unix socket, or of a gateway.

    A gateway is not spoken to before the first request.

    Args:
        where: a path, or an ``http://`` or ``https://`` URL.
        token: opens the gateway, never an enclave. Only sent over https or to this computer itself.
        verify: a file or folder of CA certificates in PEM, or a TLS context; None for this computer's CAs.
        unsafe_token_over_http: lets the token cross a network that others can read.

    Raises:
        NoHostError: nobody listens at that path.
        AddressError: URL, token or certificates cannot be used.
    """
    gateway = address_of(where, token=token, verify=verify, unsafe_token_over_http=unsafe_token_over_http)
    return Client(open_transport(where, gateway))
