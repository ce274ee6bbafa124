"""Answers entries, many at a time, for a host that the enclave does not trust."""

from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import contextmanager

from casemate.enclave.boot import Program
from casemate.enclave.chip.leaf import Leaf
from casemate.enclave.entry.answer import Answer, FailedCallError
from casemate.enclave.entry.caller_identity import proved_key
from casemate.enclave.entry.calls import Calls
from casemate.enclave.entry.channel import OpenedRequest, open_request
from casemate.enclave.entry.open_streams import StreamOwner
from casemate.enclave.entry.peer_entries import PeerEntries
from casemate.enclave.entry.peers import OwnProof, Peers
from casemate.enclave.entry.receipts import ReceiptBook, accounted
from casemate.enclave.entry.sessions import Sessions
from casemate.enclave.entry.usage import OF_TLS, UsageBook
from casemate.enclave.keys import EnclaveKeys
from casemate.enclave.peer_policy import KnownPeer
from casemate.link.errors import PeerGoneError, TimedOutError
from casemate.wire.encodings.message import parse_message
from casemate.wire.errors import WireError
from casemate.wire.messages.entry import (
    MAX_CALLS,
    MAX_OTHERS,
    MAX_WAITING,
    Challenge,
    ChallengeAnswer,
    Enter,
    Left,
    PlainEnter,
    PlainLeft,
    Ready,
)
from casemate.wire.messages.peers import PeerGreeted, PeerIntroduced, PeerProof, PeerWelcome
from casemate.wire.messages.service_life import Configure, Configured, HealthIs, RunHook
from casemate.wire.messages.tls import TlsBytes, TlsInstall, TlsInstalled, TlsPrepare, TlsPrepared, TlsReply
from casemate.wire.protocol.call import (
    MAX_SEALED,
    CallFailed,
    CallRefused,
    CallResult,
    Envelope,
    Refusal,
    StepTaken,
    StreamEnded,
)
from casemate.wire.protocol.faults import Code, Fault, FaultError, fault, refuse
from casemate.wire.protocol.inner_receipts import Accounted
from casemate.wire.protocol.report_data import ReportDataBinding
from casemate.wire.protocol.sandbox_layers import SandboxLayers

TlsEntry = TlsPrepare | TlsInstall | TlsBytes
TlsAnswer = TlsPrepared | TlsInstalled | TlsReply
Reply = ChallengeAnswer | Left | PlainLeft | TlsAnswer | PeerWelcome | PeerProof | HealthIs | Configured | Fault
Response = CallResult | CallRefused | StepTaken | StreamEnded | Accounted

_ENTRIES = (
    Enter,
    PlainEnter,
    Challenge,
    TlsPrepare,
    TlsInstall,
    TlsBytes,
    PeerGreeted,
    PeerIntroduced,
    RunHook,
    Configure,
)

MAX_ENTRIES = MAX_CALLS + MAX_OTHERS
"""Most entries under way; a host that enters more often has not read what :mod:`casemate.wire.messages.entry` says."""

MAX_BYTES = 8 * MAX_SEALED
"""Most bytes of entries under way, which are held in the enclave's memory."""

_DEFECT = fault(Code.INTERNAL, "a defect of the enclave's; nothing more is told")


