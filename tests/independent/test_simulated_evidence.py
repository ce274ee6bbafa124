"""Our simulated evidence before verifiers that others wrote: they accept what we accept, and refuse what we refuse."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509

from casemate.makers.intel.ledger import Ca
from casemate.testing.forge import Forged, Forgery, honest
from casemate.verifier import AcceptedStatus, RefusedError, SgxPolicy, appraise
from casemate.verifier.roots import INTEL_SGX_ROOT_CA
from casemate.wire.sgx.pck import SGX_EXTENSION_OID, PckExtension
from casemate.wire.sgx.tcb_info import TcbStatus

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SOON = NOW + timedelta(hours=1)
"""Intel's library wants documents that are older than the time of verification."""


def lenient(forged: Forged) -> SgxPolicy:
    """The forgery's policy, for any status that others let their callers decide about."""
    statuses = tuple(AcceptedStatus(status, "ANY_ADVISORY") for status in TcbStatus if status is not TcbStatus.REVOKED)
    return replace(forged.policy, tcb=statuses)


def ours(forged: Forged, now: datetime) -> str | None:
    """Our own status, None for a refusal."""
    try:
        return appraise(forged.evidence, lenient(forged), forged.collateral, now).tcb.status.value
    except RefusedError:
        return None


@pytest.mark.parametrize("ca", [Ca.PLATFORM, Ca.PROCESSOR])
@pytest.mark.parametrize("seed", [None, "a public seed"])
def test_honest_evidence_is_accepted(judge: Callable[..., Any], ca: Ca, seed: str | None) -> None:
    forged = honest(NOW, ca=ca, seed=seed).sign()
    judgement = judge(forged.evidence.quote, forged.collateral, forged.root, SOON)
    assert judgement.status == "UpToDate", judgement.complaint
    assert ours(forged, SOON) == "UpToDate"


def test_all_of_it_fails_under_intels_root(judge: Callable[..., Any]) -> None:
    forged = honest(NOW).sign()
    assert judge(forged.evidence.quote, forged.collateral, INTEL_SGX_ROOT_CA, SOON).status is None


def test_all_of_it_fails_under_another_simulated_root(judge: Callable[..., Any]) -> None:
    forged, other = honest(NOW).sign(), honest(NOW).sign()
    assert judge(forged.evidence.quote, forged.collateral, other.root, SOON).status is None


@pytest.mark.parametrize("now", [NOW + timedelta(days=31), NOW + timedelta(days=9000)])
def test_expired_evidence_is_refused(judge: Callable[..., Any], now: datetime) -> None:
    forged = honest(NOW).sign()
    assert ours(forged, now) is None
    assert judge(forged.evidence.quote, forged.collateral, forged.root, now).status is None


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]


@pytest.mark.parametrize(
    "at",
    [
        pytest.param(48 + 64, id="enclave's measurement"),
        pytest.param(48 + 320, id="report data"),
        pytest.param(440, id="signature"),
        pytest.param(436 + 70, id="attestation key"),
        pytest.param(436 + 128 + 64, id="QE report"),
        pytest.param(436 + 128 + 384 + 3, id="QE report's signature"),
        pytest.param(436 + 128 + 384 + 64 + 5, id="authentication data"),
    ],
)
def test_tampered_quotes_are_refused(judge: Callable[..., Any], at: int) -> None:
    forged = honest(NOW).sign()
    tampered = replace(forged, evidence=replace(forged.evidence, quote=flip(forged.evidence.quote, at)))
    assert ours(tampered, SOON) is None
    assert judge(tampered.evidence.quote, tampered.collateral, tampered.root, SOON).status is None


@pytest.mark.parametrize("name", ["tcb_info", "qe_identity"])
def test_tampered_documents_are_refused(judge: Callable[..., Any], name: str) -> None:
    forged = honest(NOW).sign()
    document: bytes = getattr(forged.collateral, name)
    lie = document.replace(b'"tcbEvaluationDataNumber":17', b'"tcbEvaluationDataNumber":18')
    assert lie != document
    tampered = replace(forged, collateral=replace(forged.collateral, **{name: lie}))
    assert ours(tampered, SOON) is None
    assert judge(tampered.evidence.quote, tampered.collateral, tampered.root, SOON).status is None


def revoke_pck(forgery: Forgery) -> None:
    forgery.pck_crl.serials.append(forgery.pck.serial)


def revoke_ca(forgery: Forgery) -> None:
    forgery.root_crl.serials.append(forgery.pck_ca.serial)


