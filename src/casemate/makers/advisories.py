"""The names of advisories."""

from argparse import Namespace

from casemate.makers.errors import VendorError

_MAX_NAME = 64


def advisory_of(arguments: Namespace) -> str:
    """The ``--advisory`` of a command line.

    Raises:
        VendorError: it is no short name.
    """
    advisory: str = arguments.advisory
    if not (0 < len(advisory) <= _MAX_NAME and advisory.isascii() and advisory.isprintable()):
        raise VendorError(f"advisory is {advisory!a}, want a short name such as SIM-SA-00006")
    return advisory
