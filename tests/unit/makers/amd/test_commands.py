"""The simulated AMD as its callers meet it: a process, JSON in and out."""

import json
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.rigs.makers import ask, refused

from casemate.wire.encodings.pem import parse_chain
from casemate.wire.snp.simulated_platform import FIRST_FIRMWARE
from casemate.wire.snp.tcb import Product

CHIP = "0f" * 64
FIRST = FIRST_FIRMWARE[Product.MILAN].tcb.encode().hex()


def vcek_request() -> dict[str, object]:
    key = ec.generate_private_key(ec.SECP384R1()).public_key()
    point = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint).hex()
    return {"product": "Milan", "public_key": point, "hw_id": CHIP, "tcb": FIRST}


def test_a_chip_is_certified_recovered_and_revoked(tmp_path: Path) -> None:
    ask(tmp_path, "init")
    root = ask(tmp_path, "amd-root", "--product", "Milan")
    assert ask(tmp_path, "amd-root", "--product", "Milan") == root

    issued = ask(tmp_path, "issue-vcek", given=vcek_request())
    chain = parse_chain("chain", issued["chain"].encode())
    assert chain[2].der == parse_chain("root", root["root_certificate"].encode())[0].der

    before = ask(tmp_path, "newest-firmware")
    assert before["Milan"]["tcb"] == FIRST
    recovered = ask(tmp_path, "recover-firmware", "--product", "Milan", "--advisory", "SIM-SB-00001")
    assert ask(tmp_path, "newest-firmware") == {**before, "Milan": recovered}
    assert recovered["build"] == before["Milan"]["build"] + 1
    again = ask(tmp_path, "issue-vcek", given=vcek_request() | {"tcb": recovered["tcb"]})

    assert ask(tmp_path, "revoke-amd", "--product", "Milan", "--serial", again["serial"])["revoked"] == [
        again["serial"]
    ]
    assert ask(tmp_path, "revoke-amd", "--product", "Milan", "--hw-id", CHIP.upper()) == {
        "revoked": [issued["serial"], again["serial"]]
    }
    assert len(ask(tmp_path, "revoke-amd", "--product", "Milan", "--issuer", "ask")["revoked"]) == 1
    crl = x509.load_der_x509_crl(bytes.fromhex(ask(tmp_path, "amd-crl", "--product", "Milan")["crl"]))
    named = {entry.serial_number for entry in crl}
    assert named == {int(again["serial"], 16), int(issued["serial"], 16), chain_serial(chain[1].der)}


def chain_serial(der: bytes) -> int:
    return x509.load_der_x509_certificate(der).serial_number


def test_a_provider_gets_its_key_and_loses_it(tmp_path: Path) -> None:
    ask(tmp_path, "init")
    wrapping = X25519PrivateKey.generate().public_key().public_bytes_raw().hex()
    wanted = {"product": "Milan", "csp_id": "CN=cloud.example", "tcb": FIRST, "wrapping_key": wrapping}
    given = ask(tmp_path, "issue-vlek", given=wanted)
    assert [name for name in (tmp_path / "vendor" / "amd" / "Milan").iterdir() if name.name.startswith("ask")] == []
    assert ask(tmp_path, "revoke-amd", "--product", "Milan", "--csp-id", "CN=cloud.example") == {
        "revoked": [given["serial"]]
    }


def test_refusals_are_one_line_and_exit_1(tmp_path: Path) -> None:
    assert "run init first" in refused(tmp_path, "amd-root", "--product", "Milan")
    ask(tmp_path, "init")
    assert "product" in refused(tmp_path, "issue-vcek", given=b'{"product": "Naples"}')
    assert "hw_id" in refused(tmp_path, "issue-vcek", given=json.dumps(vcek_request() | {"hw_id": "00" * 8}).encode())
    assert "wants zeros" in refused(
        tmp_path, "issue-vcek", given=json.dumps(vcek_request() | {"tcb": "01" * 8}).encode()
    )
    assert "nothing to revoke" in refused(tmp_path, "revoke-amd", "--product", "Milan", "--hw-id", CHIP)
    assert "want ask or asvk" in refused(tmp_path, "revoke-amd", "--product", "Milan", "--issuer", "ark")
