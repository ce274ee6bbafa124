"""Real SEV-SNP reports, and policies for them and for simulated ones."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from casemate.testing.forge_snp import CHIP_ID
from casemate.verifier import (
    AMD_GENOA_ROOT,
    AMD_MILAN_ROOT,
    AbiVersion,
    Anchor,
    ExpectedReportData,
    PlatformDemand,
    SnpEndorsements,
    SnpEvidence,
    SnpPolicy,
    VendorRoot,
)
from casemate.wire.snp.report import PlatformInfo, SigningKey
from casemate.wire.snp.tcb import Product, TcbVersion

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def strict(root: Anchor, product: Product = Product.MILAN, **other: Any) -> SnpPolicy:
    tcb = TcbVersion(product, 4, 0, 24, 219, fmc=1 if product is Product.TURIN else None)
    chip = CHIP_ID[:8].ljust(64, b"\x00") if product is Product.TURIN else CHIP_ID
    demands: dict[str, Any] = {
        "root": root,
        "public_seed": "REFUSE_PUBLIC_SEED",
        "revocation": "REQUIRE_REVOCATION_LIST",
        "signing_keys": frozenset({SigningKey.VCEK}),
        "measurement": frozenset({b"\x01" * 48}),
        "host_data": frozenset({b"\x02" * 32}),
        "id_key_digest": frozenset({b"\x03" * 48}),
        "author_key_digest": frozenset({b"\x04" * 48}),
        "family_id": frozenset({b"\x0a" * 16}),
        "image_id": frozenset({b"\x0b" * 16}),
        "report_id": frozenset({b"\x05" * 32}),
        "chip_id": frozenset({chip}),
        "platform_info": PlatformDemand(
            frozenset({PlatformInfo.ECC_EN, PlatformInfo.ALIAS_CHECK_COMPLETE}), frozenset({PlatformInfo.TSME_EN})
        ),
        "mitigations": 0b11 if product is Product.TURIN else "ANY_MITIGATIONS",
        "vmpl": frozenset({0}),
        "minimum_guest_svn": 2,
        "debug": "REFUSE_DEBUG",
        "migration": "MUST_BE_OFF",
        "smt": "MUST_BE_OFF",
        "sockets": 1,
        "minimum_abi": AbiVersion(0, 55),
        "provisional": "REFUSE_PROVISIONAL",
        "reported_tcb": tcb,
        "committed_tcb": tcb,
        "launch_tcb": tcb,
        "current_tcb": tcb,
        "report_data": ExpectedReportData(b"\x07" * 64),
        "layers": "ANY_SANDBOX",
    }
    return SnpPolicy(**(demands | other))


def lax(root: Anchor, **other: Any) -> SnpPolicy:
    """For real reports, which were not made for this test."""
    demands: dict[str, Any] = {
        "revocation": "UNSAFE_NO_REVOCATION_LIST",
        "signing_keys": frozenset({SigningKey.VCEK, SigningKey.VLEK}),
        "measurement": "UNSAFE_ANY_GUEST",
        "host_data": "ANY_HOST_DATA",
        "id_key_digest": "ANY_ID_KEY",
        "author_key_digest": "ANY_AUTHOR_KEY",
        "family_id": "ANY_FAMILY_ID",
        "image_id": "ANY_IMAGE_ID",
        "report_id": "ANY_REPORT_ID",
        "chip_id": "ANY_CHIP",
        "platform_info": "ANY_PLATFORM",
        "mitigations": "ANY_MITIGATIONS",
        "vmpl": frozenset({0, 1}),
        "minimum_guest_svn": "ANY_GUEST_SVN",
        "migration": "ANY_MIGRATION",
        "smt": "ANY_SMT",
        "sockets": "ANY_SOCKETS",
        "minimum_abi": "ANY_ABI",
        "reported_tcb": "ANY_TCB",
        "committed_tcb": "ANY_TCB",
        "launch_tcb": "ANY_TCB",
        "current_tcb": "ANY_TCB",
        "report_data": "UNSAFE_ANY_REPORT_DATA",
        "layers": "ANY_SANDBOX",
    }
    return strict(root, **(demands | other))


REAL = {
    "milan_v2": ("milan_v2.leaf.der", "milan_vcek", AMD_MILAN_ROOT, datetime(2026, 1, 1, tzinfo=UTC)),
    "milan_v3": ("milan_v3.leaf.pem", "milan_vcek", AMD_MILAN_ROOT, datetime(2026, 6, 1, tzinfo=UTC)),
    "genoa_v3": ("genoa_v3.leaf.pem", "genoa_vcek", AMD_GENOA_ROOT, datetime(2026, 6, 1, tzinfo=UTC)),
    "milan_v3_vlek": ("milan_v3_vlek.leaf.der", "milan_vlek", AMD_MILAN_ROOT, datetime(2025, 6, 1, tzinfo=UTC)),
}


def real(vectors: Path, name: str) -> tuple[SnpEvidence, SnpEndorsements, VendorRoot, datetime]:
    from casemate.wire.encodings.pem import parse_chain

    leaf, chain, root, at = REAL[name]
    folder = vectors / "snp"
    raw = (folder / leaf).read_bytes()
    der = parse_chain("leaf", raw)[0].der if leaf.endswith(".pem") else raw
    evidence = SnpEvidence((folder / f"{name}.report.bin").read_bytes())
    return evidence, SnpEndorsements(der, (folder / f"chain_{chain}.pem").read_bytes(), None), root, at
