"""Why a module of handlers is not loaded."""

from casemate.wire.errors import CasemateError


class HandlersError(CasemateError):
    """The operator's module of handlers is not there, not safe to load, or not what it should be."""
