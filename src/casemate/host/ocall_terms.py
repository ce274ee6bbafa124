"""What an image's manifest says about OCALLs, read from the image's pages.

This host believes an image about itself: the enclave checks all of it again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from casemate.wire.encodings.json_text import encode_json
from casemate.wire.errors import WireError
from casemate.wire.protocol.image_index import MANIFEST_PATH, parse_entries
from casemate.wire.protocol.manifest_table import ManifestError
from casemate.wire.protocol.manifest_text import MAX_MANIFEST, parse_manifest
from casemate.wire.sgx.sgxs import read_range


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
    read = partial(read_range, sgxs)
    try:
        entries = {entry.path: entry for entry in parse_entries(read)}

        def file(path: str) -> bytes | None:
            entry = entries.get(path)
            return None if entry is None else read(entry.offset, entry.size)

        manifest = parse_manifest((file(MANIFEST_PATH) or b"")[: MAX_MANIFEST + 1], file)
    except (WireError, ManifestError):
        return NO_TERMS
    schemas = {ocall.name: encode_json(ocall.output.document) for ocall in manifest.ocalls}
    return OcallTerms(manifest.limits.time_ms, schemas)
