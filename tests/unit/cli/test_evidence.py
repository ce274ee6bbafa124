import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from tests.rigs.command_line import Casemate
from tests.rigs.verifier.earlier_roots import EARLIER_INTEL_ROOT

from casemate.cli.policies import TimeTextError, time_of
from casemate.client.binding_file import encode_binding, parse_binding
from casemate.images.image import read_image
from casemate.testing.forge import Forged, Forgery, honest
from casemate.verifier import INTEL_SGX_ROOT, SimulatedRoot, parse_policy, print_policy
from casemate.verifier.roots import INTEL_SGX_ROOT_CA, INTEL_SGX_ROOT_KEY
from casemate.wire.encodings.pem import encode_chain
from casemate.wire.protocol.caller_key import caller_key_text
from casemate.wire.protocol.deployment import config_id, deployment_id
from casemate.wire.protocol.report_data import ReportDataBinding


@dataclass(frozen=True, slots=True)
class Files:
    """Evidence and policy as files."""

    folder: Path
    forgery: Forgery
    forged: Forged

    @property
    def arguments(self) -> tuple[object, ...]:
        return (
            self.folder / "quote.bin",
            "--collateral",
            self.folder / "c.json",
            "--policy",
            self.folder / "policy.toml",
        )


def _files(folder: Path, forgery: Forgery) -> Files:
    forged = forgery.sign()
    (folder / "quote.bin").write_bytes(forged.evidence.quote)
    (folder / "c.json").write_bytes(forged.collateral.encode())
    (folder / "policy.toml").write_text(print_policy(replace(forged.policy, report_data="FRESH_NONCE")))
    bound = forged.evidence.bound
    assert bound is not None
    binding = ReportDataBinding(bound.hpke_key, bound.receipt_key, forgery.nonce, bound.layers)
    (folder / "binding.json").write_bytes(encode_binding(binding))
    return Files(folder, forgery, forged)


@pytest.fixture
def files(tmp_path: Path, now: datetime) -> Files:
    return _files(tmp_path, honest(now))


def test_accepts_honest_evidence(casemate: Casemate, files: Files) -> None:
    said = casemate("verify", *files.arguments, "--binding", files.folder / "binding.json", "--json")
    assert said.code == 0
    assert said.json["accepted"] is True
    assert said.json["evidence"]["tcb"]["status"] == "UpToDate"
    assert said.json["evidence"]["simulated"] is True
    assert "SIMULATED_ROOT" in said.err


def test_tells_a_person_who_checked(casemate: Casemate, files: Files) -> None:
    said = casemate("verify", *files.arguments, "--binding", files.folder / "binding.json")
    assert "checked by you" in said.out
    assert files.forged.evidence.quote[112:144].hex() in said.out


def test_explains_every_check_with_bytes_and_source(casemate: Casemate, files: Files) -> None:
    arguments = (*files.arguments, "--binding", files.folder / "binding.json", "--explain")
    checks = casemate("verify", *arguments, "--json").json["checks"]
    found = {check["rule"]: check for group in checks for check in group["checks"]}
    assert found["enclave.mr-enclave"]["bytes"] == [{"field": "body.mr_enclave", "offset": 112, "size": 32}]
    assert found["quote.version"]["source"].startswith("Intel ECDSA Quote Library API")
    assert "refused" not in {check["outcome"] for check in found.values()}
    text = casemate("verify", *arguments).out
    assert "bytes 112..143 body.mr_enclave" in text
    assert "ok tcb.status" in text


def test_a_policy_that_wants_freshness_needs_a_nonce(casemate: Casemate, files: Files) -> None:
    said = casemate("verify", *files.arguments, "--json")
    assert said.code == 3
    assert said.error["rule"].startswith("binding.")


def test_a_nonce_of_ones_own_is_checked(casemate: Casemate, files: Files) -> None:
    arguments = (*files.arguments, "--binding", files.folder / "binding.json", "--nonce")
    assert casemate("verify", *arguments, files.forgery.nonce.hex()).code == 0
    said = casemate("verify", *arguments, bytes(32).hex(), "--json")
    assert said.code == 3
    assert said.error["rule"] == "binding.report-data"


