"""Sandbox layers as JSON: in binding files, and in what an enclave says over RA-TLS."""

from casemate.wire.encodings.json_object import JsonObject
from casemate.wire.errors import WireError
from casemate.wire.protocol.sandbox_layers import Layer, LayerName, LayerState, SandboxLayers

_MAX_LAYERS = 64


def layers_document(layers: SandboxLayers) -> dict[str, list[dict[str, str]]]:
    """Sandbox layers as JSON."""
    return {
        where: [{"name": str(layer.name), "state": str(layer.state), "detail": layer.detail} for layer in found]
        for where, found in (("enclave", layers.enclave), ("guest", layers.guest))
    }


def parse_layers(body: JsonObject) -> SandboxLayers:
    """The layers in a JSON object, which need not be trusted; :class:`WireError` where it is malformed."""
    body.only("enclave", "guest")
    return SandboxLayers(_layers(body, "enclave"), _layers(body, "guest"))


def _layers(body: JsonObject, where: str) -> tuple[Layer, ...]:
    return tuple(_layer(layer) for layer in body.children(where, limit=_MAX_LAYERS))


def _layer(body: JsonObject) -> Layer:
    body.only("name", "state", "detail")
    try:
        return Layer(LayerName(body.text("name")), LayerState(body.text("state")), body.text("detail"))
    except ValueError as error:
        raise WireError("layers", got=str(error)[:100], want="a known layer in a known state") from None
