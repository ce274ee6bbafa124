"""`casemate verify --certificates`: an SEV-SNP report and AMD's certificates for the key that signed it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from casemate.cli.appraisals import show_refusal, show_verdict
from casemate.cli.errors import ExitCode
from casemate.cli.files import InputFileError, read_file
from casemate.cli.output import Screen
from casemate.cli.policies import MAX_CERTIFICATE_FILE, snp_policy_in, time_of
from casemate.wire.errors import WireError
from casemate.wire.pem import encode_chain, parse_chain
from casemate.wire.snp.report import REPORT_SIZE

if TYPE_CHECKING:
    from casemate.verifier import BoundValues, SnpEndorsements, SnpPolicy

MAX_LIST = 1024 * 1024
"""Longest revocation list (bytes)."""

_CERTIFICATES = 3


@dataclass(frozen=True, slots=True)
class ReportFiles:
    """What the user named."""

    report: Path
    certificates: Path
    revocation_list: Path | None
    policy: Path


@dataclass(frozen=True, slots=True)
class Challenge:
    """What the report must answer: 64 bytes; or of an attested function a nonce, and what is said to be bound to it."""

    report_data: bytes | None
    nonce: bytes | None
    bound: "BoundValues | None"

    def for_policy(self, policy: "SnpPolicy") -> "SnpPolicy":
        """The policy for this challenge; PolicyError where it asks for none."""
        if self.report_data is not None:
            return policy.with_report_data(self.report_data)
        return policy if self.nonce is None else policy.with_nonce(self.nonce)


def verify_report(files: ReportFiles, challenge: Challenge, *, at: str | None, explain: bool, as_json: bool) -> None:
    """Appraises and shows; ends the command where it is refused."""
    from casemate.verifier import RefusedError, SnpEvidence, appraise_snp, explain_snp

    screen = Screen(as_json=as_json)
    evidence = SnpEvidence(read_file(files.report, what="report", limit=2 * REPORT_SIZE), challenge.bound)
    policy, endorsements, now = challenge.for_policy(snp_policy_in(files.policy)), _endorsements(files), time_of(at)
    tree = explain_snp(evidence, policy, endorsements, now) if explain else None
    if policy.weaknesses():
        screen.say(f"the policy gives up: {', '.join(policy.weaknesses())}", style="yellow")
    try:
        verified = appraise_snp(evidence, policy, endorsements, now)
    except RefusedError as error:
        if tree is None:
            raise
        show_refusal(screen, error, tree)
        raise typer.Exit(ExitCode.REFUSED) from None
    show_verdict(screen, verified, tree)


def _endorsements(files: ReportFiles) -> "SnpEndorsements":
    """The key's certificate is the first in the file, as AMD's key server and the usual tools write them."""
    from casemate.verifier import SnpEndorsements

    raw = read_file(files.certificates, what="certificates", limit=MAX_CERTIFICATE_FILE)
    try:
        found = [block.der for block in parse_chain("certificates", raw)]
    except WireError as error:
        raise InputFileError(f"certificates {files.certificates}: {error}") from None
    if len(found) != _CERTIFICATES:
        raise InputFileError(
            f"certificates {files.certificates}: got {len(found)}, want three in PEM: the key's (VCEK or VLEK), its "
            "issuer's (ASK or ASVK), the root's (ARK)"
        )
    listed = files.revocation_list
    crl = None if listed is None else read_file(listed, what="revocation list", limit=MAX_LIST)
    return SnpEndorsements(found[0], encode_chain(*found[1:]), crl)
