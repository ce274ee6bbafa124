"""The enclave's end of the attested channel: opens each request once, and seals one response to each.

A request is admitted in this order, and the first rule that refuses it decides what the host is told:

1. its session is known and its sequence number unused (``session-unknown``, ``sequence-used``): a cheap test, so that
   garbage costs little;
2. where the session is open, the sealed secret that the request carries, if any, is the session's own, byte for byte
   (``session-unknown``): whoever comes second to a session number that a host gave out twice is told to challenge
   again, and does not disturb the first. And it names the quote that the session was opened for (``cannot-open``).
   Where the session is fresh, the request carries a secret (``session-unknown``);
3. a fresh session's secret opens under this enclave's key, and was sealed for that key and for the quote and session
   that the envelope names (``cannot-open``). No other step has a public-key operation;
4. the request opens under the session's keys, and was sealed for the sequence number and entry point that the envelope
   names (``cannot-open``);
5. its number is used up, and a fresh session is opened: it belongs to that secret from now on. This comes before any
   other effect of the request. Only a request that opened gets here, so a host cannot use up a client's numbers, or its
   session, with requests that it made up;
6. it parses (``malformed``).

From there on, only the caller learns the outcome.
"""

from casemate.enclave.entry.sessions import Session, Sessions
from casemate.enclave.keys import EnclaveKeys
from casemate.wire.encodings.message import message_parts, parse_message
from casemate.wire.errors import WireError
from casemate.wire.protocol.call import (
    TAG_SIZE,
    CallBinding,
    CallerProof,
    CallFailed,
    CallRefused,
    CallRequest,
    CallResult,
    Envelope,
    StepTaken,
    StreamEnded,
    StreamStep,
)
from casemate.wire.protocol.faults import Code, fault, refuse
from casemate.wire.protocol.inner_receipts import Accounted
from casemate.wire.protocol.padding import pad, unpad
from casemate.wire.protocol.peers import Course, PeerRequest


class OpenedRequest:
    """A request that was sealed for this enclave and has not been seen before. :func:`open_request` makes it."""

    __slots__ = ("_is_answered", "_tag", "binding", "request", "session")

    def __init__(self, envelope: Envelope, session: Session, request: CallRequest | PeerRequest) -> None:
        self.binding: CallBinding = envelope.binding
        self.session = session
        """Who calls, where nobody signed: the same object in all calls of one session."""
        self.request = request
        self._tag = envelope.sealed[-TAG_SIZE:]  # which is all of it that the response is bound to
        self._is_answered = False

    def __repr__(self) -> str:
        """Shows the binding only: the rest is the caller's secret."""
        return f"OpenedRequest({self.binding})"

    @property
    def arguments(self) -> bytes:
        """The caller's JSON, unparsed; or the bytes of a stream's step."""
        return self.request.content.arguments

    @property
    def step(self) -> StreamStep | None:
        """The step of a stream that this request is; None for a call in one piece."""
        return self.request.content.step

    @property
    def proof(self) -> CallerProof | None:
        """The caller's proof of its key, unchecked; None if it gives none."""
        return self.request.caller if isinstance(self.request, CallRequest) else None

    @property
    def course(self) -> Course | None:
        """Where a call of another enclave stands among those that led to it; None for a client's call."""
        return self.request.course if isinstance(self.request, PeerRequest) else None

    def seal(self, response: CallResult | CallRefused | StepTaken | StreamEnded | CallFailed | Accounted) -> bytes:
        """The one sealed response to this request.

        Raises:
            RuntimeError: there was one already: two under one number would give away the key.
        """
        if self._is_answered:
            raise RuntimeError("a request has one response, and this one has it already")
        self._is_answered = True
        try:
            content = message_parts(response)
        except WireError as error:  # the caller must not take silence for a lost call
            content = message_parts(CallFailed(fault(Code.INTERNAL, f"the response cannot be encoded: {error}")))
        return self.session.keys.seal(pad(*content), self.binding, self._tag)


def open_request(envelope: Envelope, keys: EnclaveKeys, sessions: Sessions) -> OpenedRequest:
    """The request inside an envelope, its sequence number used up.

    Raises:
        FaultError: for the host to see; nothing of the request has had any effect.
    """
    binding = envelope.binding
    session = sessions.find(binding)  # 1
    if session is not None:
        session.check(envelope)  # 2
    elif envelope.encapsulation is None:
        raise refuse(
            Code.SESSION_UNKNOWN, f"session {binding.session} has no secret yet, which its first requests carry"
        )
    else:
        session = Session.begun_by(envelope, envelope.encapsulation, keys)  # 3
    padded = session.keys.open(envelope.sealed, binding)  # 4
    sessions.burn(session, binding.sequence)  # 5
    try:
        kind: type[CallRequest | PeerRequest] = CallRequest if session.peer is None else PeerRequest
        request = parse_message(unpad(padded), kind)  # 6
    except WireError:  # whose words would tell the host what the client sealed
        raise refuse(Code.MALFORMED, "what the envelope holds is no request") from None
    return OpenedRequest(envelope, session, request)
