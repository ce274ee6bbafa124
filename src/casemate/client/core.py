"""All that a relying party does without a socket: challenge, appraise, seal a call, open its answer.

:mod:`casemate.client.sync` and :mod:`casemate.client.aio` carry the bytes. Nothing here believes them: what the host
says enters as :class:`EvidenceIs` and sealed bytes, and leaves as an :class:`AttestedEnclave` or a :class:`Result`.
"""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

from casemate.client.caller_keys import CallerKey
from casemate.client.errors import EnclaveRefusedError, FunctionRefusedError, ReceiptRefusedError, ResponseRefusedError
from casemate.client.inner_receipts import check_inner
from casemate.client.proof import Proof
from casemate.client.receipts import Opening, ReceiptBundle, binding_of, check_equal
from casemate.client.sealing import check_receipt_signature
from casemate.client.session import ClientSession, Unduplicable
from casemate.verifier import AnyPolicy, AnyVerifiedEvidence, BoundValues, appraise_any
from casemate.wire.encodings.json_text import encode_json, parse_json
from casemate.wire.encodings.message import parse_message
from casemate.wire.errors import WireError
from casemate.wire.messages.host import EvidenceIs
from casemate.wire.protocol.call import (
    MAX_ARGUMENTS,
    MAX_OUTPUT,
    CallBinding,
    CallContent,
    CallerProof,
    CallFailed,
    CallMetrics,
    CallRefused,
    CallRequest,
    CallResult,
    Envelope,
    Receipt,
    SessionBinding,
    StepKind,
    StreamStep,
    caller_transcript,
    commitment,
)
from casemate.wire.protocol.inner_receipts import Accounted, ChainedReceipt, InnerReceipt, branches, inner_hash
from casemate.wire.protocol.padding import unpad
from casemate.wire.protocol.report_data import ReportDataBinding

_SECRET_SIZE = 32
T = TypeVar("T")


def challenge() -> bytes:
    """A fresh nonce: evidence over it cannot be older than this call."""
    return os.urandom(_SECRET_SIZE)


@dataclass(frozen=True, slots=True)
class CallSecrets:
    """Random values for one call, which hide what its receipt commits to."""

    input_blind: bytes
    output_blind: bytes

    @classmethod
    def fresh(cls) -> "CallSecrets":
        """New values from the operating system."""
        return cls(os.urandom(_SECRET_SIZE), os.urandom(_SECRET_SIZE))

    def __repr__(self) -> str:
        return "CallSecrets(...)"


@dataclass(frozen=True, slots=True)
class Result:
    """The enclave's answer to a call, after all checks that a relying party can make."""

    value: Any
    """The JSON value."""
    receipt: ReceiptBundle
    """The receipt with openings. The output's opening holds the exact text of the value."""
    metrics: CallMetrics
    """What the call used, as the enclave measured it."""


class AttestedEnclave(Unduplicable):
    """An enclave that was appraised, and a session with it. :func:`appraise_answer` makes it.

    It seals no two calls under one number, whoever shares it: threads may. Calls that overtake each other on their way
    are refused, though, so whoever wants all of them answered sends them one after the other. It cannot be copied or
    pickled, and a child process that was forked from this one has to attest the enclave anew.

    Args:
        evidence: verified.
        binding: as the evidence vouches for it.
        proof: of the evidence.
        session: the enclave's number for the session, in the host's words.

    Raises:
        ResponseRefusedError: the HPKE key keeps no secret.
    """

    __slots__ = ("_binding", "_evidence", "_proof", "_session")

    def __init__(self, evidence: AnyVerifiedEvidence, binding: ReportDataBinding, proof: Proof, session: int) -> None:
        self._evidence = evidence
        self._binding = binding
        self._proof = proof
        self._session = ClientSession(binding.hpke_key, SessionBinding(evidence.evidence_hash, session))

    def __repr__(self) -> str:
        """Shows the code and the session's numbers only."""
        return f"AttestedEnclave(measurement={self._evidence.measurement.hex()}, {self._session})"

    @property
    def evidence(self) -> AnyVerifiedEvidence:
        """The verified evidence."""
        return self._evidence

    @property
    def binding(self) -> ReportDataBinding:
        """The keys, nonce and sandbox layers that the evidence vouches for."""
        return self._binding

    @property
    def proof(self) -> Proof:
        """The evidence that was appraised."""
        return self._proof

    @property
    def session(self) -> int:
        """The enclave's number for the session."""
        return self._session.number

    def seal_call(
        self,
        entry: str,
        arguments: bytes,
        *,
        caller: CallerKey | None,
        secrets: CallSecrets,
        step: StreamStep | None = None,
    ) -> "PendingCall":
        """A request for one call, which only this enclave can open, and only as the next of this session.

        Args:
            entry: the entry point's name.
            arguments: JSON, UTF-8; or in a stream, what its step says.
            caller: who signs the call; None to call as nobody, where the entry point admits anyone.
            secrets: fresh.
            step: of a stream; None for a call in one piece.

        Raises:
            WireError: the arguments are not JSON with one meaning everywhere.
            SessionForkedError: this process was forked from the one that attested: attest again.
        """
        if step is None or step.kind is StepKind.OPEN:
            parse_json("arguments", arguments, limit=MAX_ARGUMENTS)  # as the enclave will: better refused here
        content = CallContent(secrets.input_blind, secrets.output_blind, arguments, step)

        def request_for(binding: CallBinding) -> CallRequest:
            if caller is None:
                return CallRequest(content, None)
            hpke_key, secret_hash = self._binding.hpke_key, self._session.encapsulation_hash
            signature = caller.sign(caller_transcript(binding, hpke_key, secret_hash, content))
            return CallRequest(content, CallerProof(caller.public_key, signature))

        return PendingCall(self, *self._session.seal(entry, request_for))

    def open_response(self, sealed: bytes, request: Envelope) -> bytes:
        """The padded plaintext of the response to a request that was sealed here; see :meth:`PendingCall.heard`."""
        return self._session.open(sealed, request)


