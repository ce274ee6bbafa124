"""Sealed records of two callers."""

from casemate.wire.protocol.sealed_record import NO_RECORD, SealedHeader, SealedKind
from casemate.wire.sgx.keyrequest import KeyPolicy

ALICE, BOB = b"a" * 32, b"b" * 32


HEADER = SealedHeader(
    kind=SealedKind.CHANGES, key_policy=KeyPolicy.MRSIGNER, isv_svn=1, part=0, parts=1, tcb=bytes(16),
    key_id=bytes(32), nonce=bytes(12), namespace=ALICE, epoch=1, previous=NO_RECORD,
)  # fmt: skip
