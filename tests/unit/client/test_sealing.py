"""Sealed secrets and requests against RFC 9180 and RFC 5869 written down once more.

Whoever implements a client elsewhere needs nothing else.
"""

import hashlib
import hmac
from dataclasses import replace

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from casemate.client.errors import ReceiptRefusedError, ResponseRefusedError
from casemate.client.sealing import SessionKeys, check_receipt_signature
from casemate.enclave.keys import EnclaveKeys
from casemate.wire.protocol.call import HPKE_SUITE, CallBinding, Receipt
from casemate.wire.protocol.faults import FaultError
from casemate.wire.protocol.isolation import Isolation

KEM_ID, KDF_ID, AEAD_ID = 0x0020, 0x0001, 0x0002
"""RFC 9180, tables 2, 3 and 5: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM."""
KEM_SUITE = b"KEM" + KEM_ID.to_bytes(2, "big")
SUITE = b"HPKE" + KEM_ID.to_bytes(2, "big") + KDF_ID.to_bytes(2, "big") + AEAD_ID.to_bytes(2, "big")
MODE_BASE = b"\x00"

CALL = CallBinding(bytes(32), 1, 2, "search")
SESSION = CALL.of_session
RECEIPT = Receipt(bytes(32), bytes(32), 1, 1, "search", None, bytes(32), bytes(32), 1, isolation=Isolation.SHARED)


def labeled_extract(suite: bytes, salt: bytes, label: bytes, material: bytes) -> bytes:
    """RFC 9180, section 4."""
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + material, hashlib.sha256)


def labeled_expand(suite: bytes, key: bytes, label: bytes, info: bytes, size: int) -> bytes:
    """RFC 9180, section 4; HKDF-Expand for at most one block (RFC 5869, section 2.3)."""
    assert size <= 32
    labeled = size.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return hmac.digest(key, labeled + b"\x01", hashlib.sha256)[:size]


def key_and_nonce(shared_point: bytes, enc: bytes, public: bytes, info: bytes) -> tuple[bytes, bytes]:
    """RFC 9180, sections 4.1 (ExtractAndExpand) and 5.1 (KeySchedule)."""
    eae_prk = labeled_extract(KEM_SUITE, b"", b"eae_prk", shared_point)
    shared_secret = labeled_expand(KEM_SUITE, eae_prk, b"shared_secret", enc + public, 32)
    psk_id_hash = labeled_extract(SUITE, b"", b"psk_id_hash", b"")
    info_hash = labeled_extract(SUITE, b"", b"info_hash", info)
    context = MODE_BASE + psk_id_hash + info_hash
    secret = labeled_extract(SUITE, shared_secret, b"secret", b"")
    return labeled_expand(SUITE, secret, b"key", context, 32), labeled_expand(SUITE, secret, b"base_nonce", context, 12)


def test_the_suite_is_the_one_that_is_promised() -> None:
    assert HPKE_SUITE == "DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM"


def session_keys(secret: bytes, info: bytes) -> tuple[bytes, bytes]:
    """RFC 5869: extract without a salt, and two blocks of output."""
    key = hmac.digest(bytes(32), secret, hashlib.sha256)
    first = hmac.digest(key, info + b"\x01", hashlib.sha256)
    return first, hmac.digest(key, first + info + b"\x02", hashlib.sha256)


def info(label: bytes, public: bytes) -> bytes:
    """As the protocol's page says: quote hash of zeros, session 1."""
    return label + public + bytes(32) + (1).to_bytes(8, "little")


POSITION = (2).to_bytes(8, "little") + (6).to_bytes(4, "little") + b"search"
NONCE = (2).to_bytes(12, "little")


def test_what_a_client_seals_opens_by_the_rfcs() -> None:
    enclave = X25519PrivateKey.generate()
    public = enclave.public_key().public_bytes_raw()
    client = SessionKeys(public, SESSION)
    sealed = client.seal(b"text", CALL)
    enc, ciphertext = client.encapsulation[:32], client.encapsulation[32:]
    point = enclave.exchange(X25519PublicKey.from_public_bytes(enc))
    key, nonce = key_and_nonce(point, enc, public, info(b"casemate session v2\x00", public))
    secret = AESGCM(key).decrypt(nonce, ciphertext, b"")
    requests, responses = session_keys(secret, info(b"casemate session keys v2\x00", public))
    assert AESGCM(requests).decrypt(NONCE, sealed, b"casemate request v2\x00" + POSITION) == b"text"
    answer = AESGCM(responses).encrypt(NONCE, b"answer", b"casemate response v2\x00" + POSITION + sealed[-16:])
    assert client.open(answer, CALL, sealed) == b"answer"