@dataclass(frozen=True, slots=True)
class PendingCall:
    """A sealed call that waits for its answer."""

    enclave: AttestedEnclave
    envelope: Envelope
    request: CallRequest

    def __repr__(self) -> str:
        return f"PendingCall({self.envelope.binding})"

    def open(self, sealed: bytes) -> Result:
        """The enclave's answer, if ``sealed`` is that, checked as :meth:`heard` and :meth:`result` say."""
        heard, inner = self.heard_with_inner(sealed, CallResult, CallRefused)
        said = cast("CallResult | CallRefused", heard)
        arguments = self.request.content.arguments
        return self.result(said, committed_input=arguments, committed_output=said_text(said), inner=inner)

    def heard(self, sealed: bytes, *wanted: type[T]) -> T:
        """The enclave's answer as a message.

        1. ``sealed`` opens under the session's keys, for this very request.
        2. It is one of the ``wanted`` messages, or a refusal that is raised.

        Raises:
            EnclaveRefusedError: the enclave refuses the call.
            ResponseRefusedError: this is no answer of the enclave's to this request.
        """
        return self.heard_with_inner(sealed, *wanted)[0]

    def heard_with_inner(self, sealed: bytes, *wanted: type[T]) -> tuple[T, tuple[InnerReceipt, ...]]:
        """As :meth:`heard`; and the receipts of other calls that came with it, unchecked."""
        text = self.enclave.open_response(sealed, self.envelope)  # 1
        inner: tuple[InnerReceipt, ...] = ()
        try:
            said: object = parse_message(unpad(text), CallFailed, Accounted, *wanted)
            if isinstance(said, Accounted):
                inner = said.inner
                said = parse_message(said.said, *wanted)
        except WireError as error:
            raise ResponseRefusedError(f"the response opens and is malformed: {error}") from None
        if isinstance(said, wanted):  # 2
            return said, inner
        if isinstance(said, CallFailed):
            raise EnclaveRefusedError(said.fault, said.metrics)
        raise ResponseRefusedError(f"the response holds {type(said).__name__}")

    def result(
        self,
        said: CallResult | CallRefused,
        *,
        committed_input: bytes,
        committed_output: bytes,
        inner: tuple[InnerReceipt, ...] = (),
    ) -> Result:
        """The value that the function returned, and the receipt.

        3. The receipt is about this call: quote, code, session, number, entry point, caller; and about a result, or a
           refusal with this error.
        4. It commits to what was sent and to what came.
        5. The attested receipt key signed it, with the commitment to the receipts of other calls where it has one.
        6. Those receipts hold: see :func:`casemate.client.inner_receipts.check_inner`.

        Args:
            said: from :meth:`heard`.
            committed_input: what the receipt must commit to: the arguments, or a stream's text.
            committed_output: the output, or a stream's text.
            inner: the receipts of other calls that came with it.

        Raises:
            FunctionRefusedError: the function refuses the call, by a receipt that holds.
            ReceiptRefusedError: the enclave answered, with a receipt that does not hold.
            ResponseRefusedError: the output is not valid JSON.
        """
        receipt = _signed_receipt(said.receipt, inner)
        self._check_receipt(said, committed_input, committed_output)
        check_receipt_signature(self.enclave.binding.receipt_key, receipt, said.signature)  # 5
        check_inner(receipt, inner)  # 6
        refusal = said.refusal if isinstance(said, CallRefused) else None
        text = said.output if isinstance(said, CallResult) else said.refusal.details
        try:
            value = parse_json("output", text, limit=MAX_OUTPUT)
        except WireError as error:
            raise ResponseRefusedError(f"the enclave's answer is not valid JSON: {error}") from None
        bundle = self._bundle(receipt, said.signature, inner, committed_input, committed_output)
        if refusal is not None:
            raise FunctionRefusedError(refusal.code, refusal.reason, value, bundle, said.metrics)
        return Result(value, bundle, said.metrics)

    def _check_receipt(self, said: CallResult | CallRefused, committed_input: bytes, committed_output: bytes) -> None:
        receipt, content, proof = said.receipt, self.request.content, self.request.caller
        about = CallBinding(receipt.quote_hash, receipt.session, receipt.sequence, receipt.entry)  # 3
        check_equal("call that the receipt is about", about, self.envelope.binding)
        check_equal("measurement in the receipt", receipt.measurement, self.enclave.evidence.measurement)
        check_equal("caller in the receipt", receipt.caller, None if proof is None else proof.public_key)
        error = said.refusal.code if isinstance(said, CallRefused) else None
        check_equal("error in the receipt", receipt.error, error)
        if receipt.metrics is not None:
            check_equal("metrics in the receipt", receipt.metrics, said.metrics)
        wanted = commitment(content.input_blind, committed_input)  # 4
        check_equal("commitment to the input", receipt.input_commitment, wanted)
        wanted = commitment(content.output_blind, committed_output)
        check_equal("commitment to the output", receipt.output_commitment, wanted)

    def _bundle(
        self,
        receipt: Receipt,
        signature: bytes,
        inner: tuple[InnerReceipt, ...],
        committed_input: bytes,
        committed_output: bytes,
    ) -> ReceiptBundle:
        enclave, content = self.enclave, self.request.content
        return ReceiptBundle(
            receipt=receipt,
            signature=signature,
            binding=enclave.binding,
            proof=enclave.proof,
            appraised_at=enclave.evidence.appraised_at,
            input=Opening(content.input_blind, committed_input.decode()),
            output=Opening(content.output_blind, committed_output.decode()),
            inner=inner,
        )


