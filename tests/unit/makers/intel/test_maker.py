from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from casemate.makers.certificates import serial_of
from casemate.makers.errors import MakerError
from casemate.makers.intel.keys import KeyRole
from casemate.makers.intel.ledger import Ca, Ledger, Revoked
from casemate.makers.intel.levels import recover_platform, recover_quoting_enclave
from casemate.makers.intel.maker import (
    IntelMaker,
    PckRequest,
    issue_pck,
    new_maker,
    publish_collateral,
    renewed,
    revoke,
)
from casemate.wire.encodings.pem import parse_chain
from casemate.wire.encodings.x509_dates import validity_of
from casemate.wire.protocol.simulated_mark import SIMULATED_OIDS, SimulatedMark, SimulatedSerial
from casemate.wire.sgx.pck import SGX_EXTENSION_OID, PckExtension
from casemate.wire.sgx.qe_identity import QeIdentity
from casemate.wire.sgx.simulated_platform import FIRST_COMPONENTS, FIRST_PCE_SVN, FMSPC, PCE_ID
from casemate.wire.sgx.tcb_info import TcbInfo, TcbStatus

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def point() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def request(ca: Ca = Ca.PLATFORM) -> PckRequest:
    return PckRequest(point(), bytes(range(16)), FIRST_COMPONENTS, FIRST_PCE_SVN, PCE_ID, FMSPC, ca, seeded=False)


def mark_of(der: bytes) -> SimulatedMark:
    extensions = x509.load_der_x509_certificate(der).extensions
    (extension,) = (each for each in extensions if each.oid.dotted_string in SIMULATED_OIDS)
    assert not extension.critical
    assert isinstance(extension.value, x509.UnrecognizedExtension)
    mark = SimulatedMark.parse(extension.value.value)
    assert extension.oid.dotted_string == mark.oid
    return mark


@pytest.fixture(scope="module")
def maker() -> IntelMaker:
    return new_maker(None, NOW)


@pytest.mark.parametrize("seed", [None, "a seed"])
def test_every_certificate_says_simulated_and_whether_it_is_seeded(seed: str | None) -> None:
    maker = new_maker(seed, NOW)
    _, chain, serial = issue_pck(maker, request(), NOW)
    _, *above = (block.der for block in parse_chain("chain", chain))
    ders = [*maker.certificates.values(), *above]
    assert len(ders) == 6
    assert {mark_of(der).seeded for der in ders} == {seed is not None}
    assert SimulatedSerial.find(serial) is SimulatedSerial.of(seeded=seed is not None)


def test_a_pck_certificate_has_the_extensions_of_intels_and_no_other(maker: IntelMaker) -> None:
    _, chain, _ = issue_pck(maker, request(), NOW)
    leaf = x509.load_der_x509_certificate(parse_chain("chain", chain)[0].der)
    assert [extension.oid.dotted_string for extension in leaf.extensions] == [
        "2.5.29.35", "2.5.29.31", "2.5.29.14", "2.5.29.15", "2.5.29.19", SGX_EXTENSION_OID,
    ]  # fmt: skip


def test_chip_of_public_fuses_gets_a_certificate_that_says_so(maker: IntelMaker) -> None:
    _, chain, serial = issue_pck(maker, replace(request(), seeded=True), NOW)
    _, ca, _ = (block.der for block in parse_chain("chain", chain))
    assert SimulatedSerial.find(serial) is SimulatedSerial.FROM_PUBLIC_SEED
    assert not mark_of(ca).seeded


def test_serial_numbers_of_chips_differ(maker: IntelMaker) -> None:
    serials = {issue_pck(maker, request(), NOW)[2] for _ in range(16)}
    assert len(serials) == 16
    assert {serial.bit_length() for serial in serials} == {159}


def test_seed_gives_the_same_maker_every_time() -> None:
    one, two, other = new_maker("seed", NOW), new_maker("seed", NOW + timedelta(days=99)), new_maker("seeds", NOW)
    assert one.certificates == two.certificates
    assert not set(one.certificates.values()) & set(other.certificates.values())
    asked = request()
    assert issue_pck(one, asked, NOW)[1] == issue_pck(two, asked, NOW)[1]
    assert publish_collateral(one, Ca.PLATFORM, NOW) == publish_collateral(two, Ca.PLATFORM, NOW)


