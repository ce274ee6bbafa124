from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from hypothesis import given
from hypothesis import strategies as st

from casemate.enclave.entry.channel import open_request
from casemate.enclave.entry.sessions import Sessions
from casemate.enclave.keys import EnclaveKeys
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.protocol.call import (
    RESPONSE_NONCE,
    CallBinding,
    CallContent,
    CallFailed,
    CallRequest,
    Envelope,
    response_aad,
)
from casemate.wire.protocol.faults import Code, FaultError, fault
from casemate.wire.protocol.padding import pad, unpad

SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
CONTENT = CallContent(b"k" * 32, b"i" * 32, b"o" * 32, b'{"secret":"plaintext"}')
REQUEST = CallRequest(CONTENT, None)


class Rig:
    def __init__(self) -> None:
        self.keys = EnclaveKeys()
        self.sessions = Sessions()
        self.binding = CallBinding(b"q" * 32, self.sessions.issue(), 1, "search")

    def seal(
        self, binding: CallBinding | None = None, text: bytes | None = None, meant_for: bytes | None = None
    ) -> Envelope:
        binding = binding or self.binding
        text = pad(encode_message(REQUEST)) if text is None else text
        key = X25519PublicKey.from_public_bytes(self.keys.hpke_key)
        return Envelope(binding, SUITE.encrypt(text, key, info=binding.info(meant_for or self.keys.hpke_key)))

    def refusal(self, envelope: Envelope) -> Code:
        with pytest.raises(FaultError) as caught:
            open_request(envelope, self.keys, self.sessions)
        return caught.value.fault.code


def test_opens_what_was_sealed_for_it() -> None:
    rig = Rig()
    opened = open_request(rig.seal(), rig.keys, rig.sessions)
    assert opened.request == REQUEST
    assert opened.binding == rig.binding
    assert b"plaintext" not in repr(opened).encode()


def test_refuses_the_same_request_twice() -> None:
    rig = Rig()
    envelope = rig.seal()
    open_request(envelope, rig.keys, rig.sessions)
    assert rig.refusal(envelope) is Code.SEQUENCE_USED


def test_refuses_requests_out_of_order() -> None:
    rig = Rig()
    second = replace(rig.binding, sequence=2)
    open_request(rig.seal(second), rig.keys, rig.sessions)
    assert rig.refusal(rig.seal()) is Code.SEQUENCE_USED


@pytest.mark.parametrize(
    "change",
    [{"quote_hash": b"x" * 32}, {"session": 2}, {"sequence": 3}, {"entry": "other"}],
    ids=["quote", "session", "sequence", "entry"],
)
def test_refuses_a_request_under_another_binding(change: dict[str, object]) -> None:
    rig = Rig()
    rig.sessions.issue()  # session 2 is good, only not the one that this was sealed for
    envelope = replace(rig.seal(), binding=replace(rig.binding, **change))  # type: ignore[arg-type] # typed by the ids
    assert rig.refusal(envelope) is Code.CANNOT_OPEN


def test_refuses_a_request_for_another_launch() -> None:
    rig = Rig()
    assert rig.refusal(Rig().seal()) is Code.CANNOT_OPEN


def test_refuses_a_request_that_names_another_enclaves_key() -> None:
    rig = Rig()
    assert rig.refusal(rig.seal(meant_for=Rig().keys.hpke_key)) is Code.CANNOT_OPEN


@given(st.data())
def test_refuses_every_truncated_or_altered_request_and_burns_nothing(data: st.DataObject) -> None:
    rig = Rig()
    envelope = rig.seal()
    sealed = bytearray(envelope.sealed)
    if data.draw(st.booleans()):
        sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del sealed[data.draw(st.integers(0, len(sealed) - 1)) :]
    assert rig.refusal(replace(envelope, sealed=bytes(sealed))) is Code.CANNOT_OPEN
    open_request(envelope, rig.keys, rig.sessions)


@given(st.binary(max_size=300))
def test_refuses_inventions_and_burns_nothing(sealed: bytes) -> None:
    rig = Rig()
    assert rig.refusal(Envelope(replace(rig.binding, sequence=2**64 - 1), sealed)) is Code.CANNOT_OPEN
    open_request(rig.seal(), rig.keys, rig.sessions)


@pytest.mark.parametrize("text", [b"", b"plaintext", pad(b"plaintext"), encode_message(REQUEST)])
def test_what_opens_and_is_no_request_is_refused_without_a_word_of_it_and_used_up(text: bytes) -> None:
    rig = Rig()
    with pytest.raises(FaultError) as caught:
        open_request(rig.seal(text=text), rig.keys, rig.sessions)
    assert caught.value.fault.code is Code.MALFORMED
    assert "plain" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert rig.refusal(rig.seal()) is Code.SEQUENCE_USED


def test_a_response_opens_for_its_request_alone() -> None:
    rig = Rig()
    envelope = rig.seal()
    opened = open_request(envelope, rig.keys, rig.sessions)
    refusal = CallFailed(fault(Code.GUEST_ERROR, "it threw"))
    sealed = opened.seal(refusal)
    text = AESGCM(CONTENT.response_key).decrypt(RESPONSE_NONCE, sealed, response_aad(envelope.request_hash()))
    assert parse_message(unpad(text), CallFailed) == refusal


def test_refusals_and_short_results_have_one_size() -> None:
    rig = Rig()
    opened = open_request(rig.seal(), rig.keys, rig.sessions)
    sizes = {len(opened.seal(CallFailed(fault(Code.GUEST_ERROR, "x" * size)))) for size in (0, 10, 900)}
    assert len(sizes) == 1


def test_keys_are_fresh_and_do_not_show() -> None:
    first, second = EnclaveKeys(), EnclaveKeys()
    assert first.hpke_key != second.hpke_key
    assert first.receipt_key != second.receipt_key
    assert first._hpke.private_bytes_raw().hex() not in repr(first)
