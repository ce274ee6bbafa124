"""The capability ``call``: other enclaves, each appraised by this one under its table ``[uses.NAME]``.

A session with another enclave is begun at the first call and kept. Its host relays all that is said, and may lose or
delay it, no more: see :mod:`casemate.wire.protocol.peers`. Where the host says that the other enclave does not know a
session any more, the session is given up. A call that was sent in it may have been carried out all the same, so it is
made again only where the table says that the operation may be repeated.
"""

import os
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from casemate.enclave.chip.local_reports import LocalReportError, LocalReports
from casemate.enclave.entry.peer_entries import NONCE_SIZE, NOT_OF_THIS_SESSION
from casemate.enclave.io.loop import Pending
from casemate.enclave.keys import PeerKeys, check_signature, sha256
from casemate.enclave.peer_policy import PeerIdentity, PeerPolicy, PeerRefusedError, compile_policy
from casemate.wire.encodings.json_text import encode_json, parse_json
from casemate.wire.encodings.message import message_parts, parse_message
from casemate.wire.errors import WireError
from casemate.wire.messages.peers import (
    PeerCall,
    PeerHello,
    PeerOpen,
    PeerOpened,
    PeerProve,
    PeerProved,
    PeerRefused,
    PeerReturned,
    PeerWay,
)
from casemate.wire.protocol.call import (
    MAX_OUTPUT,
    CallBinding,
    CallContent,
    CallFailed,
    CallRefused,
    CallResult,
    Envelope,
    Receipt,
    commitment,
)
from casemate.wire.protocol.faults import Code, FaultError, refuse
from casemate.wire.protocol.inner_receipts import (
    Accounted,
    InnerCall,
    InnerReceipt,
    branches,
    check_committed,
    inner_hash,
)
from casemate.wire.protocol.padding import pad, unpad
from casemate.wire.protocol.peers import (
    MAX_DEPTH,
    MAX_FAN_OUT,
    Course,
    PeerBinding,
    PeerRequest,
    PeerSession,
    PeerSide,
)

if TYPE_CHECKING:
    from casemate.enclave.boot import Program
    from casemate.enclave.chip.leaf import Leaf
    from casemate.enclave.entry.peers import OwnProof, Peers
    from casemate.enclave.guest.call_services import CallServices
    from casemate.engines.questions.calls import CallOther
    from casemate.wire.protocol.capabilities.uses import Use

HANDSHAKE_TIME = 10.0
"""Longest handshake (seconds). It goes on beyond the call that has begun it: others may wait for the same session."""

MARGIN = 0.02
"""How much earlier than this enclave's own call the other's is over (seconds), so that its answer is still heard."""

_GONE = (Code.SESSION_UNKNOWN, Code.UNKNOWN_ENCLAVE, Code.WRONG_STATE, Code.LOST, Code.CANNOT_OPEN)
"""What the host says where the other enclave has no such session: it was ended, started anew, or bound to another."""


_Heard = tuple[CallResult | CallRefused | CallFailed, InnerCall | None, tuple[InnerReceipt, ...]]
"""What was said, its receipt, and those that came with it."""


class _Session:
    """A session with another enclave, whose both sides have proved themselves. Gives each number once."""

    def __init__(
        self, service: str, about: PeerSession, binding: PeerBinding, keys: PeerKeys, peer: PeerIdentity
    ) -> None:
        self._service = service
        self._number = about.number
        self._name = binding.session_name()
        self._receipt_key = binding.receipt_key
        self._keys = keys
        self._peer = peer
        self._last = 0

    def seal(self, operation: str, content: CallContent, course: Course) -> Envelope:
        """A request under the next number."""
        self._last += 1
        binding = CallBinding(self._name, self._number, self._last, operation)
        return Envelope(binding, self._keys.seal(pad(*message_parts(PeerRequest(content, course))), binding))

    def open(self, sealed: bytes, asked: Envelope, content: CallContent) -> _Heard:
        """The response to a request that was sealed here, its receipt checked.

        Returns:
            What it says; its receipt, which a failure has not; and the receipts that came with it, of which the hashes
            are checked: whoever wants to believe their signatures has to check these.

        Raises:
            FaultError: ``peer-refused``: it is none, or breaks its own receipt.
        """
        text = self._keys.open(sealed, asked.binding, asked.sealed)
        below: tuple[InnerReceipt, ...] = ()
        try:
            said: object = parse_message(unpad(text), CallResult, CallRefused, CallFailed, Accounted)
            if isinstance(said, Accounted):
                below = said.inner
                said = parse_message(said.said, CallResult, CallRefused)
            named = inner_hash([branch.call for branch in branches(below)], sha256) if below else None
            check_committed(below, named, sha256)
        except WireError as error:
            raise refuse(Code.PEER_REFUSED, f"the other enclave's answer: {error}") from None
        if isinstance(said, CallFailed):
            return said, None, ()
        if isinstance(said, CallResult):
            output = said.output
        elif isinstance(said, CallRefused):
            output = said.refusal.committed()
        else:
            raise refuse(Code.PEER_REFUSED, "the other enclave's answer is of another kind")
        self._check(said.receipt, output, asked, content)
        return said, self._signed(said.receipt, named, said.signature), below

    def _signed(self, receipt: Receipt, inner: bytes | None, signature: bytes) -> InnerCall:
        """The receipt with who has signed it; a refusal where that is somebody else."""
        peer = self._peer
        call = InnerCall(
            service=self._service,
            tee=peer.tee,
            mr_signer=peer.mr_signer,
            product_id=peer.product_id,
            security_version=peer.security_version,
            deployment=peer.deployment,
            receipt_key=self._receipt_key,
            receipt=receipt,
            inner=inner,
            signature=signature,
        )
        try:
            check_signature(self._receipt_key, signature, call.signed.signed_bytes())
        except FaultError:
            raise refuse(Code.PEER_REFUSED, "the other enclave's receipt has no valid signature") from None
        return call

    def _check(self, receipt: Receipt, output: bytes, asked: Envelope, content: CallContent) -> None:
        binding = asked.binding
        wanted = (
            *(binding.quote_hash, self._peer.measurement, binding.session, binding.sequence, binding.entry, None),
            commitment(content.input_blind, content.arguments, sha256),
            commitment(content.output_blind, output, sha256),
        )
        got = (
            *(receipt.quote_hash, receipt.measurement, receipt.session, receipt.sequence, receipt.entry),
            *(receipt.caller, receipt.input_commitment, receipt.output_commitment),
        )
        if got != wanted:
            raise refuse(Code.PEER_REFUSED, "the other enclave's receipt is of another call")


