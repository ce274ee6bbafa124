"""One operation of a service, asked for: a value that can be kept, queued, shown and sent."""

from dataclasses import dataclass
from typing import Annotated, Self

from casemate.wire.encodings.json_object import JsonObject
from casemate.wire.encodings.json_text import Json, encode_json, parse_json
from casemate.wire.encodings.message import Limit
from casemate.wire.errors import WireError
from casemate.wire.protocol.call import MAX_ARGUMENTS
from casemate.wire.protocol.capabilities.service import Family
from casemate.wire.protocol.function_name import MAX_FUNCTION_NAME, checked_name
from casemate.wire.protocol.manifest_text import FUNCTION_NAME

_MAX_OPERATION = 64
_MAX_TEXT = 2 * MAX_ARGUMENTS
"""Longest operation as JSON (bytes)."""


@dataclass(frozen=True, slots=True)
class Operation:
    """What is to be done, by which service. Also a record of the wire: see :mod:`casemate.wire.encodings.message`."""

    family: Family
    service: Annotated[str, Limit(MAX_FUNCTION_NAME)]
    operation: Annotated[str, Limit(_MAX_OPERATION)]
    arguments: Annotated[bytes, Limit(MAX_ARGUMENTS)]
    """JSON."""

    @classmethod
    def of(cls, family: Family, service: str, operation: str, arguments: Json) -> Self:
        """An operation with these arguments.

        Raises:
            WireError: a name can be none of a service or an operation, or the arguments are too long.
        """
        checked_name(service)
        if not FUNCTION_NAME.fullmatch(operation):
            raise WireError("operation", got=repr(operation[:80]), want="a letter, then letters, digits, _; at most 64")
        text = encode_json(arguments)
        if len(text) > MAX_ARGUMENTS:
            raise WireError("operation.arguments", got=f"{len(text)} bytes", want=f"at most {MAX_ARGUMENTS}")
        return cls(family, service, operation, text)

    def json(self) -> dict[str, Json]:
        """As a JSON object: family, service, operation, arguments."""
        arguments: Json = parse_json("arguments", self.arguments, limit=MAX_ARGUMENTS)
        return {
            "family": str(self.family),
            "service": self.service,
            "operation": self.operation,
            "arguments": arguments,
        }

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """What :meth:`json` gives, as text; :class:`WireError` for anything else."""
        value = parse_json("operation", text, limit=_MAX_TEXT)
        if not isinstance(value, dict):
            raise WireError("operation", got=type(value).__name__, want="an object")
        body = JsonObject("operation", value)
        body.only("family", "service", "operation", "arguments")
        family = body.text("family")
        if family not in tuple(Family):
            raise WireError("operation.family", got=repr(family[:80]), want=" or ".join(Family))
        body.value("arguments")  # which may be null, and must be there
        return cls.of(Family(family), body.text("service"), body.text("operation"), value["arguments"])
