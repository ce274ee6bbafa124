"""SEV-SNP: launch digests against sev-snp-measure, reports against their bare signature and omne-attest."""

import asyncio
import hashlib
import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.figures import Kind, Row, Stats, Target, interleave, timed
from bench.lab import Lab
from bench.verification import forget
from casemate.chip.snp.platform import ReportedGuest, SnpPlatform
from casemate.cli.files import opened_file
from casemate.cli.snp.firmware_hashes import hash_on_two_processors
from casemate.testing.firmware import make_ovmf
from casemate.testing.snp_maker import SnpMaker, snp_chip, snp_guest, snp_office
from casemate.verifier import ExpectedReportData, SnpEndorsements, SnpEvidence, SnpPolicy, appraise_snp
from casemate.wire.encodings.pem import parse_chain
from casemate.wire.snp.launch import GuestShape, launch_digest
from casemate.wire.snp.ovmf import MAX_OVMF, parse_ovmf
from casemate.wire.snp.page_info import PAGE_SIZE
from casemate.wire.snp.report import SIGNED_SIZE, SigningKey
from casemate.wire.snp.tcb import Product
from casemate.wire.snp.vmm import VCPU_TYPES, Vmm

THRICE = Target(Kind.RATIO, 1 / 3, "at least 3x as fast")
TWO_AND_A_HALF = Target(Kind.RATIO, 1 / 2.5, "at least 2.5x as fast")
SIGNED = Target(Kind.OVER, 0.5, "≤ +0.5 ms")
"""A report should take as long as its signature; half a millisecond is allowed for the rest."""
AS_FAST = Target(Kind.RATIO, 1, "≤ 1x")
MIB = 1 << 20
CODE = 4 * MIB
"""Size of the code in OVMF; the rest of a larger flash image is padding."""
SIGNATURE = "its one signature (ECDSA P-384, RFC 6979)"
OMNE = "omne-attest, the same report and chain"
IBM = "sev-snp-measure, the same file"
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def snp(lab: Lab) -> list[Row]:
    """Launch digests, then reports."""
    return [*_digests(lab), *_reports(lab)]


