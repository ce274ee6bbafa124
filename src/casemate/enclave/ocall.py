"""The border that the guest's questions to the host cross: declared ones alone, and each answer may be a lie."""

from casemate.images.errors import SchemaMismatchError
from casemate.images.manifest import Manifest, Ocall
from casemate.wire.errors import WireError
from casemate.wire.faults import Code, Fault, refuse
from casemate.wire.json_text import encode_json, parse_json
from casemate.wire.message import encode_message, parse_message
from casemate.wire.messages import entry


def declared_ocall(manifest: Manifest, name: str) -> Ocall:
    """The OCALL of that name; the host hears of no other."""
    ocall = manifest.ocall(name)
    if ocall is None:
        raise refuse(Code.OCALL_REFUSED, "the manifest declares no such OCALL")
    return ocall


def question(ocall: Ocall, arguments: bytes) -> bytes:
    """The frame that goes to the host: the members that the manifest lets out, and nothing else."""
    try:
        value = ocall.input.filter(parse_json("OCALL arguments", arguments, limit=entry.MAX_OCALL, round_integers=True))
        return encode_message(entry.Ocall(ocall.name, encode_json(value)))
    except (WireError, SchemaMismatchError) as error:
        raise refuse(Code.OCALL_REFUSED, f"OCALL {ocall.name!r}: {error}") from None


def check_answer(ocall: Ocall, frame: bytes | None) -> bytes:
    """The host's answer as the guest gets it, whatever the host sent.

    Args:
        ocall: what was asked.
        frame: the next frame from the host; None for one beyond all limits.
    """
    try:
        if frame is None:
            raise WireError("OCALL answer", got="an oversized frame", want=f"at most {entry.MAX_OCALL} bytes")
        answer: object = parse_message(frame, entry.OcallAnswer, Fault)
        if not isinstance(answer, entry.OcallAnswer):
            raise refuse(Code.OCALL_REFUSED, f"the host refuses OCALL {ocall.name!r}")
        value = parse_json("OCALL answer", answer.answer, limit=entry.MAX_OCALL)
        ocall.output.check(value)
    except (WireError, SchemaMismatchError) as error:
        raise refuse(Code.OCALL_REFUSED, f"the host's answer to OCALL {ocall.name!r}: {error}") from None
    return encode_json(value)
