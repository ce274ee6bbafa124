"""The called side of a session between enclaves: greets, appraises whoever proves itself, and proves itself in return.

Whoever greets is told nothing that is not public: a nonce, this enclave's HPKE key, a number. What the host may do with
a handshake is to let it fail: see :mod:`casemate.wire.protocol.peers` for what a proof is bound to.
"""

import secrets
from collections import OrderedDict
from dataclasses import dataclass

from casemate.enclave.boot import Program
from casemate.enclave.chip.leaf import Leaf
from casemate.enclave.chip.local_reports import LocalReportError, LocalReports
from casemate.enclave.entry.peers import OwnProof
from casemate.enclave.entry.sessions import Session, Sessions
from casemate.enclave.keys import sha256
from casemate.enclave.peer_policy import KnownPeer, compile_policy, identity_in, named_caller
from casemate.wire.messages.peers import PeerGreeted, PeerHello, PeerIntroduced, PeerProof, PeerWay, PeerWelcome
from casemate.wire.protocol.call import SessionBinding
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.protocol.peers import PeerBinding, PeerSession, PeerSide
from casemate.wire.protocol.tee import Tee
from casemate.wire.sgx.report import TargetInfo

MAX_GREETED = 64
"""Most enclaves that were greeted and have not proved themselves yet; the oldest is forgotten first."""

NONCE_SIZE = 32

PeerEntry = PeerGreeted | PeerIntroduced
PeerReply = PeerWelcome | PeerProof


@dataclass(frozen=True, slots=True)
class _Greeted:
    hello: PeerHello
    way: PeerWay
    nonce: bytes


class PeerEntries:
    """Answers what the host enters for other enclaves.

    Args:
        program: this enclave's.
        leaf: makes and checks REPORTs.
        own: this enclave's.
        sessions: where a session is kept whose both sides have proved themselves.
    """

    def __init__(self, program: Program, leaf: Leaf, own: OwnProof, sessions: Sessions) -> None:
        image, who = program.image, program.identity
        self._tee = who.tee
        self._leaf = leaf
        self._reports = LocalReports(leaf, who.tee)
        self._keys = own.keys
        self._layers = own.layers
        self._sessions = sessions
        self._callers = [
            (caller, compile_policy(caller.demands, own_signer=who.mr_signer, lock=image.lock))
            for caller in image.manifest.enclave_callers
        ]
        self._greeted: OrderedDict[int, _Greeted] = OrderedDict()

    async def answer(self, entry: PeerEntry) -> PeerReply:
        """The reply to one entry.

        Raises:
            FaultError: for the other enclave to see, and the host that carries it.
        """
        return await self._greet(entry) if isinstance(entry, PeerGreeted) else await self._introduce(entry)

    async def _greet(self, entry: PeerGreeted) -> PeerWelcome:
        if entry.way is not PeerWay.LOCAL or self._tee is not Tee.SGX:
            raise refuse(Code.PEER_REFUSED, f"peer.way: got {entry.way}, want a REPORT of the same SGX chip")
        target = await self._reports.own_target_info()
        number, nonce = self._sessions.issue(), secrets.token_bytes(NONCE_SIZE)
        self._greeted[number] = _Greeted(entry.hello, entry.way, nonce)
        if len(self._greeted) > MAX_GREETED:
            self._greeted.popitem(last=False)
        return PeerWelcome(nonce, self._keys.hpke_key, number, target)

    async def _introduce(self, entry: PeerIntroduced) -> PeerProof:
        greeted = self._greeted.pop(entry.session, None)  # one proof for each greeting, right or wrong
        if greeted is None:
            raise refuse(Code.SESSION_UNKNOWN, f"session {entry.session} waits for no proof, or does so no more")
        about = PeerSession(
            caller_nonce=greeted.hello.nonce,
            called_nonce=greeted.nonce,
            caller_key=greeted.hello.hpke_key,
            called_key=self._keys.hpke_key,
            number=entry.session,
        )
        keys = self._keys.open_peer_session(entry.encapsulation, about)
        sealed = sha256(entry.encapsulation)
        theirs = PeerBinding(about, sealed, entry.receipt_key, entry.layers)
        peer, target = await self._appraise(entry.evidence, theirs)
        mine = PeerBinding(about, sealed, self._keys.receipt_key, self._layers)
        report = await self._leaf.report(target, mine.report_data(PeerSide.CALLED))
        session = Session(SessionBinding(mine.session_name(), entry.session), entry.encapsulation, keys, peer)
        self._sessions.hold(session)
        return PeerProof(report, self._keys.receipt_key, self._layers)

    async def _appraise(self, evidence: bytes, theirs: PeerBinding) -> tuple[KnownPeer, bytes]:
        """Who has made a REPORT for this session; and TARGETINFO for the one in return."""
        try:
            body = await self._reports.check(evidence)
        except LocalReportError as error:
            raise refuse(Code.PEER_REFUSED, str(error)) from None
        if body.report_data != theirs.report_data(PeerSide.CALLER):
            raise refuse(Code.PEER_REFUSED, NOT_OF_THIS_SESSION)
        peer = KnownPeer(identity_in(body), named_caller(self._callers, body, theirs.layers))
        return peer, TargetInfo.of(body).encode()


NOT_OF_THIS_SESSION = "report.binding: got REPORTDATA of something else, want that of this session, its keys and side"
