"""What can go wrong with a peer that is merely absent or slow."""

from casemate.wire.errors import CasemateError


class PeerGoneError(CasemateError):
    """The other end of a link has closed it or died."""


class TimedOutError(CasemateError):
    """The other end of a link did not answer in time."""
