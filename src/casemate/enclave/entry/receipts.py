"""Receipts: what the enclave signs about each call that its function answered, with a result or with a refusal."""

import itertools

from casemate.enclave.entry.answer import Answer
from casemate.enclave.entry.channel import OpenedRequest
from casemate.enclave.keys import EnclaveKeys, sha256
from casemate.wire.encodings.message import encode_message
from casemate.wire.protocol.call import CallRefused, CallResult, Receipt, Refusal, StreamEnded, commitment
from casemate.wire.protocol.inner_receipts import Accounted, ChainedReceipt, InnerReceipt, branches, inner_hash
from casemate.wire.protocol.manifest import Manifest

AnyAnswer = CallResult | CallRefused | StreamEnded


class ReceiptBook:
    """Issues receipts, numbered from 1 without a gap."""

    __slots__ = ("_counter", "_isolation", "_keys", "_measurement", "_with_metrics")

    def __init__(self, keys: EnclaveKeys, measurement: bytes, manifest: Manifest) -> None:
        self._keys = keys
        self._measurement = measurement
        self._isolation = manifest.isolation
        self._with_metrics = manifest.receipt_metrics
        self._counter = itertools.count(1)

    def issue(self, opened: OpenedRequest, answer: Answer) -> CallResult | CallRefused:
        """The answer to a call, with the receipt that vouches for it.

        The caller drew the blinds, so it alone decides who can ever see what the commitments hide. Session, sequence
        number and blinds are those of the request that got the answer: of a stream, its last step's.
        """
        binding, content, said = opened.binding, opened.request.content, answer.said
        receipt = Receipt(
            quote_hash=binding.quote_hash,
            measurement=self._measurement,
            session=binding.session,
            sequence=binding.sequence,
            entry=binding.entry,
            caller=None if opened.proof is None else opened.proof.public_key,
            input_commitment=commitment(content.input_blind, answer.committed_input, sha256),
            output_commitment=commitment(content.output_blind, answer.committed_output, sha256),
            counter=next(self._counter),
            state=answer.state,
            isolation=self._isolation,
            error=said.code if isinstance(said, Refusal) else None,
            metrics=answer.metrics if self._with_metrics else None,
        )
        if answer.inner:
            made = [branch.call for branch in branches(answer.inner)]
            signature = self._keys.sign(ChainedReceipt.of(receipt, inner_hash(made, sha256)))
        else:
            signature = self._keys.sign(receipt)
        if isinstance(said, Refusal):
            return CallRefused(said, receipt, signature, answer.metrics)
        return CallResult(said, receipt, signature, answer.metrics)


def accounted(said: AnyAnswer, inner: tuple[InnerReceipt, ...]) -> AnyAnswer | Accounted:
    """An answer with the receipts that its own commits to."""
    return Accounted(encode_message(said), inner) if inner else said
