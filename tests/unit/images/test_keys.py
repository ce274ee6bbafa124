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
from casemate.images.keys import DeveloperKey


def test_a_key_signs_the_same_message_the_same_way(developer_key: DeveloperKey) -> None:
    assert developer_key.sign(b"x") == developer_key.sign(b"x") != developer_key.sign(b"y")
    assert developer_key.modulus().bit_length() == 3072


def test_a_key_does_not_show_itself(developer_key: DeveloperKey) -> None:
    assert repr(developer_key) == "DeveloperKey()"


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
