"""The folder of the simulated AMD, in the maker's: a folder for each product that was asked for.

Keys of mode 0600, certificates, and ``ledger.json``. Each is made when it is first wanted, under the maker's lock.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from casemate.makers.amd.keys import AmdRole, make_rsa_key, make_vlek_secret, parse_rsa_key
from casemate.makers.amd.ledger import AmdLedger
from casemate.makers.amd.maker import AmdMaker, Ca, issue_ca_certificate
from casemate.makers.certificates import serial_of
from casemate.makers.errors import MakerError
from casemate.makers.keys import encode_private_key
from casemate.makers.store import load_seed, maker_directory, read
from casemate.process.durable_files import write_whole
from casemate.wire.encodings.pem import encode_chain, parse_chain
from casemate.wire.encodings.x509_dates import validity_of
from casemate.wire.errors import WireError, os_error_text
from casemate.wire.snp.tcb import Product

_LEDGER = "ledger.json"


def load(state: Path, product: Product, roles: tuple[AmdRole, ...], now: datetime) -> AmdMaker:
    """The maker of ``product`` with these keys, those made that are missing. Under the maker's lock.

    Raises:
        MakerError: there is no maker, or a file of it is damaged.
    """
    seed = load_seed(state)
    folder = _folder(state, product)
    ledger = load_ledger(state, product)  # before any key: a key without a ledger is a loss
    cas: dict[AmdRole, Ca] = {}
    for role in (AmdRole.ARK, *roles):  # the root first: it signs the others
        if role not in cas:
            cas[role] = _ca(folder, ledger, role, above=cas, seed=seed, now=now)
    return AmdMaker(product, seed, cas, ledger)


def load_ledger(state: Path, product: Product) -> AmdLedger:
    """The ledger alone, a first one where there is none; makes no RSA keys."""
    seed = load_seed(state)
    path = _folder(state, product) / _LEDGER
    try:
        return AmdLedger.parse(product, read(path))
    except FileNotFoundError:
        if any(path.parent.glob("*.key.pem")):
            raise MakerError(
                f"the maker's ledger {path} is missing, with all that it has certified and revoked: restore the whole "
                "state directory from a backup"
            ) from None
        ledger = AmdLedger.first(product, make_vlek_secret(product, seed))
        write_whole(path, ledger.encode())
        return ledger
    except OSError as error:
        raise MakerError(f"the maker's ledger {path} cannot be read: {os_error_text(error)}") from None


def renew_roots(state: Path, now: datetime) -> list[str]:
    """Renews roots' certificates that are not valid now, for the same keys; their products. Under the maker's lock.

    A seeded maker's certificates have the same dates every time: none is renewed.
    """
    found: list[str] = []
    if load_seed(state) is not None:
        return found
    for product in Product:
        path = maker_directory(state) / "amd" / product / f"{AmdRole.ARK}.crt.pem"
        if path.exists() and not validity_of(parse_chain(path.name, read(path))[0].der).holds(now):
            path.unlink()
            load(state, product, (), now)
            found.append(str(product))
    return found


def save_ledger(state: Path, ledger: AmdLedger) -> None:
    """Replaces the ledger; a crash leaves the old one or the new one."""
    write_whole(_folder(state, ledger.product) / _LEDGER, ledger.encode())


def _folder(state: Path, product: Product) -> Path:
    own = maker_directory(state)
    folder = own / "amd" / product
    for each in (own, folder.parent, folder):  # one by one: of parents made along, mkdir does not set the mode
        each.mkdir(mode=0o700, exist_ok=True)
    return folder


def _ca(
    folder: Path,
    ledger: AmdLedger,
    role: AmdRole,
    *,
    above: Mapping[AmdRole, Ca],
    seed: str | None,
    now: datetime,
) -> Ca:
    """The key, then the certificate for it: a crash between the two leaves a key that is certified the next time."""
    product = ledger.product
    key_path, certificate_path = folder / f"{role}.key.pem", folder / f"{role}.crt.pem"
    try:
        if key_path.exists():
            key = parse_rsa_key(read(key_path))
        elif certificate_path.exists():
            raise MakerError(
                f"the maker's key {key_path} is missing, and its certificate is there: restore the whole state "
                "directory from a backup"
            )
        else:
            key = make_rsa_key(product, role, seed)
            write_whole(key_path, encode_private_key(key))
        if certificate_path.exists():
            kept = parse_chain(certificate_path.name, read(certificate_path))[0].der
            revoked = {entry.serial for entry in ledger.revoked}
            is_kept = seed is not None or role is AmdRole.ARK or validity_of(kept).holds(now)
            if is_kept or serial_of(kept) in revoked:
                return Ca(key, kept)
        ark = key if role is AmdRole.ARK else above[AmdRole.ARK].key
        certificate = issue_ca_certificate(product, role, key, ark=ark, seed=seed, now=now)
        write_whole(certificate_path, encode_chain(certificate))
    except OSError as error:
        raise MakerError(f"the maker's folder {folder} cannot be used: {os_error_text(error)}") from None
    except WireError as error:
        raise MakerError(f"the maker in {folder} is damaged: {error}") from None
    return Ca(key, certificate)