def _digests(lab: Lab) -> list[Row]:
    """Launch digests, computed from the firmware's file."""
    found: list[Row] = []
    filled = b"\xff" * (MAX_OVMF - CODE) + make_ovmf(CODE // PAGE_SIZE)
    images = (
        ("as firmware is, filling above 4 MiB", filled, THRICE),
        ("no two pages alike", _noise(), TWO_AND_A_HALF),
    )
    for name, image, target in images:
        path = lab.folder / f"{len(found)}.fd"
        path.write_bytes(image)
        pages = [image[at : at + PAGE_SIZE] for at in range(0, len(image), PAGE_SIZE)]
        ours_s, hashes_s, *theirs_s = interleave(
            lab.rounds.pages,
            timed(lambda path=path: _ours(path)),  # type: ignore[misc] # mypy infers no lambda with a default
            timed(lambda pages=pages: [hashlib.sha384(page).digest() for page in pages]),  # type: ignore[misc]
            *_theirs(path),
        )
        theirs = Stats.of_seconds(theirs_s[0]) if theirs_s else None
        hashes = Stats.of_seconds(hashes_s)
        found.append(
            Row(
                "snp",
                f"launch digest of {MAX_OVMF // MIB} MiB, {name}",
                "ms",
                Stats.of_seconds(ours_s),
                IBM if theirs else "",
                theirs,
                target if theirs else None,
                f"SHA-384 of all its pages, and nothing else: {hashes.median:.0f} ms",
            )
        )
    return found


def _noise() -> bytes:
    return make_ovmf(MAX_OVMF // PAGE_SIZE)


def _ours(path: Path) -> bytes:
    with opened_file(path, what="firmware", limit=MAX_OVMF) as content:
        return launch_digest(
            parse_ovmf(content), GuestShape(1, VCPU_TYPES["EPYC-Milan"], Vmm.QEMU), hash_on_two_processors
        )


def _theirs(path: Path) -> list[Callable[[], float]]:
    """sev-snp-measure's arm if it is installed, after a check that both digests agree."""
    try:
        from sevsnpmeasure import guest, vcpu_types
        from sevsnpmeasure.sev_mode import SevMode
    except ImportError:
        return []
    signature: Any = vcpu_types.CPU_SIGS["EPYC-Milan"]

    def measure() -> bytes:
        found: bytes = guest.calc_launch_digest(SevMode.SEV_SNP, 1, signature, str(path), "", "", "", 0x1)
        return found

    assert measure() == _ours(path)
    return [timed(measure)]


@dataclass(frozen=True, slots=True)
class _Bench:
    """A Milan with its maker, and reports of one guest with different REPORT_DATA."""

    platform: SnpPlatform
    guest: ReportedGuest
    endorsements: SnpEndorsements
    policy: SnpPolicy
    reports: list[tuple[bytes, bytes]]
    """Reports, each with its REPORT_DATA."""


def _bench(folder: Path, reports: int) -> _Bench:
    maker = SnpMaker(snp_office(Product.MILAN, NOW), NOW)
    platform, certification = snp_chip(folder, maker)
    guest = snp_guest(platform)
    made = []
    for _ in range(reports):
        data = os.urandom(64)
        made.append((data, platform.report(replace(guest, report_data=data), SigningKey.VCEK).encode()))
    tcb = platform.state.current.tcb
    policy = SnpPolicy(
        root=maker.root,
        public_seed="REFUSE_PUBLIC_SEED",
        revocation="REQUIRE_REVOCATION_LIST",
        signing_keys=frozenset({SigningKey.VCEK}),
        measurement=frozenset({guest.measurement}),
        host_data=frozenset({guest.host_data}),
        id_key_digest=frozenset({guest.id_key_digest}),
        author_key_digest=frozenset({guest.author_key_digest}),
        family_id=frozenset({guest.family_id}),
        image_id=frozenset({guest.image_id}),
        report_id="ANY_REPORT_ID",
        chip_id=frozenset({platform.chip_id}),
        platform_info="ANY_PLATFORM",
        mitigations="ANY_MITIGATIONS",
        vmpl=frozenset({0}),
        minimum_guest_svn=2,
        debug="REFUSE_DEBUG",
        migration="MUST_BE_OFF",
        smt="MUST_BE_OFF",
        sockets=1,
        minimum_abi="ANY_ABI",
        provisional="REFUSE_PROVISIONAL",
        reported_tcb=tcb,
        committed_tcb=tcb,
        launch_tcb=tcb,
        current_tcb=tcb,
        report_data="FRESH_NONCE",
        layers="ANY_SANDBOX",
    )
    chain = asyncio.run(certification.certificates())
    return _Bench(platform, guest, maker.endorsements(chain), policy, made)


def _reports(lab: Lab) -> list[Row]:
    bench = _bench(lab.folder / "amd", min(lab.rounds.verifications, 20))
    turns = [itertools.cycle(bench.reports) for _ in range(3)]
    signed = bench.reports[0][1][:SIGNED_SIZE]

    def ours(turn: int) -> None:
        data, report = next(turns[turn])
        policy = replace(bench.policy, report_data=ExpectedReportData(data))
        appraise_snp(SnpEvidence(report), policy, bench.endorsements, NOW)

    sign_s, report_s = interleave(
        lab.rounds.quotes,
        timed(lambda: bench.platform.sign(signed, SigningKey.VCEK)),
        timed(lambda: bench.platform.report(bench.guest, SigningKey.VCEK).encode()),
        warm_up=20,
    )
    cold_s, warm_s, *omne_s = interleave(
        lab.rounds.verifications,
        timed(lambda: ours(0), prepare=forget),
        timed(lambda: ours(1)),
        *_omne(bench, turns[2]),
        warm_up=3,
    )
    omne = Stats.of_seconds(omne_s[0]) if omne_s else None
    name, target, note = (OMNE, AS_FAST, "") if omne else ("", None, "omne-attest is not installed here")
    return [
        Row(
            "snp",
            "report made and signed by the firmware",
            "ms",
            Stats.of_seconds(report_s),
            SIGNATURE,
            Stats.of_seconds(sign_s),
            SIGNED,
        ),
        Row(
            "snp",
            "report appraised, nothing remembered",
            "ms",
            Stats.of_seconds(cold_s),
            name,
            omne,
            note=note or "certificates, revocation list and all rules; it has no list and a few rules",
        ),
        Row("snp", "another report, certificates remembered", "ms", Stats.of_seconds(warm_s), name, omne, target, note),
    ]


def _omne(bench: _Bench, turns: "itertools.cycle[tuple[bytes, bytes]]") -> list[Callable[[], float]]:
    """omne-attest's arm, if it is installed."""
    try:
        import omne_attest.snp as theirs
    except ImportError:
        return []
    leaf = bench.endorsements.key_certificate
    ask, ark = (block.der for block in parse_chain("chain", bench.endorsements.chain))
    pinned = hashlib.sha256(ark).digest()

    def judge() -> None:
        data, report = next(turns)
        theirs.verify(
            report, leaf, ask, ark, pinned, theirs.Policy(measurement=bench.guest.measurement, report_data=data)
        )

    return [timed(judge)]
