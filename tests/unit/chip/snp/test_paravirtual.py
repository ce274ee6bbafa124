"""The chip's side of a function as a guest: whose keys, whose reports."""

from dataclasses import replace
from pathlib import Path

import pytest

from casemate.chip.errors import ReportRefusedError
from casemate.chip.fuses import Fuses
from casemate.chip.snp.errors import FirmwareError, FirmwareStatus
from casemate.chip.snp.paravirtual import ParavirtualGuest
from casemate.chip.snp.platform import SnpPlatform
from casemate.wire.messages.leaf import GetSealingKey, MakeReport
from casemate.wire.protocol.seal_binding import SealBinding
from casemate.wire.protocol.tee import Identity, Tee
from casemate.wire.snp.launch import digest_of
from casemate.wire.snp.paravirtual import FAMILY_ID, guest_pages, id_key_digest, image_id
from casemate.wire.snp.report import GuestPolicy, SnpReport
from casemate.wire.snp.simulated_platform import Firmware

PAGES = bytes(8192)
SIGNED = Identity(Tee.SGX, b"e" * 32, b"s" * 32, 7, 3, debug=False)
QUESTION = MakeReport(bytes(512), bytes(range(64)))


@pytest.fixture
def platform(tmp_path: Path, fuses: Fuses) -> SnpPlatform:
    return SnpPlatform(tmp_path, fuses)


def guest(platform: SnpPlatform, pages: bytes = PAGES, **changes: object) -> ParavirtualGuest:
    return ParavirtualGuest.launch(platform, pages, replace(SIGNED, **changes))  # type: ignore[arg-type]


def key(of: ParavirtualGuest, policy: SealBinding = SealBinding.MRSIGNER, **changes: object) -> bytes:
    asked = GetSealingKey(policy, 3, of.tcb, bytes(32))
    return of.sealing_key(replace(asked, **changes)).reveal()  # type: ignore[arg-type]


def test_a_report_says_who_it_is_and_that_it_is_paravirtual(platform: SnpPlatform) -> None:
    made = guest(platform)
    report = SnpReport.parse(made.report(QUESTION))
    assert made.identity == replace(SIGNED, tee=Tee.SNP, measurement=digest_of(guest_pages(PAGES)))
    assert report.measurement == made.identity.measurement
    assert report.report_data == QUESTION.report_data
    assert (report.family_id, report.image_id, report.guest_svn) == (FAMILY_ID, image_id(7), 3)
    assert report.id_key_digest == id_key_digest(SIGNED.mr_signer)
    assert not report.policy & GuestPolicy.DEBUG
    assert SnpReport.parse(guest(platform, debug=True).report(QUESTION)).policy & GuestPolicy.DEBUG
    assert made.evidence(report.encode()) == report.encode()
    with pytest.raises(ReportRefusedError):
        made.evidence(bytes(432))


def test_each_start_is_a_launch(platform: SnpPlatform) -> None:
    made = guest(platform)
    ids = {SnpReport.parse(each.report(QUESTION)).report_id for each in (made, made.started(), guest(platform))}
    assert len(ids) == 3


def test_keys_are_the_codes_or_the_signers(platform: SnpPlatform) -> None:
    made, newer = guest(platform), guest(platform, bytes(4096), isv_svn=4)
    assert key(made) == key(guest(platform)) == key(newer)
    assert key(made, SealBinding.MRENCLAVE) == key(guest(platform), SealBinding.MRENCLAVE)
    different = {
        key(made),
        key(made, SealBinding.MRENCLAVE),
        key(newer, SealBinding.MRENCLAVE),
        key(newer, isv_svn=4),
        key(made, isv_svn=2),
        key(made, key_id=b"k" * 32),
        key(made, tcb=bytes(16)),
        key(guest(platform, mr_signer=b"t" * 32)),
        key(guest(platform, isv_prod_id=8)),
        key(guest(platform, debug=True)),
    }
    assert len(different) == 10


def test_keys_of_newer_versions_and_newer_platforms_are_refused(platform: SnpPlatform) -> None:
    made, tcb = guest(platform), platform.state.committed.tcb
    newer = replace(tcb, snp=tcb.snp + 1).encode().ljust(16, b"\x00")
    for changes in ({"isv_svn": 4}, {"tcb": newer}, {"tcb": b"\x00" * 15 + b"\x01"}, {"tcb": b"\xff" * 16}):
        with pytest.raises(FirmwareError) as refused:
            key(made, **changes)
        assert refused.value.status is FirmwareStatus.INVALID_PARAM


def test_what_was_sealed_before_an_update_opens_after_it(platform: SnpPlatform) -> None:
    made, before = guest(platform), guest(platform).tcb
    kept = key(made, tcb=before)
    now = platform.state.current
    platform.update(Firmware(replace(now.tcb, snp=now.tcb.snp + 1), now.major, now.minor, now.build + 1))
    platform.commit()
    assert guest(platform).tcb != before
    assert key(guest(platform), tcb=before) == kept
    assert key(guest(platform)) != kept


@pytest.mark.parametrize("policy", SealBinding)
def test_deployments_have_host_data_and_keys_of_their_own(platform: SnpPlatform, policy: SealBinding) -> None:
    parties = [guest(platform), *(guest(platform, deployment=each * 32) for each in (b"a", b"b"))]
    host_data = [SnpReport.parse(each.report(QUESTION)).host_data for each in parties]
    assert host_data == [bytes(32), b"a" * 32, b"b" * 32]
    assert len({key(each, policy) for each in parties}) == 3
    assert len({each.identity.measurement for each in parties}) == 1
