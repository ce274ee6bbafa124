"""The simulated AMD: its certificates pass our verifier, what is not published is not certified."""

import hashlib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.rigs.makers import JUNE

from casemate.makers.amd import store
from casemate.makers.amd.keys import AmdRole
from casemate.makers.amd.ledger import AmdLedger
from casemate.makers.amd.levels import recover
from casemate.makers.amd.maker import (
    AmdMaker,
    VcekRequest,
    VlekRequest,
    issue_vcek,
    issue_vlek,
    publish_crl,
    revoke,
)
from casemate.makers.errors import MakerError
from casemate.verifier.snp.certificates import parse_amd_certificate
from casemate.wire.encodings.pem import parse_chain
from casemate.wire.protocol.simulated_mark import SimulatedMark, SimulatedSerial
from casemate.wire.snp.key_certificate import KeyCertificate
from casemate.wire.snp.simulated_platform import HW_ID_SIZES
from casemate.wire.snp.tcb import Product, TcbVersion
from casemate.wire.snp.vlek import vlek_binding

CSP = "CN=cloud.example"


def point(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def newest(maker: AmdMaker) -> TcbVersion:
    return maker.ledger.levels[0].firmware.tcb


def vcek_request(maker: AmdMaker) -> VcekRequest:
    key = point(ec.generate_private_key(ec.SECP384R1()).public_key())
    return VcekRequest(key, bytes(range(HW_ID_SIZES[maker.product])), newest(maker), seeded=False)


def marks(*certificates: bytes) -> list[SimulatedMark]:
    return [SimulatedMark.parse(parse_amd_certificate(der).simulated_extension or b"") for der in certificates]


def test_its_files_are_its_owners_alone(seeded: Path) -> None:
    store.load(seeded, Product.MILAN, (AmdRole.ASK,), JUNE)
    made = list(seeded.rglob("*"))
    assert len(made) > 3
    assert {str(path) for path in made if path.stat().st_mode & 0o077} == set()


def test_a_vceks_certificate_says_what_the_chip_said(maker: AmdMaker) -> None:
    asked = vcek_request(maker)
    made, chain, serial = issue_vcek(maker, asked, JUNE)
    blocks = [block.der for block in parse_chain("chain", chain)]
    leaf, ask, ark = map(parse_amd_certificate, blocks)
    assert (leaf.common_name, ask.common_name, ark.common_name) == (
        "SEV-VCEK",
        f"SEV-{maker.product}",
        f"ARK-{maker.product}",
    )
    assert KeyCertificate.parse(leaf.extensions) == KeyCertificate(maker.product, asked.tcb, asked.hw_id, None)
    assert asked.public_key in leaf.public_key
    assert leaf.serial == serial
    assert made.ledger.issued[-1].serial == serial
    assert not any(mark.seeded for mark in marks(*blocks[1:]))
    assert SimulatedSerial.find(serial) is SimulatedSerial.MADE_BY_SOFTWARE
    assert set(leaf.extensions) == set(KeyCertificate(maker.product, asked.tcb, asked.hw_id, None).encode())


def test_a_vlek_is_the_providers_and_only_the_chip_that_asked_can_open_it(maker: AmdMaker) -> None:
    chips = [X25519PrivateKey.generate() for _ in range(2)]
    tcb = newest(maker)
    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    opened = []
    for chip in chips:
        asked = VlekRequest(CSP, tcb, chip.public_key().public_bytes_raw())
        _, chain, wrapped, _ = issue_vlek(maker, asked, JUNE)
        leaf, asvk, ark = (parse_amd_certificate(block.der) for block in parse_chain("chain", chain))
        names = ("SEV-VLEK", f"SEV-VLEK-{maker.product}", f"ARK-{maker.product}")
        assert (leaf.common_name, asvk.common_name, ark.common_name) == names
        assert KeyCertificate.parse(leaf.extensions) == KeyCertificate(maker.product, tcb, None, CSP)
        scalar = suite.decrypt(wrapped, chip, info=vlek_binding(maker.product, CSP, tcb))
        key = ec.derive_private_key(int.from_bytes(scalar), ec.SECP384R1())
        assert point(key.public_key()) in leaf.public_key
        opened.append(scalar)
        other = chips[1 - chips.index(chip)]
        with pytest.raises(InvalidTag):
            suite.decrypt(wrapped, other, info=vlek_binding(maker.product, CSP, tcb))
    assert opened[0] == opened[1]


def test_a_chip_of_public_fuses_gets_a_certificate_that_says_so(maker: AmdMaker) -> None:
    _, chain, serial = issue_vcek(maker, replace(vcek_request(maker), seeded=True), JUNE)
    _, *above = (block.der for block in parse_chain("chain", chain))
    assert SimulatedSerial.find(serial) is SimulatedSerial.FROM_PUBLIC_SEED
    assert [mark.seeded for mark in marks(*above)] == [False, False]


def test_a_chip_has_one_key_at_a_tcb_and_another_at_the_next(maker: AmdMaker) -> None:
    first = vcek_request(maker)
    maker, _, _ = issue_vcek(maker, first, JUNE)
    other = replace(first, public_key=vcek_request(maker).public_key)
    with pytest.raises(MakerError, match="another key on record"):
        issue_vcek(maker, other, JUNE)
    levels = recover(maker.ledger.levels, "SIM-SB-1", JUNE)
    recovered = replace(maker, ledger=replace(maker.ledger, levels=levels))
    recovered, _, _ = issue_vcek(recovered, replace(other, tcb=newest(recovered)), JUNE)
    assert len(recovered.ledger.issued) == 2


def test_what_is_not_published_is_not_certified(maker: AmdMaker) -> None:
    beyond = replace(newest(maker), snp=newest(maker).snp + 1)
    with pytest.raises(MakerError, match="has not been published"):
        issue_vcek(maker, replace(vcek_request(maker), tcb=beyond), JUNE)
    with pytest.raises(MakerError, match="has not been published"):
        issue_vlek(maker, VlekRequest(CSP, beyond, bytes(32)), JUNE)


@pytest.mark.parametrize("name", ["", "x" * 129, "Wölke", "a\nb"])
def test_a_provider_has_a_printable_name(maker: AmdMaker, name: str) -> None:
    key = X25519PrivateKey.generate().public_key().public_bytes_raw()
    with pytest.raises(MakerError, match="no name of a cloud provider"):
        issue_vlek(maker, VlekRequest(name, newest(maker), key), JUNE)


def test_refuses_what_is_no_point(maker: AmdMaker) -> None:
    with pytest.raises(MakerError, match="an uncompressed point on P-384"):
        issue_vcek(maker, replace(vcek_request(maker), public_key=b"\x04" + bytes(96)), JUNE)


def test_recovery_raises_firmware_and_microcode_until_the_byte_ends(maker: AmdMaker) -> None:
    levels = maker.ledger.levels
    after = recover(levels, "SIM-SB-1", JUNE)
    old, new = levels[0].firmware, after[0].firmware
    assert (new.tcb.snp, new.tcb.microcode, new.build) == (old.tcb.snp + 1, old.tcb.microcode + 1, old.build + 1)
    assert new.tcb.reaches(old.tcb)
    assert after[1:] == levels
    top = max(new.tcb.snp, new.tcb.microcode, new.build)
    for _ in range(255 - top):
        after = recover(after, "SIM-SB-1", JUNE)
    with pytest.raises(MakerError, match="a byte holds no more"):
        recover(after, "SIM-SB-1", JUNE)


def test_the_root_lists_what_is_revoked(maker: AmdMaker) -> None:
    maker, _, serial = issue_vcek(maker, vcek_request(maker), JUNE)
    ledger = revoke(maker.ledger, (serial,), JUNE)
    assert revoke(ledger, (serial,), JUNE) == ledger
    crl = x509.load_der_x509_crl(publish_crl(replace(maker, ledger=ledger), JUNE))
    assert [entry.serial_number for entry in crl] == [serial]
    assert crl.next_update_utc == JUNE + timedelta(days=30)
    assert AmdLedger.parse(maker.product, ledger.encode()) == ledger


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"version": 2}'])
def test_refuses_a_damaged_ledger(damage: bytes) -> None:
    with pytest.raises(MakerError, match="damaged"):
        AmdLedger.parse(Product.MILAN, damage)


