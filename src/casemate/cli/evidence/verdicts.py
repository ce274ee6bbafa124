"""Verified evidence, and the tree of checks, as the command line shows them."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import typer

from casemate.cli.errors import ExitCode, exit_report
from casemate.cli.evidence.findings import found_tree
from casemate.cli.group import report
from casemate.cli.output import console, facts, printable
from casemate.wire.snp.tcb import PARTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rich.console import Console
    from rich.tree import Tree

    from casemate.cli.output import Screen
    from casemate.verifier import (
        AnyVerifiedEvidence,
        Check,
        CheckTree,
        RefusedError,
        VerifiedSgxEvidence,
        VerifiedSnpEvidence,
    )
    from casemate.wire.protocol.sandbox_layers import Layer, SandboxLayers
    from casemate.wire.snp.tcb import TcbVersion

SIMULATED = ("SIMULATED", "there is no silicon under this: see `casemate docs simulated`")
PARAVIRTUAL = "its process runs on the host's processor; no VM's memory, encrypted or not, is under it"

_PARTS = {"fmc": "FMC", "boot_loader": "boot loader", "tee": "TEE", "snp": "SNP", "microcode": "microcode"}
_STYLES = {"passed": ("ok", "green"), "refused": ("REFUSED", "bold red"), "not reached": ("not reached", "dim")}


def evidence_facts(evidence: "AnyVerifiedEvidence") -> list[tuple[str, str]]:
    """Verified evidence as rows for a person."""
    from casemate.verifier import VerifiedSgxEvidence

    rows = _sgx_facts(evidence) if isinstance(evidence, VerifiedSgxEvidence) else snp_facts(evidence)
    return rows if evidence.binding is None else [*rows, *layers_facts(evidence.binding.layers)]


def measurement_name(evidence: "AnyVerifiedEvidence") -> str:
    """The name of the measurement in that kind of TEE."""
    from casemate.verifier import VerifiedSgxEvidence

    return "MRENCLAVE" if isinstance(evidence, VerifiedSgxEvidence) else "launch digest"


def tcb_text(evidence: "AnyVerifiedEvidence") -> str:
    """The platform's TCB in a few words."""
    from casemate.verifier import VerifiedSgxEvidence

    if isinstance(evidence, VerifiedSgxEvidence):
        return f"TCB {evidence.tcb.status}"
    return f"TCB of {evidence.product}: {_parts(evidence.reported_tcb)}"


def _sgx_facts(evidence: "VerifiedSgxEvidence") -> list[tuple[str, str]]:
    advisories = f" ({', '.join(evidence.tcb.advisory_ids)})" if evidence.tcb.advisory_ids else ""
    rows = [
        ("MRENCLAVE", evidence.mr_enclave.hex()),
        ("MRSIGNER", evidence.report.mr_signer.hex()),
        ("version", f"product {evidence.report.isv_prod_id}, security version {evidence.report.isv_svn}"),
        ("debug", "yes: whoever runs it can look inside" if evidence.debug else "no"),
        ("TCB", f"{evidence.tcb.status}{advisories}, of {evidence.tcb.tcb_date.date()}"),
        ("root", f"{evidence.root}{', from a public seed' if evidence.seeded else ''}"),
        ("good until", evidence.expires_at.isoformat()),
    ]
    if evidence.simulated:
        rows.append(SIMULATED)
    return rows


def snp_facts(verified: "VerifiedSnpEvidence") -> list[tuple[str, str]]:
    rows = [
        ("launch digest", verified.measurement.hex()),
        ("report data", verified.report.report_data.hex()),
        ("asked by", f"VMPL {verified.report.vmpl}"),
        ("product", str(verified.product)),
        ("TCB", _parts(verified.reported_tcb)),
        ("chip", verified.report.chip_id.hex() if any(verified.report.chip_id) else "hidden"),
        ("root", verified.root),
        ("good until", verified.expires_at.isoformat()),
    ]
    if verified.is_paravirtual:
        rows.append(("PARAVIRTUAL", PARAVIRTUAL))
    if verified.simulated:
        rows.append(SIMULATED)
    return rows


@dataclass(frozen=True, slots=True)
class Appraisal:
    """One piece of evidence before one policy: functions that appraise it, explain it, and list the findings."""

    appraise: "Callable[[], AnyVerifiedEvidence]"
    """Raises RefusedError."""
    explain: "Callable[[], CheckTree]"
    found: "Callable[[bool], dict[str, object]]"
    """Everything in the evidence and its endorsements, as a document that says whether a policy accepted them."""
    advice: "Mapping[str, str]" = field(default_factory=dict)
    """Advice by the refusing rule, in place of the general advice."""


