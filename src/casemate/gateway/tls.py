"""TLS for the gateway's own port, from certificate files. It keeps out others on the network, not the operator."""

import ssl
from pathlib import Path

from casemate.wire.errors import CasemateError, os_error_text


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
        raise CertificateFileError(f"{certificate} with {key}: {reason}") from None
    return context
