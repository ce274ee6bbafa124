"""The store's part of the rehearsal: seals, opens and digests a record, under a key that is thrown away."""

import contextlib

from casemate.enclave.keys import seal_counted, unseal
from casemate.enclave.store.values import sorted_json
from casemate.wire.encodings.message import encode_fields, parse_fields, prepare
from casemate.wire.messages import leaf, state
from casemate.wire.protocol.faults import FaultError
from casemate.wire.protocol.padding import pad, unpad
from casemate.wire.protocol.seal_binding import SealBinding, state_namespace
from casemate.wire.protocol.sealed_record import NO_RECORD, SealedHeader, SealedKind, SealedRecord, record_digest
from casemate.wire.protocol.state_changes import Change, Changes
from casemate.wire.protocol.tee import Identity, Tee
from casemate.wire.sgx.keyrequest import KeyPolicy

_SPOKEN = (
    *(leaf.GetSealingKey, leaf.KeyIs, leaf.AnchorRead, leaf.AnchorAdvance, leaf.AnchorIs),
    *(state.StateRead, state.StateRecords, state.StateAppend, state.StateStored, state.StateRefused),
    *(state.StateForget, Changes),
)


def rehearse_store() -> str | None:
    """Seals and opens a record; says what is wrong with this machine's libraries, or None."""
    prepare(*_SPOKEN)
    changes = Changes((Change("key", sorted_json(b'{"b":1,"a":[2.5,"\xc3\xa9"]}')),))
    header = SealedHeader(
        kind=SealedKind.CHANGES, key_policy=KeyPolicy.MRSIGNER, isv_svn=0, part=0, parts=1, tcb=bytes(16),
        key_id=bytes(32), nonce=bytes(12), epoch=1, previous=NO_RECORD,
        namespace=state_namespace(SealBinding.MRSIGNER, Identity(Tee.SGX, bytes(32), bytes(32), 0, 0, debug=True)),
    )  # fmt: skip
    associated, key = header.encode(), bytes(16)
    record = associated + seal_counted(key, header.nonce, pad(encode_fields(changes)), associated)
    record_digest(record)
    ciphertext = SealedRecord.parse(record).ciphertext
    if parse_fields(Changes, bytes(unpad(unseal(key, header.nonce, ciphertext, associated)))) != changes:
        return "a sealed record opened as something else"
    with contextlib.suppress(FaultError):
        unseal(key, header.nonce, ciphertext, b"another header")
        return "a sealed record opened under another header"
    return None
