"""What the manifest in an image lets its code do, in a few lines for whoever decides whether to trust it."""

from casemate.wire.errors import WireError
from casemate.wire.protocol.image_index import MANIFEST_PATH, file_of, parse_index
from casemate.wire.protocol.manifest import DeclaredError, Manifest
from casemate.wire.protocol.manifest_table import ManifestError
from casemate.wire.protocol.manifest_text import parse_manifest

_NONE = "none"


def manifest_in(pages: bytes) -> Manifest | None:
    """The manifest in an image's pages; None where they are no image of Casemate, or it breaks a rule."""
    try:
        files = {entry.path: file_of(pages, entry) for entry in parse_index(pages).entries}
        return parse_manifest(files.get(MANIFEST_PATH, b""), files.get)
    except (WireError, ManifestError):
        return None


def manifest_facts(manifest: Manifest) -> tuple[tuple[str, str], ...]:
    """Names and values: what runs the code, and all that the manifest grants it."""
    state = manifest.state
    return (
        ("engine", f"{manifest.engine}, isolation {manifest.isolation}"),
        ("permissions", ", ".join(sorted(manifest.permissions)) or _NONE),
        ("state", _NONE if state is None else f"{state.max_kib} KiB, {state.binding}, recovery {state.recovery}"),
        ("OCALLs", ", ".join(ocall.name for ocall in manifest.ocalls) or _NONE),
        ("entry points", ", ".join(entry.name for entry in manifest.entries)),
        ("own errors", ", ".join(map(_error, manifest.errors)) or _NONE),
        ("receipts", "with what each call used" if manifest.receipt_metrics else "without metrics"),
        (
            "monitor",
            ", ".join(f"{rule.subject} above {rule.most}: {rule.then}" for rule in manifest.monitor) or _NONE,
        ),
    )


def _error(error: DeclaredError) -> str:
    return error.name if error.details is None else f"{error.name} (with details)"
