"""Evidence before and after its appraisal: two classes, and only ``appraise`` makes the second."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from casemate.verifier.binding import BoundValues
from casemate.wire.errors import WireError
from casemate.wire.protocol.report_data import ReportDataBinding
from casemate.wire.sgx.attributes import Attributes
from casemate.wire.sgx.quote import cut_padding
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
    """What the platform's security version is worth, in its maker's signed words."""

    status: TcbStatus
    """Of platform and quoting enclave together."""
    platform_status: TcbStatus
    qe_status: TcbStatus
    advisory_ids: tuple[str, ...]
    """Open against the platform, then those against the quoting enclave alone."""
    tcb_date: datetime
    """Of the platform's level."""
    evaluation_number: int
    """Of the TCB info."""


@dataclass(frozen=True, slots=True, init=False)
class VerifiedSgxEvidence:
    """Evidence that one policy accepted at one time. Functions that act on trust take this class."""

    quote_hash: bytes
    """SHA-256 of the quote, to which calls are bound."""
    mr_enclave: bytes
    mr_signer: bytes
    isv_prod_id: int
    isv_svn: int
    attributes: Attributes
    report_data: bytes
    binding: ReportDataBinding | None
    """What REPORTDATA vouches for; None where the policy did not demand that it binds a nonce."""
    tcb: VerifiedTcb
    ppid: bytes
    """Names the platform."""
    fmspc: bytes
    root: str
    """The root's name."""
    simulated: bool
    """The maker is a simulated one."""
    seeded: bool
    """Anybody can have the maker's keys."""
    appraised_at: datetime
    expires_at: datetime
    """When the first of the certificates and documents that were used runs out."""

    def __init__(self) -> None:
        raise TypeError("VerifiedSgxEvidence is made by casemate.verifier.appraise alone")

    @property
    def debug(self) -> bool:
        """Whether a debugger may look into the enclave."""
        return self.attributes.debug

    @property
    def measurement(self) -> bytes:
        """MRENCLAVE."""
        return self.mr_enclave

    @property
    def evidence_hash(self) -> bytes:
        """To which calls are bound."""
        return self.quote_hash


def vouch_for(
    *,
    quote_hash: bytes,
    mr_enclave: bytes,
    mr_signer: bytes,
    isv_prod_id: int,
    isv_svn: int,
    attributes: Attributes,
    report_data: bytes,
    binding: ReportDataBinding | None,
    tcb: VerifiedTcb,
    ppid: bytes,
    fmspc: bytes,
    root: str,
    simulated: bool,
    seeded: bool,
    appraised_at: datetime,
    expires_at: datetime,
) -> VerifiedSgxEvidence:
    """The one maker of verified evidence; called at the end of an appraisal and nowhere else (a test greps)."""
    values = locals()
    verified = object.__new__(VerifiedSgxEvidence)
    for name, value in values.items():
        object.__setattr__(verified, name, value)
    return verified
