"""The verifier in enclaves: loaded when the chip asks for it, and then at the service of confined processes."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from tests.rigs.verifier.snp import strict

from casemate.enclave import appraisal
from casemate.enclave.appraisal import rehearse_appraisal
from casemate.enclave.rehearsal import RehearsalError
from casemate.testing.forge import honest
from casemate.testing.forge_snp import honest_snp
from casemate.testing.lone_spawner import LoneSpawner, lone_spawner, shared_engine
from casemate.verifier import ExpectedReportData, print_policy, print_snp_policy
from casemate.wire.messages.leaf import OptionalPart
from casemate.wire.messages.spawner import SpawnerReady
from casemate.wire.sgx.quote import Quote

NOW = datetime(2026, 11, 1, tzinfo=UTC)
APPRAISE = """
import sys
from datetime import UTC, datetime
from casemate.verifier import SgxEvidence, SnpEndorsements, SnpEvidence, appraise_any, parse_any_policy
from casemate.wire.sgx.collateral import Collateral
appraise_any({evidence}, parse_any_policy({policy!r}), {endorsements}, datetime(2026, 11, 1, tzinfo=UTC))
"""


def of_sgx() -> str:
    """A statement that appraises an honest quote."""
    forged = honest(NOW).sign()
    report_data = ExpectedReportData(Quote.parse(forged.evidence.quote).body.report_data)
    collateral = ", ".join(repr(getattr(forged.collateral, name)) for name in forged.collateral.__slots__)
    return APPRAISE.format(
        evidence=f"SgxEvidence({forged.evidence.quote!r}, None)",
        policy=print_policy(replace(forged.policy, report_data=report_data, layers="UNSAFE_ANY_SANDBOX")),
        endorsements=f"Collateral({collateral})",
    )


def of_snp() -> str:
    """A statement that appraises an honest report."""
    evidence, endorsements, root = honest_snp(NOW).sign()
    given = endorsements.key_certificate, endorsements.chain, endorsements.revocation_list
    return APPRAISE.format(
        evidence=f"SnpEvidence({evidence.report!r}, None)",
        policy=print_snp_policy(strict(root)),
        endorsements=f"SnpEndorsements(*{given!r})",
    )


@pytest.fixture(scope="module")
def spawner() -> Iterator[LoneSpawner]:
    with lone_spawner(shared_engine(), pool=0) as spawner:
        yield spawner


START = """
import sys
from casemate.spawner.enclave_code import import_enclave
import_enclave()
print([name for name in sys.modules if name.startswith("casemate.verifier")])
"""


def test_no_enclave_has_the_verifier_until_it_is_loaded() -> None:
    done = subprocess.run([sys.executable, "-"], input=START, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_confined_enclaves_appraise_evidence_once_the_verifier_is_loaded(spawner: LoneSpawner) -> None:
    early = spawner.spawn()
    for _ in range(2):
        assert spawner.load(OptionalPart.VERIFIER) == SpawnerReady()
    late = spawner.spawn()
    for statement in (of_sgx(), of_snp()):
        assert late.order(do="try", what=statement) == "done"
        assert early.order(do="try", what=statement) in ("PermissionError", "ModuleNotFoundError")
        assert late.order(do="try", what=statement.replace("2026, 11", "2036, 11")) == "RefusedError"


LIFE = """
import sys
from casemate.enclave.parts import load
from casemate.wire.messages.leaf import OptionalPart
load(OptionalPart.VERIFIER)
met = []
sys.addaudithook(lambda event, arguments: event in ("import", "open") and met.append((event, str(arguments[0]))))
{statements}
print(sorted(set(met)))
"""


def test_appraising_imports_and_opens_nothing_more() -> None:
    life = LIFE.format(statements=of_sgx() + of_snp())
    done = subprocess.run([sys.executable, "-"], input=life, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_a_library_that_takes_any_signature_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(appraisal, "issued_by", lambda *_: True)
    with pytest.raises(RehearsalError, match="nobody made"):
        rehearse_appraisal()
