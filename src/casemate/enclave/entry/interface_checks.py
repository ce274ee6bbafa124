"""The border that calls cross: declared entry points alone, arguments as their schema says, results as theirs."""

from typing import Any

from casemate.images.errors import SchemaMismatchError
from casemate.images.schemas.schemas import InboundSchema, OutboundSchema
from casemate.wire.encodings.json_text import encode_json, parse_json
from casemate.wire.errors import WireError
from casemate.wire.protocol.call import MAX_ARGUMENTS
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.protocol.manifest import EntryPoint, Manifest


def declared_entry(manifest: Manifest, name: str) -> EntryPoint:
    """The entry point of that name; no other function of the guest can be reached."""
    entry = manifest.entry(name)
    if entry is None:
        declared = ", ".join(entry.name for entry in manifest.entries)
        raise refuse(Code.ENTRY_UNKNOWN, f"no entry point {name[:64]!r}, the manifest declares {declared}")
    return entry


def check_arguments(schema: InboundSchema, text: bytes) -> bytes:
    """The arguments as the guest gets them: written anew from the value that was checked, so both mean the same."""
    try:
        value = parse_json("arguments", text, limit=MAX_ARGUMENTS)
        schema.check(value)
        return _written("arguments", value, MAX_ARGUMENTS)
    except (WireError, SchemaMismatchError) as error:
        raise refuse(Code.ARGUMENTS_REFUSED, str(error)) from None


def check_result(schema: OutboundSchema, text: bytes, *, output_kib: int) -> bytes:
    """The output as the caller gets it: only members that the schema declares, as compact JSON."""
    limit = output_kib * 1024
    if len(text) > limit:
        raise refuse(Code.OUTPUT_LIMIT, f"the result has {len(text)} bytes, the manifest allows {limit}")
    try:
        value = schema.filter(parse_json("result", text, limit=limit, round_integers=True))
        return _written("result", value, limit)
    except (WireError, SchemaMismatchError) as error:
        raise refuse(Code.RESULT_REFUSED, str(error)) from None


def _written(field: str, value: Any, limit: int) -> bytes:
    """The text of a value. It can be longer than the one that was parsed: 1e15 becomes 1000000000000000.0."""
    text = encode_json(value)
    if len(text) > limit:
        raise WireError(field, got=f"{len(text)} bytes when written out", want=f"at most {limit}")
    return text
