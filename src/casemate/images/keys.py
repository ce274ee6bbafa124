"""The developer's key: RSA-3072 with exponent 3, which is what EINIT verifies, in a PEM file of the user's own.

Whoever has this key can sign a next version that unseals what this version sealed to MRSIGNER, so the file is created
with mode 0600 and a file that others could read is refused.
"""

import hashlib
import os
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from casemate.images.errors import KeyFileError
from casemate.process.ownership import PlaceError, check_secret
from casemate.wire.errors import os_error_text
from casemate.wire.sgx.sigstruct import EXPONENT, KEY_SIZE

KEY_BITS = 8 * KEY_SIZE
MAX_KEY_FILE = 64 * 1024
"""Longest key file that is read (bytes)."""


@dataclass(frozen=True, slots=True)
class DeveloperKey:
    """A key that signs enclaves."""

    _key: RSAPrivateKey = field(repr=False)

    @classmethod
    def generate(cls) -> Self:
        """A fresh key; takes about a second."""
        return cls(generate_private_key(public_exponent=EXPONENT, key_size=KEY_BITS))

    @classmethod
    def from_pem(cls, pem: bytes) -> Self:
        """From an unencrypted PEM file's bytes; :class:`KeyFileError` where they hold no key that EINIT takes."""
        try:
            key = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise KeyFileError("the file holds no unencrypted private key in PEM") from None
        if not isinstance(key, RSAPrivateKey):
            raise KeyFileError("the key is not an RSA key; SIGSTRUCT takes RSA-3072 with exponent 3")
        exponent = key.public_key().public_numbers().e
        if key.key_size != KEY_BITS or exponent != EXPONENT:
            raise KeyFileError(
                f"the key is RSA-{key.key_size} with exponent {exponent}; SIGSTRUCT takes RSA-3072 with exponent 3"
            )
        return cls(key)

    def pem(self) -> bytes:
        """The private key, PKCS #8."""
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def modulus(self) -> int:
        """The public modulus."""
        return self._key.public_key().public_numbers().n

    def mr_signer(self) -> bytes:
        """MRSIGNER of all that this key signs."""
        return hashlib.sha256(self.modulus().to_bytes(KEY_SIZE, "little")).digest()

    def sign(self, message: bytes) -> int:
        """The RSASSA-PKCS1-v1_5 signature with SHA-256, as a number; the same message gives the same one."""
        return int.from_bytes(self._key.sign(message, PKCS1v15(), SHA256()), "big")


def default_key_path(environ: Mapping[str, str]) -> Path:
    """Where a user's key lies: $XDG_CONFIG_HOME/casemate/developer.pem, or below ~/.config."""
    home = Path(environ["XDG_CONFIG_HOME"]) if environ.get("XDG_CONFIG_HOME") else Path("~/.config").expanduser()
    return home / "casemate" / "developer.pem"


def load_key(path: Path) -> DeveloperKey:
    """The key in a file that is this user's, or root's, and that nobody else can read."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise KeyFileError(f"{path} is no plain file")
            check_secret(str(path), uid=status.st_uid, mode=status.st_mode, user=os.geteuid())
            pem = file.read(MAX_KEY_FILE)
    except PlaceError as error:
        raise KeyFileError(str(error)) from None
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {os_error_text(error)}") from None
    try:
        return DeveloperKey.from_pem(pem)
    except KeyFileError as error:
        raise KeyFileError(f"{path}: {error}") from None


def _without_waiting(path: str, flags: int) -> int:
    """Opens what may be a pipe into which nobody writes."""
    return os.open(path, flags | os.O_NONBLOCK)


def load_or_create_key(path: Path) -> DeveloperKey:
    """The key in a file, made on first use."""
    if os.path.lexists(path):
        return load_key(path)
    key = DeveloperKey.generate()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_new(path, key.pem())
    except FileExistsError:
        return load_key(path)  # another process was faster; its key is as good
    except OSError as error:
        raise KeyFileError(f"{path} cannot be written: {os_error_text(error)}") from None
    return key


def _write_new(path: Path, content: bytes) -> None:
    """Writes a whole file or none, with mode 0600, unless there is one already."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # which has mode 0600
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    finally:
        temporary.unlink()
