import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from hypothesis import given
from hypothesis import strategies as st

from casemate.client.caller_keys import CallerKey, read_caller_key, write_caller_key
from casemate.client.errors import CallerKeyError


def test_a_key_survives_its_file_and_only_its_owner_can_read_that(tmp_path: Path) -> None:
    key = CallerKey.generate()
    write_caller_key(tmp_path / "alice.pem", key)
    assert read_caller_key(tmp_path / "alice.pem").public_key == key.public_key
    assert stat.S_IMODE((tmp_path / "alice.pem").stat().st_mode) == 0o600


def test_no_file_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "alice.pem"
    path.write_bytes(b"something dear")
    with pytest.raises(CallerKeyError, match="is there already"):
        write_caller_key(path, CallerKey.generate())
    assert path.read_bytes() == b"something dear"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CallerKeyError, match=r"nobody\.pem"):
        read_caller_key(tmp_path / "nobody.pem")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    write_caller_key(tmp_path / "alice.pem", CallerKey.generate())
    (tmp_path / "alice.pem").chmod(mode)
    with pytest.raises(CallerKeyError, match=f"caller key .*alice.pem has mode {mode:04o}, .*: chmod 600 "):
        read_caller_key(tmp_path / "alice.pem")


def test_signatures_verify() -> None:
    key = CallerKey.generate()
    Ed25519PublicKey.from_public_bytes(key.public_key).verify(key.sign(b"transcript"), b"transcript")


def test_the_private_half_does_not_show() -> None:
    key = CallerKey.generate()
    private = load_pem_private_key(key.to_pem(), None).private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    assert private.hex() not in repr(key)
    assert repr(key) == f"CallerKey({key.manifest_value!r})"


def test_refuses_keys_of_other_kinds_and_encrypted_ones() -> None:
    other = X25519PrivateKey.generate()
    key = load_pem_private_key(CallerKey.generate().to_pem(), None)
    for pem in (
        other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")),
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    ):
        with pytest.raises(CallerKeyError):
            CallerKey.from_pem(pem)


@given(st.binary(max_size=300) | st.binary(max_size=100).map(lambda body: b"-----BEGIN PRIVATE KEY-----\n" + body))
def test_any_bytes_are_a_key_or_refused(pem: bytes) -> None:
    with pytest.raises(CallerKeyError):
        CallerKey.from_pem(pem)
