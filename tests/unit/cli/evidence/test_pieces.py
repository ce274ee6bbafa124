"""`casemate verify` with policies that are made of policies."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from tests.rigs.command_line import Casemate
from tests.rigs.verifier.snp import strict

from casemate.client.binding_file import encode_binding
from casemate.testing.forge import honest
from casemate.testing.forge_snp import honest_snp
from casemate.verifier import AllOfPolicy, AnyOfPolicy, CodeIdentity, SgxPolicy, SnpPolicy, print_any_policy
from casemate.wire.encodings.pem import encode_chain
from casemate.wire.protocol.report_data import ReportDataBinding
from casemate.wire.sgx.quote import Quote
from casemate.wire.snp.paravirtual import FAMILY_ID
from casemate.wire.snp.report import SnpReport


class Pieces:
    """A quote and a report that answer one challenge, in files named as `casemate quote` names them."""

    def __init__(self, folder: Path, now: datetime) -> None:
        self.folder = folder
        forgery = honest(now)
        forged = forgery.sign()
        bound = forged.evidence.bound
        assert bound is not None
        binding = ReportDataBinding(bound.hpke_key, bound.receipt_key, forgery.nonce, bound.layers)
        report, endorsements, root = (
            honest_snp(now)
            .change(lambda report: replace(report, report_data=binding.report_data(), family_id=FAMILY_ID))
            .sign()
        )
        self.nonce = forgery.nonce.hex()
        measurement = SnpReport.parse(report.report).measurement
        self.code = CodeIdentity(Quote.parse(forged.evidence.quote).body.mr_enclave, measurement)
        self.sgx: SgxPolicy = replace(forged.policy, report_data="FRESH_NONCE")
        self.snp: SnpPolicy = strict(
            root,
            report_data="FRESH_NONCE",
            family_id=frozenset({FAMILY_ID}),
            measurement=frozenset({measurement}),
        )
        for name, content in {
            "quote": forged.evidence.quote,
            "quote.collateral.json": forged.collateral.encode(),
            "quote.binding.json": encode_binding(binding),
            "report": report.report,
            "report.pem": encode_chain(endorsements.key_certificate) + endorsements.chain,
            "report.crl": endorsements.revocation_list or b"",
            "report.binding.json": encode_binding(binding),
        }.items():
            (folder / name).write_bytes(content)

    def policy(self, policy: SgxPolicy | AnyOfPolicy | AllOfPolicy) -> Path:
        path = self.folder / "policy.toml"
        path.write_text(print_any_policy(policy))
        return path

    def all_of(self) -> AllOfPolicy:
        return AllOfPolicy((self.sgx, self.snp), frozenset({self.code}))

    @property
    def both(self) -> tuple[object, ...]:
        return ("verify", self.folder / "quote", self.folder / "report", "--policy")

    @property
    def one(self) -> tuple[object, ...]:
        collateral, binding = self.folder / "quote.collateral.json", self.folder / "quote.binding.json"
        return ("verify", self.folder / "quote", "--collateral", collateral, "--binding", binding, "--policy")


@pytest.fixture
def pieces(tmp_path: Path, now: datetime) -> Pieces:
    return Pieces(tmp_path, now)


def test_any_of_accepts_quotes_and_reports(casemate: Casemate, pieces: Pieces) -> None:
    policy = pieces.policy(AnyOfPolicy((pieces.snp, pieces.sgx)))
    said = casemate(*pieces.one, policy, "--json", "--explain")
    assert said.code == 0, said
    assert said.json["evidence"]["tee"] == "sgx"
    assert said.json["found"]["verified"] is True
    assert all(group["title"].startswith("member 2 (SGX): ") for group in said.json["checks"])
    report, certificates = pieces.folder / "report", pieces.folder / "report.pem"
    options = ("--revocation-list", pieces.folder / "report.crl", "--binding", pieces.folder / "report.binding.json")
    said = casemate("verify", report, "--certificates", certificates, *options, "--policy", policy, "--json")
    assert said.code == 0, said
    assert said.json["evidence"]["tee"] == "snp"
    assert said.json["found"]["tcb"]["reported"]["minimum"]["snp"] == 24


def test_a_refusal_by_any_of_has_each_members_rule(casemate: Casemate, pieces: Pieces) -> None:
    policy = pieces.policy(AnyOfPolicy((pieces.snp, replace(pieces.sgx, minimum_svn=9))))
    said = casemate(*pieces.one, policy, "--json")
    assert said.code == 3
    assert said.error["rule"] == "policy.any-of"
    assert [(each["member"], each["rule"]) for each in said.error["members"]] == [
        ("member 1 (SEV-SNP)", "evidence.kind"),
        ("member 2 (SGX)", "enclave.svn"),
    ]
    assert said.error["members"][1]["got"] == "3"
    person = casemate(*pieces.one, policy)
    assert person.code == 3
    assert "enclave.svn: got 3, want 9 or above" in person.err


def test_evidence_of_two_makers_is_accepted_together(casemate: Casemate, pieces: Pieces) -> None:
    policy = pieces.policy(pieces.all_of())
    for asked in (pieces.both, ("verify", pieces.folder / "report", pieces.folder / "quote", "--policy")):
        said = casemate(*asked, policy, "--json")
        assert said.code == 0, said
        assert [each["tee"] for each in said.json["evidence"]] == ["sgx", "snp"]
        assert said.json["code"]["mr_enclave"] == pieces.code.mr_enclave.hex()
        assert all(each["verified"] for each in said.json["found"])
    assert casemate(*pieces.both, policy, "--nonce", pieces.nonce).code == 0
    person = casemate(*pieces.both, policy)
    assert "accepted together" in person.out
    assert "SIMULATED_ROOT" in person.err


def test_evidence_that_is_not_of_one_code_is_refused(casemate: Casemate, pieces: Pieces) -> None:
    other = replace(pieces.all_of(), code=frozenset({replace(pieces.code, launch_digest=bytes(48))}))
    said = casemate(*pieces.both, pieces.policy(other), "--json")
    assert said.code == 3
    assert said.error["rule"] == "policy.one-code"
    assert [each["verified"] for each in said.json["found"]] == [False, False]
    person = casemate(*pieces.both, pieces.policy(other))
    assert "policy.one-code" in person.err


def test_a_challenge_that_was_not_answered_is_refused(casemate: Casemate, pieces: Pieces) -> None:
    policy = pieces.policy(pieces.all_of())
    said = casemate(*pieces.both, policy, "--nonce", "00" * 32, "--json")
    assert said.code == 3
    assert {each["rule"] for each in said.error["members"]} == {"binding.report-data"}
    other = pieces.folder / "report.binding.json"
    other.write_text(other.read_text().replace(pieces.nonce, "00" * 32))
    said = casemate(*pieces.both, policy, "--json")
    assert said.code == 5
    assert "different challenges" in said.error["message"]


def test_missing_files_beside_a_piece_are_refused_by_a_rule_or_named(casemate: Casemate, pieces: Pieces) -> None:
    policy = pieces.policy(pieces.all_of())
    (pieces.folder / "quote.collateral.json").unlink()
    said = casemate(*pieces.both, policy, "--json")
    assert said.code == 3
    assert said.error["members"][0]["rule"] == "collateral.present"
    (pieces.folder / "report.pem").unlink()
    said = casemate(*pieces.both, policy, "--json")
    assert said.code == 5
    assert "report.pem" in said.error["message"]


@pytest.mark.parametrize(
    "options", [("--explain",), ("--collateral", "quote"), ("--certificates", "quote"), ("--binding", "quote")]
)
def test_options_for_one_piece_are_wrong_usage_with_several(
    casemate: Casemate, pieces: Pieces, options: tuple[str, ...]
) -> None:
    given = [pieces.folder / word if word == "quote" else word for word in options]
    assert casemate(*pieces.both, pieces.policy(pieces.all_of()), *given).code == 2


def test_policies_for_one_and_for_several_are_told_apart(casemate: Casemate, pieces: Pieces) -> None:
    said = casemate(*pieces.one, pieces.policy(pieces.all_of()), "--json")
    assert said.code == 5
    assert "2 pieces of evidence together" in said.error["message"]
    said = casemate(*pieces.both, pieces.policy(pieces.sgx), "--json")
    assert said.code == 5
    assert "want all_of" in said.error["message"]
    said = casemate(
        "verify",
        pieces.folder / "quote",
        pieces.folder / "report.pem",
        "--policy",
        pieces.policy(pieces.all_of()),
        "--json",
    )
    assert said.code == 5
    assert "a certificate" in said.error["message"]
    any_of = pieces.policy(AnyOfPolicy((pieces.sgx,)))
    said = casemate("verify", "--ra-tls", pieces.folder / "report.pem", "--policy", any_of, "--json")
    assert said.code == 5
    assert "made of policies" in said.error["message"]
    said = casemate("verify", any_of, "--policy", any_of, "--json")
    assert "a policy made of policies" in said.error["message"]
