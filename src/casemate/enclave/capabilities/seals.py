"""The capability ``seal``: texts that only an enclave of the same identity can open."""

from casemate.enclave.guest.call_services import CallServices
from casemate.enclave.store.sealer import MAX_SEALED_VALUE, Sealer
from casemate.engines.questions.seals import Seal, SealQuestion
from casemate.wire.encodings.json_text import encode_json, parse_json
from casemate.wire.errors import WireError
from casemate.wire.protocol.faults import Code, refuse

NO_SEAL = 'this needs the permission "seal": add permissions = ["seal", ...] to [enclave] in casemate.toml'
"""What a guest hears that seals without the permission; the bootstraps say the same by themselves."""


class SealCapability:
    """Seals and unseals.

    Args:
        sealer: has the keys; None where the manifest does not grant the permission.
    """

    def __init__(self, sealer: Sealer | None) -> None:
        self._sealer = sealer

    async def answer(self, question: SealQuestion, _call: CallServices, _deadline: float) -> bytes:
        """The sealed text as JSON, or the JSON that was sealed."""
        if self._sealer is None:
            raise refuse(Code.GUEST_ERROR, NO_SEAL)
        if isinstance(question, Seal):
            return encode_json(await self._sealer.seal(_one_meaning(question.value), question.binding))
        return await self._sealer.unseal(question.text)


def _one_meaning(value: bytes) -> bytes:
    """A value as it is sealed: JSON that all parsers read in the same way."""
    try:
        return encode_json(parse_json("value to seal", value, limit=MAX_SEALED_VALUE, round_integers=True))
    except WireError as error:
        raise refuse(Code.GUEST_ERROR, f"the value is not JSON: {error.got}, want {error.want}") from None
