"""The chip as one launched image sees it: its identity, its reports, its sealing keys, its evidence.

There is one implementation for each kind of TEE; all else in this room knows this protocol alone.
"""

from typing import Protocol, Self

from casemate.chip.secret import Secret
from casemate.wire.messages.leaf import GetReportKey, GetSealingKey, MakeReport
from casemate.wire.protocol.tee import Identity


class Attester(Protocol):
    """Attests an enclave or a paravirtual guest after its launch."""

    @property
    def identity(self) -> Identity:
        """What its launch has fixed."""

    @property
    def launch_digest(self) -> bytes | None:
        """What its TEE has measured at its launch; None where that is MRENCLAVE itself."""

    @property
    def tcb(self) -> bytes:
        """The platform's TCB for sealing keys, now: 16 bytes."""

    def started(self) -> Self:
        """The attester for a new process of the enclave. For SEV-SNP that is a new launch, at the current TCB."""

    def report(self, question: MakeReport) -> bytes:
        """A report about it; a :class:`CasemateError` where the question is refused."""

    def report_key(self, question: GetReportKey) -> Secret:
        """What checks a REPORT for it, 16 bytes; a :class:`CasemateError` where its TEE has no such key."""

    def sealing_key(self, question: GetSealingKey) -> Secret:
        """A sealing key of its own, 16 bytes; a :class:`CasemateError` where the question is refused."""

    def evidence(self, report: bytes) -> bytes:
        """What convinces strangers of a report; a :class:`CasemateError` where there is none for it."""
