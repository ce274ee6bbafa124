"""`casemate verify`: appraise evidence, of real hardware or of simulated machines."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from casemate.cli.options import FLAG, Json, PolicyFile, Time, nonce_of
from casemate.cli.output import Screen

if TYPE_CHECKING:
    from casemate.cli.snp.verify import Challenge as SnpChallenge
    from casemate.verifier import AnyPolicy
    from casemate.wire.protocol.report_data import ReportDataBinding
    from casemate.wire.sgx.collateral import Collateral


EvidenceFiles = Annotated[
    list[Path],
    typer.Argument(
        metavar="QUOTE...",
        help="The quote, or hexadecimal or base64 text of it; zero bytes behind it are passed over. Several: pieces of "
        "evidence for an all_of policy, each with the files beside it that `casemate quote` writes.",
    ),
]
ExpectedNonce = Annotated[
    str | None,
    typer.Option(
        "--nonce", metavar="HEX", help="The challenge that the quote must answer. Default: the binding file's."
    ),
]
CollateralFile = Annotated[Path | None, typer.Option("--collateral", metavar="FILE", help="The maker's word, as JSON.")]
BindingFile = Annotated[
    Path | None, typer.Option("--binding", metavar="FILE", help="What REPORTDATA is said to vouch for, as JSON.")
]
RaTls = Annotated[
    bool,
    typer.Option(
        "--ra-tls",
        metavar=FLAG,
        help="QUOTE is a TLS certificate with evidence in it (PEM or DER), or HOST:PORT to get it from.",
    ),
]
Certificates = Annotated[
    Path | None,
    typer.Option(
        "--certificates",
        metavar="FILE",
        help="QUOTE is an SEV-SNP report, with these of the key's, issuer's and root's certificates, in any order.",
    ),
]
RevocationList = Annotated[
    Path | None, typer.Option("--revocation-list", metavar="FILE", help="SEV-SNP: the root's CRL, in DER or PEM.")
]
ExpectedData = Annotated[
    str | None,
    typer.Option(
        "--report-data",
        metavar="HEX",
        help="SEV-SNP: the challenge, up to 64 bytes, where the policy says FRESH_NONCE.",
    ),
]
Explain = Annotated[
    bool, typer.Option("--explain", metavar=FLAG, help="Every check, with the bytes it looks at and its source.")
]


def verify(
    quote: EvidenceFiles,
    *,
    policy: PolicyFile,
    collateral: CollateralFile = None,
    nonce: ExpectedNonce = None,
    binding: BindingFile = None,
    ra_tls: RaTls = False,
    certificates: Certificates = None,
    revocation_list: RevocationList = None,
    report_data: ExpectedData = None,
    at: Time = None,
    explain: Explain = False,
    as_json: Json = False,
) -> None:
    r"""Appraise a quote, of real hardware or of a simulated machine.

    The verdict is this computer's own: no network, no service. Exit code 3
    where it refuses, with the rule, what it got, and what it wanted.

    A nonce shows freshness only where it was yours: one that came with the
    binding file shows no more than that quote and file belong together.

    Example:
        casemate verify quote.bin --collateral collateral.json \
            --policy policy.toml --explain
        casemate verify --ra-tls 127.0.0.1:8443 --policy policy.toml \
            --collateral collateral.json
        casemate verify report.bin --certificates amd.pem --policy snp.toml
        casemate verify quote.bin report.bin --policy both.toml
    """
    if len(quote) > 1:
        from casemate.cli.evidence.pieces import verify_pieces

        if ra_tls or explain or any((collateral, certificates, binding, revocation_list, report_data)):
            raise typer.BadParameter(
                "of several pieces, each has its files beside it, and --explain shows the checks of one: leave out all "
                "but --policy, --nonce, --at and --json",
                param_hint="QUOTE...",
            )
        asked = None if nonce is None else nonce_of(nonce)
        verify_pieces(quote, policy, nonce=asked, at=at, screen=Screen(as_json=as_json))
        return
    evidence_file = quote[0]
    if certificates is not None:
        from casemate.cli.snp.verify import ReportFiles, verify_report

        if ra_tls or collateral is not None:
            raise typer.BadParameter("with --certificates there is no --ra-tls and no --collateral")
        files = ReportFiles(evidence_file, certificates, revocation_list, policy)
        verify_report(files, _challenge(report_data, nonce, binding), at=at, explain=explain, as_json=as_json)
        return
    if report_data is not None or revocation_list is not None:
        raise typer.BadParameter("--report-data and --revocation-list are for SEV-SNP reports, with --certificates")
    if ra_tls:
        from casemate.cli.evidence.ra_tls import Asked, verify_certificate

        if binding is not None:
            raise typer.BadParameter("a certificate's claims say what it binds", param_hint="--binding")
        challenge = None if nonce is None else nonce_of(nonce)
        verify_certificate(str(evidence_file), Asked(policy, _collateral(collateral), challenge, at, explain, as_json))
        return
    from casemate.cli.evidence.files import bound_values, read_binding, read_evidence
    from casemate.cli.evidence.findings import sgx_document
    from casemate.cli.evidence.verdicts import Appraisal, show_verdict
    from casemate.cli.file_kinds import FileKind
    from casemate.cli.policies import policy_for_quote, time_of, weaknesses
    from casemate.verifier import SgxEvidence, appraise_any, explain_any
    from casemate.verifier.sgx.findings import find_sgx
    from casemate.wire.sgx.quote import MAX_QUOTE

    screen = Screen(as_json=as_json)
    data = read_evidence(evidence_file, screen, what="quote", kind=FileKind.QUOTE, limit=MAX_QUOTE)
    bound = None if binding is None else read_binding(binding)
    demands = _with_nonce(policy_for_quote(policy), nonce, bound)
    evidence = SgxEvidence(data, bound_values(bound))
    endorsements, now = _collateral(collateral), time_of(at)
    if demands.weaknesses():
        screen.say(f"the policy gives up: {weaknesses(demands)}", style="yellow")
    appraisal = Appraisal(
        lambda: appraise_any(evidence, demands, endorsements, now),
        lambda: explain_any(evidence, demands, endorsements, now),
        lambda verified: sgx_document(find_sgx(evidence.quote, endorsements), verified=verified),
    )
    show_verdict(screen, appraisal, explain=explain)


def _challenge(report_data: str | None, nonce: str | None, binding: Path | None) -> "SnpChallenge":
    """The REPORT_DATA that the report must have, by the user's options."""
    from casemate.cli.evidence.files import bound_values, read_binding
    from casemate.cli.snp.verify import Challenge as SnpChallenge
    from casemate.cli.vm.attest import report_data_of

    if report_data is not None and (nonce is not None or binding is not None):
        raise typer.BadParameter("--report-data is a VM's challenge, --nonce and --binding are a function's: give one")
    if nonce is not None and binding is None:
        raise typer.BadParameter("a function's report comes with --binding: what REPORT_DATA vouches for")
    bound = None if binding is None else read_binding(binding)
    return SnpChallenge(
        report_data=None if report_data is None else report_data_of(report_data),
        nonce=nonce_of(nonce) if nonce is not None else None if bound is None else bound.nonce,
        bound=bound_values(bound),
    )


def _with_nonce(demands: "AnyPolicy", nonce: str | None, bound: "ReportDataBinding | None") -> "AnyPolicy":
    """The policy for this challenge, where it asks for one."""
    from casemate.cli.policies import answering

    if nonce is not None:
        return demands.with_nonce(nonce_of(nonce))
    return demands if bound is None else answering(demands, bound.nonce)


def _collateral(path: Path | None) -> "Collateral | None":
    from casemate.cli.evidence.files import read_collateral

    return None if path is None else read_collateral(path)
