"""`casemate verify --certificates`, with real reports."""

import re
from pathlib import Path

import pytest
from tests.rigs.command_line import Casemate

from casemate.verifier.roots import AMD_MILAN_ROOT_KEY
from casemate.wire.encodings.pem import encode_chain, parse_chain
from casemate.wire.snp.report import SnpReport

PAGE = Path(__file__).resolve().parents[4] / "docs" / "snp.md"
AT = "2026-06-01T00:00:00Z"


@pytest.fixture
def folder(tmp_path: Path, vectors: Path) -> Path:
    real = vectors / "snp"
    (tmp_path / "report.bin").write_bytes((real / "milan_v3.report.bin").read_bytes())
    certificates = (real / "milan_v3.leaf.pem").read_bytes() + b"\n" + (real / "chain_milan_vcek.pem").read_bytes()
    (tmp_path / "amd.pem").write_bytes(certificates)
    found = re.search(r"```toml\n(.+?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    policy = found[1].replace("REQUIRE_REVOCATION_LIST", "UNSAFE_NO_REVOCATION_LIST")
    (tmp_path / "snp.toml").write_text(policy)
    return tmp_path


def test_a_real_report_satisfies_the_policy_of_the_page(casemate: Casemate, folder: Path) -> None:
    asked = ("verify", folder / "report.bin", "--certificates", folder / "amd.pem", "--policy", folder / "snp.toml")
    said = casemate(*asked, "--at", AT, "--explain", "--json")
    assert said.json["evidence"]["root"] == "AMD_MILAN_ROOT"
    assert said.json["evidence"]["simulated"] is False
    assert {check["outcome"] for group in said.json["checks"] for check in group["checks"]} <= {"passed", "not reached"}
    shown = casemate(*asked, "--at", AT, "--explain")
    assert "snp.measurement" in shown.out


def test_a_changed_report_is_refused_by_rule_and_exit_code(casemate: Casemate, folder: Path) -> None:
    report = bytearray((folder / "report.bin").read_bytes())
    report[0x50] ^= 1
    (folder / "report.bin").write_bytes(bytes(report))
    asked = ("verify", folder / "report.bin", "--certificates", folder / "amd.pem", "--policy", folder / "snp.toml")
    for extra in ((), ("--explain",)):
        said = casemate(*asked, "--at", AT, "--json", *extra)
        assert said.code == 3
        assert "snp.signature" in said.out + said.err


def test_an_accepted_report_has_no_check_that_was_not_reached(casemate: Casemate, folder: Path) -> None:
    asked = ("verify", folder / "report.bin", "--certificates", folder / "amd.pem", "--policy", folder / "snp.toml")
    said = casemate(*asked, "--at", AT, "--explain", "--json")
    assert {check["outcome"] for group in said.json["checks"] for check in group["checks"]} == {"passed"}
    assert "not reached" not in casemate(*asked, "--at", AT, "--explain").out


@pytest.mark.parametrize("order", ["key first", "key last", "key between", "twice", "with text", "Windows"])
def test_certificates_come_in_any_order_and_with_text_around_them(casemate: Casemate, folder: Path, order: str) -> None:
    key, ask, ark = (encode_chain(found.der) for found in parse_chain("amd.pem", (folder / "amd.pem").read_bytes()))
    (folder / "amd.pem").write_bytes(
        {
            "key first": key + ark + ask,
            "key last": ask + ark + key,
            "key between": ark + key + ask,
            "twice": key + ask + ark + key + ark,
            "with text": b"# SEV-VCEK\n" + key + b"# ASK\n" + ask + b"# ARK\n" + ark,
            "Windows": (b"subject=/CN=ARK\n" + ark + ask + key).replace(b"\n", b"\r\n"),
        }[order]
    )
    asked = ("verify", folder / "report.bin", "--certificates", folder / "amd.pem", "--policy", folder / "snp.toml")
    assert casemate(*asked, "--at", AT).code == 0


def test_a_report_names_what_its_policy_and_command_lack(casemate: Casemate, folder: Path) -> None:
    """Each refusal says what to give; given, it goes on to the next."""
    report, certificates, policy = folder / "report.bin", folder / "amd.pem", folder / "snp.toml"
    without = casemate("verify", report, "--policy", policy, "--at", AT, "--json")
    assert without.code == 5
    assert "--certificates" in without.error["next"]
    policy.write_text(policy.read_text().replace("UNSAFE_NO_REVOCATION_LIST", "REQUIRE_REVOCATION_LIST"))
    asked = ("verify", report, "--certificates", certificates, "--policy", policy, "--at", AT, "--json")
    unlisted = casemate(*asked)
    assert unlisted.error["rule"] == "crl.format"
    assert "--revocation-list" in unlisted.error["next"]
    policy.write_text(policy.read_text().replace("REQUIRE_REVOCATION_LIST", "UNSAFE_NO_REVOCATION_LIST"))
    data = SnpReport.parse(report.read_bytes()).report_data.hex()
    policy.write_text(re.sub(r"report_data = .*", 'report_data = "FRESH_NONCE"', policy.read_text()))
    stale = casemate(*asked)
    assert stale.error["rule"] == "binding.nonce"
    assert "--report-data" in stale.error["next"]
    assert "policy." not in stale.error["got"] + stale.error["want"]
    assert casemate(*asked, "--report-data", data).code == 0


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("amd.pem", b"", "PEM"),
        ("amd.pem", None, "three"),
        ("snp.toml", b"root = 1", "snp.toml"),
        ("snp.toml", b"\xff", "UTF-8"),
        ("report.bin", b"short", "snp.report-format"),
    ],
)
def test_bad_files_are_named(
    casemate: Casemate, folder: Path, name: str, content: bytes | None, complaint: str
) -> None:
    if content is None:
        first = parse_chain("certificates", (folder / name).read_bytes())[0]
        content = encode_chain(first.der)
    (folder / name).write_bytes(content)
    asked = ("verify", folder / "report.bin", "--certificates", folder / "amd.pem", "--policy", folder / "snp.toml")
    said = casemate(*asked, "--at", AT)
    assert said.code != 0
    assert complaint in said.out + said.err


