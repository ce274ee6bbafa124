"""The contents of an SEV-SNP report and its key's certificates, parsed and unverified, for display even if refused.

Code that acts on trust must not use these values. If :func:`~casemate.verifier.appraise_snp` accepts the same bytes,
the values shown here are the verified ones.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from casemate.verifier.chains import order
from casemate.verifier.snp.certificates import (
    AmdCertificate,
    AmdRevocationList,
    parse_amd_certificate,
    parse_amd_revocation_list,
)
from casemate.verifier.snp.endorsements import SnpEndorsements
from casemate.wire.encodings.pem import read_certificates
from casemate.wire.errors import WireError
from casemate.wire.snp.key_certificate import KeyCertificate
from casemate.wire.snp.report import SnpReport
from casemate.wire.snp.tcb import TcbVersion

T = TypeVar("T")

TCB_NAMES = ("reported", "committed", "launch", "current")
"""The four TCB versions of a report, in the order in which they are checked."""


@dataclass(frozen=True, slots=True)
class SnpFindings:
    """The parts that could be parsed; None or empty for a part that is missing or malformed."""

    report: SnpReport | None
    chain: tuple[AmdCertificate, ...]
    """Key, issuer, root if the certificates form one path, else in the order received."""
    key: KeyCertificate | None
    tcbs: dict[str, TcbVersion]
    """TCB versions by their names in :data:`TCB_NAMES`, decoded for the product that the key's certificate names."""
    revocation_list: AmdRevocationList | None
    unreadable: tuple[WireError, ...]
    """The errors of the parts that are present but malformed."""


def find_snp(report: bytes, endorsements: SnpEndorsements) -> SnpFindings:
    """The parsed contents of a report and its endorsements; unverified. Bad bytes never raise."""
    unreadable: list[WireError] = []

    def read(parse: Callable[[], T]) -> T | None:
        try:
            return parse()
        except WireError as error:
            unreadable.append(error)
            return None

    parsed = read(lambda: SnpReport.parse(report))
    leaf = read(lambda: parse_amd_certificate(endorsements.key_certificate))
    above = read(lambda: tuple(map(parse_amd_certificate, read_certificates("chain", endorsements.chain)))) or ()
    chain = tuple({each.sha256: each for each in (leaf, *above) if each is not None}.values())
    key = None if leaf is None else read(lambda: KeyCertificate.parse(leaf.extensions))
    tcbs = {}
    if parsed is not None and key is not None:
        for name in TCB_NAMES:
            data = getattr(parsed, f"{name}_tcb")
            tcbs[name] = read(functools.partial(TcbVersion.parse, key.product, data))
    listed = endorsements.revocation_list
    return SnpFindings(
        report=parsed,
        chain=order(chain) or chain,
        key=key,
        tcbs={name: tcb for name, tcb in tcbs.items() if tcb is not None},
        revocation_list=None if listed is None else read(lambda: parse_amd_revocation_list(listed)),
        unreadable=tuple(unreadable),
    )
