"""A client of streams that takes one step at a time, and wrong ones if told to."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from casemate.client.caller_keys import CallerKey
from casemate.client.core import AttestedEnclave, CallSecrets, PendingCall
from casemate.client.sealing import check_receipt_signature
from casemate.wire.encodings.json_text import encode_json, parse_json
from casemate.wire.protocol.call import (
    CallContent,
    CallRefused,
    Envelope,
    StepKind,
    StepTaken,
    StreamEnded,
    StreamStep,
    commitment,
    streamed_text,
)

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
        pending = self._pending(kind, piece, self.stream if stream is None else stream)
        said = cast("StepTaken | StreamEnded", pending.heard(self.enter(pending.envelope), StepTaken, StreamEnded))
        if isinstance(said, StreamEnded):
            self.last, self.content = said, pending.request.content
            return said
        self.stream = said.stream
        return said

    def refused(self, kind: StepKind, piece: bytes = b"") -> CallRefused:
        """One step, which the function refuses."""
        pending = self._pending(kind, piece, self.stream)
        self.content = pending.request.content
        return pending.heard(self.enter(pending.envelope), CallRefused)

    def _pending(self, kind: StepKind, piece: bytes, stream: int) -> PendingCall:
        step = StreamStep(kind, stream)
        return self.session.seal_call(self.entry, piece, caller=self.caller, secrets=CallSecrets.fresh(), step=step)

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
