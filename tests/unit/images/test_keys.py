from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from casemate.images.errors import KeyFileError
from casemate.images.keys import DeveloperKey, default_key_path, load_key, load_or_create_key


def test_a_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "casemate" / "developer.pem"
    key = load_or_create_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert load_or_create_key(path).mr_signer() == load_key(path).mr_signer() == key.mr_signer()
    assert [entry.name for entry in path.parent.iterdir()] == ["developer.pem"]


def test_a_key_signs_the_same_message_the_same_way(developer_key: DeveloperKey) -> None:
    assert developer_key.sign(b"x") == developer_key.sign(b"x") != developer_key.sign(b"y")
    assert developer_key.modulus().bit_length() == 3072


def test_a_key_does_not_show_itself(developer_key: DeveloperKey) -> None:
    assert repr(developer_key) == "DeveloperKey()"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o700 | 0o007])
def test_refuses_a_file_that_others_could_read_or_write(tmp_path: Path, developer_key: DeveloperKey, mode: int) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(developer_key.pem())
    path.chmod(mode)
    with pytest.raises(KeyFileError, match="chmod 600"):
        load_or_create_key(path)


def test_refuses_keys_that_einit_does_not_take(developer_key: DeveloperKey) -> None:
    def pem(key: object) -> bytes:
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # type: ignore[attr-defined,no-any-return]

    encrypted = load_pem_private_key(developer_key.pem(), None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    for other, reason in (
        (pem(generate_private_key(65537, 3072)), "exponent 65537"),
        (pem(generate_private_key(3, 2048)), "RSA-2048"),
        (pem(Ed25519PrivateKey.generate()), "not an RSA key"),
        (encrypted, "no unencrypted private key"),
        (b"", "no unencrypted private key"),
    ):
        with pytest.raises(KeyFileError, match=reason):
            DeveloperKey.from_pem(other)


@settings(max_examples=100)  # the parser is the library's, and slow
@given(data=st.data())
def test_a_damaged_key_file_is_refused_with_a_typed_error(developer_key: DeveloperKey, data: st.DataObject) -> None:
    pem = bytearray(developer_key.pem())
    for _ in range(data.draw(st.integers(1, 3))):
        pem[data.draw(st.integers(0, len(pem) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        DeveloperKey.from_pem(bytes(pem))
    except KeyFileError:
        return


def test_refuses_a_path_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="cannot be read"):
        load_key(tmp_path / "none.pem")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(KeyFileError, match="cannot be"):
        load_or_create_key(tmp_path / "file" / "key.pem")


def test_a_key_that_another_process_made_meanwhile_is_taken(
    tmp_path: Path, developer_key: DeveloperKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "key.pem"
    other = DeveloperKey.generate()

    def slow() -> DeveloperKey:
        path.write_bytes(developer_key.pem())
        path.chmod(0o600)
        return other

    monkeypatch.setattr(DeveloperKey, "generate", slow)
    assert load_or_create_key(path).mr_signer() == developer_key.mr_signer()
    assert [entry.name for entry in tmp_path.iterdir()] == ["key.pem"]


def test_the_users_key_lies_where_settings_do() -> None:
    assert default_key_path({"XDG_CONFIG_HOME": "/c"}) == Path("/c/casemate/developer.pem")
    assert default_key_path({}) == Path.home() / ".config/casemate/developer.pem"
