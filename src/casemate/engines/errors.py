"""Errors of engines."""

from casemate.wire.errors import CasemateError


class EngineUnknownError(CasemateError):
    """This build has no such engine."""


class GuestMisbehavedError(CasemateError):
    """The guest sent a frame that it may not send now. All that can be done with it is to end it."""


class NotNowError(RuntimeError):
    """Misuse by the enclave: it is not its turn, or not the turn for this frame."""
