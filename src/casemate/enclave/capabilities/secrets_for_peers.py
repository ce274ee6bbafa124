"""``context.open``: what another enclave has sealed to this one's key, after it has appraised this one's evidence.

Every function may open: what opens could as well have been an argument, which is sealed to the same key.
"""

from casemate.enclave.guest.call_services import CallServices
from casemate.enclave.keys import EnclaveKeys
from casemate.engines.questions.appraisals import OpenSecret
from casemate.wire.encodings.json_text import encode_json, parse_json
from casemate.wire.errors import WireError
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.protocol.sealed_secret import MAX_SECRET


class OpenCapability:
    """Opens secrets.

    Args:
        keys: this launch's.
    """

    def __init__(self, keys: EnclaveKeys) -> None:
        self._keys = keys

    async def answer(self, question: OpenSecret, _call: CallServices, _deadline: float) -> bytes:
        """The JSON that was sealed. Who has sealed it, and when, nobody can tell."""
        try:
            return encode_json(parse_json("secret", self._keys.open_secret(question.text), limit=MAX_SECRET))
        except WireError as error:  # whoever can reach the key can seal to it, and need not be an enclave
            raise refuse(Code.CANNOT_OPEN, f"what opens is not JSON: {error.got}, want {error.want}") from None
