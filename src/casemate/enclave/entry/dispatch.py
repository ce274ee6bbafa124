"""Answers one entry after another, for a host that the enclave does not trust."""

from collections.abc import Callable

from casemate.enclave.boot import Program
from casemate.enclave.chip.leaf import Leaf
from casemate.enclave.entry.caller_identity import proved_key
from casemate.enclave.entry.calls import Calls
from casemate.enclave.entry.channel import OpenedRequest, open_request
from casemate.enclave.entry.open_streams import StreamOwner
from casemate.enclave.entry.peers import Peers
from casemate.enclave.entry.receipts import ReceiptBook
from casemate.enclave.entry.sessions import Sessions
from casemate.enclave.keys import EnclaveKeys
from casemate.link.errors import PeerGoneError, TimedOutError
from casemate.wire.encodings.message import parse_message
from casemate.wire.errors import WireError
from casemate.wire.messages.entry import (
    Challenge,
    ChallengeAnswer,
    Enter,
    Left,
    OcallAnswer,
    OcallRefused,
    PlainEnter,
    PlainLeft,
)
from casemate.wire.messages.state import STATE_ANSWERS, StateRecords, StateRefused, StateStored
from casemate.wire.messages.tls import TlsBytes, TlsInstall, TlsInstalled, TlsPrepare, TlsPrepared, TlsReply
from casemate.wire.protocol.call import CallFailed, CallResult, Envelope, StepTaken, StreamEnded
from casemate.wire.protocol.faults import Code, Fault, FaultError, encode_reply, fault, refuse
from casemate.wire.protocol.isolation import Isolation
from casemate.wire.protocol.report_data import ReportDataBinding
from casemate.wire.protocol.sandbox_layers import SandboxLayers

TlsEntry = TlsPrepare | TlsInstall | TlsBytes
TlsAnswer = TlsPrepared | TlsInstalled | TlsReply
Reply = ChallengeAnswer | Left | PlainLeft | TlsAnswer | Fault
Response = CallResult | StepTaken | StreamEnded

_ENTRIES = (Enter, PlainEnter, Challenge, TlsPrepare, TlsInstall, TlsBytes)
_ANSWERS = (OcallAnswer, OcallRefused, *STATE_ANSWERS)
_DEFECT = fault(Code.INTERNAL, "a defect of the enclave's; nothing more is told")


class Service:
    """Answers entries until a peer is gone.

    Until a request is opened, the host is told why it is refused. From then on only its caller is told, by a sealed
    response that shows the host nothing but a padded size. A plain call hides nothing from the host, refusals included.
    Nobody is told the particulars of a defect in here.
    """

    def __init__(self, program: Program, layers: SandboxLayers, peers: Peers) -> None:
        self._layers = layers
        self._peers = peers
        self._keys = EnclaveKeys()
        self._sessions = Sessions()
        # One guest serves all callers, whatever the manifest allows: a receipt says what is so.
        self._receipts = ReceiptBook(self._keys, program.identity.measurement, Isolation.SHARED)
        self._calls = Calls(program, peers)
        self._tls = _tls_answers(program, layers, peers.leaf, self._calls)

    def run(self) -> None:
        """Answers entries until a peer is gone, which :class:`PeerGoneError` says."""
        peers = self._peers
        while True:
            # Do not start another call for a host that has not read its last reply.
            ready = bool(peers.host.incoming) and not peers.host.backlog
            peers.pump.turn(0.0 if ready else peers.guest.deadline)
            peers.guest.attend()
            reply = self._reply(peers.host.incoming.popleft()) if ready else None
            if reply is not None:
                peers.console.flush()
                peers.host.send(encode_reply(reply))
                if not isinstance(reply, ChallengeAnswer):
                    # Only now, as the caller has its answer, is a guest replaced that the call has cost.
                    peers.guest.fetch()

    def _reply(self, frame: bytes | None) -> Reply | None:
        """The reply to one frame, whatever it holds; None to an answer that comes after its question is over."""
        try:
            if frame is None:
                return fault(Code.MALFORMED, "the frame is longer than any entry")
            return self._do(parse_message(frame, *_ENTRIES, *_ANSWERS))
        except FaultError as error:
            return error.fault
        except WireError as error:
            return fault(Code.MALFORMED, str(error))
        except (PeerGoneError, TimedOutError):
            raise
        except Exception:  # the last resort: an enclave that dies loses everybody's sessions
            return _DEFECT

    def _do(self, entry: object) -> Reply | None:
        match entry:
            case Challenge():
                return self._answer_challenge(entry)
            case Enter(envelope):
                return self._enter(envelope)
            case PlainEnter(name, arguments):
                return PlainLeft(self._calls.plain_call(name, arguments, self._calls.deadline()).output)
            case TlsPrepare() | TlsInstall() | TlsBytes():
                return self._tls(entry)
            case OcallAnswer() | OcallRefused() | StateRecords() | StateStored() | StateRefused():
                return None  # its call ended first: a reply would be taken for the next entry's
        return _DEFECT

    def _answer_challenge(self, challenge: Challenge) -> ChallengeAnswer:
        """A report over all that a relying party must know before it seals anything, and a new session."""
        keys, layers = self._keys, self._layers
        binding = ReportDataBinding(keys.hpke_key, keys.receipt_key, challenge.nonce, layers)
        report = self._peers.leaf.report(challenge.target_info, binding.report_data())
        return ChallengeAnswer(report, keys.hpke_key, keys.receipt_key, layers, self._sessions.issue())

    def _enter(self, envelope: Envelope) -> Left:
        deadline = self._calls.deadline()
        opened = open_request(envelope, self._keys, self._sessions)
        try:
            response: Response | CallFailed = self._call(opened, deadline)
        except FaultError as error:
            response = CallFailed(error.fault)
        except (PeerGoneError, TimedOutError):
            raise
        except Exception:  # a defect, as above; without a response, callers would think that the call was lost
            response = CallFailed(_DEFECT)
        return Left(opened.seal(response))

    def _call(self, opened: OpenedRequest, deadline: float) -> Response:
        public_key = proved_key(opened, self._keys.hpke_key)
        binding, step = opened.binding, opened.step
        if step is None:
            return self._receipts.issue(opened, self._calls.call(binding.entry, opened.arguments, public_key, deadline))
        owner = StreamOwner(opened.session, public_key, binding.entry)
        done = self._calls.step(step, opened.arguments, owner, deadline)
        if isinstance(done, StepTaken):
            return done
        return StreamEnded(done.data, self._receipts.issue(opened, done.answer))


def _tls_answers(program: Program, layers: SandboxLayers, leaf: Leaf, calls: Calls) -> Callable[[TlsEntry], TlsAnswer]:
    """What answers RA-TLS entries; it raises :class:`FaultError` where it refuses."""
    if not program.image.manifest.ra_tls:
        return _no_tls
    from casemate.enclave.tls.desk import TlsDesk  # loaded before this process was forked: no file is opened here

    return TlsDesk(program, layers, leaf, calls).answer


def _no_tls(entry: TlsEntry) -> TlsAnswer:
    if isinstance(entry, TlsPrepare):
        return TlsPrepared(())
    raise refuse(Code.WRONG_STATE, "this enclave's manifest does not ask for RA-TLS")