def revoke_tcb_signing(forgery: Forgery) -> None:
    forgery.root_crl.serials.append(forgery.tcb_signing.serial)


@pytest.mark.parametrize("revoke", [revoke_pck, revoke_ca, revoke_tcb_signing])
def test_revoked_certificates_are_refused(judge: Callable[..., Any], revoke: Callable[[Forgery], None]) -> None:
    forgery = honest(NOW)
    revoke(forgery)
    forged = forgery.sign()
    assert ours(forged, SOON) is None
    assert judge(forged.evidence.quote, forged.collateral, forged.root, SOON).status is None


def set_svns(forgery: Forgery, components: bytes, pce_svn: int) -> None:
    at, value = next(
        (at, value)
        for at, (value, _) in enumerate(forgery.pck.extensions)
        if value.oid.dotted_string == SGX_EXTENSION_OID
    )
    assert isinstance(value, x509.UnrecognizedExtension)
    pck = PckExtension.parse(value.value)
    padded = components.ljust(16, b"\x00")  # dcap-qvl compares CPUSVN itself, Intel the components
    tcb = replace(pck.tcb, components=padded, cpu_svn=padded, pce_svn=pce_svn)
    forgery.pck.extensions[at] = (x509.UnrecognizedExtension(value.oid, replace(pck, tcb=tcb).encode()), False)


@pytest.mark.parametrize(
    ("components", "pce_svn", "status"),
    [
        ("07070202ff0103", 13, "UpToDate"),
        ("09080303ffff04", 14, "UpToDate"),
        ("07070202ff0102", 13, "SWHardeningNeeded"),
        ("07070202ff0101", 13, "ConfigurationNeeded"),
        ("07070202ff0100", 13, "ConfigurationAndSWHardeningNeeded"),
        ("07060202ff0103", 13, "OutOfDate"),
        ("06060202ff0102", 13, "OutOfDateConfigurationNeeded"),
        ("07070202ff0103", 12, "OutOfDate"),
        ("07070202fe0103", 13, "OutOfDate"),
        ("01", 0, None),
    ],
)
def test_we_agree_on_what_a_tcb_is_worth(
    judge: Callable[..., Any], components: str, pce_svn: int, status: str | None
) -> None:
    forgery = honest(NOW)
    set_svns(forgery, bytes.fromhex(components), pce_svn)
    forged = forgery.sign()
    assert ours(forged, SOON) == status
    judgement = judge(forged.evidence.quote, forged.collateral, forged.root, SOON)
    assert judgement.status == status, judgement.complaint
    if status is not None and judgement.advisories is not None:
        verified = appraise(forged.evidence, lenient(forged), forged.collateral, SOON)
        assert judgement.advisories == set(verified.tcb.advisory_ids)


def test_we_agree_on_an_outdated_quoting_enclave(judge: Callable[..., Any]) -> None:
    forgery = honest(NOW)
    forgery.qe_report = replace(forgery.qe_report, isv_svn=6)
    forged = forgery.sign()
    assert ours(forged, SOON) == "OutOfDate"
    assert judge(forged.evidence.quote, forged.collateral, forged.root, SOON).status == "OutOfDate"


def test_we_agree_with_intel_on_an_outdated_quoting_enclave_that_also_needs_configuration(
    intel: Callable[..., Any],
) -> None:
    """dcap-qvl says OutOfDate here, where Intel's own library says that configuration is needed besides."""
    forgery = honest(NOW)
    forgery.qe_report = replace(forgery.qe_report, isv_svn=6)
    set_svns(forgery, bytes.fromhex("07070202ff0101"), 13)
    forged = forgery.sign()
    assert ours(forged, SOON) == "OutOfDateConfigurationNeeded"
    assert intel(forged.evidence.quote, forged.collateral, forged.root, SOON).status == "OutOfDateConfigurationNeeded"


@pytest.mark.parametrize("name", ["phala_rust", "intel"])
def test_a_chain_in_another_order_is_accepted(request: pytest.FixtureRequest, name: str) -> None:
    """Real quotes hold leaf, root, CA as well. The npm verifier takes leaf, CA, root alone."""
    judge: Callable[..., Any] = request.getfixturevalue(name)
    forgery = honest(NOW)
    forgery.order = lambda chain: (chain[0], chain[2], chain[1])
    forged = forgery.sign()
    assert ours(forged, SOON) == "UpToDate"
    assert judge(forged.evidence.quote, forged.collateral, forged.root, SOON).status == "UpToDate"
