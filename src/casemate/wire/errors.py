"""The root of all errors, and those that several rooms raise."""

from collections.abc import Iterator
from contextlib import contextmanager


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


class MissingExtraError(CasemateError):
    """An optional part of Casemate is not installed, or does not load; the message has the command that installs it.

    Args:
        extra: its name in Casemate's package.
        what: what cannot be done without it, as the subject of a sentence.
        fault: what is wrong with it; empty where nothing of it is there.
    """

    def __init__(self, extra: str, what: str, fault: str = "") -> None:
        detail = f", of which {fault}" if fault else ""
        super().__init__(f"{what} needs the extra \"{extra}\"{detail}: pip install 'casemate[{extra}]'")
        self.extra = extra


@contextmanager
def importing(extra: str, what: str) -> Iterator[None]:
    """For a block that imports packages of an extra: one that is not there or does not load is its absence.

    Raises:
        MissingExtraError: a package, or a library that it loads, is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError(extra, what, f"{error.name} is not installed") from None
    except (ImportError, OSError) as error:
        raise MissingExtraError(extra, what, f"a package does not load ({error})") from None


def os_error_text(error: OSError) -> str:
    """What is the matter, in the system's words; not every OSError has them where ``strerror`` should be.

    ``connect`` with a path that is too long has its words as its one argument, a time-out of asyncio has none.
    """
    if error.strerror is not None:
        return error.strerror
    if isinstance(error, TimeoutError):
        return str(error) or "timed out"
    return str(error) or type(error).__name__
