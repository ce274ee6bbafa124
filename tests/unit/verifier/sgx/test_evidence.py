import re
from pathlib import Path

import pytest

import casemate
from casemate.verifier import VerifiedSgxEvidence

SOURCES = Path(casemate.__file__).parent


def test_verified_evidence_has_no_public_constructor() -> None:
    with pytest.raises(TypeError, match="appraise alone"):
        VerifiedSgxEvidence()


def test_verified_evidence_has_one_maker_and_it_is_called_once() -> None:
    calls = [
        path.relative_to(SOURCES).as_posix()
        for path in sorted(SOURCES.rglob("*.py"))
        for line in path.read_text().splitlines()
        if re.search(r"\bvouch_for\(|__new__\(VerifiedSgxEvidence", line)
    ]
    assert calls == ["verifier/sgx/appraisal.py", "verifier/sgx/evidence.py", "verifier/sgx/evidence.py"]
