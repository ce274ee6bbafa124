"""Forged-up SEV-SNP evidence against omne-attest, a verifier that shares no code with this project."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime

import omne_attest.snp as theirs
import pytest

from casemate.testing.forge_snp import honest_snp
from casemate.wire.encodings.pem import parse_chain
from casemate.wire.snp.tcb import Product

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def judged(report: bytes, key: bytes, chain: bytes, root_sha256: bytes) -> None:
    ask, ark = (block.der for block in parse_chain("chain", chain))
    theirs.verify(report, key, ask, ark, root_sha256, theirs.Policy(measurement=b"\x01" * 48, report_data=b"\x07" * 64))


@pytest.mark.parametrize("product", [Product.MILAN, Product.GENOA])
def test_accepts_what_the_forge_signs(product: Product) -> None:
    evidence, endorsements, root = honest_snp(NOW, product).sign()
    judged(evidence.report, endorsements.key_certificate, endorsements.chain, root.sha256)


@pytest.mark.parametrize("at", [0x00, 0x08, 0x50, 0x90, 0x180, 0x1A0, 0x2A0, 0x2E8])
def test_refuses_it_changed(at: int) -> None:
    evidence, endorsements, root = honest_snp(NOW).sign()
    damaged = bytearray(evidence.report)
    damaged[at] ^= 1
    with pytest.raises(theirs.Fail):
        judged(bytes(damaged), endorsements.key_certificate, endorsements.chain, root.sha256)


def test_refuses_it_under_another_root() -> None:
    evidence, endorsements, _ = honest_snp(NOW).sign()
    with pytest.raises(theirs.Fail):
        judged(evidence.report, endorsements.key_certificate, endorsements.chain, hashlib.sha256(b"other").digest())


def test_refuses_a_report_of_another_chip() -> None:
    forged = honest_snp(NOW)
    evidence, endorsements, root = replace(forged, report=replace(forged.report, chip_id=b"\x01" * 64)).sign()
    with pytest.raises(theirs.Fail):
        judged(evidence.report, endorsements.key_certificate, endorsements.chain, root.sha256)