def test_makers_without_seed_differ(maker: IntelMaker) -> None:
    other = new_maker(None, NOW)
    assert not set(maker.certificates.values()) & set(other.certificates.values())


@pytest.mark.parametrize("ca", [Ca.PLATFORM, Ca.PROCESSOR])
def test_pck_certificate_says_what_the_chip_said(maker: IntelMaker, ca: Ca) -> None:
    asked = request(ca)
    _, chain, serial = issue_pck(maker, asked, NOW)
    leaf = x509.load_der_x509_certificate(parse_chain("chain", chain)[0].der)
    extension = leaf.extensions.get_extension_for_oid(x509.ObjectIdentifier(SGX_EXTENSION_OID)).value
    assert isinstance(extension, x509.UnrecognizedExtension)
    pck = PckExtension.parse(extension.value)
    assert leaf.serial_number == serial
    assert leaf.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint) == asked.public_key
    assert (pck.ppid, pck.tcb.cpu_svn, pck.tcb.components, pck.tcb.pce_svn) == (
        asked.ppid, FIRST_COMPONENTS, FIRST_COMPONENTS, FIRST_PCE_SVN,
    )  # fmt: skip
    assert (pck.platform is not None) is (ca is Ca.PLATFORM)


def test_refuses_a_second_key_for_a_chip_at_the_same_tcb(maker: IntelMaker) -> None:
    asked = request()
    maker, _, _ = issue_pck(maker, asked, NOW)
    maker, _, _ = issue_pck(maker, asked, NOW)
    with pytest.raises(MakerError, match="another key on record"):
        issue_pck(maker, replace(asked, public_key=point()), NOW)


def test_certifies_another_key_at_the_next_tcb(maker: IntelMaker) -> None:
    asked = request()
    maker, _, first = issue_pck(maker, asked, NOW)
    levels = recover_platform(maker.ledger.tcb_levels, "SIM-SA-1", NOW)
    maker = replace(maker, ledger=replace(maker.ledger, tcb_levels=levels))
    maker, _, second = issue_pck(maker, replace(asked, public_key=point(), cpu_svn=levels[0].components), NOW)
    assert [entry.serial for entry in maker.ledger.issued] == [first, second]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"fmspc": bytes(6)}, "none of this maker's products"),
        ({"pce_id": b"\x00\x01"}, "none of this maker's products"),
        ({"cpu_svn": bytes((8, *FIRST_COMPONENTS[1:]))}, "has not been published"),
        ({"pce_svn": FIRST_PCE_SVN + 1}, "has not been published"),
        ({"public_key": b"\x04" + bytes(64)}, "an uncompressed point on P-256"),
    ],
)
def test_refuses_chips_it_cannot_have_made(maker: IntelMaker, change: dict[str, bytes], reason: str) -> None:
    with pytest.raises(MakerError, match=reason):
        issue_pck(maker, replace(request(), **change), NOW)  # type: ignore[arg-type] # fields by name


def test_collateral_is_good_for_thirty_days(maker: IntelMaker) -> None:
    published = publish_collateral(maker, Ca.PROCESSOR, NOW)
    info, identity = TcbInfo.parse(published.tcb_info), QeIdentity.parse(published.qe_identity)
    crls = [x509.load_der_x509_crl(der) for der in (published.root_ca_crl, published.pck_crl)]
    starts = [info.issue_date, identity.issue_date, *(crl.last_update_utc for crl in crls)]
    ends = [info.next_update, identity.next_update, *(crl.next_update_utc for crl in crls)]
    assert set(starts) == {NOW}
    assert set(ends) == {NOW + timedelta(days=30)}
    assert {level.status for level in info.tcb_levels} == set(TcbStatus)


def test_tcb_recovery_makes_all_older_levels_out_of_date(maker: IntelMaker) -> None:
    before = maker.ledger.tcb_levels
    after = recover_platform(before, "SIM-SA-1", NOW)
    assert after[0].status is TcbStatus.UP_TO_DATE
    assert after[0].components > before[0].components
    for old, new in zip(before, after[1:], strict=True):
        assert (new.components, new.pce_svn, new.tcb_date) == (old.components, old.pce_svn, old.tcb_date)
        assert new.advisory_ids == (*old.advisory_ids, "SIM-SA-1")
        assert new.status in {
            TcbStatus.OUT_OF_DATE, TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED, TcbStatus.REVOKED,
        }  # fmt: skip


