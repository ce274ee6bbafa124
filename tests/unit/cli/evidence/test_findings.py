"""`casemate verify --json` says all that was found, whether the evidence is accepted or refused."""

import re
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.rigs.command_line import Casemate
from tests.rigs.verifier.ra_tls import NOW as THEN
from tests.rigs.verifier.ra_tls import draft, policy_of
from tests.rigs.verifier.snp import strict

from casemate.client.binding_file import encode_binding
from casemate.testing.forge import Forgery, honest
from casemate.testing.forge_snp import honest_snp
from casemate.verifier import AnyOfPolicy, SnpPolicy, print_any_policy, print_policy, print_snp_policy
from casemate.wire.encodings.pem import encode_chain
from casemate.wire.protocol.report_data import ReportDataBinding
from casemate.wire.sgx.quote import Quote
from casemate.wire.sgx.report import ReportBody
from casemate.wire.snp.report import GuestPolicy, PlatformInfo, SnpReport
from casemate.wire.snp.tcb import Product, TcbVersion

PAGE = Path(__file__).resolve().parents[4] / "docs" / "verify-json.md"
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def quote_arguments(folder: Path, forgery: Forgery) -> tuple[object, ...]:
    forged = forgery.sign()
    bound = forged.evidence.bound
    assert bound is not None
    binding = ReportDataBinding(bound.hpke_key, bound.receipt_key, forgery.nonce, bound.layers)
    (folder / "quote").write_bytes(forged.evidence.quote)
    (folder / "collateral").write_bytes(forged.collateral.encode())
    (folder / "binding").write_bytes(encode_binding(binding))
    (folder / "policy").write_text(print_policy(replace(forged.policy, report_data="FRESH_NONCE")))
    named = ("collateral", "binding", "policy")
    return ("verify", folder / "quote", *(word for name in named for word in (f"--{name}", folder / name)))


def report_arguments(folder: Path, now: datetime, **changed: Any) -> tuple[tuple[object, ...], SnpPolicy]:
    report, endorsements, root = honest_snp(now).sign()
    policy = strict(root, **changed)
    (folder / "report").write_bytes(report.report)
    (folder / "amd").write_bytes(encode_chain(endorsements.key_certificate) + endorsements.chain)
    (folder / "crl").write_bytes(endorsements.revocation_list or b"")
    (folder / "snp").write_text(print_snp_policy(policy))
    files = {"certificates": "amd", "revocation-list": "crl", "policy": "snp"}
    named = (word for option, name in files.items() for word in (f"--{option}", folder / name))
    return ("verify", folder / "report", *named), policy


def members(document: Any, path: str = "") -> Iterator[str]:
    """The path of every member, with ``[]`` for any number in a list."""
    if isinstance(document, dict):
        for name, value in document.items():
            yield f"{path}.{name}".removeprefix(".")
            yield from members(value, f"{path}.{name}".removeprefix("."))
    if isinstance(document, list):
        for item in document:
            yield from members(item, f"{path}[]")


def test_accepted_sgx_evidence_is_said_whole(casemate: Casemate, tmp_path: Path, now: datetime) -> None:
    said = casemate(*quote_arguments(tmp_path, honest(now)), "--json")
    assert said.code == 0
    found = said.json["found"]
    assert found["verified"] is True
    assert set(found["quote"]["body"]) == {field.name for field in fields(ReportBody)}
    assert set(found["quote"]["qe_report"]) == set(found["quote"]["body"])
    assert found["quote"]["body"]["mr_enclave"] == said.json["evidence"]["mr_enclave"]
    assert len(found["pck"]["components"]) == 16
    assert found["tcb"]["status"] == "UpToDate"
    assert [level["reached"] for level in found["tcb"]["compared_levels"]] == [True]
    assert found["unreadable"] == []
    for document in ("tcb_info", "qe_identity"):
        assert _RFC_3339.fullmatch(found["collateral"][document]["next_update"])


