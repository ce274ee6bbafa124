"""Evidence before and after its appraisal: two classes, and only ``appraise`` makes the second."""

from contextlib import suppress
from dataclasses import InitVar, dataclass
from datetime import datetime

from casemate.verifier.binding import BoundValues
from casemate.verifier.chains import Chain
from casemate.verifier.checks import Passed
from casemate.verifier.issue_marks import IssueMarks
from casemate.wire.errors import WireError
from casemate.wire.protocol.report_data import ReportDataBinding
from casemate.wire.sgx.pck import PckExtension
from casemate.wire.sgx.quote import cut_padding
from casemate.wire.sgx.report import ReportBody
from casemate.wire.sgx.tcb_info import TcbStatus


@dataclass(frozen=True, slots=True)
class SgxEvidence:
    """A quote, and what is said to be bound to it; unverified."""

    quote: bytes
    """Without the zero bytes of the buffer that it came in, which are cut off here for every way in."""
    bound: BoundValues | None
    """None for enclaves that are not Casemate's."""

    def __post_init__(self) -> None:
        with suppress(WireError):  # the rules say what is wrong with it
            object.__setattr__(self, "quote", cut_padding(self.quote))


@dataclass(frozen=True, slots=True)
class VerifiedTcb:
    """The TCB status of a platform, as signed by its maker."""

    status: TcbStatus
    """The combined status of platform and quoting enclave."""
    platform_status: TcbStatus
    qe_status: TcbStatus
    advisory_ids: tuple[str, ...]
    """Open against the platform, then those against the quoting enclave alone."""
    tcb_date: datetime
    """The date of the platform's TCB level."""
    evaluation_number: int
    """The evaluation number of the TCB info."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedSgxEvidence:
    """Evidence that one policy accepted at one time. Functions that act on trust take this class."""

    quote_hash: bytes
    """SHA-256 of the quote, to which calls are bound."""
    report: ReportBody
    """The report body in the quote."""
    platform: PckExtension
    """The SGX extension of the PCK certificate, which describes the platform."""
    chain: Chain
    """The certificates from the PCK certificate to the root."""
    binding: ReportDataBinding | None
    """The values that REPORTDATA binds; None if the policy does not demand that it binds a nonce."""
    tcb: VerifiedTcb
    root: str
    """The root's name."""
    simulated: bool
    """The maker is a simulated one."""
    seeded: bool
    """Anybody can have the maker's keys."""
    appraised_at: datetime
    expires_at: datetime
    """When the first of the certificates and documents that were used runs out, or is too old for the policy."""
    marks: IssueMarks
    """How new the maker's word is by which this was appraised."""
    passed: InitVar[Passed]

    def __post_init__(self, passed: Passed) -> None:
        Passed.demand(passed)

    @property
    def debug(self) -> bool:
        """Whether a debugger may look into the enclave."""
        return self.report.attributes.debug

    @property
    def mr_enclave(self) -> bytes:
        """The enclave's measurement."""
        return self.report.mr_enclave

    @property
    def measurement(self) -> bytes:
        """MRENCLAVE, by the name that evidence of every kind has."""
        return self.report.mr_enclave

    @property
    def evidence_hash(self) -> bytes:
        """The hash that calls are bound to."""
        return self.quote_hash
