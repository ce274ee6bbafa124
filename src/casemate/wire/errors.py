"""The root of all errors, and those that several rooms raise."""

from collections.abc import Iterator
from contextlib import contextmanager


class CasemateError(Exception):
    """A refusal by Casemate; every error that it raises on purpose derives from this class."""

    advice: str = ""
    """What to do next, where the code that raises the error knows that better than the class says."""


class WireError(CasemateError):
    """These bytes are malformed: a peer sent something that the format does not allow.

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
        damaged: whether its packages count as installed, so that pip would leave them as they are.
    """

    def __init__(self, extra: str, what: str, fault: str = "", *, damaged: bool = False) -> None:
        detail = f", of which {fault}" if fault else ""
        command = f"pip install {'--force-reinstall ' if damaged else ''}'casemate[{extra}]'"
        super().__init__(f'{what} needs the extra "{extra}"{detail}: {command}')
        self.extra = extra


class UnreadableExtraError(MissingExtraError):
    """An optional part of Casemate is there, and this user may not read it; the message says what to do.

    Args:
        extra: its name in Casemate's package.
        what: what cannot be done without it, as the subject of a sentence.
        place: a file or folder of it.
    """

    def __init__(self, extra: str, what: str, place: str) -> None:
        CasemateError.__init__(
            self,
            f'{what} needs the extra "{extra}", of which this user cannot read {place}: install Casemate in an '
            "environment of your own, or have the owner of that one run `chmod -R a+rX` on its folder",
        )
        self.extra = extra


@contextmanager
def importing(extra: str, what: str) -> Iterator[None]:
    """A context for imports of an extra's packages, which reports a package that is missing or does not load.

    Raises:
        MissingExtraError: a package, or a library that it loads, is missing, or not this user's to read.
    """
    try:
        yield
    except PermissionError as error:
        raise UnreadableExtraError(extra, what, str(error.filename)) from None
    except ModuleNotFoundError as error:
        raise MissingExtraError(extra, what, f"{error.name} is not installed") from None
    except (ImportError, OSError) as error:
        raise MissingExtraError(extra, what, f"a package does not load ({error})", damaged=True) from None


def os_error_text(error: OSError) -> str:
    """The system's text for an OSError, which is not always in ``strerror``.

    ``connect`` with a path that is too long has its text as its one argument; a time-out of asyncio has none.
    """
    if error.strerror is not None:
        return error.strerror
    if isinstance(error, TimeoutError):
        return str(error) or "timed out"
    return str(error) or type(error).__name__
