"""SEV-SNP evidence before and after its appraisal: two classes, and only ``appraise_snp`` makes the second."""

from contextlib import suppress
from dataclasses import InitVar, dataclass
from datetime import datetime

from casemate.verifier.binding import BoundValues
from casemate.verifier.checks import Passed
from casemate.verifier.issue_marks import IssueMarks
from casemate.verifier.snp.chain import AmdChain
from casemate.wire.errors import WireError
from casemate.wire.protocol.report_data import ReportDataBinding
from casemate.wire.snp.paravirtual import FAMILY_ID
from casemate.wire.snp.report import SnpReport, cut_padding
from casemate.wire.snp.tcb import Product, TcbVersion


@dataclass(frozen=True, slots=True)
class SnpEvidence:
    """An attestation report (1184 bytes), and what is said to be bound to it; unverified."""

    report: bytes
    """Without the zero bytes of the buffer that it came in, which are cut off here for every way in."""
    bound: BoundValues | None = None
    """None for guests that are not Casemate's functions."""

    def __post_init__(self) -> None:
        with suppress(WireError):  # appraisal reports what is malformed
            object.__setattr__(self, "report", cut_padding(self.report))


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedSnpEvidence:
    """Evidence that one policy accepted at one time. Functions that act on trust take this class."""

    report_hash: bytes
    """SHA-256 of the report."""
    report: SnpReport
    chain: AmdChain
    """The certificates from the key that signed the report to the root."""
    reported_tcb: TcbVersion
    """The report's, in the layout of its product."""
    binding: ReportDataBinding | None
    """The values that REPORTDATA binds; None if the policy does not demand that it binds a nonce."""
    appraised_at: datetime
    expires_at: datetime
    """When the first of certificates and revocation list runs out, or is too old for the policy."""
    marks: IssueMarks
    """How new the maker's word is by which this was appraised."""
    passed: InitVar[Passed]

    def __post_init__(self, passed: Passed) -> None:
        Passed.demand(passed)

    @property
    def measurement(self) -> bytes:
        """The launch digest."""
        return self.report.measurement

    @property
    def evidence_hash(self) -> bytes:
        """The hash that calls are bound to."""
        return self.report_hash

    @property
    def product(self) -> Product:
        """The product that the names in the chain state."""
        return self.chain.product

    @property
    def root(self) -> str:
        """The root's name."""
        return self.chain.anchor.name

    @property
    def simulated(self) -> bool:
        """The maker is a simulated one."""
        return self.chain.simulated

    @property
    def seeded(self) -> bool:
        """Anybody can have the maker's keys."""
        return self.chain.seeded

    @property
    def is_paravirtual(self) -> bool:
        """Whether it is an attested function's, whose process runs beside others' on the host's processor."""
        return self.simulated and self.report.family_id == FAMILY_ID
