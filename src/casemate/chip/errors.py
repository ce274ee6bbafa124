"""What the chip refuses, one class for each reaction."""

from enum import StrEnum

from casemate.wire.errors import CasemateError
from casemate.wire.messages.leaf import OptionalPart

ANEW = "restore the whole state directory from a backup, or accept the loss with `casemate up --accept-loss REASON`"
"""What to do about a file of the chip's that is lost."""

LEVER = "the machine's owner can free one for good with `casemate state give-up NAMESPACE --reason TEXT`"
"""What to do about too many anchors."""


class Status(StrEnum):
    """The processor's own names for refusals (SDM vol. 3D, table 40-4 and the exceptions of each leaf function)."""

    GENERAL_PROTECTION = "#GP(0)"
    INVALID_SIG_STRUCT = "SGX_INVALID_SIG_STRUCT"
    INVALID_ATTRIBUTE = "SGX_INVALID_ATTRIBUTE"
    INVALID_MEASUREMENT = "SGX_INVALID_MEASUREMENT"
    INVALID_SIGNATURE = "SGX_INVALID_SIGNATURE"
    INVALID_CPUSVN = "SGX_INVALID_CPUSVN"
    INVALID_ISVSVN = "SGX_INVALID_ISVSVN"
    INVALID_KEYNAME = "SGX_INVALID_KEYNAME"
    NO_UPDATE = "SGX_NO_UPDATE"


class LeafError(CasemateError):
    """A leaf function refused: the caller asked for what the architecture does not grant it."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(f"{status}: {reason}")
        self.status = status


class LaunchError(CasemateError):
    """Loading or EINIT refused an image: ``rule`` names which check did."""

    def __init__(self, rule: str, *, got: object, want: object) -> None:
        super().__init__(f"{rule}: got {got}, want {want}")
        self.rule = rule
        self.got = got
        self.want = want


class ReportRefusedError(CasemateError):
    """This REPORT was not made for the quoting enclave on this chip, or was changed since."""


class ForgedError(CasemateError):
    """A signature or a seal was not made with the key that it should be made with."""


class StateError(CasemateError):
    """The state directory cannot be used as it is; the message says what to do."""


class ChipBusyError(StateError):
    """Another chip runs on this state directory."""


class AnchorConflictError(CasemateError):
    """The anchor has moved on: another instance committed first."""


class AnchorRefusedError(CasemateError):
    """The anchor is not this enclave's to use: a higher security version has written, or there is none."""


class AnchorLimitError(CasemateError):
    """A launcher, or the chip, has as many anchors as it may have."""


class RuntimeCopyError(CasemateError):
    """No runtime that could be measured can be made from this interpreter and its packages."""


class CertificationError(CasemateError):
    """The maker did not certify this chip's key."""


class PartWantedError(CasemateError):
    """The enclave asks for code that its process was forked without."""

    def __init__(self, part: OptionalPart) -> None:
        super().__init__(f"forked without {part}")
        self.part = part


class SpawnerError(CasemateError):
    """The process that forks enclaves could not be started."""
