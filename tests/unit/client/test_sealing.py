"""Sealed requests against RFC 9180 written down once more: whoever implements a client elsewhere needs nothing else."""

import hashlib
import hmac

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from casemate.client.errors import ReceiptRefusedError, ResponseRefusedError
from casemate.client.sealing import check_receipt_signature, open_response, seal_request
from casemate.enclave.keys import EnclaveKeys
from casemate.wire.protocol.call import HPKE_SUITE, RESPONSE_NONCE, CallBinding, Receipt
from casemate.wire.protocol.faults import FaultError

KEM_ID, KDF_ID, AEAD_ID = 0x0020, 0x0001, 0x0002
"""RFC 9180, tables 2, 3 and 5: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM."""
KEM_SUITE = b"KEM" + KEM_ID.to_bytes(2, "big")
SUITE = b"HPKE" + KEM_ID.to_bytes(2, "big") + KDF_ID.to_bytes(2, "big") + AEAD_ID.to_bytes(2, "big")
MODE_BASE = b"\x00"

INFO = CallBinding(bytes(32), 1, 2, "search").info(b"k" * 32)
RECEIPT = Receipt(bytes(32), bytes(32), 1, 1, "search", None, bytes(32), bytes(32), 1)


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


def test_what_a_client_seals_opens_by_the_rfc() -> None:
    enclave = X25519PrivateKey.generate()
    public = enclave.public_key().public_bytes_raw()
    sealed = seal_request(public, INFO, b"text")
    enc, ciphertext = sealed[:32], sealed[32:]
    point = enclave.exchange(X25519PublicKey.from_public_bytes(enc))
    key, nonce = key_and_nonce(point, enc, public, INFO)
    assert AESGCM(key).decrypt(nonce, ciphertext, b"") == b"text"


def test_what_the_rfc_seals_an_enclave_opens() -> None:
    keys = EnclaveKeys()
    ephemeral = X25519PrivateKey.generate()
    enc = ephemeral.public_key().public_bytes_raw()
    point = ephemeral.exchange(X25519PublicKey.from_public_bytes(keys.hpke_key))
    key, nonce = key_and_nonce(point, enc, keys.hpke_key, INFO)
    sealed = enc + AESGCM(key).encrypt(nonce, b"text", b"")
    assert keys.open(sealed, INFO) == b"text"
    with pytest.raises(FaultError, match="cannot-open"):
        keys.open(sealed, INFO + b"\x00")


def test_requests_are_never_sealed_alike() -> None:
    public = EnclaveKeys().hpke_key
    assert seal_request(public, INFO, b"text") != seal_request(public, INFO, b"text")


def test_a_response_opens_under_its_key_and_for_its_request_alone() -> None:
    sealed = AESGCM(bytes(32)).encrypt(RESPONSE_NONCE, b"text", b"request")
    assert open_response(bytes(32), sealed, b"request") == b"text"
    for key, associated in ((b"x" * 32, b"request"), (bytes(32), b"another")):
        with pytest.raises(ResponseRefusedError):
            open_response(key, sealed, associated)


@pytest.mark.parametrize("sealed", [b"", bytes(15), bytes(16), bytes(100)])
def test_a_response_of_any_length_is_refused(sealed: bytes) -> None:
    with pytest.raises(ResponseRefusedError):
        open_response(bytes(32), sealed, b"request")


def test_a_receipt_is_signed_over_a_label_of_its_own() -> None:
    """So no signature of another kind passes for one."""
    keys = EnclaveKeys()
    signature = keys.sign(RECEIPT)
    Ed25519PublicKey.from_public_bytes(keys.receipt_key).verify(signature, RECEIPT.signed_bytes())
    assert RECEIPT.signed_bytes().startswith(b"casemate receipt v1\x00")
    check_receipt_signature(keys.receipt_key, RECEIPT, signature)
    unlabeled = Ed25519PrivateKey.generate()
    with pytest.raises(ReceiptRefusedError):
        check_receipt_signature(
            unlabeled.public_key().public_bytes_raw(),
            RECEIPT,
            unlabeled.sign(RECEIPT.signed_bytes().removeprefix(b"casemate receipt v1\x00")),
        )
    with pytest.raises(InvalidSignature):
        Ed25519PublicKey.from_public_bytes(keys.receipt_key).verify(signature, b"something else")


@pytest.mark.parametrize("key", [bytes(32), b"\xff" * 32])
def test_keys_that_are_none_verify_nothing(key: bytes) -> None:
    with pytest.raises(ReceiptRefusedError):
        check_receipt_signature(key, RECEIPT, bytes(64))
