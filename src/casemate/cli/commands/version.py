"""`casemate version`."""

from casemate.cli.options import Json
from casemate.cli.output import Screen, facts


def version(*, as_json: Json = False) -> None:
    """Print the versions of Casemate, Python and the engine."""
    import platform
    import sys

    found = {
        "casemate": _installed("casemate"),
        "python": platform.python_version(),
        "deno": _installed("deno"),
        "cryptography": _installed("cryptography"),
        "platform": sys.platform,
    }
    Screen(as_json=as_json).show(found, lambda console: facts(console, list(found.items())))


def _installed(package: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
