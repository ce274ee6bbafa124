"""What an image demands of the enclaves that it calls, and of those that call it."""

import pytest
from tests.rigs.manifest_cases import ALICE, BILLING, FILES, PYTHON, TEXT

from casemate.cli.inspection.manifest_facts import manifest_facts
from casemate.verifier.roots import INTEL_SGX_ROOT
from casemate.wire.protocol.caller_key import parse_caller_key
from casemate.wire.protocol.capabilities.uses import (
    MAX_USES,
    DeploymentDemand,
    EnclaveCaller,
    EvidenceDemand,
    LayersDemand,
    MakerRoot,
    MeasurementDemand,
    PeerDemands,
    Same,
    ServiceDemand,
    SignerDemand,
    SimulatedRoot,
    Use,
)
from casemate.wire.protocol.manifest import Manifest
from casemate.wire.protocol.manifest_table import ManifestError
from casemate.wire.protocol.manifest_text import parse_manifest
from casemate.wire.protocol.sandbox_layers import LayerName
from casemate.wire.sgx.tcb_info import TcbStatus

NO_LAYERS = LayersDemand(frozenset(), frozenset())


def _parse(old: str = "", new: str = "") -> Manifest:
    assert old in TEXT
    return parse_manifest(TEXT.replace(old, new, 1).encode(), FILES.get)


@pytest.mark.parametrize("text", [TEXT, PYTHON], ids=["javascript", "python"])
def test_an_enclave_is_used_by_its_signer_product_and_version(text: str) -> None:
    manifest = parse_manifest(text.encode(), FILES.get)
    signer = SignerDemand(Same.SIGNER, product_id=3, min_security_version=2)
    assert manifest.uses == (Use("billing", PeerDemands(signer, NO_LAYERS, None, None), ("charge",), ()),)
    assert manifest.use("billing") is manifest.uses[0]
    assert manifest.use("shop") is None


def test_an_enclave_is_a_caller_beside_those_with_keys() -> None:
    manifest = _parse('callers = ["alice"]', 'callers = ["shop", "alice"]')
    signer = SignerDemand(Same.SIGNER, product_id=4, min_security_version=1)
    shop = EnclaveCaller("shop", PeerDemands(signer, NO_LAYERS, None, None))
    assert [caller.name for caller in manifest.callers] == ["alice"]
    assert manifest.enclave_callers == (shop,)
    entry = manifest.entries[0]
    assert entry.enclaves == (shop,)
    assert entry.admits_enclave("shop")
    assert not entry.admits_enclave("alice")
    assert not entry.admits_enclave(None)
    assert entry.admits(manifest.callers[0].public_key)


def test_an_entry_point_may_be_for_enclaves_alone() -> None:
    entry = _parse('callers = ["alice"]', 'callers = ["shop"]').entries[0]
    assert entry.callers == ()
    assert not entry.admits(None)
    assert not entry.admits(parse_caller_key("alice", f"ed25519:{ALICE}"))


def test_an_enclave_that_no_table_names_may_call_what_anyone_may() -> None:
    assert not _parse().entries[0].admits_enclave("shop")
    assert _parse('callers = ["alice"]', 'callers = "anyone"').entries[0].admits_enclave(None)


@pytest.mark.parametrize(
    ("written", "identity"),
    [
        (f'mrenclave = "{"ab" * 32}"\n', MeasurementDemand(bytes.fromhex("ab" * 32))),
        ('service = "casemate:crypto"\n', ServiceDemand("crypto")),
        (BILLING.replace("same", "cd" * 32), SignerDemand(bytes.fromhex("cd" * 32), 3, 2)),
    ],
)
def test_an_identity_is_one_of_three(written: str, identity: object) -> None:
    assert _parse(BILLING, written).uses[0].demands.identity == identity


def test_all_that_may_be_demanded() -> None:
    more = f"""layers = {{ enclave = ["seccomp"], guest = ["landlock", "seccomp"] }}
owner = "ed25519:{ALICE}"
deployment = "billing"
evidence.root = "INTEL_SGX_ROOT"
evidence.tcb_statuses = ["UpToDate", "SWHardeningNeeded"]
evidence.min_evaluation_number = 17
evidence.max_age_days = 30
"""
    demands = _parse(BILLING, BILLING + more).uses[0].demands
    assert demands.layers == LayersDemand(
        frozenset({LayerName.SECCOMP}), frozenset({LayerName.LANDLOCK, LayerName.SECCOMP})
    )
    assert demands.deployment == DeploymentDemand(parse_caller_key("owner", f"ed25519:{ALICE}"), "billing")
    statuses = (TcbStatus.UP_TO_DATE, TcbStatus.SW_HARDENING_NEEDED)
    assert demands.evidence == EvidenceDemand(MakerRoot.INTEL_SGX_ROOT, statuses, 17, 30)
    simulated = more.replace('"INTEL_SGX_ROOT"', f'{{ simulated_sha256 = "{"ef" * 32}" }}')
    found = _parse(BILLING, BILLING + simulated).uses[0].demands.evidence
    assert found is not None
    assert found.root == SimulatedRoot(bytes.fromhex("ef" * 32))


def test_a_makers_root_has_the_name_that_policies_have_for_it() -> None:
    assert list(MakerRoot) == [INTEL_SGX_ROOT.name]


@pytest.mark.parametrize(
    ("written", "advice"),
    [
        ("", 'write mrsigner = "same"'),
        ('mrenclave = "same"\n', 'write mrsigner = "same": a measurement cannot contain itself, nor two'),
        (f'mrenclave = "{"ab" * 32}"\nproduct_id = 3\n', "remove product_id: mrenclave names one build"),
        (f'mrenclave = "{"ab" * 32}"\nmrsigner = "same"\n', "keep one"),
    ],
)
def test_a_mistake_is_told_what_to_write(written: str, advice: str) -> None:
    with pytest.raises(ManifestError) as told:
        _parse(BILLING, written)
    assert advice in told.value.advice


def test_no_more_enclaves_are_used_than_anybody_audits() -> None:
    more = "".join(f'[uses.u-{number}]\nmrenclave = "{"ab" * 32}"\noperations = ["x"]\n' for number in range(MAX_USES))
    with pytest.raises(ManifestError, match=r"uses\.\* is 65 of them, want at most 64"):
        _parse("[uses.billing]", f"{more}[uses.billing]")


def test_what_is_demanded_is_shown_in_words() -> None:
    more = """layers.guest = ["seccomp"]
evidence.root = "INTEL_SGX_ROOT"
evidence.tcb_statuses = ["UpToDate"]
evidence.min_evaluation_number = 17
evidence.max_age_days = 30
"""
    facts = dict(manifest_facts(_parse(BILLING, BILLING + more)))
    assert facts["calls billing"] == (
        "charge; of product 3 of the same signer, version 2 or later, seccomp around its guest's, on the same chip or "
        "below root INTEL_SGX_ROOT with status UpToDate, evaluation number 17 or above, collateral of at most 30 days"
    )
    assert facts["called by shop"] == "product 4 of the same signer, version 1 or later, on the same chip"
