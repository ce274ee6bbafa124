"""What SEV-SNP firmware refuses."""

from enum import StrEnum

from casemate.wire.errors import CasemateError


class FirmwareStatus(StrEnum):
    """The firmware's own names for refusals (AMD 56860, table "Status Codes")."""

    INVALID_PLATFORM_STATE = "INVALID_PLATFORM_STATE"
    INVALID_GUEST_STATE = "INVALID_GUEST_STATE"
    INVALID_CONFIG = "INVALID_CONFIG"
    INVALID_LENGTH = "INVALID_LENGTH"
    INVALID_CERTIFICATE = "INVALID_CERTIFICATE"
    POLICY_FAILURE = "POLICY_FAILURE"
    INVALID_ADDRESS = "INVALID_ADDRESS"
    BAD_SIGNATURE = "BAD_SIGNATURE"
    BAD_MEASUREMENT = "BAD_MEASUREMENT"
    INVALID_ASID = "INVALID_ASID"
    INVALID_COMMAND = "INVALID_COMMAND"
    ACTIVE = "ACTIVE"
    INVALID_GUEST = "INVALID_GUEST"
    UNSUPPORTED = "UNSUPPORTED"
    RESOURCE_LIMIT = "RESOURCE_LIMIT"
    SECURE_DATA_INVALID = "SECURE_DATA_INVALID"
    INVALID_PAGE_SIZE = "INVALID_PAGE_SIZE"
    INVALID_PAGE_STATE = "INVALID_PAGE_STATE"
    INVALID_MDATA_ENTRY = "INVALID_MDATA_ENTRY"
    INVALID_PAGE_OWNER = "INVALID_PAGE_OWNER"
    AEAD_OFLOW = "AEAD_OFLOW"
    INVALID_PARAM = "INVALID_PARAM"
    BAD_SVN = "BAD_SVN"
    INVALID_KEY = "INVALID_KEY"


class FirmwareError(CasemateError):
    """A command of SEV-SNP firmware was refused; the message begins with the status."""

    def __init__(self, status: FirmwareStatus, reason: str) -> None:
        super().__init__(f"{status}: {reason}")
        self.status = status
