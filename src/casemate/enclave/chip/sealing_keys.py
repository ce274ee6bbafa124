"""Seals and opens under keys that the chip derives for this enclave's identity.

Every launch draws a random KEYID, so no two launches seal under one key, and nonces can simply count.
"""

import itertools
import secrets

from casemate.enclave.chip.leaf import Leaf
from casemate.enclave.keys import seal_counted, unseal
from casemate.wire.errors import WireError
from casemate.wire.messages.leaf import GetSealingKey
from casemate.wire.protocol.faults import Code, FaultError, refuse
from casemate.wire.protocol.padding import pad, unpad
from casemate.wire.protocol.seal_binding import SealBinding, state_namespace
from casemate.wire.protocol.sealed_record import NO_RECORD, SealedHeader, SealedKind, SealedRecord
from casemate.wire.protocol.tee import Identity

KEY_ID_SIZE = 32
NONCE_SIZE = 12
MAX_CACHED_KEYS = 256
"""Most keys of other launches that are kept; a history has one for each launch that wrote in it."""


class SealingKeys:
    """Seals for this enclave's identity, with keys of the TCB at which it was started."""

    def __init__(self, leaf: Leaf, identity: Identity, tcb: bytes) -> None:
        self._leaf = leaf
        self._identity = identity
        self._tcb = tcb
        self._key_id = secrets.token_bytes(KEY_ID_SIZE)
        self._nonces = itertools.count()
        self._keys: dict[tuple[SealBinding, int, bytes, bytes], bytes] = {}

    def namespace(self, binding: SealBinding) -> bytes:
        """The name of this enclave's state under that binding."""
        return state_namespace(binding, self._identity)

    async def seal(
        self,
        kind: SealedKind,
        binding: SealBinding,
        text: bytes,
        *,
        epoch: int = 0,
        previous: bytes = NO_RECORD,
        part: int = 0,
        parts: int = 1,
    ) -> bytes:
        """The text, sealed, as an encoded record; the other arguments are fields of its header."""
        header = SealedHeader(
            kind=kind,
            key_policy=binding.key_policy,
            isv_svn=self._identity.isv_svn,
            part=part,
            parts=parts,
            tcb=self._tcb,
            key_id=self._key_id,
            nonce=next(self._nonces).to_bytes(NONCE_SIZE, "little"),
            namespace=self.namespace(binding),
            epoch=epoch,
            previous=previous,
        )
        associated = header.encode()
        return associated + seal_counted(await self._key(header), header.nonce, pad(text), associated)

    async def open(self, record: SealedRecord) -> bytes:
        """The text that was sealed by this identity, at this or a lower security version.

        Raises:
            FaultError: ``state-refused``: for another identity, by a higher version, or changed since.
        """
        header, own = record.header, self._identity
        if header.namespace != self.namespace(header.binding):
            raise refuse(Code.STATE_REFUSED, "sealed for the identity of another enclave")
        if header.isv_svn > own.isv_svn:
            raise refuse(
                Code.STATE_REFUSED,
                f"sealed by security version {header.isv_svn}, this enclave is of version {own.isv_svn}",
            )
        padded = unseal(await self._key(header), header.nonce, record.ciphertext, header.encode())
        try:
            return bytes(unpad(padded))
        except WireError as error:
            raise refuse(Code.STATE_REFUSED, f"sealed with another padding: {error}") from None

    async def _key(self, header: SealedHeader) -> bytes:
        named = (header.binding, header.isv_svn, header.tcb, header.key_id)
        key = self._keys.get(named)
        if key is None:
            key = await self._derive(header)
            if len(self._keys) >= MAX_CACHED_KEYS:
                self._keys.clear()
            self._keys[named] = key
        return key

    async def _derive(self, header: SealedHeader) -> bytes:
        try:
            wanted = GetSealingKey(header.binding, header.isv_svn, header.tcb, header.key_id)
            return await self._leaf.sealing_key(wanted)
        except FaultError as error:
            raise refuse(Code.STATE_REFUSED, f"no key for this seal: {error.fault.reason}") from None
