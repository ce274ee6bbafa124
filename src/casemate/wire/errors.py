"""The root of all errors, and the one error that parsing may raise."""


class CasemateError(Exception):
    """Something Casemate refuses; every error it raises on purpose derives from this one."""

    advice: str = ""
    """What to do next, where whoever raises it knows that better than what its class says."""


class WireError(CasemateError):
    """These bytes are not what the format says: a peer sent something malformed.

    Args:
        field: the field's name as its specification spells it.
        got: what stood there, never a secret.
        want: what would have been accepted.
    """

    def __init__(self, field: str, *, got: object, want: object) -> None:
        super().__init__(f"{field} is {got}, the format wants {want}")
        self.field = field
        self.got = got
        self.want = want


def os_error_text(error: OSError) -> str:
    """What is the matter, in the system's words; not every OSError has them where ``strerror`` should be.

    ``connect`` with a path that is too long has its words as its one argument, a time-out of asyncio has none.
    """
    if error.strerror is not None:
        return error.strerror
    if isinstance(error, TimeoutError):
        return str(error) or "timed out"
    return str(error) or type(error).__name__
