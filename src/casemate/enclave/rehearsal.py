"""Does once in the spawner everything that enclaves do with libraries, since a confined enclave can load nothing.

Libraries import parts of themselves at first use. What the spawner has not loaded before it forks would be missing in
an enclave, which may open no file, in the middle of a call. A library that does not work stops the spawner.
"""

import contextlib
import hashlib
from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from casemate.enclave.chip.local_reports import rehearse_local_reports
from casemate.enclave.keys import SUITE, EnclaveKeys, Sha256, check_signature, is_same_hash, seal_secret, sha256
from casemate.enclave.store.rehearsal import rehearse_store
from casemate.images.layout import lay_out, read_pages
from casemate.images.schemas.schemas import inbound_schema, outbound_schema
from casemate.wire.encodings.json_text import encode_json, parse_json
from casemate.wire.encodings.message import prepare
from casemate.wire.errors import CasemateError
from casemate.wire.messages import entry, leaf, peers, service_life, spawner, tls
from casemate.wire.protocol.call import (
    SECRET_SIZE,
    SESSION_KEYS_SIZE,
    CallBinding,
    CallContent,
    CallFailed,
    CallRefused,
    CallRequest,
    CallResult,
    Envelope,
    Receipt,
    SessionBinding,
    StepTaken,
    StreamEnded,
)
from casemate.wire.protocol.faults import Fault, FaultError
from casemate.wire.protocol.image_index import LOCK_PATH, MANIFEST_PATH
from casemate.wire.protocol.inner_receipts import Accounted, ChainedReceipt, InnerCall
from casemate.wire.protocol.isolation import Isolation
from casemate.wire.protocol.peers import PeerBinding, PeerRequest, PeerSession
from casemate.wire.protocol.report_data import ReportDataBinding
from casemate.wire.protocol.runtime_lock import RuntimeLock

_VALUE = {"text": "é", "more": [1, 2.5, None]}
_SCHEMA = {"type": "object", "properties": {"text": {"type": "string", "pattern": "^.$"}}, "required": ["text"]}
_FILES = {
    MANIFEST_PATH: b"""
        [enclave]
        name = "rehearsal"
        product_id = 0
        security_version = 0
        engine = "javascript"
        main = "guest/main.js"
        [limits]
        memory_mib = 64
        time_ms = 1000
        output_kib = 1
        [entry.main]
        input = {}
        output = { type = "null" }
        callers = "anyone"
    """,
    LOCK_PATH: RuntimeLock().encode(),
    "guest/main.js": b"export function main() {}",
}
_SPOKEN = (
    *(SessionBinding, CallBinding, Envelope, CallContent, CallRequest, CallResult, CallRefused, CallFailed),
    *(Fault, Receipt, ChainedReceipt, InnerCall, Accounted, ReportDataBinding, StepTaken, StreamEnded),
    *(leaf.Boot, leaf.Booted, leaf.MakeReport, leaf.ReportMade, leaf.PartWanted),
    *(entry.Challenge, entry.ChallengeAnswer, entry.Enter, entry.Left, entry.Log, entry.Used, entry.Noticed),
    *(entry.Ocall, entry.OcallAnswer, entry.OcallRefused, entry.PlainEnter, entry.PlainLeft),
    *(tls.TlsPrepare, tls.TlsPrepared),
    *(service_life.RunHook, service_life.HealthIs, service_life.Configure, service_life.Configured),
    *(spawner.NeedGuest, spawner.GuestGiven, spawner.GuestGone, spawner.GuestRefused, spawner.Watch, spawner.Unwatch),
    *(spawner.Interrupt, peers.PeerGreeted, peers.PeerWelcome, peers.PeerIntroduced, peers.PeerProof),
    *(PeerBinding, PeerRequest, PeerSession),
)
"""All messages that an enclave sends and receives: their codecs are made at first use, too."""

_RECEIPT = Receipt(bytes(32), bytes(32), 1, 1, "rehearse", None, bytes(32), bytes(32), 1, isolation=Isolation.SHARED)
_CALL = CallBinding(bytes(32), 1, 1, "rehearse")


class RehearsalError(CasemateError):
    """A library that every enclave needs does not do what it should."""


def rehearse() -> None:
    """Uses every library with good and bad input and keys that are thrown away, or raises :class:`RehearsalError`."""
    prepare(*_SPOKEN)
    read_pages(lay_out(_FILES, (), engine="javascript").linear_contents())
    _rehearse_ciphers()
    _rehearse_schemas()
    for wrong in (rehearse_store(), rehearse_local_reports()):
        if wrong is not None:
            raise RehearsalError(wrong)


def _rehearse_ciphers() -> None:
    text = b"rehearsal"
    keys = EnclaveKeys()
    about, another = _CALL.of_session, replace(_CALL.of_session, session=2)
    public = X25519PublicKey.from_public_bytes(keys.hpke_key)
    sealed = SUITE.encrypt(bytes(SECRET_SIZE), public, info=about.encapsulation_info(keys.hpke_key))
    session = keys.open_session(sealed, about)
    with contextlib.suppress(FaultError):
        keys.open_session(sealed, another)
        raise RehearsalError("HPKE opened what was sealed for another session")
    derived = HKDF(SHA256(), SESSION_KEYS_SIZE, salt=None, info=about.keys_info(keys.hpke_key)).derive(
        bytes(SECRET_SIZE)
    )
    if keys.open_secret(seal_secret(keys.hpke_key, text)) != text:
        raise RehearsalError("HPKE opened something else than was sealed")
    request = AESGCM(derived[:32]).encrypt(_CALL.nonce, text, _CALL.request_aad())
    if session.open(request, _CALL) != text:
        raise RehearsalError("AES-GCM opened something else than was sealed")
    with contextlib.suppress(FaultError):
        session.open(request, replace(_CALL, sequence=2))
        raise RehearsalError("AES-GCM opened what was sealed under another number")
    session.seal(text, _CALL, request)
    if is_same_hash(sha256(sealed), sha256(request)):
        raise RehearsalError("two hashes that differ are the same")
    check_signature(keys.receipt_key, keys.sign(_RECEIPT), _RECEIPT.signed_bytes())
    with contextlib.suppress(FaultError):
        check_signature(keys.receipt_key, bytes(64), _RECEIPT.signed_bytes())
        raise RehearsalError("a signature of zeros verified")
    running = Sha256()
    running.update(text)
    if not running.digest() == sha256(text) == hashlib.sha256(text).digest():
        raise RehearsalError("SHA-256 of one library is not that of another")


def _rehearse_schemas() -> None:
    text = encode_json(_VALUE)
    value = parse_json("rehearsal", text, limit=len(text))
    inbound_schema(_SCHEMA).check(value)
    if outbound_schema(_SCHEMA).filter(value) != {"text": "é"}:
        raise RehearsalError("an undeclared property of a result was kept")
    with contextlib.suppress(CasemateError):
        inbound_schema(_SCHEMA).check({"text": 1})