@pytest.mark.parametrize("nonce", ["", "zz", "00" * 31, "00" * 33])
def test_a_nonce_of_another_size_is_wrong_usage(casemate: Casemate, files: Files, nonce: str) -> None:
    assert casemate("verify", *files.arguments, "--nonce", nonce).code == 2


def test_a_refusal_names_rule_got_and_want(casemate: Casemate, tmp_path: Path, now: datetime) -> None:
    forgery = honest(now)
    forgery.tcb_info["tcbLevels"][0]["tcbStatus"] = "OutOfDate"
    files = _files(tmp_path, forgery)
    arguments = (*files.arguments, "--binding", files.folder / "binding.json")
    said = casemate("verify", *arguments, "--json")
    assert said.code == 3
    assert said.error["rule"] == "tcb.status"
    assert "OutOfDate" in said.error["got"]
    person = casemate("verify", *arguments)
    assert person.code == 3
    assert "tcb.status" in person.err
    assert person.out == ""


def test_a_refusal_is_explained_with_all_that_holds(casemate: Casemate, tmp_path: Path, now: datetime) -> None:
    forgery = honest(now)
    forgery.tcb_info["tcbLevels"][0]["tcbStatus"] = "OutOfDate"
    files = _files(tmp_path, forgery)
    arguments = (*files.arguments, "--binding", files.folder / "binding.json", "--explain")
    said = casemate("verify", *arguments, "--json")
    assert said.code == 3
    assert said.json["accepted"] is False
    assert said.error["rule"] == "tcb.status"
    outcomes = {check["rule"]: check["outcome"] for group in said.json["checks"] for check in group["checks"]}
    assert outcomes["tcb.status"] == "refused"
    assert outcomes["quote.signature"] == "passed"
    person = casemate("verify", *arguments)
    assert person.code == 3
    assert "REFUSED tcb.status" in person.out
    assert "next:" in person.err


def test_appraises_for_another_time(casemate: Casemate, files: Files, now: datetime) -> None:
    later = (now + timedelta(days=60)).isoformat()
    arguments = (*files.arguments, "--binding", files.folder / "binding.json", "--at")
    said = casemate("verify", *arguments, later, "--json")
    assert said.code == 3
    assert said.error["rule"].endswith(".window")
    for wrong in ("yesterday", "2026-01-31", "2026-01-31T12:00:00", ""):
        assert casemate("verify", *arguments, wrong).code == 5


def test_a_changed_quote_is_refused(casemate: Casemate, files: Files) -> None:
    path = files.folder / "quote.bin"
    content = bytearray(path.read_bytes())
    content[112] ^= 1
    path.write_bytes(content)
    said = casemate("verify", *files.arguments, "--binding", files.folder / "binding.json", "--json")
    assert said.code == 3
    assert said.error["rule"] == "quote.signature"


@pytest.mark.parametrize("content", [b"", b"junk", b"\x00" * 60_000])
def test_junk_for_a_quote_is_refused_by_a_rule(casemate: Casemate, files: Files, content: bytes) -> None:
    (files.folder / "quote.bin").write_bytes(content)
    said = casemate("verify", *files.arguments, "--json")
    assert said.code == 3
    assert said.error["rule"].startswith("quote.")


@pytest.mark.parametrize("name", ["quote.bin", "c.json", "policy.toml", "binding.json"])
@pytest.mark.parametrize("state", ["missing", "folder", "huge"])
def test_files_that_cannot_be_read_are_named(casemate: Casemate, files: Files, name: str, state: str) -> None:
    path = files.folder / name
    path.unlink()
    if state == "folder":
        path.mkdir()
    if state == "huge":
        with path.open("wb") as file:
            file.truncate(1 << 30)
    said = casemate("verify", *files.arguments, "--binding", files.folder / "binding.json", "--json")
    assert said.code == 5
    assert name in said.error["message"]