def test_a_seed_gives_the_same_root_on_every_machine_and_in_every_version(seeded: Path) -> None:
    maker = store.load(seeded, Product.MILAN, (), JUNE)
    assert hashlib.sha256(maker.cas[AmdRole.ARK].certificate).hexdigest() == (
        "b341150c2be16d74fb2294935f4e8e3f054817a170a5e085b2dfc3ce5e0d8805"
    )
    assert all(mark.seeded for mark in marks(maker.cas[AmdRole.ARK].certificate))


def test_a_seed_gives_the_same_certificates_and_lists(seeded: Path) -> None:
    maker = store.load(seeded, Product.MILAN, (AmdRole.ASK,), JUNE)
    asked = vcek_request(maker)
    assert issue_vcek(maker, asked, JUNE)[1] == issue_vcek(maker, asked, JUNE + timedelta(days=99))[1]
    assert publish_crl(maker, JUNE) == publish_crl(maker, JUNE)
    folder = seeded / "vendor" / "amd" / "Milan"
    before = (folder / "ask.crt.pem").read_bytes()
    (folder / "ask.crt.pem").unlink()
    store.load(seeded, Product.MILAN, (AmdRole.ASK,), JUNE + timedelta(days=99))
    assert (folder / "ask.crt.pem").read_bytes() == before


def test_nothing_is_made_that_was_not_asked_for(seeded: Path) -> None:
    folder = seeded / "vendor" / "amd"
    assert [path.name for path in folder.iterdir()] == ["Milan"]
    files = sorted((folder / "Milan").iterdir())
    assert [path.name for path in files] == [
        "ark.crt.pem", "ark.key.pem", "ask.crt.pem", "ask.key.pem", "ledger.json",
    ]  # fmt: skip
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


def test_a_damaged_key_is_named(seeded: Path) -> None:
    path = seeded / "vendor" / "amd" / "Milan" / "ark.key.pem"
    whole = path.read_bytes()
    path.write_bytes(b"")
    try:
        with pytest.raises(MakerError, match="key file is damaged"):
            store.load(seeded, Product.MILAN, (), JUNE)
    finally:
        path.write_bytes(whole)