def test_what_the_rfcs_seal_an_enclave_opens() -> None:
    keys = EnclaveKeys()
    ephemeral = X25519PrivateKey.generate()
    enc = ephemeral.public_key().public_bytes_raw()
    point = ephemeral.exchange(X25519PublicKey.from_public_bytes(keys.hpke_key))
    key, nonce = key_and_nonce(point, enc, keys.hpke_key, info(b"casemate session v2\x00", keys.hpke_key))
    secret = b"s" * 32
    session = keys.open_session(enc + AESGCM(key).encrypt(nonce, secret, b""), SESSION)
    requests, responses = session_keys(secret, info(b"casemate session keys v2\x00", keys.hpke_key))
    sealed = AESGCM(requests).encrypt(NONCE, b"text", b"casemate request v2\x00" + POSITION)
    assert session.open(sealed, CALL) == b"text"
    answer = session.seal(b"answer", CALL, sealed)
    aad = b"casemate response v2\x00" + POSITION + sealed[-16:]
    assert AESGCM(responses).decrypt(NONCE, answer, aad) == b"answer"
    with pytest.raises(FaultError, match="cannot-open"):
        session.open(sealed, replace(CALL, sequence=3))


def test_secrets_are_never_alike() -> None:
    public = EnclaveKeys().hpke_key
    one, other = SessionKeys(public, SESSION), SessionKeys(public, SESSION)
    assert one.encapsulation != other.encapsulation
    assert one.seal(b"text", CALL) != other.seal(b"text", CALL)


@pytest.mark.parametrize("sealed", [b"", bytes(15), bytes(16), bytes(100)])
def test_a_response_of_any_length_is_refused(sealed: bytes) -> None:
    with pytest.raises(ResponseRefusedError):
        SessionKeys(EnclaveKeys().hpke_key, SESSION).open(sealed, CALL, bytes(32))


def test_a_receipt_is_signed_over_a_label_of_its_own() -> None:
    """So no signature of another kind passes for one."""
    keys = EnclaveKeys()
    signature = keys.sign(RECEIPT)
    Ed25519PublicKey.from_public_bytes(keys.receipt_key).verify(signature, RECEIPT.signed_bytes())
    assert RECEIPT.signed_bytes().startswith(b"casemate receipt v2\x00")
    check_receipt_signature(keys.receipt_key, RECEIPT, signature)
    unlabeled = Ed25519PrivateKey.generate()
    with pytest.raises(ReceiptRefusedError):
        check_receipt_signature(
            unlabeled.public_key().public_bytes_raw(),
            RECEIPT,
            unlabeled.sign(RECEIPT.signed_bytes().removeprefix(b"casemate receipt v2\x00")),
        )
    with pytest.raises(InvalidSignature):
        Ed25519PublicKey.from_public_bytes(keys.receipt_key).verify(signature, b"something else")


NO_POINTS = [b"\x02" + bytes(31), b"\xff" * 32]
"""Texts that name no point of the curve."""


@pytest.mark.parametrize("key", NO_POINTS)
def test_keys_that_are_none_verify_nothing(key: bytes) -> None:
    with pytest.raises(ReceiptRefusedError):
        check_receipt_signature(key, RECEIPT, bytes(64))


@pytest.mark.parametrize("top_bit", [0, 1 << 255])
def test_a_key_for_which_anybody_can_sign_vouches_for_nothing(top_bit: int) -> None:
    """The neutral point: under it, itself as R and zero as S sign every message."""
    key = (1 | top_bit).to_bytes(32, "little")
    signature = (1).to_bytes(32, "little") + bytes(32)
    if not top_bit:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, RECEIPT.signed_bytes())  # the library takes it
    with pytest.raises(ReceiptRefusedError, match="a key that has an owner"):
        check_receipt_signature(key, RECEIPT, signature)
