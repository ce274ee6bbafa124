"""Checks on OCALLs, both ways: only declared ones go out, and only answers that fit their schema come in."""

from casemate.images.errors import SchemaMismatchError
from casemate.images.schemas.compiled import CompiledSchemas, OcallSchemas
from casemate.images.schemas.schemas import InboundSchema, OutboundSchema
from casemate.wire.encodings.json_text import encode_json, parse_json
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.errors import WireError
from casemate.wire.messages import entry
from casemate.wire.protocol.faults import Code, refuse

Said = entry.OcallAnswer | entry.OcallRefused
"""What a host may say about an OCALL."""


def declared_ocall(schemas: CompiledSchemas, name: str) -> OcallSchemas:
    """The schemas of the OCALL of that name; the host gets no question under another name."""
    ocall = schemas.ocalls.get(name)
    if ocall is None:
        raise refuse(Code.OCALL_REFUSED, "the manifest declares no such OCALL")
    return ocall


def question(name: str, schema: OutboundSchema, number: int, arguments: bytes) -> bytes:
    """The frame for the host, with those members of the arguments that the manifest lets out."""
    try:
        value = parse_json("OCALL arguments", arguments, limit=entry.MAX_OCALL, round_integers=True)
    except WireError as error:  # JavaScript's own JSON.stringify has made it
        raise refuse(Code.GUEST_ERROR, f"the OCALL's argument is not JSON: {error.got}, want {error.want}") from None
    try:
        return encode_message(entry.Ocall(number, name, encode_json(schema.filter(value))))
    except (WireError, SchemaMismatchError) as error:
        raise refuse(Code.OCALL_REFUSED, f"OCALL {name!r}: {error}") from None


def answer_to(number: int, frame: bytes | None) -> Said | None:
    """What a frame says about the OCALL of that number; None for every other frame, which is to be dropped.

    Args:
        number: of the OCALL that is waited for.
        frame: the next frame from the host; None for one beyond all limits.
    """
    if frame is None:
        return None
    try:
        said: object = parse_message(frame, entry.OcallAnswer, entry.OcallRefused)
    except WireError:
        return None
    return said if isinstance(said, Said) and said.number == number else None


def check_answer(name: str, schema: InboundSchema, said: Said) -> bytes:
    """The host's answer as the guest gets it; refused as ``ocall-refused`` where it does not fit the schema."""
    if isinstance(said, entry.OcallRefused):
        known = name in entry.ANSWERED_OCALLS
        hint = "" if known else f"; Casemate's own hosts answer {', '.join(entry.ANSWERED_OCALLS)} alone"
        raise refuse(Code.OCALL_REFUSED, f"the host refuses OCALL {name!r}{hint}")
    try:
        value = parse_json("OCALL answer", said.answer, limit=entry.MAX_OCALL)
        schema.check(value)
    except (WireError, SchemaMismatchError) as error:
        raise refuse(Code.OCALL_REFUSED, f"the host's answer to OCALL {name!r}: {error}") from None
    return encode_json(value)
