"""Values as they are kept and compared: the text that the guest wrote, with members sorted.

This is not the JSON Canonicalization Scheme (RFC 8785): names are sorted by code point (the scheme: by UTF-16 code
unit) and numbers have Python's spelling (``1.0`` and ``1e+16``, the scheme: ``1`` and ``10000000000000000``). Sealed
states hold these texts already, and a transaction compares texts, so another spelling would make every stored value
look changed. Nothing signs these texts: receipts commit to arguments and results as they were sent.
"""

import json

from casemate.wire.encodings.json_text import parse_json
from casemate.wire.errors import WireError
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.protocol.state_changes import MAX_VALUE


def sorted_json(text: bytes) -> bytes:
    """The text of a JSON value that the guest wrote: compact, members in the order of their names' code points.

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
