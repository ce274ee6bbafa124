"""The simulated Intel's files: made whole in one step, read, and replaced one by one."""

import shutil
import tempfile
from pathlib import Path

from casemate.makers.errors import MakerError
from casemate.makers.intel.keys import KeyRole, parse_signing_key
from casemate.makers.intel.ledger import Ledger
from casemate.makers.intel.maker import IntelMaker
from casemate.makers.keys import encode_private_key
from casemate.makers.store import LEDGER, LOCK, exists, maker_directory, read
from casemate.process.durable_files import sync_directory, write_whole
from casemate.process.ownership import make_own_folder
from casemate.wire.encodings.pem import encode_chain, parse_chain
from casemate.wire.errors import WireError, os_error_text


def create(state: Path, maker: IntelMaker) -> bool:
    """Writes a new maker's folder, whole or not at all; False if another process was faster."""
    make_own_folder(state)
    draft = Path(tempfile.mkdtemp(prefix=".vendor-", dir=state))
    try:
        for role in KeyRole:
            write_whole(draft / f"{role}.key.pem", encode_private_key(maker.keys[role]))
            write_whole(draft / f"{role}.crt.pem", encode_chain(maker.certificates[role]))
        write_whole(draft / LOCK, b"")
        write_whole(draft / LEDGER, maker.ledger.encode())
        try:
            draft.rename(maker_directory(state))
        except OSError:
            if exists(state):
                return False
            if maker_directory(state).is_dir():
                raise MakerError(
                    f"{maker_directory(state) / LEDGER} is missing, with all that this maker has certified and "
                    "revoked: restore the whole state directory from a backup"
                ) from None
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    sync_directory(state)
    return True


def load(state: Path) -> IntelMaker:
    """The maker as its folder has it.

    Raises:
        MakerError: a file is missing or damaged.
    """
    folder = maker_directory(state)
    try:
        keys = {role: parse_signing_key(read(folder / f"{role}.key.pem")) for role in KeyRole}
        certificates = {
            role: parse_chain(f"{role}.crt.pem", read(folder / f"{role}.crt.pem"))[0].der for role in KeyRole
        }
        return IntelMaker(keys, certificates, Ledger.parse(read(folder / LEDGER)))
    except OSError as error:
        raise MakerError(f"there is no maker in {folder}: {os_error_text(error)}: run init first") from None
    except WireError as error:
        raise MakerError(f"the maker in {folder} is damaged: {error}") from None


def save_certificates(state: Path, maker: IntelMaker) -> None:
    """Replaces the certificates of the maker's own keys; a crash leaves each the old one or the new one."""
    for role in KeyRole:
        write_whole(maker_directory(state) / f"{role}.crt.pem", encode_chain(maker.certificates[role]))


def save_ledger(state: Path, ledger: Ledger) -> None:
    """Replaces the ledger; a crash leaves the old one or the new one."""
    write_whole(maker_directory(state) / LEDGER, ledger.encode())
