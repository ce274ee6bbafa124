"""`casemate verify FILE FILE`: several pieces of evidence before one policy, each with its files beside it.

What belongs to a piece is found by the names that `casemate quote` gives: FILE.collateral.json and FILE.binding.json
beside a quote; FILE.pem, FILE.crl and FILE.binding.json beside a report.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from casemate.cli.errors import ExitCode, exit_report
from casemate.cli.evidence.files import beside, bound_values, read_binding, read_collateral, read_evidence
from casemate.cli.evidence.findings import Document, sgx_document, snp_document
from casemate.cli.evidence.verdicts import evidence_facts
from casemate.cli.file_kinds import EVIDENCE, FileKind, WrongKindError, recognise, wrong_kind
from casemate.cli.files import InputFileError, read_file
from casemate.cli.group import report
from casemate.cli.output import Screen, facts
from casemate.cli.policies import answering, any_policy_in, time_of, weaknesses
from casemate.cli.snp.verify import MAX_REPORT, endorsements_in
from casemate.wire.sgx.quote import MAX_QUOTE

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from casemate.verifier import AllOfPolicy, Piece, VerifiedComposite
    from casemate.wire.protocol.report_data import ReportDataBinding


@dataclass(frozen=True, slots=True)
class ReadPiece:
    """A piece of evidence, with what was read beside it."""

    piece: "Piece"
    binding: "ReportDataBinding | None"
    found: "Callable[[AllOfPolicy, bool], Document]"
    """Gives the piece's findings as a document, given the policy and whether it has accepted the piece."""


def verify_pieces(paths: list[Path], policy: Path, *, nonce: bytes | None, at: str | None, screen: Screen) -> None:
    """Appraises all pieces together and prints the verdict; exits with 3 where they are refused."""
    from casemate.verifier import RefusedError, appraise_all

    read = [_read(path, screen) for path in paths]
    demands, now = _for_challenge(_policy(policy, len(paths)), nonce, read), time_of(at)
    if demands.weaknesses():
        screen.say(f"the policy gives up: {weaknesses(demands)}", style="yellow")
    try:
        verified = appraise_all([each.piece for each in read], demands, now)
    except RefusedError as error:
        told = exit_report(error)
        found = [each.found(demands, False) for each in read]
        screen.show({"accepted": False, **told.document(), "found": found}, lambda _: None)
        if not screen.as_json:
            report(told, as_json=False)
        raise typer.Exit(ExitCode.REFUSED) from None
    _show(screen, verified, [each.found(demands, True) for each in read])


def _show(screen: Screen, verified: "VerifiedComposite", found: list[Document]) -> None:
    code = verified.code

    def human(console: "Console") -> None:
        for number, part in enumerate(verified.parts, 1):
            console.print(f"member {number}", style="bold cyan")
            facts(console, evidence_facts(part))
            console.print()
        whole = "ANY_CODE" if code is None else f"{code.mr_enclave.hex()}, {code.launch_digest.hex()}"
        facts(console, [("code", whole), ("good until", verified.expires_at.isoformat())])
        console.print("accepted together: checked by you, on this computer", style="bold green")

    from casemate.verifier.claims import evidence_document

    pair = None if code is None else {"mr_enclave": code.mr_enclave.hex(), "launch_digest": code.launch_digest.hex()}
    document = {
        "accepted": True,
        "evidence": [evidence_document(part) for part in verified.parts],
        "code": pair,
        "expires_at": verified.expires_at.isoformat(),
        "found": found,
    }
    screen.show(document, human)


def _policy(path: Path, pieces: int) -> "AllOfPolicy":
    from casemate.verifier import AllOfPolicy

    policy = any_policy_in(path)
    if not isinstance(policy, AllOfPolicy):
        raise WrongKindError(
            f"policy {path}: got a policy for one piece of evidence, want all_of, for {pieces} of them",
            "`casemate docs cli` shows one under `Policies made of policies`",
        )
    return policy


def _for_challenge(policy: "AllOfPolicy", nonce: bytes | None, read: list[ReadPiece]) -> "AllOfPolicy":
    """The policy for the challenge that all pieces answer: the user's, or that of the binding files."""
    if nonce is None:
        nonces = {each.binding.nonce for each in read if each.binding is not None}
        if len(nonces) > 1:
            raise InputFileError(
                "the pieces answer different challenges: have each made for one, by `casemate quote ... --nonce HEX`"
            )
        nonce = next(iter(nonces), None)
    if nonce is None:
        return policy
    return replace(policy, members=tuple(answering(member, nonce) for member in policy.members))


def _read(path: Path, screen: Screen) -> ReadPiece:
    data = read_file(path, what="evidence", limit=4 * MAX_QUOTE)
    found = recognise(data)
    beside_it = beside(path, ".binding.json")
    binding = read_binding(beside_it) if beside_it.exists() else None
    if found is not None and found.kind is FileKind.QUOTE:
        return _quote(path, screen, binding)
    if found is not None and found.kind is FileKind.SNP_REPORT:
        return _report(path, screen, binding)
    refusal = wrong_kind(data, path, what="evidence", wanted=EVIDENCE)
    raise refusal or InputFileError(f"evidence {path}: got neither, want a quote of SGX or an SEV-SNP report")


def _quote(path: Path, screen: Screen, binding: "ReportDataBinding | None") -> ReadPiece:
    from casemate.verifier import Piece, SgxEvidence
    from casemate.verifier.sgx.findings import find_sgx

    data = read_evidence(path, screen, what="quote", kind=FileKind.QUOTE, limit=MAX_QUOTE)
    evidence = SgxEvidence(data, bound_values(binding))
    place = beside(path, ".collateral.json")
    collateral = read_collateral(place) if place.exists() else None

    def found(_: "AllOfPolicy", verified: bool) -> Document:
        return sgx_document(find_sgx(evidence.quote, collateral), verified=verified)

    return ReadPiece(Piece(evidence, collateral), binding, found)


def _report(path: Path, screen: Screen, binding: "ReportDataBinding | None") -> ReadPiece:
    from casemate.verifier import Piece, SnpEvidence
    from casemate.verifier.snp.findings import find_snp

    data = read_evidence(path, screen, what="report", kind=FileKind.SNP_REPORT, limit=MAX_REPORT)
    evidence = SnpEvidence(data, bound_values(binding))
    crl = beside(path, ".crl")
    endorsements = endorsements_in(beside(path, ".pem"), crl if crl.exists() else None)

    def found(policy: "AllOfPolicy", verified: bool) -> Document:
        return snp_document(find_snp(evidence.report, endorsements), policy, verified=verified)

    return ReadPiece(Piece(evidence, endorsements), binding, found)
