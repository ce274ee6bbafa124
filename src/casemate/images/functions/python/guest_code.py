"""All that is checked of a Python image's code when it is built: the sources are compiled and never run.

A module's body is the author's code: to run it here would run it outside of an enclave, with the rights of whoever
builds, who may only want to measure a stranger's folder. So what a body raises when it is imported is seen at launch.
"""

from collections.abc import Mapping

from casemate.images.functions.json_modules import check_json
from casemate.images.functions.python.entries import check_entries
from casemate.images.functions.python.imports import check_imports
from casemate.images.functions.python.names import check_names
from casemate.images.functions.python.sources import parse_module
from casemate.images.layout import GUEST
from casemate.wire.protocol.image_index import Link
from casemate.wire.protocol.manifest import Manifest


def check_guest_code(files: Mapping[str, bytes], manifest: Manifest) -> tuple[Link, ...]:
    """Checks all that is under ``guest/``. There are no links: modules find each other by name.

    Raises:
        SourceError: a file can never be loaded or imported, or imports what is not there.
        ManifestError: the main module has no function for an entry point.
    """
    paths = sorted((path for path in files if path.startswith(GUEST)), key=str.encode)
    check_names(paths)
    modules = {path: parse_module(path, files[path]) for path in paths if path.endswith(".py")}
    for path in paths:
        if path.endswith(".json"):  # any of them may be read as data
            check_json(path, files[path])
    check_imports(modules.values())
    check_entries(modules[manifest.main], manifest)
    return ()
