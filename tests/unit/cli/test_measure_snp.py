import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from casemate.cli.app import app
from casemate.testing.firmware import SECTIONS, make_ovmf

RUN = CliRunner()


@pytest.fixture
def firmware(tmp_path: Path) -> Path:
    path = tmp_path / "OVMF.fd"
    path.write_bytes(make_ovmf(2))
    return path


def test_prints_a_launch_digest_and_names_every_page(firmware: Path, tmp_path: Path) -> None:
    kernel = tmp_path / "vmlinuz"
    kernel.write_bytes(b"kernel")
    asked = [
        "measure",
        "--tee",
        "snp",
        "--ovmf",
        str(firmware),
        "--kernel",
        str(kernel),
        "--append",
        "quiet",
        "--explain",
    ]
    said = json.loads(RUN.invoke(app, [*asked, "--json"]).stdout)
    assert len(bytes.fromhex(said["launch_digest"])) == 48
    assert len(said["page_list"]) == said["pages"]
    shown = RUN.invoke(app, asked)
    assert shown.exit_code == 0
    assert "kernel hashes" in shown.stdout
    assert "vCPU registers" in shown.stdout


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ([], "--ovmf"),
        (["--ovmf", "FIRMWARE", "--vcpu-type", "Pentium"], "EPYC-Milan"),
        (["--ovmf", "FIRMWARE", "--append", "quiet"], "--kernel"),
        (["--ovmf", "FIRMWARE", "--guest-features", "many"], "guest-features"),
        (["--ovmf", "FIRMWARE", "--guest-features", "0x20"], "SNPActive"),
        (["--ovmf", "FIRMWARE", "--guest-features", "0x19"], "not both"),
        (["--ovmf", "FIRMWARE", "--guest-features", "0x8000000000000001"], "reserved"),
        (["--ovmf", "missing.fd"], "missing.fd"),
        (["--ovmf", "PLAIN", "--kernel", "FIRMWARE"], "no place for kernel hashes"),
    ],
)
def test_says_what_is_wrong(firmware: Path, tmp_path: Path, options: list[str], complaint: str) -> None:
    plain = tmp_path / "plain.fd"
    plain.write_bytes(make_ovmf(1, sections=SECTIONS))
    names = {"FIRMWARE": str(firmware), "PLAIN": str(plain)}
    result = RUN.invoke(app, ["measure", "--tee", "snp", *(names.get(option, option) for option in options)])
    assert result.exit_code != 0
    said = result.output + str(result.exception or "")
    assert complaint in said.replace("\n", " ") or complaint in said


def test_an_image_is_wanted_where_no_guest_is() -> None:
    assert RUN.invoke(app, ["measure"]).exit_code == 2
