"""Everything an enclave does with libraries, done once in the parent: a confined enclave can load nothing any more.

Libraries import parts of themselves at first use. What the parent has not loaded before it forks, an enclave that may
open no file would miss in the middle of a call. A library that has stopped working stops the parent, not enclaves.
"""

import contextlib

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from casemate.enclave.keys import SUITE, EnclaveKeys, check_signature, seal_once
from casemate.images.errors import ManifestError
from casemate.images.manifest import parse_manifest
from casemate.images.schemas import inbound_schema, outbound_schema
from casemate.wire.call import Receipt
from casemate.wire.errors import CasemateError
from casemate.wire.faults import FaultError
from casemate.wire.json_text import encode_json, parse_json

_INFO = b"rehearsal"
_VALUE = {"text": "é", "more": [1, 2.5, None]}
_SCHEMA = {"type": "object", "properties": {"text": {"type": "string", "pattern": "^.$"}}, "required": ["text"]}
_RECEIPT = Receipt(bytes(32), bytes(32), 1, 1, "rehearse", None, bytes(32), bytes(32), 1)


class RehearsalError(CasemateError):
    """A library that every enclave needs does not do what it should."""


def rehearse() -> None:
    """Runs through it with keys that are thrown away, good input and bad, or raises :class:`RehearsalError`."""
    text = encode_json(_VALUE)
    keys = EnclaveKeys()
    sealed = SUITE.encrypt(text, X25519PublicKey.from_public_bytes(keys.hpke_key), info=_INFO)
    if keys.open(sealed, _INFO) != text:
        raise RehearsalError("HPKE opened something else than was sealed")
    with contextlib.suppress(FaultError):
        keys.open(sealed, b"another binding")
        raise RehearsalError("HPKE opened what was sealed for another binding")
    check_signature(keys.receipt_key, keys.sign(_RECEIPT), _RECEIPT.signed_bytes())
    with contextlib.suppress(FaultError):
        check_signature(keys.receipt_key, bytes(64), _RECEIPT.signed_bytes())
        raise RehearsalError("a signature of zeros verified")
    seal_once(bytes(32), text, _INFO)
    value = parse_json("rehearsal", text, limit=len(text))
    inbound_schema(_SCHEMA).check(value)
    if outbound_schema(_SCHEMA).filter(value) != {"text": "é"}:
        raise RehearsalError("an undeclared property of a result was kept")
    with contextlib.suppress(CasemateError):
        inbound_schema(_SCHEMA).check({"text": 1})
    with contextlib.suppress(ManifestError):
        parse_manifest(b"[enclave]\n", lambda _path: None)
