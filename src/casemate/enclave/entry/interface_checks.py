"""The border that calls cross: declared entry points alone, arguments as their schema says, results as theirs.

What a function may say to its caller beside a result are the errors that its manifest declares.
"""

from typing import Any

from casemate.engines.frames import Refused
from casemate.images.errors import SchemaMismatchError, mismatch_words
from casemate.images.schemas.compiled import CompiledSchemas
from casemate.images.schemas.schemas import InboundSchema, OutboundSchema
from casemate.wire.encodings.json_text import encode_json, parse_json
from casemate.wire.errors import WireError
from casemate.wire.protocol.call import MAX_ARGUMENTS, Refusal
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.protocol.manifest import DeclaredError, EntryPoint, Manifest

_NONE = b"null"
"""The details of an error that has none."""


def declared_entry(manifest: Manifest, name: str) -> EntryPoint:
    """The entry point of that name; no other function of the guest can be reached."""
    entry = manifest.entry(name)
    if entry is None:
        declared = ", ".join(entry.name for entry in manifest.entries)
        raise refuse(Code.ENTRY_UNKNOWN, f"no entry point {name[:64]!r}, the manifest declares {declared}")
    return entry


def check_arguments(schema: InboundSchema, text: bytes, *, explain: bool) -> bytes:
    """The arguments as the guest gets them: written anew from the value that was checked, so both mean the same.

    Args:
        schema: the entry point's.
        text: the caller's JSON.
        explain: whether a refusal may quote the value, as debug enclaves do.
    """
    try:
        value = parse_json("arguments", text, limit=MAX_ARGUMENTS)
        schema.check(value)
        return _written("arguments", value, MAX_ARGUMENTS)
    except (WireError, SchemaMismatchError) as error:
        raise refuse(Code.ARGUMENTS_REFUSED, mismatch_words(error, explain=explain)) from None


def check_said(
    said: bytes | Refused, entry: EntryPoint, manifest: Manifest, schemas: CompiledSchemas
) -> bytes | Refusal:
    """What a function says to its caller, as the caller gets it: a result (JSON), or a refusal.

    Args:
        said: the guest's JSON, unparsed, or its refusal.
        entry: the entry point that was called.
        manifest: of the image.
        schemas: of the same.

    Raises:
        FaultError: ``result-refused`` or ``output-limit`` for what does not fit its schema and the limit;
            ``guest-error`` for a refusal that the manifest does not declare.
    """
    limit = manifest.limits.output_kib * 1024
    if not isinstance(said, Refused):
        return _filtered("result", schemas.entries[entry.name].output, said, limit, explain=manifest.debug)
    declared = manifest.error(said.name)
    if declared is None:  # the name is the guest's, and may hold anything that it has seen
        raise refuse(Code.GUEST_ERROR, "the function refuses with an error that its manifest does not declare")
    return Refusal(
        declared.name,
        declared.reason,
        _details(declared, schemas, said.details or _NONE, limit, explain=manifest.debug),
    )


def _details(declared: DeclaredError, schemas: CompiledSchemas, text: bytes, limit: int, *, explain: bool) -> bytes:
    if declared.details is not None:
        return _filtered(
            f"details of error {declared.name}", schemas.errors[declared.name], text, limit, explain=explain
        )
    if text != _NONE:
        words = f"error {declared.name} comes with details, and the manifest has no schema for them"
        raise refuse(Code.RESULT_REFUSED, words)
    return text


def _filtered(field: str, schema: OutboundSchema, text: bytes, limit: int, *, explain: bool) -> bytes:
    """Only members that the schema declares, as compact JSON."""
    if len(text) > limit:
        raise refuse(Code.OUTPUT_LIMIT, f"the {field} has {len(text)} bytes, the manifest allows {limit}")
    try:
        value = schema.filter(parse_json(field, text, limit=limit, round_integers=True))
        return _written(field, value, limit)
    except (WireError, SchemaMismatchError) as error:
        raise refuse(Code.RESULT_REFUSED, mismatch_words(error, explain=explain)) from None


def _written(field: str, value: Any, limit: int) -> bytes:
    """The text of a value. It can be longer than the one that was parsed: 1e15 becomes 1000000000000000.0."""
    text = encode_json(value)
    if len(text) > limit:
        raise WireError(field, got=f"{len(text)} bytes when written out", want=f"at most {limit}")
    return text
