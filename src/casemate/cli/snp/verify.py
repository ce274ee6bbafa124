"""`casemate verify --certificates`: an SEV-SNP report and AMD's certificates for the key that signed it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from casemate.cli.errors import REPORT_RULES
from casemate.cli.evidence.files import read_certificate_file, read_evidence, read_revocation_list_file
from casemate.cli.evidence.findings import snp_document
from casemate.cli.evidence.verdicts import Appraisal, show_verdict
from casemate.cli.file_kinds import FileKind
from casemate.cli.files import InputFileError
from casemate.cli.output import Screen
from casemate.cli.policies import policy_for_report, time_of

if TYPE_CHECKING:
    from casemate.verifier import AnyOfPolicy, AnyPolicy, BoundValues, SnpEndorsements, SnpPolicy, TeePolicy

MAX_REPORT = 64 * 1024
"""Longest buffer with a report (bytes): kernels return whole pages, which start with the report."""

_CERTIFICATES = 3


@dataclass(frozen=True, slots=True)
class ReportFiles:
    """The files that the user named."""

    report: Path
    certificates: Path
    revocation_list: Path | None
    policy: Path


@dataclass(frozen=True, slots=True)
class Challenge:
    """The expected REPORT_DATA: 64 bytes, or for a function a nonce and the values claimed to be bound to it."""

    report_data: bytes | None
    nonce: bytes | None
    bound: "BoundValues | None"

    def for_policy(self, policy: "SnpPolicy | AnyOfPolicy") -> "AnyPolicy":
        """The policy for this challenge; PolicyError where it asks for none."""
        from casemate.verifier import AnyOfPolicy

        if self.report_data is None:
            return policy if self.nonce is None else policy.with_nonce(self.nonce)
        if isinstance(policy, AnyOfPolicy):
            return policy.changed(self._with_report_data)
        return policy.with_report_data(self.report_data)

    def _with_report_data(self, member: "TeePolicy") -> "TeePolicy":
        from casemate.verifier import SnpPolicy

        return member.with_report_data(self.report_data or b"") if isinstance(member, SnpPolicy) else member


def verify_report(files: ReportFiles, challenge: Challenge, *, at: str | None, explain: bool, as_json: bool) -> None:
    """Appraises the report and prints the verdict; exits with 3 where it is refused."""
    from casemate.verifier import SnpEvidence, appraise_any, explain_any
    from casemate.verifier.snp.findings import find_snp

    screen = Screen(as_json=as_json)
    report = read_evidence(files.report, screen, what="report", kind=FileKind.SNP_REPORT, limit=MAX_REPORT)
    evidence = SnpEvidence(report, challenge.bound)
    policy, endorsements, now = (
        challenge.for_policy(policy_for_report(files.policy)),
        endorsements_in(files.certificates, files.revocation_list),
        time_of(at),
    )
    if policy.weaknesses():
        screen.say(f"the policy gives up: {', '.join(policy.weaknesses())}", style="yellow")
    appraisal = Appraisal(
        lambda: appraise_any(evidence, policy, endorsements, now),
        lambda: explain_any(evidence, policy, endorsements, now),
        lambda verified: snp_document(find_snp(evidence.report, endorsements), policy, verified=verified),
        REPORT_RULES,
    )
    show_verdict(screen, appraisal, explain=explain)


def endorsements_in(certificates: Path, revocation_list: Path | None) -> "SnpEndorsements":
    """Endorsements from certificates in any order; a certificate that occurs twice counts once."""
    from casemate.verifier import SnpEndorsements

    found = tuple(dict.fromkeys(read_certificate_file(certificates, what="certificates")))
    if len(found) != _CERTIFICATES:
        raise InputFileError(
            f"certificates {certificates}: got {len(found)}, want three in PEM: the key's (VCEK or VLEK), its "
            "issuer's (ASK or ASVK), the root's (ARK)"
        )
    listed = None if revocation_list is None else read_revocation_list_file(revocation_list)
    return SnpEndorsements.of_certificates(found, listed)
