"""The schemas of a manifest, compiled once: what comes in is checked by them, what goes out is filtered."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from casemate.images.schemas.schemas import InboundSchema, OutboundSchema, SchemaError, inbound_schema, outbound_schema
from casemate.wire.protocol.capabilities.service import ServiceRules
from casemate.wire.protocol.manifest import Manifest
from casemate.wire.protocol.manifest_table import ManifestError, Schema

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class EntrySchemas:
    """The schemas of an entry point."""

    input: InboundSchema
    output: OutboundSchema


@dataclass(frozen=True, slots=True)
class OcallSchemas:
    """The schemas of an OCALL, whose arguments leave the enclave."""

    input: OutboundSchema
    output: InboundSchema


@dataclass(frozen=True, slots=True)
class CompiledSchemas:
    """All schemas of a manifest, by the names of its entry points, OCALLs and errors."""

    entries: Mapping[str, EntrySchemas]
    ocalls: Mapping[str, OcallSchemas]
    errors: Mapping[str, OutboundSchema]
    """The schemas of the details of declared errors; nothing for those that have none."""
    configuration: InboundSchema | None
    """The schema of a service's configuration; None where nothing can be configured."""


def compile_schemas(manifest: Manifest) -> CompiledSchemas:
    """Compiles every schema of a manifest.

    Raises:
        ManifestError: a document is not a schema, or not one for its place; names the key and the place in the schema.
    """
    return CompiledSchemas(
        entries={
            entry.name: EntrySchemas(_compiled(inbound_schema, entry.input), _compiled(outbound_schema, entry.output))
            for entry in manifest.entries
        },
        ocalls={
            ocall.name: OcallSchemas(_compiled(outbound_schema, ocall.input), _compiled(inbound_schema, ocall.output))
            for ocall in manifest.ocalls
        },
        errors={
            error.name: _compiled(outbound_schema, error.details)
            for error in manifest.errors
            if error.details is not None
        },
        configuration=_configuration(manifest.service),
    )


def _configuration(service: ServiceRules | None) -> InboundSchema | None:
    if service is None or service.configuration is None:
        return None
    return _compiled(inbound_schema, service.configuration)


def _compiled(compile_schema: Callable[[Any], T], schema: Schema) -> T:
    try:
        return compile_schema(schema.document)
    except SchemaError as error:
        raise ManifestError(f"{schema.key} at {error.pointer or '/'}", got=error.got, want=error.want) from None
