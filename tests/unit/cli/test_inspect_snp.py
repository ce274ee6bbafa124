from pathlib import Path

import pytest
from tests.rigs.command_line import Casemate


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("milan_v2", {"signed by": "VCEK", "policy": "SMT, DEBUG; ABI 0.0 or later", "asked by": "VMPL 0"}),
        ("milan_v3", {"signed by": "VCEK", "policy": "SMT; ABI 0.31 or later"}),
        ("milan_v3_vlek", {"signed by": "VLEK, the chip's id masked", "asked by": "VMPL 1"}),
    ],
)
def test_real_reports_are_explained_to_their_last_byte(
    casemate: Casemate, vectors: Path, name: str, facts: dict[str, str]
) -> None:
    found = casemate("inspect", vectors / "snp" / f"{name}.report.bin", "--json").json
    assert found["kind"] == "snp-report"
    assert facts.items() <= found["facts"].items()
    at = 0
    for field in found["fields"]:
        assert field["offset"] == at
        at += field["size"]
    assert at == 1184


def test_a_damaged_report_is_refused_by_name(casemate: Casemate, tmp_path: Path) -> None:
    path = tmp_path / "report.bin"
    path.write_bytes(bytes(1184))
    assert "ATTESTATION_REPORT.version" in str(casemate("inspect", path, "--json").error)
