"""TLS for the gateway's own port, from certificate files. It keeps out others on the network, not the operator."""

import os
import ssl
import stat
from pathlib import Path

from casemate.wire.errors import CasemateError, os_error_text

_PEM = b"-----BEGIN "
MAX_FILE = 1 << 20
"""Longest certificate or key file (bytes): more is something else."""

_REASONS = {
    "KEY_VALUES_MISMATCH": "the key is another certificate's",
    "EE_KEY_TOO_SMALL": "the certificate's key is too short for TLS: RSA needs 2048 bits",
    "CA_MD_TOO_WEAK": "the certificate is signed over a digest that is too weak: SHA-256 is not",
    "NO_START_LINE": "the certificate's file holds no certificate",
}
"""What OpenSSL's names for the usual mistakes mean."""


class CertificateFileError(CasemateError):
    """The certificate or its key cannot be used."""


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 or newer, HTTP/1.1.

    Args:
        certificate: PEM, the server's first, then its issuers'.
        key: PEM, without passphrase.

    Raises:
        CertificateFileError: a file is missing or malformed, or the two do not belong together.
    """
    _check_pem(certificate, b"CERTIFICATE-----", "a certificate")
    _check_pem(key, b"PRIVATE KEY-----", "a private key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])

    def no_passphrase() -> str:
        raise CertificateFileError(f"{key} has a passphrase; a gateway that starts by itself can use none")

    try:
        context.load_cert_chain(certificate, key, no_passphrase)
    except OSError as error:  # ssl.SSLError is one, too
        reason = getattr(error, "reason", None) or os_error_text(error)
        raise CertificateFileError(f"{certificate} with {key}: {_REASONS.get(reason, reason)}") from None
    return context


def _check_pem(file: Path, label: bytes, what: str) -> None:
    """OpenSSL's own words for these do not name the file, and it would wait for a pipe's writer."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as opened:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise CertificateFileError(f"{file} is no plain file, want one with {what} in PEM")
            content = opened.read(MAX_FILE)
    except OSError as error:
        raise CertificateFileError(f"{file}: {os_error_text(error)}") from None
    if _PEM not in content:
        raise CertificateFileError(f"{file} is not PEM, want text with a line that begins with {_PEM.decode()}")
    if label not in content:
        raise CertificateFileError(f"{file} is PEM without {what}: were certificate and key exchanged?")
