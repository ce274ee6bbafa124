"""The folder of the simulated AMD, in the vendor's: a folder for each product that was asked for.

Keys of mode 0600, certificates, and ``ledger.json``. Each is made when it is first wanted, under the vendor's lock.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from casemate.vendor.amd.keys import AmdRole, encode_rsa_key, make_rsa_key, make_vlek_secret, parse_rsa_key
from casemate.vendor.amd.ledger import AmdLedger
from casemate.vendor.amd.office import AmdOffice, Ca, issue_ca_certificate
from casemate.vendor.errors import VendorError
from casemate.vendor.store import load_seed, read, replace_file, vendor_directory
from casemate.wire.errors import WireError, os_error_text
from casemate.wire.pem import encode_chain, parse_chain
from casemate.wire.snp.tcb import Product

_LEDGER = "ledger.json"


def load(state: Path, product: Product, roles: tuple[AmdRole, ...], now: datetime) -> AmdOffice:
    """The maker of ``product`` with these keys, those made that are missing. Under the vendor's lock.

    Raises:
        VendorError: there is no vendor, or a file of it is damaged.
    """
    seed = load_seed(state)
    folder = _folder(state, product)
    cas: dict[AmdRole, Ca] = {}
    for role in (AmdRole.ARK, *roles):  # the root first: it signs the others
        if role not in cas:
            cas[role] = _ca(folder, product, role, above=cas, seed=seed, now=now)
    return AmdOffice(product, seed, cas, load_ledger(state, product))


def load_ledger(state: Path, product: Product) -> AmdLedger:
    """The ledger alone, a first one where there is none; makes no RSA keys."""
    seed = load_seed(state)
    path = _folder(state, product) / _LEDGER
    try:
        return AmdLedger.parse(product, read(path))
    except FileNotFoundError:
        ledger = AmdLedger.first(product, make_vlek_secret(product, seed))
        replace_file(path, ledger.encode())
        return ledger
    except OSError as error:
        raise VendorError(f"the vendor's ledger {path} cannot be read: {os_error_text(error)}") from None


def save_ledger(state: Path, ledger: AmdLedger) -> None:
    """Replaces the ledger; a crash leaves the old one or the new one."""
    replace_file(_folder(state, ledger.product) / _LEDGER, ledger.encode())


def _folder(state: Path, product: Product) -> Path:
    folder = vendor_directory(state) / "amd" / product
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _ca(
    folder: Path, product: Product, role: AmdRole, *, above: Mapping[AmdRole, Ca], seed: str | None, now: datetime
) -> Ca:
    """The key, then the certificate for it: a crash between the two leaves a key that is certified the next time."""
    key_path, certificate_path = folder / f"{role}.key.pem", folder / f"{role}.crt.pem"
    try:
        if key_path.exists():
            key = parse_rsa_key(read(key_path))
        else:
            key = make_rsa_key(product, role, seed)
            replace_file(key_path, encode_rsa_key(key))
        if certificate_path.exists():
            return Ca(key, parse_chain(certificate_path.name, read(certificate_path))[0].der)
        ark = key if role is AmdRole.ARK else above[AmdRole.ARK].key
        certificate = issue_ca_certificate(product, role, key, ark=ark, seed=seed, now=now)
        replace_file(certificate_path, encode_chain(certificate))
    except OSError as error:
        raise VendorError(f"the vendor's folder {folder} cannot be used: {os_error_text(error)}") from None
    except WireError as error:
        raise VendorError(f"the vendor in {folder} is damaged: {error}") from None
    return Ca(key, certificate)