def show_verdict(screen: "Screen", appraisal: Appraisal, *, explain: bool) -> None:
    """Appraises and prints the verdict, with every check if ``explain`` says so; exits with 3 where it is refused."""
    from casemate.verifier import RefusedError
    from casemate.verifier.claims import evidence_document

    tree = appraisal.explain() if explain else None
    try:
        verified = appraisal.appraise()
    except RefusedError as error:
        error.advice = appraisal.advice.get(error.rule, error.advice)
        _show_refusal(screen, error, tree, appraisal)
        raise typer.Exit(ExitCode.REFUSED) from None
    found = appraisal.found(True) if screen.as_json or explain else {}
    document: dict[str, object] = {"accepted": True, "evidence": evidence_document(verified), "found": found}
    if tree is not None:
        document["checks"] = tree_document(tree)

    def human(console: "Console") -> None:
        if tree is not None:
            console.print(tree_of(tree, "checks"))
            console.print(found_tree(found))
        console.print("accepted: checked by you, on this computer", style="bold green")
        facts(console, evidence_facts(verified))

    screen.show(document, human)


def _show_refusal(screen: "Screen", error: "RefusedError", tree: "CheckTree | None", appraisal: Appraisal) -> None:
    """Prints the refusal, and what was found, which is unverified."""
    told = exit_report(error)
    if not screen.as_json:
        if tree is not None:
            stdout = console()
            stdout.print(tree_of(tree, "checks"))
            stdout.print(found_tree(appraisal.found(False)))
        report(told, as_json=False)
        return
    document = {"accepted": False, **told.document(), "found": appraisal.found(False)}
    screen.show(document if tree is None else document | {"checks": tree_document(tree)}, lambda _: None)


def layers_facts(layers: "SandboxLayers") -> list[tuple[str, str]]:
    """Sandbox layers, as the enclave reports them of itself."""
    return [("enclave in", _layers(layers.enclave)), ("guest in", _layers(layers.guest))]


def tree_document(tree: "CheckTree") -> list[dict[str, object]]:
    """Every check as JSON."""
    return [
        {"title": group.title, "checks": [_check(check) for check in group.checks if _counts(tree, check)]}
        for group in tree.groups
    ]


def tree_of(tree: "CheckTree", title: str) -> "Tree":
    """Every check as a tree for a person."""
    from rich.text import Text
    from rich.tree import Tree

    root = Tree(Text(title, style="bold"))
    for group in tree.groups:
        if not group.checks:
            continue
        branch = root.add(Text(group.title, style="bold cyan"))
        for check in group.checks:
            if not _counts(tree, check):
                continue
            word, style = _STYLES[str(check.outcome)]
            line = Text.assemble((f"{word} ", style), (str(check.rule), "bold"), f"  {check.text.demand}")
            leaf = branch.add(line)
            if check.got or check.want:
                leaf.add(Text(f"got {printable(check.got)}; want {printable(check.want)}"))
            places = [f"bytes {span.offset}..{span.end - 1} {span.name}" for span in check.spans]
            leaf.add(Text("; ".join([*places, check.text.source]), style="dim"))
    return root


def _parts(tcb: "TcbVersion") -> str:
    return ", ".join(f"{_PARTS[part]} {getattr(tcb, part)}" for part in PARTS[tcb.product])


def _counts(tree: "CheckTree", check: "Check") -> bool:
    """True if a check is to be shown.

    A check that was not reached in accepted evidence is a rule for another kind of demand.
    """
    return tree.refusal is not None or str(check.outcome) != "not reached"


def _layers(layers: "tuple[Layer, ...]") -> str:
    """The layers that are applied by name, and the others with the reason."""
    applied = [str(layer.name) for layer in layers if layer.state == "applied"]
    missing = [
        f"{layer.name} {layer.state}{f' ({layer.detail})' if layer.detail else ''}"
        for layer in layers
        if layer.state != "applied"
    ]
    return "; ".join(part for part in (", ".join(applied) or "nothing", *missing) if part)


def _check(check: "Check") -> dict[str, object]:
    return {
        "rule": str(check.rule),
        "outcome": str(check.outcome),
        "demand": check.text.demand,
        "source": check.text.source,
        "got": check.got,
        "want": check.want,
        "bytes": [{"field": span.name, "offset": span.offset, "size": span.size} for span in check.spans],
    }
