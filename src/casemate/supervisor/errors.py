"""Errors that keep a machine from running."""

from casemate.wire.errors import CasemateError


class MachineError(CasemateError):
    """A process of the machine did not start, or died."""


class StateInUseError(CasemateError):
    """A machine runs on this state directory already."""


class PortError(CasemateError):
    """The gateway's port cannot be listened on."""
