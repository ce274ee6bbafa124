"""Seals values that a function hands out itself. Nothing promises that such a text is the newest."""

import base64
import binascii

from casemate.enclave.chip.sealing_keys import SealingKeys
from casemate.wire.errors import WireError
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.protocol.seal_binding import SealBinding
from casemate.wire.protocol.sealed_record import SealedKind, SealedRecord

MAX_SEALED_VALUE = 1024 * 1024
"""Longest value that a function may seal (bytes of JSON)."""

MAX_SEALED_TEXT = 2 * 1024 * 1024
"""Longest sealed text that is looked at (characters): the longest value, padded, in base64."""


class Sealer:
    """``context.seal`` and ``context.unseal``."""

    def __init__(self, keys: SealingKeys) -> None:
        self._keys = keys

    async def seal(self, value: bytes, binding: SealBinding) -> str:
        """The sealed text (base64) of a value (JSON bytes); refused as ``state-limit`` where it is too long."""
        if len(value) > MAX_SEALED_VALUE:
            raise refuse(Code.STATE_LIMIT, f"a value of {len(value)} bytes of JSON, at most {MAX_SEALED_VALUE} go")
        return base64.b64encode(await self._keys.seal(SealedKind.BLOB, binding, value)).decode()

    async def unseal(self, text: str) -> bytes:
        """The value (JSON bytes) in a sealed text.

        Raises:
            FaultError: ``state-refused``: no sealed text, one of another identity or of a higher security version, or a
                changed one.
        """
        if len(text) > MAX_SEALED_TEXT:
            raise refuse(Code.STATE_LIMIT, f"a sealed text of {len(text)} characters, at most {MAX_SEALED_TEXT} go")
        try:
            record = SealedRecord.parse(base64.b64decode(text.encode(), validate=True))
        except (UnicodeEncodeError, binascii.Error, WireError) as error:
            raise refuse(Code.STATE_REFUSED, f"no sealed text: {error}") from None
        if record.header.kind is not SealedKind.BLOB:
            raise refuse(Code.STATE_REFUSED, "a record of a state, not what a function sealed")
        return await self._keys.open(record)
