"""What the maker refuses."""

from casemate.wire.errors import CasemateError


class MakerError(CasemateError):
    """The maker does not do this: the request is against its rules, or its ledger is damaged."""
