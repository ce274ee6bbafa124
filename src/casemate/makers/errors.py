"""What the vendor refuses."""

from casemate.wire.errors import CasemateError


class VendorError(CasemateError):
    """The vendor does not do this: the request is against its rules, or its ledger is damaged."""
