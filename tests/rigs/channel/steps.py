"""A client of streams that takes one step at a time, and wrong ones if told to."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from casemate.client.caller_keys import CallerKey
from casemate.client.core import AttestedEnclave
from casemate.client.errors import EnclaveRefusedError
from casemate.client.sealing import check_receipt_signature, open_response, seal_request
from casemate.wire.encodings.json_text import encode_json, parse_json
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.protocol.call import (
    CallBinding,
    CallContent,
    CallerProof,
    CallFailed,
    CallRequest,
    Envelope,
    StepKind,
    StepTaken,
    StreamEnded,
    StreamStep,
    caller_transcript,
    commitment,
    response_aad,
    streamed_text,
)
from casemate.wire.protocol.padding import pad, unpad

Enter = Callable[[Envelope], bytes]
"""Carries a sealed step to the enclave; its sealed answer."""


@dataclass(slots=True)
class Steps:
    """One stream of a session, as its client sees it."""

    enter: Enter
    session: AttestedEnclave
    entry: str = "main"
    caller: CallerKey | None = None
    stream: int = 0
    last: StreamEnded | None = None
    content: CallContent | None = None

    def step(self, kind: StepKind, piece: bytes = b"", *, stream: int | None = None) -> StepTaken | StreamEnded:
        """One step; :class:`EnclaveRefusedError` where it is refused."""
        session, hpke_key = self.session, self.session.binding.hpke_key
        session._sequence += 1
        binding = CallBinding(session.evidence.evidence_hash, session.session, session._sequence, self.entry)
        step = StreamStep(kind, self.stream if stream is None else stream)
        content = CallContent(os.urandom(32), os.urandom(32), os.urandom(32), piece, step)
        proof = None
        if self.caller is not None:
            signature = self.caller.sign(caller_transcript(binding, hpke_key, content))
            proof = CallerProof(self.caller.public_key, signature)
        sealed = seal_request(hpke_key, binding.info(hpke_key), pad(encode_message(CallRequest(content, proof))))
        envelope = Envelope(binding, sealed)
        reply = self.enter(envelope)
        text = open_response(content.response_key, reply, response_aad(envelope.request_hash()))
        said: object = parse_message(unpad(text), StepTaken, StreamEnded, CallFailed)
        if isinstance(said, CallFailed):
            raise EnclaveRefusedError(said.fault)
        if isinstance(said, StreamEnded):
            self.last, self.content = said, content
            return said
        assert isinstance(said, StepTaken)
        self.stream = said.stream
        return said

    def open(self, arguments: Any = None) -> StepTaken | StreamEnded:
        return self.step(StepKind.OPEN, encode_json(arguments), stream=0)

    def chunk(self, piece: bytes) -> StepTaken | StreamEnded:
        return self.step(StepKind.CHUNK, piece)

    def end(self) -> StepTaken | StreamEnded:
        return self.step(StepKind.END)

    def pull(self) -> StepTaken | StreamEnded:
        return self.step(StepKind.PULL)

    def cancel(self) -> StepTaken | StreamEnded:
        return self.step(StepKind.CANCEL)

    @property
    def value(self) -> Any:
        """The result."""
        assert self.last is not None
        return parse_json("output", self.last.result.output, limit=1 << 24)

    def receipt_is_over(self, arguments: bytes, sent: tuple[bytes, int], got: tuple[bytes, int]) -> bool:
        """Whether the receipt holds, for the SHA-256 and the size of what went each way."""
        assert self.last is not None
        assert self.content is not None
        result = self.last.result
        check_receipt_signature(self.session.binding.receipt_key, result.receipt, result.signature)
        wanted_in = commitment(self.content.input_blind, streamed_text(arguments, *sent))
        wanted_out = commitment(self.content.output_blind, streamed_text(result.output, *got))
        return (result.receipt.input_commitment, result.receipt.output_commitment) == (wanted_in, wanted_out)
