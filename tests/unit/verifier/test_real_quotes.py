"""Quotes of real processors, at the times for which their collateral is known to be good or bad."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.rigs.verifier.real_quotes import GOOD_TIME, load, policy

from casemate.verifier import (
    CheckOutcome,
    RefusedError,
    Rule,
    SgxEvidence,
    SgxPolicy,
    SimulatedRoot,
    appraise,
    explain,
)
from casemate.verifier.chains import CHAIN_RULES
from casemate.verifier.common_demands import ExpectedReportData
from casemate.verifier.roots import INTEL_SGX_ROOT_CA
from casemate.verifier.sgx.policy import AcceptedStatus
from casemate.wire.encodings.pem import parse_chain
from casemate.wire.sgx.collateral import Collateral
from casemate.wire.sgx.tcb_info import TcbStatus

MR_ENCLAVE = bytes.fromhex("33d8736db756ed4997e04ba358d27833188f1932ff7b1d156904d3f560452fbb")


def refusal(evidence: SgxEvidence, demands: SgxPolicy, collateral: Collateral | None, now: datetime) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        appraise(evidence, demands, collateral, now)
    return caught.value


def test_real_quote_has_the_status_that_other_verifiers_find(vectors: Path) -> None:
    evidence, collateral = load(vectors, "sgx_v3_processor_ca")
    expected = ExpectedReportData(b"Hello, world!".ljust(64, b"\x00"))
    demands = policy(mr_enclave=frozenset({MR_ENCLAVE}), report_data=expected)
    verified = appraise(evidence, demands, collateral, GOOD_TIME)
    assert verified.tcb.status is TcbStatus.CONFIGURATION_AND_SW_HARDENING_NEEDED
    assert verified.tcb.advisory_ids == ("INTEL-SA-00289", "INTEL-SA-00615")
    assert (verified.root, verified.simulated, verified.seeded) == ("INTEL_SGX_ROOT", False, False)
    assert verified.platform.fmspc.hex() == "00a067110000"
    assert verified.expires_at == datetime(2025, 7, 19, 10, 1, 18, tzinfo=UTC)


def test_real_quote_is_refused_by_a_policy_that_wants_more(vectors: Path) -> None:
    evidence, collateral = load(vectors, "sgx_v3_processor_ca")
    strict = policy(tcb=(AcceptedStatus(TcbStatus.UP_TO_DATE, "ANY_ADVISORY"),))
    assert refusal(evidence, strict, collateral, GOOD_TIME).rule is Rule.TCB_STATUS


@pytest.mark.parametrize(
    ("moment", "rule"),
    [
        ("2025-06-19T10:56:10Z", Rule.TCB_INFO_WINDOW),
        ("2025-07-19T10:01:19Z", Rule.QE_IDENTITY_WINDOW),
        ("2025-07-22T10:01:18Z", Rule.CRL_WINDOW),
        ("2035-01-01T00:00:00Z", Rule.CHAIN_VALIDITY),
        ("2020-01-01T00:00:00Z", Rule.CHAIN_VALIDITY),
    ],
)
def test_real_quote_is_refused_at_other_times(vectors: Path, moment: str, rule: Rule) -> None:
    evidence, collateral = load(vectors, "sgx_v3_processor_ca")
    assert refusal(evidence, policy(), collateral, datetime.fromisoformat(moment)).rule is rule


def test_real_quote_is_accepted_to_the_last_second(vectors: Path) -> None:
    evidence, collateral = load(vectors, "sgx_v3_processor_ca")
    for moment in ("2025-06-19T10:56:11Z", "2025-07-19T10:01:18Z"):
        appraise(evidence, policy(), collateral, datetime.fromisoformat(moment))


def test_wrong_and_stale_revocation_list_is_refused(vectors: Path) -> None:
    evidence, collateral = load(vectors, "sgx_v3_stale_crl")
    now = datetime.fromtimestamp(1670200000, UTC)
    demands = policy(debug="UNSAFE_ALLOW_DEBUG")
    assert refusal(evidence, demands, collateral, now).rule is Rule.CRL_ISSUER
    tree = explain(evidence, demands, collateral, now)
    refused = [check.rule for check in tree.checks() if check.outcome is CheckOutcome.REFUSED]
    assert refused == [Rule.CRL_ISSUER]
    passed = {check.rule for check in tree.checks() if check.outcome is CheckOutcome.PASSED}
    assert {
        Rule.QUOTE_SIGNATURE,
        Rule.QE_REPORT_SIGNATURE,
        Rule.TCB_INFO_SIGNATURE,
        Rule.QE_IDENTITY_SIGNATURE,
    } <= passed


def test_quote_without_collateral_proves_its_signatures_and_no_more(vectors: Path) -> None:
    evidence = SgxEvidence((vectors / "sgx" / "sgx_v3_no_collateral.bin").read_bytes(), None)
    now = datetime(2024, 1, 1, tzinfo=UTC)
    assert refusal(evidence, policy(), None, now).rule is Rule.COLLATERAL_PRESENT
    tree = explain(evidence, policy(), None, now)
    passed = {check.rule for check in tree.checks() if check.outcome is CheckOutcome.PASSED}
    assert {*CHAIN_RULES, Rule.QE_REPORT_SIGNATURE, Rule.QE_ATTESTATION_KEY, Rule.QUOTE_SIGNATURE} <= passed
    reached = {check.rule for check in tree.checks() if check.outcome is not CheckOutcome.NOT_REACHED}
    assert Rule.TCB_STATUS not in reached


def test_collateral_of_another_platform_is_refused(vectors: Path) -> None:
    evidence = SgxEvidence((vectors / "sgx" / "sgx_v3_no_collateral.bin").read_bytes(), None)
    _, collateral = load(vectors, "sgx_v3_processor_ca")
    assert refusal(evidence, policy(), collateral, GOOD_TIME).rule is Rule.CRL_ISSUER


def test_collateral_of_tdx_is_refused(vectors: Path) -> None:
    evidence, _ = load(vectors, "sgx_v3_processor_ca")
    collateral = Collateral.parse((vectors / "tdx" / "tdx_v4_b0c06f_2025_06.collateral.json").read_bytes())
    tree = explain(evidence, policy(), collateral, GOOD_TIME)
    refused = {check.rule for check in tree.checks() if check.outcome is CheckOutcome.REFUSED}
    assert {Rule.TCB_INFO_ID, Rule.QE_IDENTITY_ID, Rule.TCB_INFO_FMSPC} <= refused


def test_tdx_quotes_are_refused_as_such(vectors: Path) -> None:
    for path in sorted((vectors / "tdx").glob("*.bin")):
        evidence = SgxEvidence(path.read_bytes(), None)
        assert refusal(evidence, policy(), None, GOOD_TIME).rule is Rule.QUOTE_VERSION


def test_real_quote_is_refused_under_a_simulated_root(vectors: Path) -> None:
    evidence, collateral = load(vectors, "sgx_v3_processor_ca")
    named = policy(root=SimulatedRoot.of(INTEL_SGX_ROOT_CA))
    assert refusal(evidence, named, collateral, GOOD_TIME).rule is Rule.CHAIN_SIMULATED


def test_built_in_root_is_the_one_in_real_chains(vectors: Path) -> None:
    _, collateral = load(vectors, "sgx_v3_processor_ca")
    assert parse_chain("chain", collateral.tcb_info_issuer_chain)[-1].der == INTEL_SGX_ROOT_CA


def test_remembered_collateral_still_runs_out(vectors: Path) -> None:
    evidence, collateral = load(vectors, "sgx_v3_processor_ca")
    for _ in range(2):
        appraise(evidence, policy(), collateral, GOOD_TIME)
        late = datetime(2035, 1, 1, tzinfo=UTC)
        assert refusal(evidence, policy(), collateral, late).rule is Rule.CHAIN_VALIDITY
