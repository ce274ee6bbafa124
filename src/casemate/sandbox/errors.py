"""Errors of confining a process."""

from casemate.wire.errors import CasemateError
from casemate.wire.protocol.sandbox_layers import LayerName


class UnavailableError(CasemateError):
    """This platform, or this process's rights, do not allow a layer; the message says why."""


class LayerRequiredError(CasemateError):
    """A layer that the machine's owner requires cannot be applied here."""

    def __init__(self, name: LayerName, reason: str) -> None:
        super().__init__(f"layer {name} is required, and unavailable here: {reason}")
        self.name = name
        self.reason = reason