def test_options_of_another_kind_of_evidence_are_refused(casemate: Casemate, folder: Path) -> None:
    said = casemate(
        "verify",
        folder / "report.bin",
        "--certificates",
        folder / "amd.pem",
        "--policy",
        folder / "snp.toml",
        "--ra-tls",
    )
    assert said.code == 2


def test_a_policy_may_name_the_root_by_its_key(casemate: Casemate, folder: Path) -> None:
    policy = (folder / "snp.toml").read_text()
    key = f'{{ name = "{AMD_MILAN_ROOT_KEY.name}", key_sha256 = "{AMD_MILAN_ROOT_KEY.key_sha256.hex()}" }}'
    (folder / "snp.toml").write_text(policy.replace('"AMD_MILAN_ROOT"', key))
    asked = ("verify", folder / "report.bin", "--certificates", folder / "amd.pem", "--policy", folder / "snp.toml")
    assert casemate(*asked, "--at", AT, "--json").json["evidence"]["root"] == "ARK-Milan"


def test_the_advice_on_a_root_of_another_product_works(casemate: Casemate, folder: Path, vectors: Path) -> None:
    real = vectors / "snp"
    (folder / "report.bin").write_bytes((real / "genoa_v3.report.bin").read_bytes())
    certificates = (real / "genoa_v3.leaf.pem").read_bytes() + b"\n" + (real / "chain_genoa_vcek.pem").read_bytes()
    (folder / "amd.pem").write_bytes(certificates)
    asked = ("verify", folder / "report.bin", "--certificates", folder / "amd.pem", "--policy", folder / "snp.toml")
    said = casemate(*asked, "--at", AT, "--json")
    assert (said.code, said.error["rule"]) == (3, "chain.root")
    assert said.error["next"].endswith('root = "AMD_GENOA_ROOT"')
    policy = (folder / "snp.toml").read_text()
    (folder / "snp.toml").write_text(policy.replace('root = "AMD_MILAN_ROOT"', 'root = "AMD_GENOA_ROOT"'))
    assert casemate(*asked, "--at", AT, "--json").error["rule"].startswith("snp.")
