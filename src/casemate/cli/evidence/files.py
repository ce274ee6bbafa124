"""Reads evidence and what belongs to it from files; where a file is of another kind, the error names that kind."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from casemate.cli.file_kinds import FileKind, recognise, wrong_kind
from casemate.cli.files import InputFileError, TooLongFileError, read_file
from casemate.cli.output import Screen
from casemate.wire.encodings.pem import read_certificates, read_revocation_list
from casemate.wire.errors import WireError

if TYPE_CHECKING:
    from casemate.client.receipts import ReceiptBundle
    from casemate.verifier import BoundValues
    from casemate.wire.protocol.report_data import ReportDataBinding
    from casemate.wire.sgx.collateral import Collateral

T = TypeVar("T")

MAX_CERTIFICATE_FILE = 128 * 1024
"""Longest file with certificates (bytes): a chain with all that `openssl x509 -text` says of it."""

MAX_REVOCATION_LIST = 1024 * 1024
"""Longest revocation list (bytes of DER)."""


def read_evidence(path: Path, screen: Screen, *, what: str, kind: FileKind, limit: int) -> bytes:
    """A quote or report. Hexadecimal or base64 text of one is decoded, and the user is told so.

    What is nothing recognisable is given as it is: the verifier's rules say what is wrong with it.

    Args:
        path: the file.
        screen: told of text that was decoded.
        what: what the file should be, in the words of the command.
        kind: the one that the command is for.
        limit: the longest evidence (bytes).

    Raises:
        WrongKindError: it is a file of another kind.
        InputFileError: it cannot be read.
    """
    with _naming_long_files(path, what, kind):
        data = read_file(path, what=what, limit=4 * limit)
    found = recognise(data)
    if found is not None and found.kind is kind and found.encoding:
        screen.say(f"{path} is {found.name}: decoded", style="yellow")
        return found.content
    refusal = wrong_kind(data, path, what=what, wanted=frozenset({kind, FileKind.EMPTY}))
    if refusal is not None:
        raise refusal
    if len(data) > limit:
        raise InputFileError(f"{what} {path}: got {len(data)} bytes, want at most {limit}")
    return data


def read_collateral(path: Path) -> "Collateral":
    """Collateral; errors (InputFileError, :class:`WireError`) name the file."""
    from casemate.wire.sgx.collateral import MAX_COLLATERAL, Collateral

    return read_as(path, Collateral.parse, what="collateral", kind=FileKind.COLLATERAL, limit=MAX_COLLATERAL)


def read_binding(path: Path) -> "ReportDataBinding":
    """The values that REPORTDATA is claimed to bind; errors (InputFileError, :class:`WireError`) name the file."""
    from casemate.client.binding_file import MAX_BINDING, parse_binding

    return read_as(path, parse_binding, what="binding", kind=FileKind.BINDING, limit=MAX_BINDING)


def bound_values(binding: "ReportDataBinding | None") -> "BoundValues | None":
    """The keys and layers of a binding file. Its nonce is left out, since that is the challenger's to state."""
    from casemate.verifier import BoundValues

    return None if binding is None else BoundValues(binding.hpke_key, binding.receipt_key, binding.layers)


def beside(path: Path, suffix: str) -> Path:
    """The path of a file that belongs to another, such as QUOTE.binding.json."""
    return path.with_name(path.name + suffix)


def read_receipt(path: Path) -> "ReceiptBundle":
    """A receipt file; errors (InputFileError, :class:`WireError`) name the file."""
    from casemate.client.receipts import MAX_BUNDLE, ReceiptBundle

    return read_as(path, ReceiptBundle.parse, what="receipt", kind=FileKind.RECEIPT, limit=MAX_BUNDLE)


def read_certificate_file(path: Path, *, what: str) -> tuple[bytes, ...]:
    """Certificates (DER) from PEM, or one from DER; errors (InputFileError, :class:`WireError`) name the file."""

    def parse(data: bytes) -> tuple[bytes, ...]:
        _check_kind(what, data, FileKind.CERTIFICATE)
        return read_certificates(what, data)

    return read_as(path, parse, what=what, kind=FileKind.CERTIFICATE, limit=MAX_CERTIFICATE_FILE)


def read_revocation_list_file(path: Path) -> bytes:
    """A revocation list (DER) from PEM or DER; errors (InputFileError, :class:`WireError`) name the file."""

    def parse(data: bytes) -> bytes:
        _check_kind("revocation list", data, FileKind.REVOCATION_LIST)
        return read_revocation_list("revocation list", data, limit=MAX_REVOCATION_LIST)

    return read_as(path, parse, what="revocation list", kind=FileKind.REVOCATION_LIST, limit=2 * MAX_REVOCATION_LIST)


def _check_kind(what: str, data: bytes, kind: FileKind) -> None:
    """Refuses DER of another kind, and files that contain PEM somewhere, such as quotes."""
    found = recognise(data)
    if found is not None and found.kind is not kind:
        raise WireError(what, got=found.kind.value, want=kind.value)


def read_as(path: Path, parse: Callable[[bytes], T], *, what: str, kind: FileKind, limit: int) -> T:
    """The value that ``parse`` makes of a file.

    Args:
        path: the file.
        parse: raises :class:`WireError` where the bytes are not what they have to be.
        what: what the file should be, in the words of the command.
        kind: the same, for what other kinds of files are told apart from.
        limit: the longest content accepted (bytes).

    Raises:
        WrongKindError: it is a file of another kind.
        WireError: it is not recognisably another kind, but malformed.
        InputFileError: it cannot be read.
    """
    with _naming_long_files(path, what, kind):
        data = read_file(path, what=what, limit=limit)
    try:
        return parse(data)
    except WireError as error:
        refusal = wrong_kind(data, path, what=what, wanted=frozenset({kind}))
        if refusal is not None:
            raise refusal from None
        inside = error.field.removeprefix(what).removeprefix(".")
        named = WireError(" ".join(filter(None, (what, f"{path}:", inside))), got=error.got, want=error.want)
        named.advice = error.advice
        raise named from None


@contextmanager
def _naming_long_files(path: Path, what: str, kind: FileKind) -> Iterator[None]:
    """Turns the error for a file that is too long into one that names its kind, where its first bytes show that."""
    try:
        yield
    except TooLongFileError as error:
        raise wrong_kind(error.start, path, what=what, wanted=frozenset({kind})) or error from None