class Service:
    """Answers entries.

    Until a request is opened, the host is told why it is refused. From then on only its caller is told, by a sealed
    response that shows the host nothing but a padded size. A plain call hides nothing from the host, refusals included.
    Nobody is told the particulars of a defect in here.
    """

    def __init__(self, program: Program, layers: SandboxLayers, peers: Peers) -> None:
        self._layers = layers
        self._peers = peers
        self._keys = EnclaveKeys()
        self._sessions = Sessions()
        self._receipts = ReceiptBook(self._keys, program.identity.measurement, program.image.manifest)
        own = OwnProof(self._keys, layers)
        self._calls = Calls(program, peers, own)
        self._peer_entries = PeerEntries(program, peers.leaf, own, self._sessions)
        self._usage = UsageBook(peers.loop, peers.host)
        self._concurrent = program.image.manifest.limits.concurrent
        self._under_way = 0
        self._bytes = 0
        self._tls = _tls_answers(program, layers, peers.leaf, self)

    def open(self) -> None:
        """Takes entries from now on, whenever the loop runs."""
        self._peers.host.open(self._enter)
        self._peers.host.tell(Ready(self._concurrent + MAX_WAITING, tuple(sorted(self._calls.life.hooks))))

    def _enter(self, number: int, entry: bytes | memoryview) -> None:
        """Begins to answer an entry."""
        if self._under_way >= MAX_ENTRIES or (self._under_way and self._bytes + len(entry) > MAX_BYTES):
            words = f"{self._under_way} entries of {self._bytes} bytes are under way: call again"
            self._peers.host.reply(number, fault(Code.BUSY, words))
            return
        self._peers.loop.start(self._serve(number, entry))

    async def _serve(self, number: int, entry: bytes | memoryview) -> None:
        size = len(entry)
        self._under_way += 1
        self._bytes += size
        try:
            reply = await self._reply(entry)
        finally:
            self._under_way -= 1
            self._bytes -= size
        self._peers.host.reply(number, reply)

    async def _reply(self, entry: bytes | memoryview) -> Reply:
        """The reply to one entry, whatever it holds."""
        try:
            return await self._do(parse_message(entry, *_ENTRIES))
        except FaultError as error:
            return error.fault
        except WireError as error:
            return fault(Code.MALFORMED, str(error))
        except (PeerGoneError, TimedOutError):
            raise
        except Exception:  # the last resort: an enclave that dies loses everybody's sessions
            return _DEFECT

    async def _do(self, entry: object) -> Reply:
        match entry:
            case Challenge():
                return await self._answer_challenge(entry)
            case Enter(envelope):
                return await self._enter_sealed(envelope)
            case PlainEnter(name, arguments):
                with self._failures_used(name):
                    answer = await self._calls.plain_call(name, arguments)
                self._usage.add(name, answer.metrics)
                return _plain_reply(answer.said)
            case PeerGreeted() | PeerIntroduced():
                return await self._peer_entries.answer(entry)
            case RunHook(hook):
                return await self._calls.life.run(hook)
            case Configure(configuration):
                return Configured(await self._calls.life.configure(configuration))
            case TlsPrepare() | TlsInstall() | TlsBytes():
                return await self._tls(entry)
        return _DEFECT

    async def call(self, name: str, arguments: bytes, public_key: bytes | None, party: Hashable) -> Answer:
        """A call over RA-TLS: see :meth:`Calls.call`."""
        with self._failures_used(OF_TLS):
            answer = await self._calls.call(name, arguments, public_key, party)
        self._usage.add(OF_TLS, answer.metrics)
        return answer

    @contextmanager
    def _failures_used(self, entry: str) -> Iterator[None]:
        """Notes what a call has used that the block makes and that fails."""
        try:
            yield
        except FailedCallError as error:
            self._usage.add(entry, error.metrics)
            raise

    async def _answer_challenge(self, challenge: Challenge) -> ChallengeAnswer:
        """A report over all that a relying party must know before it seals anything, and a new session."""
        keys, layers = self._keys, self._layers
        binding = ReportDataBinding(keys.hpke_key, keys.receipt_key, challenge.nonce, layers)
        report = await self._peers.leaf.report(challenge.target_info, binding.report_data())
        return ChallengeAnswer(report, keys.hpke_key, keys.receipt_key, layers, self._sessions.issue())

    async def _enter_sealed(self, envelope: Envelope) -> Left:
        opened = open_request(envelope, self._keys, self._sessions)
        try:
            with self._failures_used(opened.binding.entry):
                response: Response | CallFailed = await self._call(opened)
        except FailedCallError as error:
            response = CallFailed(error.fault, error.metrics)
        except FaultError as error:
            response = CallFailed(error.fault)
        except (PeerGoneError, TimedOutError):
            raise
        except Exception:  # a defect, as above; without a response, callers would think that the call was lost
            response = CallFailed(_DEFECT)
        return Left(opened.seal(response))

    async def _call(self, opened: OpenedRequest) -> Response:
        entry, step, peer = opened.binding.entry, opened.step, opened.session.peer
        if peer is not None:
            return await self._call_of_peer(opened, peer)
        public_key = proved_key(opened, self._keys.hpke_key)
        owner = StreamOwner(opened.session, public_key, entry)
        if step is None:
            answer = await self._calls.call(entry, opened.arguments, public_key, owner.party)
            self._usage.add(entry, answer.metrics)
            return accounted(self._receipts.issue(opened, answer), answer.inner)
        done = await self._calls.step(step, opened.arguments, owner)
        if isinstance(done, StepTaken):
            return done
        self._usage.add(entry, done.answer.metrics)
        issued = self._receipts.issue(opened, done.answer)
        ended = issued if isinstance(issued, CallRefused) else StreamEnded(done.data, issued)
        return accounted(ended, done.answer.inner)

    async def _call_of_peer(self, opened: OpenedRequest, peer: KnownPeer) -> Response:
        entry, course = opened.binding.entry, opened.course
        if opened.step is not None or course is None:
            raise refuse(Code.ARGUMENTS_REFUSED, "enclaves call each other in one piece, without streams")
        answer = await self._calls.call_of_peer(entry, opened.arguments, peer, course)
        self._usage.add(entry, answer.metrics)
        return accounted(self._receipts.issue(opened, answer), answer.inner)


def _plain_reply(said: bytes | Refusal) -> PlainLeft:
    return PlainLeft(b"", said) if isinstance(said, Refusal) else PlainLeft(said)


def _tls_answers(
    program: Program, layers: SandboxLayers, leaf: Leaf, service: Service
) -> Callable[[TlsEntry], Awaitable[TlsAnswer]]:
    """What answers RA-TLS entries; it raises :class:`FaultError` where it refuses."""
    if not program.image.manifest.ra_tls:
        return _no_tls
    from casemate.enclave.tls.desk import TlsDesk  # loaded before this process was forked: no file is opened here

    return TlsDesk(program, layers, leaf, service).answer


async def _no_tls(entry: TlsEntry) -> TlsAnswer:
    if isinstance(entry, TlsPrepare):
        return TlsPrepared(())
    raise refuse(Code.WRONG_STATE, "this enclave's manifest does not ask for RA-TLS")