def test_a_refusal_names_the_component_that_falls_short(casemate: Casemate, tmp_path: Path, now: datetime) -> None:
    forgery = honest(now)
    best = forgery.tcb_info["tcbLevels"][0]
    lower = {**best, "tcbStatus": "OutOfDate", "tcb": {**best["tcb"], "pcesvn": 0}}
    components = [dict(component) for component in best["tcb"]["sgxtcbcomponents"]]
    components[1] |= {"svn": 255, "category": "BIOS", "type": "Early Microcode Update"}
    forgery.tcb_info["tcbLevels"] = [{**best, "tcb": {"pcesvn": 65535, "sgxtcbcomponents": components}}, lower]
    arguments = quote_arguments(tmp_path, forgery)
    said = casemate(*arguments, "--json")
    assert said.code == 3
    assert said.json["accepted"] is False
    assert said.error["rule"] == "tcb.status"
    assert "component 2 (BIOS, Early Microcode Update) is" in said.error["got"]
    found = said.json["found"]
    assert found["verified"] is False
    first, second = found["tcb"]["compared_levels"]
    got = found["pck"]["components"][1]
    name = {"category": "BIOS", "type": "Early Microcode Update"}
    assert first["short"] == [
        {"component": 2, "got": got, "want": 255} | name,
        {"component": "pce_svn", "category": None, "type": None, "got": found["pck"]["pce_svn"], "want": 65535},
    ]
    assert second["reached"] is True
    person = casemate(*arguments, "--explain").out
    assert "found (unverified)" in person
    assert "Early Microcode Update" in person


@pytest.mark.parametrize("part", ["quote", "collateral"])
def test_what_cannot_be_read_is_said_and_the_rest_is_shown(
    casemate: Casemate, tmp_path: Path, now: datetime, part: str
) -> None:
    forgery = honest(now)
    if part == "collateral":
        forgery.tcb_info["fmspc"] = "no hexadecimal"
    arguments = quote_arguments(tmp_path, forgery)
    if part == "quote":
        (tmp_path / "quote").write_bytes((tmp_path / "quote").read_bytes()[:-1])
    said = casemate(*arguments, "--json")
    assert said.code == 3
    found = said.json["found"]
    assert found["verified"] is False
    assert len(found["unreadable"]) == 1
    assert (found["quote"] is None) == (part == "quote")
    assert (found["collateral"]["tcb_info"] is None) == (part == "collateral")
    assert found["collateral"]["qe_identity"]["id"] == "QE"


def test_accepted_snp_evidence_is_said_whole(casemate: Casemate, tmp_path: Path, now: datetime) -> None:
    arguments, policy = report_arguments(tmp_path, now)
    said = casemate(*arguments, "--json")
    assert said.code == 0, said
    found = said.json["found"]
    assert found["verified"] is True
    assert {field.name for field in fields(SnpReport)} <= set(found["report"])
    report = SnpReport.parse((tmp_path / "report").read_bytes())
    assert found["report"]["policy"]["bits"] == [flag.name for flag in GuestPolicy if report.policy & flag]
    assert found["report"]["platform_info"]["bits"] == [
        flag.name for flag in PlatformInfo if report.platform_info & flag
    ]
    assert found["key"]["product"] == "Milan"
    assert set(found["tcb"]) == {"reported", "committed", "launch", "current"}
    assert isinstance(policy.reported_tcb, TcbVersion)
    assert found["tcb"]["reported"]["below"] == []
    assert [each["common_name"] for each in found["chain"]] == ["SEV-VCEK", "SEV-Milan", "ARK-Milan"]


def test_a_refusal_names_the_part_of_the_tcb_that_is_below(casemate: Casemate, tmp_path: Path, now: datetime) -> None:
    newer = TcbVersion(Product.MILAN, 4, 0, 25, 220)
    arguments, _ = report_arguments(tmp_path, now, launch_tcb=newer)
    said = casemate(*arguments, "--json")
    assert said.code == 3
    assert said.error["rule"] == "snp.tcb-launch"
    assert "snp is below 25, microcode is below 220" in said.error["got"]
    assert said.json["found"]["tcb"]["launch"]["below"] == [
        {"part": "snp", "got": 24, "want": 25},
        {"part": "microcode", "got": 219, "want": 220},
    ]
    assert said.json["found"]["verified"] is False


def test_a_policy_for_several_products_names_the_part_below_its_floor_for_this_one(
    casemate: Casemate, tmp_path: Path, now: datetime
) -> None:
    floors = (TcbVersion(Product.GENOA, 4, 0, 24, 219), TcbVersion(Product.MILAN, 4, 0, 25, 219))
    arguments, _ = report_arguments(tmp_path, now, launch_tcb=floors)
    launch = casemate(*arguments, "--json").json["found"]["tcb"]["launch"]
    assert launch["minimum"] == {"product": "Milan", "boot_loader": 4, "tee": 0, "snp": 25, "microcode": 219}
    assert launch["below"] == [{"part": "snp", "got": 24, "want": 25}]
    arguments, _ = report_arguments(tmp_path, now, launch_tcb=floors[:1])
    launch = casemate(*arguments, "--json").json["found"]["tcb"]["launch"]
    assert launch["minimum"] == {"product": "Genoa", "boot_loader": 4, "tee": 0, "snp": 24, "microcode": 219}
    assert launch["below"] == []