@dataclass(slots=True)
class _Other:
    """An enclave that this one may call, and the session with it."""

    use: "Use"
    policy: PeerPolicy
    session: _Session | None = None
    coming: Pending[_Session] | None = None


class CallCapability:
    """Calls other enclaves.

    Args:
        program: this enclave's.
        peers: its chip and host, and the loop.
        own: what it proves of itself.
    """

    def __init__(self, program: "Program", peers: "Peers", own: "OwnProof") -> None:
        who, lock = program.identity, program.image.lock
        self._others = {
            use.name: _Other(use, compile_policy(use.demands, own_signer=who.mr_signer, lock=lock))
            for use in program.image.manifest.uses
        }
        self._leaf: Leaf = peers.leaf
        self._hands_on = program.image.manifest.receipt_inner
        self._loop = peers.loop
        self._host = peers.host
        self._own = own
        self._reports = LocalReports(peers.leaf, who.tee)

    async def answer(self, question: "CallOther", call: "CallServices", deadline: float) -> bytes:
        """The outcome, as JSON: ``result``, or ``error`` where the other enclave has refused or failed.

        Raises:
            FaultError: ``guest-error``: the manifest does not allow it; ``peer-refused``: the other enclave is not what
                the manifest demands, or its host lies; ``call-depth``, ``call-cycle``; ``time-limit``;
                ``unavailable``: the host says that it cannot be reached.
        """
        other = self._allowed(question, call)
        had_session = other.session is not None
        try:
            return await self._call(other, question, call, deadline)
        except _SessionGoneError as error:
            if not had_session or question.operation not in other.use.repeatable:
                raise refuse(Code.UNAVAILABLE, f"{error}; whether it was carried out, nobody can tell") from None
        try:
            return await self._call(other, question, call, deadline)
        except _SessionGoneError as error:
            raise refuse(Code.UNAVAILABLE, str(error)) from None

    def _allowed(self, question: "CallOther", call: "CallServices") -> _Other:
        other = self._others.get(question.service)
        if other is None:
            known = ", ".join(self._others)
            words = f"context.call: casemate.toml has no [uses.{question.service}], there are: {known}"
            raise refuse(Code.GUEST_ERROR, words)
        if question.operation not in other.use.operations:
            known = ", ".join(other.use.operations)
            words = f"context.call: operations of [uses.{question.service}] in casemate.toml are {known}"
            raise refuse(Code.GUEST_ERROR, f"{words}, not {question.operation}")
        if call.course.depth >= MAX_DEPTH:
            raise refuse(Code.CALL_DEPTH, f"{MAX_DEPTH} enclaves have called each other in a row, which is the most")
        if call.calls >= MAX_FAN_OUT:
            raise refuse(Code.CALL_DEPTH, f"this call has called others {MAX_FAN_OUT} times, which is the most")
        call.calls += 1
        return other

    async def _call(self, other: _Other, question: "CallOther", call: "CallServices", deadline: float) -> bytes:
        session = await self._session(other, deadline)
        left = deadline - MARGIN - time.monotonic()
        if left <= 0:
            raise refuse(Code.TIME_LIMIT, f"no time was left to call {other.use.name}")
        course = Course(call.course.trace, call.course.depth + 1, max(1, int(left * 1000)))
        content = CallContent(os.urandom(32), os.urandom(32), question.arguments)
        envelope = session.seal(question.operation, content, course)
        said = await self._host.ask(
            lambda number: PeerCall(number, other.use.name, envelope), deadline, PeerReturned, PeerRefused
        )
        if isinstance(said, PeerReturned):
            heard, inner, below = session.open(said.sealed, envelope, content)
            if inner is not None and self._hands_on:
                call.inner.add(inner, below)
            return _told(heard)
        if isinstance(said, PeerRefused) and said.fault.code in _GONE:
            if other.session is session:
                other.session = None
            raise _SessionGoneError(f"{other.use.name} cannot be reached any more: {said.fault.reason}")
        raise _unheard(other, said)

    # Sessions

    async def _session(self, other: _Other, deadline: float) -> _Session:
        """The session with another enclave; the one that is being begun; or a new one."""
        if other.session is not None:
            return other.session
        coming = other.coming
        if coming is None:
            coming = other.coming = Pending()
            self._loop.start(self._begin(other, coming))
        if not await coming.done_by(deadline):
            raise refuse(Code.TIME_LIMIT, f"{other.use.name} had not proved itself when the call's time was up")
        return coming.result()

    async def _begin(self, other: _Other, coming: Pending[_Session]) -> None:
        try:
            session = await self._handshake(other, time.monotonic() + HANDSHAKE_TIME)
            other.session, other.coming = session, None
            coming.set(session)
        except FaultError as error:
            other.coming = None
            coming.fail(error)

    async def _handshake(self, other: _Other, deadline: float) -> _Session:
        name, own = other.use.name, self._own
        hello = PeerHello(secrets.token_bytes(NONCE_SIZE), own.keys.hpke_key)
        opened = await self._host.ask(lambda number: PeerOpen(number, name, hello), deadline, PeerOpened, PeerRefused)
        if not isinstance(opened, PeerOpened):
            raise _unheard(other, opened)
        if opened.way is not PeerWay.LOCAL:
            raise refuse(Code.PEER_REFUSED, f"peer.way: got {opened.way}, want a REPORT of the same SGX chip")
        welcome = opened.welcome
        about = PeerSession(hello.nonce, welcome.nonce, hello.hpke_key, welcome.hpke_key, welcome.session)
        keys = PeerKeys(welcome.hpke_key, about)
        sealed = sha256(keys.encapsulation)
        mine = PeerBinding(about, sealed, own.keys.receipt_key, own.layers)
        report = await self._leaf.report(opened.target_info, mine.report_data(PeerSide.CALLER))
        proved = await self._host.ask(
            lambda number: PeerProve(
                number,
                service=name,
                session=welcome.session,
                encapsulation=keys.encapsulation,
                report=report,
                receipt_key=own.keys.receipt_key,
                layers=own.layers,
            ),
            deadline,
            PeerProved,
            PeerRefused,
        )
        if not isinstance(proved, PeerProved):
            raise _unheard(other, proved)
        theirs = PeerBinding(about, sealed, proved.receipt_key, proved.layers)
        return _Session(name, about, theirs, keys, await self._appraise(other, proved.evidence, theirs))

    async def _appraise(self, other: _Other, evidence: bytes, theirs: PeerBinding) -> PeerIdentity:
        try:
            body = await self._reports.check(evidence)
            if body.report_data != theirs.report_data(PeerSide.CALLED):
                raise refuse(Code.PEER_REFUSED, f"{other.use.name}: {NOT_OF_THIS_SESSION}")
            return other.policy.judge(body, theirs.layers)
        except (LocalReportError, PeerRefusedError) as error:
            raise refuse(Code.PEER_REFUSED, f"{other.use.name}: {error}") from None