@pytest.mark.parametrize("name", ["c.json", "policy.toml", "binding.json"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"{", b"[]", b"{}", b"null", b'{"root": NaN}', b"[" * 9999])
def test_files_that_hold_something_else_are_refused(
    casemate: Casemate, files: Files, name: str, content: bytes
) -> None:
    (files.folder / name).write_bytes(content)
    assert casemate("verify", *files.arguments, "--binding", files.folder / "binding.json").code == 5


def test_without_collateral_the_verdict_is_a_refusal(casemate: Casemate, files: Files) -> None:
    arguments = (files.folder / "quote.bin", "--policy", files.folder / "policy.toml")
    said = casemate("verify", *arguments, "--binding", files.folder / "binding.json", "--json")
    assert said.code == 3
    assert said.error["rule"] == "collateral.present"


def test_a_policy_is_required(casemate: Casemate, files: Files) -> None:
    assert casemate("verify", files.folder / "quote.bin").code == 2


def test_a_real_quote_is_judged_by_the_same_rules(casemate: Casemate, files: Files, vectors: Path) -> None:
    policy = replace(
        files.forged.policy, root=INTEL_SGX_ROOT, report_data="UNSAFE_ANY_REPORT_DATA", layers="UNSAFE_ANY_SANDBOX"
    )
    path = files.folder / "intel.toml"
    path.write_text(print_policy(policy))
    quote = vectors / "sgx" / "sgx_v3_processor_ca"
    arguments = (f"{quote}.bin", "--collateral", f"{quote}.collateral.json", "--policy", path)
    said = casemate("verify", *arguments, "--at", "2025-07-01T00:00:00Z", "--explain", "--json")
    assert said.code == 3
    outcomes = {check["rule"]: check["outcome"] for group in said.json["checks"] for check in group["checks"]}
    assert outcomes["chain.root"] == "passed"
    assert outcomes["quote.signature"] == "passed"
    assert outcomes["enclave.mr-enclave"] == "refused"


def test_binding_files_are_read_as_they_are_written(files: Files) -> None:
    text = (files.folder / "binding.json").read_bytes()
    assert encode_binding(parse_binding(text)) == text
    assert set(json.loads(text)) == {"hpke_key", "receipt_key", "nonce", "layers"}


@pytest.fixture
def built(casemate: Casemate, hello: Path) -> Path:
    assert casemate("build", hello).code == 0
    return hello


def test_a_policy_names_image_and_root(casemate: Casemate, built: Path, files: Files) -> None:
    root = files.folder / "root.pem"
    root.write_bytes(encode_chain(files.forged.root))
    said = casemate("policy", built, "--root", root)
    assert said.code == 0
    policy = parse_policy(said.out)
    assert policy.mr_enclave == frozenset({read_image(built).mr_enclave})
    assert policy.root == SimulatedRoot.of(files.forged.root)
    assert policy.report_data == "FRESH_NONCE"
    assert casemate("policy", built, "--root", root, "--json").json["policy"] == said.out
    granted = casemate("measure", built, "--explain", "--json").json["manifest"]
    assert all(f"#   {name}: {value}\n" in said.out for name, value in granted.items())


def test_a_policy_may_demand_an_owners_deployment(casemate: Casemate, built: Path, files: Files) -> None:
    root = files.folder / "root.pem"
    root.write_bytes(encode_chain(files.forged.root))
    owner = bytes(range(32))
    asked = ("policy", built, "--root", root, "--owner", caller_key_text(owner))
    for more, name in (((), read_image(built).name), (("--deployment", "prod"), "prod")):
        policy = parse_policy(casemate(*asked, *more).out)
        assert policy.config_id == frozenset({config_id(deployment_id(owner, name))})
    for wrong in (("--owner", "alice.pem"), ("--owner", "ed25519:AAAA"), ("--deployment", "prod")):
        assert casemate("policy", built, "--root", root, *wrong).code == 2