def _signed_receipt(receipt: Receipt, inner: tuple[InnerReceipt, ...]) -> Receipt:
    """A receipt as it was signed if these came with it."""
    if not inner:
        return receipt
    try:
        return ChainedReceipt.of(receipt, inner_hash([branch.call for branch in branches(inner)]))
    except WireError as error:
        raise ReceiptRefusedError(error.field, got=error.got, want=error.want) from None


def appraise_answer(answer: EvidenceIs, nonce: bytes, policy: AnyPolicy, now: datetime) -> AttestedEnclave:
    """The enclave behind a host's answer to a challenge, if its evidence is genuine, fresh and acceptable.

    REPORTDATA must bind the nonce, and with it the keys and sandbox layers in the answer. The endorsements came from
    the host, but their makers signed them. The session's number is the host's word: a wrong one makes calls fail, no
    worse.

    Args:
        answer: from the host.
        nonce: what :func:`challenge` gave, used once.
        policy: whom the caller trusts, for that kind of TEE; its ``report_data`` is ``FRESH_NONCE``. No default.
        now: UTC.

    Raises:
        RefusedError: the evidence is not genuine, fresh and acceptable.
        WireError: the endorsements are malformed.
    """
    proof = Proof.parse(answer.tee, answer.evidence, answer.endorsements)
    bound = BoundValues(answer.hpke_key, answer.receipt_key, answer.layers)
    moment = now.astimezone(UTC).replace(microsecond=0)  # as precise as a receipt file can say
    verified = appraise_any(proof.about(bound), policy.with_nonce(nonce), proof.endorsements, moment)
    return AttestedEnclave(verified, binding_of(verified), proof, answer.session)


def said_text(said: CallResult | CallRefused) -> bytes:
    """The output that the receipt of a call commits to; in a stream, the JSON in its text."""
    return said.output if isinstance(said, CallResult) else said.refusal.committed()


def arguments_of(value: Any) -> bytes:
    """The JSON text of a call's arguments; :class:`WireError` where JSON has no such value."""
    try:
        return encode_json(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise WireError("arguments", got=f"no JSON: {error}", want="a value that JSON has") from None
