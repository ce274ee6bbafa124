"""What can go wrong with an engine."""

from casemate.wire.errors import CasemateError


class EngineUnknownError(CasemateError):
    """This build has no such engine."""


class GuestMisbehavedError(CasemateError):
    """The guest said what it may not say now; it cannot be talked to any more, only ended."""


class NotNowError(RuntimeError):
    """Misuse: the conversation with the guest is not where this could be said."""
