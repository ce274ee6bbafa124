"""What can go wrong in a VM's process."""

from casemate.wire.errors import CasemateError


class DramError(CasemateError):
    """The file behind DRAM cannot be read or written: the host has truncated it."""


class RequestError(CasemateError):
    """The hypervisor asks for something that this VM cannot do; the message says why."""


class RmpViolationError(CasemateError):
    """A store by the host's CPU to a page that is assigned to the guest: #PF with the RMP bit."""


class CommandError(CasemateError):
    """A command of the chip fails; the message begins with the firmware's status."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(f"{status}: {reason}")


class VmsaInvalidError(CasemateError):
    """VMEXIT_INVALID: the page is not a VMSA, was changed, or holds registers that no vCPU can have."""


class AccessError(CasemateError):
    """A guest's access that its memory controller did not let through."""


class NestedFaultError(AccessError):
    """#NPF, which the hypervisor gets: nothing is mapped there, or the reverse map table says otherwise."""

    def __init__(self, gpa: int, error_code: int, reason: str) -> None:
        super().__init__(f"{reason}, at GPA {gpa:#x}")
        self.gpa = gpa
        self.error_code = error_code
        """The error code in the form of EXITINFO1 (APM volume 2, 15.25.6 and 15.36.10)."""


class NotValidatedError(AccessError):
    """#VC 0x404, which the guest gets: the page is the guest's, and the guest has not validated it."""

    def __init__(self, gpa: int) -> None:
        super().__init__(f"the page is not validated, at GPA {gpa:#x}")
        self.gpa = gpa


class IntegrityError(AccessError):
    """The memory controller's tag does not match the page: it is not what the guest last wrote there.

    The VM cannot go on.
    """

    def __init__(self, gpa: int) -> None:
        super().__init__(f"the page is not what was last written, at GPA {gpa:#x}")
        self.gpa = gpa


class CacheChangedError(Exception):
    """The cache has to be flushed before this access is tried again; only the vCPU handles it."""
