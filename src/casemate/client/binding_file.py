"""The claimed contents of a quote's REPORTDATA as JSON: a separate file, or a part of a receipt file."""

from casemate.wire.encodings.fields import without_trailing_zeros
from casemate.wire.encodings.json_object import JsonObject, parse_object
from casemate.wire.encodings.json_text import encode_json
from casemate.wire.protocol.report_data import ReportDataBinding
from casemate.wire.protocol.sandbox_layers_json import layers_document, parse_layers

MAX_BINDING = 64 * 1024
"""Longest binding file (bytes)."""

_KEY_SIZE = 32


def binding_document(binding: ReportDataBinding) -> dict[str, object]:
    """The members of the object."""
    return {
        "hpke_key": binding.hpke_key.hex(),
        "receipt_key": binding.receipt_key.hex(),
        "nonce": binding.nonce.hex(),
        "layers": layers_document(binding.layers),
    }


def encode_binding(binding: ReportDataBinding) -> bytes:
    """The file's bytes."""
    return encode_json(binding_document(binding)) + b"\n"


def parse_binding(text: bytes) -> ReportDataBinding:
    """The values in a file, from whomever it comes, or :class:`WireError`."""
    return binding_in(parse_object("binding", without_trailing_zeros(text), limit=MAX_BINDING))


def binding_in(body: JsonObject) -> ReportDataBinding:
    """The values in an object of that form, such as in a receipt file."""
    body.only("hpke_key", "receipt_key", "nonce", "layers")
    return ReportDataBinding(
        hpke_key=body.hexadecimal("hpke_key", _KEY_SIZE),
        receipt_key=body.hexadecimal("receipt_key", _KEY_SIZE),
        nonce=body.hexadecimal("nonce", _KEY_SIZE),
        layers=parse_layers(body.child("layers")),
    )
