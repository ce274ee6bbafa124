"""All that is checked of a JavaScript image's code when it is built, but for the engine's own word."""

from collections.abc import Mapping

from casemate.images.functions.javascript.links import Linked, link_modules
from casemate.wire.protocol.image_index import Link
from casemate.wire.protocol.manifest import Manifest
from casemate.wire.protocol.manifest_table import ManifestError


def check_guest_code(files: Mapping[str, bytes], manifest: Manifest) -> tuple[Link, ...]:
    """The imports of the guest's modules; what :mod:`.load_check` asks the engine comes later, when they are laid out.

    Raises:
        SourceError: a module cannot be linked.
        ManifestError: the main module does not export an entry point.
    """
    linked = link_modules(files)
    _check_exports(manifest, linked)
    return linked.links


def _check_exports(manifest: Manifest, linked: Linked) -> None:
    """Checks that the main module exports every entry point, where its exports can be listed."""
    exports = linked.exports[manifest.main]
    if exports is None:
        return
    for entry in manifest.entries:
        if entry.name not in exports:
            called = "input, context, chunks" if entry.stream else "input, context"
            function = f"export {'async function*' if entry.stream else 'function'} {entry.name}({called})"
            raise ManifestError(
                f"entry.{entry.name}",
                got=f"not exported by {manifest.main}",
                want=f"one of {sorted(exports)}" if exports else "a function that it exports: it has no exports",
                advice=f"write `{function}` there, or call the table by the name of a function that is there",
            )
    if "then" in exports:
        # import() treats a module that exports `then` as a promise, so loading it would never end.
        raise ManifestError("enclave.main", got=f"{manifest.main}, which exports `then`", want="another name for it")
