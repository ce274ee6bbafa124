"""The vendor's folder in the state directory: keys of mode 0600, certificates, and the ledger, changed under a lock."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from casemate.makers.errors import VendorError
from casemate.makers.intel.keys import KeyRole, encode_private_key, parse_private_key
from casemate.makers.intel.ledger import Ledger
from casemate.makers.intel.office import Office
from casemate.process.durable_files import sync_directory, write_whole
from casemate.process.ownership import check_own_folder, check_way, make_own_folder, open_own_file
from casemate.process.plain_file import open_plain
from casemate.wire.encodings.pem import encode_chain, parse_chain
from casemate.wire.errors import WireError, os_error_text

_LEDGER = "ledger.json"
_LOCK = "lock"


def vendor_directory(state: Path) -> Path:
    """The vendor's folder."""
    return state / "vendor"


def exists(state: Path) -> bool:
    """Whether this state directory has a vendor."""
    return (vendor_directory(state) / _LEDGER).exists()


def check_ownership(state: Path) -> None:
    """Refuses a state directory, or a vendor in it, that is not this user's alone; what is missing is no fault.

    Raises:
        PlaceError: another user could have put the keys there that others are told to trust.
    """
    check_way(state)
    for folder, private in ((state, False), (vendor_directory(state), True)):
        if os.path.lexists(folder):
            check_own_folder(folder, private=private)


def read(path: Path) -> bytes:
    """A file of the vendor's, which is this user's alone.

    Raises:
        PlaceError: it is not.
        OSError: it cannot be read.
    """
    with os.fdopen(open_own_file(path, os.O_RDONLY, private=True), "rb") as file:
        return file.read()


def create(state: Path, office: Office) -> bool:
    """Writes a new vendor's folder, whole or not at all; False if another process was faster."""
    make_own_folder(state)
    draft = Path(tempfile.mkdtemp(prefix=".vendor-", dir=state))
    try:
        for role in KeyRole:
            write_whole(draft / f"{role}.key.pem", encode_private_key(office.keys[role]))
            write_whole(draft / f"{role}.crt.pem", encode_chain(office.certificates[role]))
        write_whole(draft / _LOCK, b"")
        write_whole(draft / _LEDGER, office.ledger.encode())
        try:
            draft.rename(vendor_directory(state))
        except OSError:
            if exists(state):
                return False
            if vendor_directory(state).is_dir():
                raise VendorError(
                    f"{vendor_directory(state) / _LEDGER} is missing, with all that this vendor has certified and "
                    "revoked: restore the whole state directory from a backup"
                ) from None
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    sync_directory(state)
    return True


@contextlib.contextmanager
def locked(state: Path) -> Iterator[None]:
    """Holds the vendor's lock: whoever changes the ledger reads it after this."""
    if not exists(state):
        raise VendorError(f"there is no vendor in {vendor_directory(state)}: run init first")
    with os.fdopen(open_plain(vendor_directory(state) / _LOCK), "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def load(state: Path) -> Office:
    """The vendor as its folder has it.

    Raises:
        VendorError: a file is missing or damaged.
    """
    folder = vendor_directory(state)
    try:
        keys = {role: parse_private_key(read(folder / f"{role}.key.pem")) for role in KeyRole}
        certificates = {
            role: parse_chain(f"{role}.crt.pem", read(folder / f"{role}.crt.pem"))[0].der for role in KeyRole
        }
        return Office(keys, certificates, Ledger.parse(read(folder / _LEDGER)))
    except OSError as error:
        raise VendorError(f"there is no vendor in {folder}: {os_error_text(error)}: run init first") from None
    except WireError as error:
        raise VendorError(f"the vendor in {folder} is damaged: {error}") from None


def save_certificates(state: Path, office: Office) -> None:
    """Replaces the certificates of the vendor's own keys; a crash leaves each the old one or the new one."""
    for role in KeyRole:
        write_whole(vendor_directory(state) / f"{role}.crt.pem", encode_chain(office.certificates[role]))


def save_ledger(state: Path, ledger: Ledger) -> None:
    """Replaces the ledger; a crash leaves the old one or the new one."""
    write_whole(vendor_directory(state) / _LEDGER, ledger.encode())


def load_seed(state: Path) -> str | None:
    """The public seed that the vendor was made from, if it was.

    Raises:
        VendorError: there is no vendor, or its ledger is damaged.
    """
    path = vendor_directory(state) / _LEDGER
    try:
        return Ledger.parse(read(path)).seed
    except OSError as error:
        raise VendorError(f"there is no vendor in {path.parent}: {os_error_text(error)}: run init first") from None
