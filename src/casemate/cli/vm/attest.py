"""`casemate vm attest`: a guest's report, and the certificates to appraise it with, to files."""

import secrets
from pathlib import Path

import typer

from casemate.cli.files import write_file
from casemate.cli.output import Screen, facts
from casemate.wire.messages.vm.host import VmEvidenceIs
from casemate.wire.snp.report import SnpReport

REPORT_DATA_SIZE = 64


def report_data_of(text: str | None) -> bytes:
    """The 64 bytes that the user typed, with zeros behind them; random ones where nothing was typed."""
    if text is None:
        return secrets.token_bytes(REPORT_DATA_SIZE)
    try:
        data = bytes.fromhex(text)
    except ValueError:
        data = b""
    if not 1 <= len(data) <= REPORT_DATA_SIZE:
        raise typer.BadParameter(f"{text[:80]!r}: want 2 to 128 hexadecimal digits", param_hint="--report-data")
    return data.ljust(REPORT_DATA_SIZE, b"\0")


def attest_vm(screen: Screen, number: int, evidence: VmEvidenceIs, output: Path, certificates: Path | None) -> None:
    """Writes report, certificates, and the revocation list where there is one."""
    chain, listed = certificates or output.with_name(output.name + ".pem"), output.with_name(output.name + ".crl")
    report = SnpReport.parse(evidence.report)
    write_file(output, evidence.report, what="report")
    write_file(chain, evidence.certificates, what="certificates")
    if evidence.revocation_list is not None:
        write_file(listed, evidence.revocation_list, what="revocation list")
    revocation_list = None if evidence.revocation_list is None else str(listed)
    screen.show(
        {
            "vm": number,
            "report": str(output),
            "certificates": str(chain),
            "revocation_list": revocation_list,
            "report_data": report.report_data.hex(),
            "launch_digest": report.measurement.hex(),
        },
        lambda console: facts(
            console,
            [
                ("report", f"{output} ({len(evidence.report)} bytes), unverified"),
                ("certificates", str(chain)),
                ("revocation list", revocation_list or "none at hand"),
                ("report data", report.report_data.hex()),
                ("launch digest", report.measurement.hex()),
            ],
        ),
    )
