"""The enclave's end of the attested channel: opens each request once, and seals one response to each.

A request is admitted in this order, and the first rule that refuses it decides what the host is told:

1. its session is known and its sequence number unused (``session-unknown``, ``sequence-used``): a cheap test, so that
   garbage costs little;
2. it opens under this enclave's key, and was sealed for that key and for the quote, session, sequence number and
   entry point that the envelope names (``cannot-open``);
3. its number is used up, before the request has any other effect. Only a request that opened gets here, so a host
   cannot use up a client's numbers with requests that it made up;
4. it parses (``malformed``).

From there on, only the caller learns the outcome.
"""

from dataclasses import dataclass

from casemate.enclave.entry.sessions import Sessions
from casemate.enclave.keys import EnclaveKeys, seal_once, sha256
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.errors import WireError
from casemate.wire.protocol.call import (
    CallBinding,
    CallerProof,
    CallFailed,
    CallRequest,
    CallResult,
    Envelope,
    StepTaken,
    StreamEnded,
    StreamStep,
    response_aad,
)
from casemate.wire.protocol.faults import Code, fault, refuse
from casemate.wire.protocol.padding import pad, unpad


@dataclass(frozen=True, slots=True)
class OpenedRequest:
    """A request that was sealed for this enclave and has not been seen before. :func:`open_request` makes it."""

    binding: CallBinding
    request: CallRequest
    request_hash: bytes

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
        return self.request.caller

    def seal(self, response: CallResult | StepTaken | StreamEnded | CallFailed) -> bytes:
        """The one sealed response to this request."""
        try:
            content = encode_message(response)
        except WireError as error:  # the caller must not take silence for a lost call
            content = encode_message(CallFailed(fault(Code.INTERNAL, f"the response cannot be encoded: {error}")))
        return seal_once(self.request.content.response_key, pad(content), response_aad(self.request_hash))


def open_request(envelope: Envelope, keys: EnclaveKeys, sessions: Sessions) -> OpenedRequest:
    """The request inside an envelope, its sequence number used up.

    Raises:
        FaultError: for the host to see; nothing of the request has had any effect.
    """
    binding = envelope.binding
    sessions.check(binding.session, binding.sequence)
    padded = keys.open(envelope.sealed, binding.info(keys.hpke_key))
    sessions.burn(binding.session, binding.sequence)
    try:
        request = parse_message(unpad(padded), CallRequest)
    except WireError:  # whose words would tell the host what the client sealed
        raise refuse(Code.MALFORMED, "what the envelope holds is no request") from None
    return OpenedRequest(binding, request, envelope.request_hash(sha256))