class _SessionGoneError(Exception):
    """The host says that the other enclave does not have this session."""


def _unheard(other: _Other, said: object) -> FaultError:
    """The refusal where there is no answer of the other enclave's: in the host's words, or because it is silent."""
    if isinstance(said, PeerRefused):
        code = said.fault.code if said.fault.code in (Code.PEER_REFUSED, Code.BUSY) else Code.UNAVAILABLE
        return refuse(code, f"{other.use.name} cannot be reached, its host says: {said.fault.reason}")
    return refuse(Code.TIME_LIMIT, f"{other.use.name} had not answered when time was up")


def _told(said: CallResult | CallRefused | CallFailed) -> bytes:
    match said:
        case CallResult(output):
            return encode_json({"result": _value(output)})
        case CallRefused(refusal):
            told = {"code": refusal.code, "message": refusal.reason, "details": _value(refusal.details)}
            return encode_json({"error": told})
        case CallFailed(failed):
            return encode_json({"error": {"code": str(failed.code), "message": failed.reason, "details": None}})


def _value(text: bytes) -> object:
    try:
        return parse_json("the other enclave's answer", text, limit=MAX_OUTPUT, round_integers=True)
    except WireError as error:
        raise refuse(Code.PEER_REFUSED, f"{error.field} is {error.got}, want {error.want}") from None
