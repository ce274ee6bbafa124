"""An image's manifest, read from the image's pages.

This host believes an image about itself: the enclave checks all of it again.
"""

from functools import partial

from casemate.wire.errors import WireError
from casemate.wire.protocol.image_index import MANIFEST_PATH, parse_entries
from casemate.wire.protocol.manifest import Manifest
from casemate.wire.protocol.manifest_table import ManifestError
from casemate.wire.protocol.manifest_text import MAX_MANIFEST, parse_manifest
from casemate.wire.sgx.sgxs import read_range


def manifest_of(sgxs: bytes) -> Manifest | None:
    """The manifest of the image in an SGXS stream; None where there is none that can be read."""
    read = partial(read_range, sgxs)
    try:
        entries = {entry.path: entry for entry in parse_entries(read)}

        def file(path: str) -> bytes | None:
            entry = entries.get(path)
            return None if entry is None else read(entry.offset, entry.size)

        return parse_manifest((file(MANIFEST_PATH) or b"")[: MAX_MANIFEST + 1], file)
    except (WireError, ManifestError):
        return None
