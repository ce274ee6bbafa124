import base64
import hashlib
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st
from sevsnpmeasure.id_block import snp_calc_id_block

from casemate.wire.errors import WireError
from casemate.wire.snp.id_block import EcdsaPublicKey, EcdsaSignature, IdAuth, IdBlock, IdSignature

LD = bytes(range(48))
NUMBERS = st.integers(0, 2**384 - 1)
SIGNATURES = st.builds(
    IdSignature, st.builds(EcdsaSignature.of, NUMBERS, NUMBERS), st.builds(EcdsaPublicKey.of, NUMBERS, NUMBERS)
)


def pem(folder: Path, name: str) -> tuple[str, ec.EllipticCurvePublicKey]:
    key = ec.generate_private_key(ec.SECP384R1())
    path = folder / name
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    return str(path), key.public_key()


def verify(key: EcdsaPublicKey, signature: EcdsaSignature, message: bytes) -> None:
    public = ec.EllipticCurvePublicNumbers(*key.point, ec.SECP384R1()).public_key()
    public.verify(encode_dss_signature(*signature.numbers), message, ec.ECDSA(SHA384()))


def test_what_another_tool_signs_is_read_as_it_was_meant(tmp_path: Path) -> None:
    id_path, id_key = pem(tmp_path, "id.pem")
    author_path, author_key = pem(tmp_path, "author.pem")
    made = snp_calc_id_block(LD, id_path, author_path)
    encoded_block, encoded_auth, *digests = map(base64.b64decode, re.findall(r"[=:] ?([\w+/]{60,}=*)", made))
    block, auth = IdBlock.parse(encoded_block), IdAuth.parse(encoded_auth)
    assert (block.encode(), auth.encode()) == (encoded_block, encoded_auth)
    assert (block.ld, block.policy, block.version) == (LD, 0x30000, 1)
    author = auth.author_signature()
    numbers = id_key.public_numbers(), author_key.public_numbers()
    assert [auth.id.key.point, author.key.point] == [(each.x, each.y) for each in numbers]
    verify(auth.id.key, auth.id.signature, encoded_block)
    verify(author.key, author.signature, auth.id.key.encode())
    assert [auth.id.key.digest, author.key.digest] == digests


@given(
    st.builds(
        IdBlock,
        ld=st.binary(min_size=48, max_size=48),
        family_id=st.binary(min_size=16, max_size=16),
        image_id=st.binary(min_size=16, max_size=16),
        guest_svn=st.integers(0, 2**32 - 1),
        policy=st.integers(0, 2**64 - 1),
    )
)
def test_a_block_comes_back(block: IdBlock) -> None:
    assert len(block.encode()) == 96
    assert IdBlock.parse(block.encode()) == block


@given(SIGNATURES, st.none() | SIGNATURES, st.integers(0, 4095), st.integers(0, 255))
def test_an_authentication_comes_back_or_is_refused(
    by_id: IdSignature, by_author: IdSignature | None, at: int, byte: int
) -> None:
    auth = IdAuth.of(by_id, by_author)
    encoded = bytearray(auth.encode())
    assert len(encoded) == 4096
    assert IdAuth.parse(bytes(encoded)) == auth
    encoded[at] = byte
    try:
        assert IdAuth.parse(bytes(encoded)).encode() == encoded
    except WireError:
        assert encoded != auth.encode()


@given(st.binary(min_size=96, max_size=96) | st.binary())
def test_any_bytes_are_a_block_or_refused(data: bytes) -> None:
    try:
        assert IdBlock.parse(data).encode() == data
    except WireError:
        return


def test_fields_are_where_the_specification_has_them() -> None:
    key, signature = EcdsaPublicKey.of(0x01, 0x02), EcdsaSignature.of(0x03, 0x04)
    author = IdSignature(EcdsaSignature.of(0x05, 0x06), EcdsaPublicKey.of(0x07, 0x08))
    encoded = IdAuth.of(IdSignature(signature, key), author).encode()
    places = {0x000: 1, 0x004: 1, 0x040: 3, 0x088: 4, 0x240: 2, 0x244: 1, 0x28C: 2}
    places |= {0x680: 5, 0x6C8: 6, 0x880: 2, 0x884: 7, 0x8CC: 8}
    assert {at: byte for at, byte in enumerate(encoded) if byte} == places


def test_a_digest_is_over_the_whole_key() -> None:
    key = EcdsaPublicKey.of(1, 2)
    assert key.digest == hashlib.sha384(key.encode()).digest()
    assert len(key.encode()) == 1028


@pytest.mark.parametrize(("at", "field"), [(0, "curve"), (4 + 48, "qx"), (0x4C + 71, "qy"), (0x94, "reserved")])
def test_what_is_no_key_is_refused(at: int, field: str) -> None:
    encoded = bytearray(EcdsaPublicKey.of(1, 2).encode())
    encoded[at] = 1
    with pytest.raises(WireError, match=rf"ECDSA Public Key\.{field}"):
        EcdsaPublicKey.parse(bytes(encoded))


def test_no_author_is_none() -> None:
    auth = IdAuth.of(IdSignature(EcdsaSignature.of(1, 2), EcdsaPublicKey.of(1, 2)))
    with pytest.raises(WireError, match="author_key_algo"):
        auth.author_signature()


def test_another_version_of_a_block_is_refused() -> None:
    with pytest.raises(WireError, match=r"ID_BLOCK\.version is 2"):
        IdBlock.parse(IdBlock(ld=LD, policy=0, version=2).encode())