def test_a_policy_may_name_intels_root(casemate: Casemate, built: Path, tmp_path: Path) -> None:
    root = tmp_path / "intel.der"
    root.write_bytes(INTEL_SGX_ROOT_CA)
    assert parse_policy(casemate("policy", built, "--root", root).out).root == INTEL_SGX_ROOT
    root.write_bytes(EARLIER_INTEL_ROOT)
    assert parse_policy(casemate("policy", built, "--root", root).out).root == INTEL_SGX_ROOT_KEY


def test_a_policy_for_a_seeded_maker_says_so(casemate: Casemate, built: Path, tmp_path: Path, now: datetime) -> None:
    root = tmp_path / "root.pem"
    root.write_bytes(encode_chain(honest(now, seed="test").sign().root))
    assert "UNSAFE_PUBLIC_SEED" in casemate("policy", built, "--root", root).out


def test_a_policy_names_no_root_of_unknown_kind(casemate: Casemate, built: Path, vectors: Path) -> None:
    said = casemate("policy", built, "--root", vectors / "sgx" / "pck_processor_ca.pem", "--json")
    assert said.code == 5
    assert "SIMULATED" in said.error["message"]


def test_a_policy_without_a_root_needs_a_machine(casemate: Casemate, built: Path) -> None:
    said = casemate("policy", built, "--json")
    assert said.code == 1
    assert said.error["kind"] == "NoMachineError"


@pytest.mark.parametrize(
    "arguments",
    [
        ("call", "1", "search", "--input", "INPUT"),
        ("call", "1", "search", "--input", "INPUT", "--policy", "POLICY", "--mr-enclave", "00" * 32),
        ("call", "1", "search", "--input", "INPUT", "--mr-enclave", "00"),
        ("call", "1", "search", "--mr-enclave", "00" * 32),
    ],
)
def test_a_call_has_no_default_policy(casemate: Casemate, files: Files, arguments: tuple[str, ...]) -> None:
    (files.folder / "input.json").write_text("{}")
    places = {"INPUT": str(files.folder / "input.json"), "POLICY": str(files.folder / "policy.toml")}
    assert casemate(*(places.get(argument, argument) for argument in arguments)).code == 2


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"a":1,"a":2}', b"NaN"])
@pytest.mark.parametrize("command", ["run", "call"])
def test_input_that_is_no_json_never_leaves(
    casemate: Casemate, built: Path, tmp_path: Path, content: bytes, command: str
) -> None:
    path = tmp_path / "input.json"
    path.write_bytes(content)
    target = (built,) if command == "run" else ("1", "rate", "--mr-enclave", "00" * 32)
    said = casemate(command, *target, "--input", path, "--json")
    assert said.code == 5


@pytest.mark.parametrize(
    ("option", "name", "code"),
    [
        ("--caller", "missing.pem", 5),
        ("--caller", "input.json", 5),
        ("--policy", "missing.toml", 5),
        ("--policy", "input.json", 5),
        ("--output", "missing/result.json", 1),
        ("--receipt", "missing/receipt.json", 1),
        ("--receipt", "guest", 1),
    ],
)
def test_run_sees_to_its_files_before_it_starts_anything(
    casemate: Casemate, built: Path, option: str, name: str, code: int
) -> None:
    said = casemate("run", built, "--input", built / "input.json", option, built / name, "--json")
    assert said.code == code
    assert name in said.error["message"] or option in {"--caller", "--policy"}
    assert said.err == ""


def test_run_needs_to_know_which_entry_point(casemate: Casemate, built: Path) -> None:
    said = casemate("run", built, "--input", built / "input.json", "--entry", "nonsense")
    assert said.code == 2
    assert "rate" in said.err


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_time_beyond_the_calendar_is_no_traceback(text: str) -> None:
    with pytest.raises(TimeTextError, match="want one from the year 1 to the year 9999 in UTC"):
        time_of(text)
