import base64
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.rigs.channel.sealed import Sealer

from casemate.enclave.entry.caller_identity import admit, proved_key
from casemate.enclave.entry.channel import OpenedRequest
from casemate.enclave.entry.sessions import Session
from casemate.enclave.keys import EnclaveKeys
from casemate.wire.encodings.json_text import Json
from casemate.wire.protocol.call import CallBinding, CallContent, CallerProof, CallRequest, caller_transcript
from casemate.wire.protocol.faults import Code, FaultError
from casemate.wire.protocol.manifest import Manifest
from casemate.wire.protocol.manifest_text import parse_manifest

ALICE, BOB, STRANGER = (Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32) for seed in (1, 2, 3))
OWN_KEY = b"h" * 32
BINDING = CallBinding(b"q" * 32, 1, 1, "private")
CONTENT = CallContent(b"i" * 32, b"o" * 32, b"{}")
KEYS = EnclaveKeys()
ENVELOPE = Sealer(KEYS.hpke_key, BINDING.of_session).envelope(BINDING, b"")
SESSION = Session.begun_by(ENVELOPE, ENVELOPE.encapsulation or b"", KEYS)


def name_of(key: Ed25519PrivateKey) -> str:
    return f"ed25519:{base64.b64encode(key.public_key().public_bytes_raw()).decode()}"


def manifest() -> Manifest:
    text = f"""
        [enclave]
        name = "t"
        product_id = 1
        security_version = 1
        engine = "javascript"
        main = "guest/main.js"
        [limits]
        memory_mib = 64
        time_ms = 100
        output_kib = 1
        [callers]
        alice = "{name_of(ALICE)}"
        bob = "{name_of(BOB)}"
        [entry.private]
        input = {{}}
        output = {{ type = "null" }}
        callers = ["alice"]
        [entry.public]
        input = {{}}
        output = {{ type = "null" }}
        callers = "anyone"
    """
    return parse_manifest(text.encode(), {"guest/main.js": b""}.get)


def signed(
    key: Ed25519PrivateKey,
    binding: CallBinding = BINDING,
    content: CallContent = CONTENT,
    hpke_key: bytes = OWN_KEY,
    secret_hash: bytes = SESSION.encapsulation_hash,
) -> CallerProof:
    signature = key.sign(caller_transcript(binding, hpke_key, secret_hash, content))
    return CallerProof(key.public_key().public_bytes_raw(), signature)


def admitted(name: str, proof: CallerProof | None, binding: CallBinding | None = None) -> Json:
    entry = manifest().entry(name)
    assert entry is not None
    binding = binding or replace(BINDING, entry=name)
    opened = OpenedRequest(replace(ENVELOPE, binding=binding), SESSION, CallRequest(CONTENT, proof))
    return admit(entry, manifest(), proved_key(opened, OWN_KEY))


def refused(name: str, proof: CallerProof | None, binding: CallBinding | None = None) -> bool:
    with pytest.raises(FaultError) as caught:
        admitted(name, proof, binding)
    return caught.value.fault.code is Code.CALLER_REFUSED


def test_admits_a_listed_caller_by_name() -> None:
    assert admitted("private", signed(ALICE)) == {"name": "alice", "key": name_of(ALICE)}


def test_refuses_unsigned_calls_where_callers_are_listed() -> None:
    assert refused("private", None)


def test_refuses_callers_that_this_entry_point_does_not_list() -> None:
    assert refused("private", signed(BOB))
    assert refused("private", signed(STRANGER))


@pytest.mark.parametrize(
    "change",
    [{"quote_hash": b"x" * 32}, {"session": 2}, {"sequence": 2}, {"entry": "public"}],
    ids=["another quote", "another session", "another call", "another entry point"],
)
def test_refuses_a_signature_made_for_something_else(change: dict[str, object]) -> None:
    elsewhere = replace(BINDING, **change)  # type: ignore[arg-type] # typed by the ids
    assert refused("private", signed(ALICE, elsewhere))


def test_refuses_a_signature_made_for_another_enclave_although_all_that_the_envelope_says_is_the_same() -> None:
    assert refused("private", signed(ALICE, hpke_key=b"x" * 32))


def test_refuses_a_signature_made_for_another_secret_of_the_session() -> None:
    """A client that the host gave the same session number, and whose signed request somebody could read."""
    assert refused("private", signed(ALICE, secret_hash=b"x" * 32))


@pytest.mark.parametrize("field", ["input_blind", "output_blind", "arguments"])
def test_refuses_a_signature_over_other_content(field: str) -> None:
    other = replace(CONTENT, **{field: b"x" * 32})  # type: ignore[arg-type] # typed by the names
    assert refused("private", signed(ALICE, content=other))


def test_refuses_a_signature_under_anothers_key() -> None:
    proof = replace(signed(BOB), public_key=signed(ALICE).public_key)
    assert refused("private", proof)


def test_anyone_may_be_nobody() -> None:
    assert admitted("public", None) is None


def test_anyone_is_known_by_the_key_that_signed() -> None:
    binding = replace(BINDING, entry="public")
    assert admitted("public", signed(BOB, binding)) == {"name": "bob", "key": name_of(BOB)}
    assert admitted("public", signed(STRANGER, binding)) == {"name": None, "key": name_of(STRANGER)}


def test_a_proof_must_hold_even_where_anyone_may_call() -> None:
    assert refused("public", signed(ALICE))  # signed for the other entry point
    assert refused("public", CallerProof(bytes(32), bytes(64)))
    assert refused("public", CallerProof(b"\xff" * 32, bytes(64)))
