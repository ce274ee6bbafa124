"""What a quote's REPORTDATA is said to vouch for, as a file: `casemate quote` writes it, `casemate verify` reads it."""

from casemate.wire.binding import ReportDataBinding
from casemate.wire.errors import WireError
from casemate.wire.json_object import JsonObject, parse_object
from casemate.wire.json_text import encode_json
from casemate.wire.sandbox import Layer, LayerName, LayerState, SandboxLayers

MAX_BINDING = 64 * 1024
"""Longest binding file (bytes)."""

_KEY_SIZE = 32
_MAX_LAYERS = 64


def binding_document(binding: ReportDataBinding) -> dict[str, object]:
    """The members of the file."""
    return {
        "hpke_key": binding.hpke_key.hex(),
        "receipt_key": binding.receipt_key.hex(),
        "nonce": binding.nonce.hex(),
        "layers": layers_document(binding.layers),
    }


def layers_document(layers: SandboxLayers) -> dict[str, list[dict[str, str]]]:
    """Sandbox layers as JSON."""
    return {
        where: [{"name": str(layer.name), "state": str(layer.state), "detail": layer.detail} for layer in found]
        for where, found in (("enclave", layers.enclave), ("guest", layers.guest))
    }


def encode_binding(binding: ReportDataBinding) -> bytes:
    """The file's bytes."""
    return encode_json(binding_document(binding)) + b"\n"


def parse_binding(text: bytes) -> ReportDataBinding:
    """The values in a file, from whomever it comes, or :class:`WireError`."""
    body = parse_object("binding", text, limit=MAX_BINDING)
    body.only("hpke_key", "receipt_key", "nonce", "layers")
    layers = body.child("layers")
    layers.only("enclave", "guest")
    return ReportDataBinding(
        hpke_key=body.hexadecimal("hpke_key", _KEY_SIZE),
        receipt_key=body.hexadecimal("receipt_key", _KEY_SIZE),
        nonce=body.hexadecimal("nonce", _KEY_SIZE),
        layers=SandboxLayers(_layers(layers, "enclave"), _layers(layers, "guest")),
    )


def _layers(body: JsonObject, where: str) -> tuple[Layer, ...]:
    return tuple(_layer(layer) for layer in body.children(where, limit=_MAX_LAYERS))


def _layer(body: JsonObject) -> Layer:
    body.only("name", "state", "detail")
    try:
        return Layer(LayerName(body.text("name")), LayerState(body.text("state")), body.text("detail"))
    except ValueError as error:
        raise WireError("binding.layers", got=str(error)[:100], want="a known layer in a known state") from None
