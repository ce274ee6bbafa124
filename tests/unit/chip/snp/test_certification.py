"""The chip's certificates for SEV-SNP: for the very keys that sign, in chains that the verifier accepts."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

from casemate.chip.errors import CertificationError
from casemate.chip.snp.errors import FirmwareError
from casemate.testing.snp_maker import SnpMaker, snp_chip, snp_guest, snp_office
from casemate.verifier import (
    AMD_MILAN_ROOT,
    AbiVersion,
    ExpectedReportData,
    PlatformDemand,
    RefusedError,
    Rule,
    SnpEvidence,
    SnpPolicy,
    VerifiedSnpEvidence,
    appraise_snp,
)
from casemate.wire.encodings.pem import parse_chain
from casemate.wire.messages.snp_certification import UpdateFirmware, VcekCertified, VlekGiven
from casemate.wire.snp.guest_message import KeySelect
from casemate.wire.snp.report import PlatformInfo, SigningKey
from casemate.wire.snp.tcb import Product, TcbVersion

NOW = datetime(2026, 6, 1, tzinfo=UTC)
CSP = "CN=cloud.example"
T = TypeVar("T")


class Lab:
    """A chip, its maker, and a relying party."""

    def __init__(self, folder: Path, product: Product) -> None:
        self.folder = folder
        self.maker = SnpMaker(snp_office(product, NOW), NOW)
        self.restart()

    def restart(self) -> None:
        self.platform, self.certification = snp_chip(self.folder, self.maker)

    def chain(self) -> bytes:
        return asyncio.run(self.certification.certificates())

    def evidence(self) -> SnpEvidence:
        key = self.platform.choose(KeySelect.EITHER)
        return SnpEvidence(self.platform.report(snp_guest(self.platform), key).encode())

    def policy(self, **other: Any) -> SnpPolicy:
        tcb = self.platform.state.current.tcb
        demands: dict[str, Any] = {
            "root": self.maker.root,
            "public_seed": "REFUSE_PUBLIC_SEED",
            "revocation": "REQUIRE_REVOCATION_LIST",
            "signing_keys": frozenset({SigningKey.VCEK}),
            "measurement": frozenset({b"\x01" * 48}),
            "host_data": frozenset({b"\x02" * 32}),
            "id_key_digest": frozenset({b"\x03" * 48}),
            "author_key_digest": frozenset({b"\x04" * 48}),
            "family_id": frozenset({b"\x0f" * 16}),
            "image_id": frozenset({b"\x1f" * 16}),
            "report_id": frozenset({b"\x05" * 32}),
            "chip_id": "ANY_CHIP",
            "platform_info": PlatformDemand(frozenset({PlatformInfo.SMT_EN}), frozenset()),
            "mitigations": "ANY_MITIGATIONS",
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

    def appraised(self, **other: Any) -> VerifiedSnpEvidence:
        return appraise_snp(self.evidence(), self.policy(**other), self.maker.endorsements(self.chain()), NOW)

    def refused(self, **other: Any) -> Rule:
        with pytest.raises(RefusedError) as refused:
            self.appraised(**other)
        return refused.value.rule


@pytest.fixture(params=list(Product))
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Lab:
    return Lab(tmp_path / "chip", request.param)


@pytest.fixture
def milan(tmp_path: Path) -> Lab:
    return Lab(tmp_path / "chip", Product.MILAN)


def test_reports_verify_under_the_simulated_root_and_no_other(lab: Lab) -> None:
    verified = lab.appraised(chip_id=frozenset({lab.platform.chip_id}))
    assert (verified.simulated, verified.seeded, verified.product) == (True, False, lab.platform.product)
    assert verified.report.chip_id == lab.platform.chip_id
    assert lab.refused(root=AMD_MILAN_ROOT) is Rule.CHAIN_SIMULATED
    other = replace(lab.maker.root, sha256=bytes(32))
    assert lab.refused(root=other) is Rule.CHAIN_ROOT


def test_the_maker_is_asked_once_for_each_tcb_also_over_restarts(lab: Lab) -> None:
    first = lab.chain()
    assert lab.chain() == first
    lab.restart()
    assert lab.chain() == first
    lab.certification.update(lab.maker.recover())
    second = lab.chain()
    assert second != first
    assert lab.chain() == second
    assert len(lab.maker.asked) == 2


def test_a_chain_that_was_damaged_on_disk_is_asked_for_again(milan: Lab) -> None:
    milan.chain()
    (kept,) = milan.folder.glob("vcek-*.pem")
    kept.write_bytes(b"")
    milan.chain()
    assert len(milan.maker.asked) == 2


def test_evidence_of_before_a_recovery_is_stale_and_an_update_mends_it(lab: Lab) -> None:
    old, endorsements = lab.evidence(), lab.maker.endorsements(lab.chain())
    order = lab.maker.recover()
    floor = TcbVersion.parse(lab.platform.product, order.published[0].tcb)
    demand = lab.policy(reported_tcb=floor, committed_tcb=floor)
    with pytest.raises(RefusedError) as refused:
        appraise_snp(old, demand, endorsements, NOW)
    assert refused.value.rule is Rule.SNP_TCB_REPORTED
    told = lab.certification.update(order)
    assert told.current_tcb == told.reported_tcb == floor.encode()
    assert lab.appraised(reported_tcb=floor, committed_tcb=floor).reported_tcb == floor


def test_an_old_key_does_not_speak_for_new_firmware(milan: Lab) -> None:
    before = milan.chain()
    milan.certification.update(milan.maker.recover())
    with pytest.raises(RefusedError) as refused:
        appraise_snp(milan.evidence(), milan.policy(), milan.maker.endorsements(before), NOW)
    assert refused.value.rule is Rule.SNP_KEY_TCB


def test_firmware_that_is_not_committed_is_provisional_and_not_reported(milan: Lab) -> None:
    before = milan.chain()
    order = milan.maker.recover()
    told = milan.certification.update(replace(order, commit=False))
    assert told.current_tcb != told.reported_tcb
    assert milan.chain() == before
    floor = TcbVersion.parse(Product.MILAN, told.reported_tcb)
    tcbs = dict.fromkeys(("reported_tcb", "committed_tcb", "launch_tcb", "current_tcb"), floor)
    assert milan.refused(**tcbs) is Rule.SNP_PROVISIONAL


def test_a_platform_takes_its_own_products_firmware_and_none_that_is_older(milan: Lab) -> None:
    order = milan.maker.recover()
    (own,) = order.published
    others = UpdateFirmware((replace(own, product=Product.GENOA),), commit=True)
    before = milan.platform.state
    milan.certification.update(others)
    assert milan.platform.state == before
    milan.certification.update(milan.maker.recover())
    with pytest.raises(FirmwareError, match="BAD_SVN"):
        milan.certification.update(order)


def test_a_masked_chip_is_hidden_and_still_known_by_its_key(lab: Lab) -> None:
    chip = lab.platform.chip_id
    lab.platform.set_config(bytes(8), mask_chip_id=True)
    assert lab.appraised(chip_id=frozenset({chip})).report.chip_id == bytes(64)


def test_a_loaded_vlek_signs_and_names_no_chip(lab: Lab) -> None:
    asyncio.run(lab.certification.load_vlek(CSP))
    assert lab.platform.choose(KeySelect.EITHER) is SigningKey.VLEK
    vlek = parse_chain("chain", lab.chain())[0].der
    assert lab.appraised(signing_keys=frozenset({SigningKey.VLEK})).simulated
    assert lab.refused() is Rule.SNP_SIGNING_KEY
    lab.restart()
    assert parse_chain("chain", lab.chain())[0].der != vlek
    assert lab.appraised().simulated


def test_a_vlek_is_of_its_tcb_alone(milan: Lab) -> None:
    asyncio.run(milan.certification.load_vlek(CSP))
    milan.certification.update(milan.maker.recover())
    with pytest.raises(FirmwareError, match="INVALID_KEY"):
        milan.chain()
    asyncio.run(milan.certification.load_vlek(CSP))
    assert milan.appraised(signing_keys=frozenset({SigningKey.VLEK})).simulated


def test_revocation_reaches_key_and_issuer(lab: Lab) -> None:
    key, issuer, _ = (block.der for block in parse_chain("chain", lab.chain()))
    lab.maker.revoke(key)
    assert lab.refused() is Rule.REVOKED_SNP_SIGNER
    lab.maker = SnpMaker(snp_office(lab.platform.product, NOW), NOW)
    assert lab.appraised().simulated
    lab.maker.revoke(issuer)
    assert lab.refused() is Rule.REVOKED_SNP_SIGNER


def test_a_revoked_vlek_is_refused(lab: Lab) -> None:
    asyncio.run(lab.certification.load_vlek(CSP))
    lab.maker.revoke(parse_chain("chain", lab.chain())[0].der)
    assert lab.refused(signing_keys=frozenset({SigningKey.VLEK})) is Rule.REVOKED_SNP_SIGNER


def tampered(lab: Lab, change: Callable[[object], object]) -> None:
    honest = lab.maker.ask

    async def ask(question: object, wanted: type[T]) -> T:
        answer = change(await honest(question, wanted))
        assert isinstance(answer, wanted)
        return answer

    lab.certification._ask = ask


def test_a_certificate_for_another_key_is_not_taken(milan: Lab, tmp_path: Path) -> None:
    other = Lab(tmp_path / "other", Product.MILAN).chain()
    tampered(milan, lambda answer: VcekCertified(other) if isinstance(answer, VcekCertified) else answer)
    with pytest.raises(CertificationError, match="another key"):
        milan.chain()
    tampered(milan, lambda _: VcekCertified(b"no chain"))
    with pytest.raises(CertificationError, match="something else at byte 0"):
        milan.chain()
    assert list(milan.folder.glob("vcek-*.pem")) == []


def test_a_vlek_for_another_chip_or_without_its_certificate_is_not_taken(milan: Lab) -> None:
    tampered(milan, lambda answer: replace(answer, wrapped_key=bytes(96)) if isinstance(answer, VlekGiven) else answer)
    with pytest.raises(CertificationError, match="not for this chip"):
        asyncio.run(milan.certification.load_vlek(CSP))
    vcek = milan.maker.maker
    assert vcek.ledger.issued[-1].kind is SigningKey.VLEK
    assert milan.platform.choose(KeySelect.EITHER) is SigningKey.VCEK


def test_what_the_maker_refuses_leaves_everything_as_it_was(milan: Lab) -> None:
    with pytest.raises(CertificationError, match="no name of a cloud provider"):
        asyncio.run(milan.certification.load_vlek(""))
    assert milan.platform.choose(KeySelect.EITHER) is SigningKey.VCEK
    milan.certification.update(milan.maker.recover())
    milan.maker.maker = snp_office(Product.MILAN, NOW)
    with pytest.raises(CertificationError, match="has not been published"):
        milan.chain()


def test_certificate_that_is_not_valid_any_more_is_asked_for_anew(milan: Lab) -> None:
    first = milan.chain()
    assert milan.chain() == first
    milan.maker.now = NOW + timedelta(days=365 * 8)
    second = milan.chain()
    assert second != first
    assert milan.chain() == second
    assert len(milan.maker.asked) == 2
    milan.restart()
    assert milan.chain() == second
    milan.maker.now = NOW  # the clock is put back: what was made in the future is not valid yet
    assert milan.chain() not in (first, second)


def test_old_certificate_stays_where_the_maker_refuses_another(milan: Lab) -> None:
    first = milan.chain()
    milan.maker.revoke(parse_chain("chain", first)[0].der)
    milan.maker.now = NOW + timedelta(days=365 * 8)
    assert milan.chain() == first


def test_vlek_that_is_not_valid_any_more_is_given_anew(milan: Lab) -> None:
    asyncio.run(milan.certification.load_vlek(CSP))
    first = milan.chain()
    assert milan.chain() == first
    milan.maker.now = NOW + timedelta(days=400)
    assert milan.chain() != first
    assert milan.certification.provider == CSP
