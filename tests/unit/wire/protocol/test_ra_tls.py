"""Evidence extensions: cbor2, which others wrote, and certificates that other stacks made, have to agree with us."""

import hashlib
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.wire.errors import WireError
from casemate.wire.protocol.ra_tls import (
    MAX_CLAIMS,
    Claims,
    HashAlgorithm,
    PubkeyHash,
    TaggedEvidence,
    legacy_report_data,
    report_data_of_claims,
)
from casemate.wire.protocol.report_data import ReportDataBinding
from casemate.wire.protocol.sandbox_layers import SandboxLayers

KEY = b"\x30a SubjectPublicKeyInfo"
ALGORITHMS = st.sampled_from(HashAlgorithm)
OTHERS = st.dictionaries(st.text(max_size=40).filter(lambda name: name != "pubkey-hash"), st.binary(max_size=300))


@given(ALGORITHMS, st.binary())
def test_key_hash_is_what_cbor2_reads(algorithm: HashAlgorithm, key: bytes) -> None:
    encoded = PubkeyHash.of(key, algorithm).encode()
    name = {1: "sha256", 7: "sha384", 8: "sha512"}[algorithm]
    assert cbor2.loads(encoded) == [algorithm, hashlib.new(name, key).digest()]
    assert PubkeyHash.parse(encoded).is_of(key)
    assert not PubkeyHash.parse(encoded).is_of(key + b"x")


@given(ALGORITHMS, OTHERS, st.data())
def test_claims_are_what_cbor2_writes_and_reads(
    algorithm: HashAlgorithm, others: dict[str, bytes], data: st.DataObject
) -> None:
    pairs = list(others.items())[:10]
    place = data.draw(st.integers(0, len(pairs)))
    claim = PubkeyHash.of(KEY, algorithm)
    pairs.insert(place, ("pubkey-hash", claim.encode()))
    written = cbor2.dumps(dict(pairs))
    claims = Claims.parse(written)
    assert claims.encode() == written
    assert claims.pubkey_hash == claim
    assert claims.nonce == dict(pairs).get("nonce")


@given(st.binary(max_size=6000), st.binary(max_size=MAX_CLAIMS))
def test_evidence_is_what_cbor2_writes_and_reads(quote: bytes, claims: bytes) -> None:
    evidence = TaggedEvidence(quote, claims)
    assert cbor2.dumps(cbor2.CBORTag(60000, [quote, claims])) == evidence.encode()
    assert TaggedEvidence.parse(evidence.encode()) == evidence


@given(st.binary(max_size=300))
def test_random_bytes_are_a_value_or_a_typed_error(data: bytes) -> None:
    for kind in (TaggedEvidence, Claims, PubkeyHash):
        try:
            value = kind.parse(data)
        except WireError:
            continue
        assert value.encode() == data


@given(st.data())
def test_changed_evidence_never_parses_as_something_it_does_not_encode_to(data: st.DataObject) -> None:
    good = bytearray(TaggedEvidence(b"q" * 300, Claims(PubkeyHash.of(KEY)).encode()).encode())
    at = data.draw(st.integers(0, len(good) - 1))
    good[at] = data.draw(st.integers(0, 255))
    try:
        evidence = TaggedEvidence.parse(bytes(good))
        claims = Claims.parse(evidence.claims)
    except WireError:
        return
    assert evidence.encode() == bytes(good)
    assert claims.encode() == evidence.claims


HASH = PubkeyHash.of(KEY).encode()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (cbor2.CBORTag(60001, [b"q", b"c"]), "60001"),
        (cbor2.CBORTag(60000, [b"q"]), "1 items"),
        (cbor2.CBORTag(60000, [b"q", "c"]), "major type 3"),
        (cbor2.CBORTag(60000, [b"q" * 70000, b"c"]), "70000 bytes"),
        ([b"q", b"c"], "major type 4"),
    ],
)
def test_refuses_evidence_of_another_shape(value: Any, words: str) -> None:
    with pytest.raises(WireError, match=words):
        TaggedEvidence.parse(cbor2.dumps(value))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (cbor2.dumps({}), "0 of them"),
        (cbor2.dumps({"nonce": b"n"}), "pubkey-hash"),
        (cbor2.dumps({"pubkey-hash": "text"}), "major type 3"),
        (cbor2.dumps({"pubkey-hash": cbor2.dumps([2, bytes(32)])}), "hash-alg-id is 2"),
        (cbor2.dumps({"pubkey-hash": cbor2.dumps([1, bytes(31)])}), "31 bytes"),
        (cbor2.dumps({"pubkey-hash": HASH, "x": bytes(MAX_CLAIMS)}), "at most 4096"),
        (b"\xa2" + 2 * cbor2.dumps({"pubkey-hash": HASH})[1:], "twice"),
        (b"\xbf" + cbor2.dumps({"pubkey-hash": HASH})[1:] + b"\xff", "definite length"),
        (b"\xb8\x01" + cbor2.dumps({"pubkey-hash": HASH})[1:], "shortest head"),
        (cbor2.dumps({"pubkey-hash": HASH}) + b"\x00", "after its end"),
    ],
)
def test_refuses_claims_of_another_shape(data: bytes, words: str) -> None:
    with pytest.raises(WireError, match=words):
        Claims.parse(data)


@given(st.binary(max_size=200), st.binary(min_size=32, max_size=32))
def test_report_data_of_the_sealed_channel_is_never_one_of_ra_tls(key: bytes, nonce: bytes) -> None:
    sealed = ReportDataBinding(nonce, nonce, nonce, SandboxLayers((), ())).report_data()
    claims = Claims(PubkeyHash.of(key)).encode()
    assert sealed[32:] != bytes(32)
    assert report_data_of_claims(claims)[32:] == legacy_report_data(key)[32:] == bytes(32)
    assert report_data_of_claims(claims) != legacy_report_data(key)
