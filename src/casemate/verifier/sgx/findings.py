"""The contents of SGX evidence and its collateral, parsed and unverified, for display even if evidence is refused.

Code that acts on trust must not use these values. If :func:`~casemate.verifier.appraise` accepts the same bytes, the
values shown here are the verified ones.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from casemate.verifier.chains import order
from casemate.verifier.crypto import Certificate, RevocationList, parse_certificate, parse_revocation_list
from casemate.verifier.sgx.quoting_enclave import reached_qe_level
from casemate.verifier.sgx.tcb import ComparedLevel, compare_levels, converged
from casemate.wire.encodings.pem import parse_chain
from casemate.wire.errors import WireError
from casemate.wire.sgx.collateral import Collateral
from casemate.wire.sgx.pck import PckExtension
from casemate.wire.sgx.qe_identity import QeIdentity, QeTcbLevel
from casemate.wire.sgx.quote import CertificationDataType, Quote
from casemate.wire.sgx.tcb_info import TcbInfo, TcbStatus

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SgxFindings:
    """The parts that could be parsed; None or empty for a part that is missing or malformed."""

    quote: Quote | None
    pck_chain: tuple[Certificate, ...]
    """Leaf first if the certificates form one path, else in the quote's order."""
    pck: PckExtension | None
    root_crl: RevocationList | None
    pck_crl: RevocationList | None
    tcb_info: TcbInfo | None
    qe_identity: QeIdentity | None
    unreadable: tuple[WireError, ...]
    """The errors of the parts that are present but malformed."""

    @property
    def compared_levels(self) -> tuple[ComparedLevel, ...]:
        """The platform compared with the levels of the TCB info, up to the first level that it reaches."""
        if self.tcb_info is None or self.pck is None:
            return ()
        return compare_levels(self.tcb_info.tcb_levels, self.pck.tcb)

    @property
    def qe_level(self) -> QeTcbLevel | None:
        """The level of the QE identity that the quoting enclave reaches by its ISVSVN."""
        if self.qe_identity is None or self.quote is None:
            return None
        return reached_qe_level(self.qe_identity, self.quote.signature_data.qe_report.isv_svn)

    @property
    def tcb_status(self) -> TcbStatus | None:
        """The combined status of platform and quoting enclave, if each reaches a level."""
        compared, qe_level = self.compared_levels, self.qe_level
        if not compared or compared[-1].shortfalls or qe_level is None:
            return None
        return converged(compared[-1].level.status, qe_level.status)


def find_sgx(quote: bytes, collateral: Collateral | None) -> SgxFindings:
    """The parsed contents of a quote and its collateral; unverified. Bad bytes never raise."""
    unreadable: list[WireError] = []

    def read(parse: Callable[[bytes], T], data: bytes | None) -> T | None:
        try:
            return None if data is None else parse(data)
        except WireError as error:
            unreadable.append(error)
            return None

    parsed = read(Quote.parse, quote)
    chain = read(_certificates, None if parsed is None else _chain_in(parsed)) or ()
    return SgxFindings(
        quote=parsed,
        pck_chain=chain,
        pck=read(PckExtension.parse, chain[0].pck_extension if chain else None),
        root_crl=read(parse_revocation_list, None if collateral is None else collateral.root_ca_crl),
        pck_crl=read(parse_revocation_list, None if collateral is None else collateral.pck_crl),
        tcb_info=read(TcbInfo.parse, None if collateral is None else collateral.tcb_info),
        qe_identity=read(QeIdentity.parse, None if collateral is None else collateral.qe_identity),
        unreadable=tuple(unreadable),
    )


def _chain_in(quote: Quote) -> bytes | None:
    certification = quote.signature_data.certification_data
    return certification.data if certification.kind is CertificationDataType.PCK_CHAIN else None


def _certificates(pem: bytes) -> tuple[Certificate, ...]:
    found = tuple(parse_certificate(block.der) for block in parse_chain("chain", pem))
    return order(found) or found
