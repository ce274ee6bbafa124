import re
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import casemate
from casemate.testing.forge import honest
from casemate.testing.forge_snp import honest_snp
from casemate.verifier import VerifiedCertificate, VerifiedSgxEvidence, VerifiedSnpEvidence, appraise
from casemate.verifier.checks import Trail

SOURCES = Path(casemate.__file__).parent
NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize("verified", [VerifiedSgxEvidence, VerifiedSnpEvidence, VerifiedCertificate])
@pytest.mark.parametrize("passed", [None, True, object()])
def test_verified_evidence_is_not_made_by_hand(verified: Any, passed: object) -> None:
    values = {field.name: None for field in fields(verified)}
    with pytest.raises(TypeError, match="by an appraisal alone"):
        verified(**values, passed=passed)


def test_verified_evidence_is_not_changed_by_hand() -> None:
    forged = honest(NOW).sign()
    verified: Any = appraise(forged.evidence, forged.policy, forged.collateral, NOW)
    with pytest.raises((TypeError, ValueError), match="passed"):
        replace(verified, simulated=False)


def test_a_trail_that_goes_on_after_a_refusal_gives_no_verdict() -> None:
    with pytest.raises(TypeError, match="no verdict"):
        Trail(thorough=True).passed()


def test_the_end_of_an_appraisal_alone_makes_verified_evidence() -> None:
    makers = [
        path.relative_to(SOURCES).as_posix()
        for path in sorted(SOURCES.rglob("*.py"))
        for line in path.read_text().splitlines()
        if re.search(r"\btrail\.passed\(|\bPassed\(\)|__new__\(Verified(Sgx|Snp|Certificate)", line)
    ]
    assert makers == [
        "verifier/checks.py",
        "verifier/ra_tls.py",
        "verifier/sgx/appraisal.py",
        "verifier/snp/appraisal.py",
    ]


def test_verified_evidence_holds_what_was_appraised() -> None:
    forged = honest(NOW).sign()
    verified = appraise(forged.evidence, forged.policy, forged.collateral, NOW)
    assert verified.report.mr_enclave == verified.mr_enclave == verified.measurement
    assert verified.chain.root.sha256 == forged.policy.root.sha256  # type: ignore[union-attr]
    assert honest_snp(NOW).report.version == 3
