"""Values as they are kept and compared: one text for each JSON value."""

import json

from casemate.wire.encodings.json_text import parse_json
from casemate.wire.errors import WireError
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.protocol.state_changes import MAX_VALUE


def canonical_json(text: bytes) -> bytes:
    """The canonical text of a JSON value that the guest wrote: compact, members in the order of their names.

    Refused as ``state-limit`` where it is longer than ``MAX_VALUE``, as ``guest-error`` where it is no JSON.
    """
    if len(text) > MAX_VALUE:
        raise refuse(Code.STATE_LIMIT, f"a value of {len(text)} bytes of JSON, at most {MAX_VALUE} can be kept")
    try:
        value = parse_json("value of the state", text, limit=MAX_VALUE, round_integers=True)
    except WireError as error:
        raise refuse(Code.GUEST_ERROR, f"the value is not JSON: {error.got}, want {error.want}") from None
    made = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True).encode()
    if len(made) > MAX_VALUE:  # numbers may be spelled longer than the guest did
        raise refuse(Code.STATE_LIMIT, f"a value of {len(made)} bytes of JSON, at most {MAX_VALUE} can be kept")
    return made