def test_recovery_of_the_quoting_enclave_raises_its_svn(maker: IntelMaker) -> None:
    after = recover_quoting_enclave(maker.ledger.qe_levels, "SIM-SA-1", NOW)
    assert after[0].isv_svn == maker.ledger.qe_levels[0].isv_svn + 1
    assert after[1].status is TcbStatus.OUT_OF_DATE


def test_recovery_ends_with_the_byte(maker: IntelMaker) -> None:
    levels = maker.ledger.tcb_levels
    for _ in range(255 - levels[0].components[0]):
        levels = recover_platform(levels, "SIM-SA-1", NOW)
    with pytest.raises(MakerError, match="a byte holds no more"):
        recover_platform(levels, "SIM-SA-1", NOW)


def test_revocation_puts_serials_on_their_issuers_list(maker: IntelMaker) -> None:
    maker, _, serial = issue_pck(maker, request(), NOW)
    ca_serial = serial_of(maker.certificates[KeyRole.PLATFORM_CA])
    maker = revoke(maker, (Revoked(serial, Ca.PLATFORM, NOW), Revoked(ca_serial, Ca.ROOT, NOW)))
    again = revoke(maker, (Revoked(serial, Ca.PLATFORM, NOW),))
    assert again == maker
    published = publish_collateral(maker, Ca.PLATFORM, NOW)
    lists = [x509.load_der_x509_crl(der) for der in (published.pck_crl, published.root_ca_crl)]
    assert [[entry.serial_number for entry in crl] for crl in lists] == [[serial], [ca_serial]]
    other = x509.load_der_x509_crl(publish_collateral(maker, Ca.PROCESSOR, NOW).pck_crl)
    assert list(other) == []


def test_ledger_round_trips(maker: IntelMaker) -> None:
    maker, _, serial = issue_pck(maker, request(), NOW)
    ledger = revoke(maker, (Revoked(serial, Ca.PLATFORM, NOW),)).ledger
    assert Ledger.parse(ledger.encode()) == ledger
    seeded = replace(ledger, seed="a seed")
    assert Ledger.parse(seeded.encode()) == seeded


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"version": 2}'])
def test_refuses_a_damaged_ledger(damage: bytes) -> None:
    with pytest.raises(MakerError, match="damaged"):
        Ledger.parse(damage)


LATER = NOW + timedelta(days=365 * 16)
"""Intermediate CAs and TCB signing have expired, the root has not."""


def test_own_certificates_are_renewed_for_the_same_keys_once_they_are_not_valid(maker: IntelMaker) -> None:
    assert renewed(maker, NOW) is maker
    for at in (LATER, NOW - timedelta(days=300)):
        fresh = renewed(maker, at)
        for role in KeyRole:
            old, new = (x509.load_der_x509_certificate(each.certificates[role]) for each in (maker, fresh))
            assert (new == old) is (role is KeyRole.ROOT)
            assert (new.subject, new.public_key(), new.issuer) == (old.subject, old.public_key(), old.issuer)
            assert validity_of(fresh.certificates[role]).holds(at) or role is KeyRole.ROOT


def test_root_is_renewed_by_order_alone(maker: IntelMaker) -> None:
    at = NOW - timedelta(days=300)
    fresh = renewed(maker, at, root=True)
    assert all(validity_of(der).holds(at) for der in fresh.certificates.values())
    assert renewed(maker, NOW, root=True) is maker


def test_seeded_and_revoked_certificates_are_not_renewed(maker: IntelMaker) -> None:
    seeded = new_maker("a seed", NOW)
    assert renewed(seeded, datetime(2060, 1, 1, tzinfo=UTC), root=True) is seeded
    ca = maker.certificates[KeyRole.PLATFORM_CA]
    without = revoke(maker, (Revoked(serial_of(ca), Ca.ROOT, NOW),))
    assert renewed(without, LATER).certificates[KeyRole.PLATFORM_CA] == ca


def test_key_of_a_revoked_certificate_is_not_certified_again(maker: IntelMaker) -> None:
    asked = request()
    issued, _, serial = issue_pck(maker, asked, NOW)
    again, _, other = issue_pck(issued, asked, NOW)
    assert other != serial
    with pytest.raises(MakerError, match="was revoked"):
        issue_pck(revoke(again, (Revoked(serial, Ca.PLATFORM, NOW),)), asked, NOW)
