"""What an image's manifest says about OCALLs."""

from collections.abc import Mapping
from dataclasses import dataclass

from casemate.host.image_manifest import manifest_of
from casemate.wire.encodings.json_text import encode_json


@dataclass(frozen=True, slots=True)
class OcallTerms:
    """What holds for the OCALLs of an image."""

    time_ms: int
    """The time limit of a call, which is that of an OCALL, too."""
    schemas: Mapping[str, bytes]
    """The schemas (JSON) of the answers, by the OCALLs' names."""


NO_TERMS = OcallTerms(time_ms=1, schemas={})
"""Those of an image without OCALLs, or whose manifest cannot be read: none of its enclaves starts."""


def ocall_terms(sgxs: bytes) -> OcallTerms:
    """The terms of the image in an SGXS stream."""
    manifest = manifest_of(sgxs)
    if manifest is None:
        return NO_TERMS
    schemas = {ocall.name: encode_json(ocall.output.document) for ocall in manifest.ocalls}
    return OcallTerms(manifest.limits.time_ms, schemas)
