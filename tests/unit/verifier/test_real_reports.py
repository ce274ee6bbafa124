"""Real SEV-SNP reports, keys and chains give what the README beside them says, which others wrote."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.rigs.verifier.snp import REAL, lax, real

from casemate.verifier import (
    AMD_GENOA_ROOT,
    AMD_MILAN_ROOT,
    AMD_TURIN_ROOT,
    SnpEndorsements,
    VendorRoot,
    appraise_snp,
    explain_snp,
)
from casemate.verifier.checks import Trail
from casemate.verifier.snp.certificates import issued_by, parse_amd_certificate
from casemate.verifier.snp.chain import check_amd_chain
from casemate.wire.encodings.pem import parse_chain
from casemate.wire.snp.key_certificate import KeyCertificate
from casemate.wire.snp.report import SigningKey, SnpReport
from casemate.wire.snp.tcb import Product

ROOTS = {"milan": AMD_MILAN_ROOT, "genoa": AMD_GENOA_ROOT, "turin": AMD_TURIN_ROOT}


def said_of(vectors: Path, file: str) -> str:
    """What the README says is expected of a file."""
    text = (vectors / "README.md").read_text()
    return text.split(f"### `snp/{file}`", 1)[1].split("\n### ", 1)[0]


@pytest.mark.parametrize("name", REAL)
def test_a_report_says_what_is_expected_of_it(vectors: Path, name: str) -> None:
    expected = said_of(vectors, f"{name}.report.bin")
    evidence, endorsements, root, at = real(vectors, name)
    report = SnpReport.parse(evidence.report)
    policy = lax(root, debug="UNSAFE_ALLOW_DEBUG", provisional="ANY_PROVISIONAL")
    verified = appraise_snp(evidence, policy, endorsements, at)
    shown = {
        "version": str(report.version),
        "guest_svn": str(verified.report.guest_svn),
        "policy": f"{verified.report.policy:#x}",
        "vmpl": str(verified.report.vmpl),
        "signer_info": f"{report.key_info:#x}",
        "measurement": verified.measurement.hex(),
        "report_data": verified.report.report_data.hex(),
        "reported_tcb": verified.reported_tcb.encode().hex(),
        "chip_id": verified.report.chip_id.hex(),
    }
    told = dict(re.findall(r"\b(\w+)=(\S+)", expected))
    assert {key: told[key] for key in shown} == shown
    assert explain_snp(evidence, policy, endorsements, at).refusal is None
    (window,) = re.findall(r"valid (\S+)\.\.(\S+);", expected)
    key = parse_amd_certificate(endorsements.key_certificate)
    assert (str(key.not_before.date()), str(key.not_after.date())) == window


@pytest.mark.parametrize("kind", ["vcek", "vlek"])
@pytest.mark.parametrize("product", list(ROOTS))
def test_a_chain_is_of_the_root_that_is_built_in(vectors: Path, product: str, kind: str) -> None:
    pem = (vectors / "snp" / f"chain_{product}_{kind}.pem").read_bytes()
    issuer, root = (parse_amd_certificate(block.der) for block in parse_chain("chain", pem))
    assert root.sha256 == ROOTS[product].sha256
    for certificate in (issuer, root):
        assert certificate.pss_sha384
        assert certificate.is_rsa_4096
        assert issued_by(root.public_key, certificate.signature, certificate.signed)
    assert not issued_by(issuer.public_key, issuer.signature, issuer.signed)


def key_alone(
    vectors: Path, file: str, chain: str, root: VendorRoot, at: datetime
) -> tuple[KeyCertificate, SigningKey]:
    """What a key's certificate says, once its chain has been followed."""
    raw = (vectors / "snp" / file).read_bytes()
    given = SnpEndorsements(raw, (vectors / "snp" / chain).read_bytes(), None)
    found = check_amd_chain(Trail(thorough=False), given, lax(root), at)
    return KeyCertificate.parse(found.leaf.extensions), found.kind


def test_a_key_of_turin_has_a_short_chip_id_and_a_part_more(vectors: Path) -> None:
    at = datetime(2026, 6, 1, tzinfo=UTC)
    key, kind = key_alone(vectors, "turin_leaf_only.der", "chain_turin_vcek.pem", AMD_TURIN_ROOT, at)
    assert (key.product, kind) == (Product.TURIN, SigningKey.VCEK)
    assert key.hw_id is not None
    assert len(key.hw_id) == 8
    assert key.tcb.fmc is not None
