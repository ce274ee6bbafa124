"""A caller's own Ed25519 key: what an enclave's manifest names, kept in a PEM file."""

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from casemate.client.errors import CallerKeyError
from casemate.process.durable_files import write_once
from casemate.process.ownership import PlaceError, read_own_secret
from casemate.wire.errors import os_error_text
from casemate.wire.protocol.caller_key import caller_key_text

MAX_KEY_FILE = 64 * 1024
"""Longest key file that is read (bytes)."""


class CallerKey:
    """Signs calls. Its ``repr`` shows the public half alone."""

    __slots__ = ("_private", "public_key")

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public_key = private.public_key().public_bytes_raw()

    def __repr__(self) -> str:
        return f"CallerKey({self.manifest_value!r})"

    @classmethod
    def generate(cls) -> "CallerKey":
        """A new key."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_pem(cls, pem: bytes) -> "CallerKey":
        """The key in an unencrypted PKCS #8 PEM text, or :class:`CallerKeyError`."""
        try:
            private = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise CallerKeyError("caller key is no unencrypted private key in PEM, want Ed25519 as PKCS #8") from None
        if not isinstance(private, Ed25519PrivateKey):
            raise CallerKeyError(f"caller key is {type(private).__name__}, want Ed25519")
        return cls(private)

    def to_pem(self) -> bytes:
        """The private key as unencrypted PKCS #8."""
        return self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def manifest_value(self) -> str:
        """The public key as a manifest's ``[callers]`` table writes it."""
        return caller_key_text(self.public_key)

    def sign(self, transcript: bytes) -> bytes:
        """The signature over ``wire.protocol.call.caller_transcript``."""
        return self._private.sign(transcript)


def read_caller_key(path: Path) -> CallerKey:
    """The key in a PEM file that its owner alone can read."""
    try:
        return CallerKey.from_pem(read_own_secret(path, MAX_KEY_FILE))
    except PlaceError as error:
        raise CallerKeyError(f"caller key {error}") from None
    except OSError as error:
        raise CallerKeyError(f"caller key {path}: {os_error_text(error)}") from None


def write_caller_key(path: Path, key: CallerKey) -> None:
    """Makes a new file that its owner alone can read; never overwrites one."""
    try:
        write_once(path, key.to_pem())
    except FileExistsError:
        raise CallerKeyError(f"caller key {path}: is there already, and keys are never overwritten") from None
    except OSError as error:
        raise CallerKeyError(f"caller key {path}: {os_error_text(error)}") from None