def test_what_an_any_of_accepts_is_not_below_the_minimums_of_another_member(
    casemate: Casemate, tmp_path: Path, now: datetime
) -> None:
    arguments, sound = report_arguments(tmp_path, now)
    too_new = replace(sound, launch_tcb=TcbVersion(Product.MILAN, 4, 0, 25, 219))
    (tmp_path / "snp").write_text(print_any_policy(AnyOfPolicy((too_new, sound))))
    said = casemate(*arguments, "--json")
    assert said.code == 0, said
    assert said.json["found"]["tcb"]["launch"]["minimum"]["snp"] == 24
    assert said.json["found"]["tcb"]["launch"]["below"] == []
    (tmp_path / "snp").write_text(print_any_policy(AnyOfPolicy((too_new, replace(sound, vmpl=frozenset({3}))))))
    said = casemate(*arguments, "--json")
    assert said.code == 3
    assert said.json["found"]["tcb"]["launch"]["below"] == [{"part": "snp", "got": 24, "want": 25}]


def test_a_report_that_is_none_is_refused_with_what_the_certificates_say(
    casemate: Casemate, tmp_path: Path, now: datetime
) -> None:
    arguments, _ = report_arguments(tmp_path, now)
    (tmp_path / "report").write_bytes(bytes(1184))
    said = casemate(*arguments, "--json")
    assert said.code == 3
    assert said.json["found"]["report"] is None
    assert said.json["found"]["key"]["product"] == "Milan"
    assert said.json["found"]["unreadable"][0]["field"] == "ATTESTATION_REPORT.version"


def test_the_quote_in_a_certificate_is_said_whole(casemate: Casemate, tmp_path: Path) -> None:
    drafted = draft()
    forged = drafted.forged
    (tmp_path / "certificate").write_bytes(encode_chain(drafted.sign()))
    (tmp_path / "collateral").write_bytes(forged.collateral.encode())
    (tmp_path / "policy").write_text(print_policy(policy_of(forged)))
    named = (word for name in ("collateral", "policy") for word in (f"--{name}", tmp_path / name))
    asked = ("verify", "--ra-tls", tmp_path / "certificate", *named, "--json", "--at")
    for at, accepted in ((THEN, True), (THEN + timedelta(days=99), False)):
        said = casemate(*asked, at.isoformat())
        assert said.code == (0 if accepted else 3), said
        assert said.json["found"]["verified"] is accepted
        assert (
            said.json["found"]["quote"]["body"]["mr_enclave"]
            == Quote.parse(forged.evidence.quote).body.mr_enclave.hex()
        )


def documented() -> set[str]:
    """The paths in the page's tables, with NAME and PARTS written out."""
    parts = "`boot_loader`, `tee`, `snp`, `microcode`"
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]+) \| [^|]+ \|$", PAGE.read_text(), re.MULTILINE)
    paths = set()
    for path, named in rows:
        for name in ("reported", "committed", "launch", "current") if "NAME" in path else ("",):
            for member in re.findall(r"`(\w+)`", named.replace("PARTS", parts)):
                paths.add(f"{path.replace('NAME', name)}.{member}".removeprefix("found."))
    return paths


def test_the_page_names_every_member_and_no_other(casemate: Casemate, tmp_path: Path, now: datetime) -> None:
    forgery = honest(now)
    best = forgery.tcb_info["tcbLevels"][0]
    forgery.tcb_info["tcbLevels"] = [{**best, "tcb": {**best["tcb"], "pcesvn": 65535}}, best]
    newer = TcbVersion(Product.MILAN, 4, 0, 25, 220)
    lower = {f"{name}_tcb": newer for name in ("reported", "committed", "launch", "current")}
    said = {"unreadable[].field", "unreadable[].got", "unreadable[].want"}
    for arguments in (quote_arguments(tmp_path, forgery), report_arguments(tmp_path, now, **lower)[0]):
        said |= set(members(casemate(*arguments, "--json").json["found"]))
    assert said == documented()
