"""The address of a gateway: its URL, a bearer token, and the trusted TLS certificates."""

import ipaddress
import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from casemate.client.errors import AddressError
from casemate.wire.errors import os_error_text

_SCHEMES = {"http": 80, "https": 443}
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{1,1024}=*", re.ASCII)
"""RFC 6750, section 2.1: b64token."""
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+", re.ASCII)
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*/?", re.ASCII)
_API = re.compile(r"(/v1)*/?\Z", re.ASCII)
"""The end of a URL that names the API and not its gateway, which is meant."""


class Token:
    """A bearer token, which shows itself to :meth:`reveal` alone."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        if not _TOKEN.fullmatch(text):
            raise AddressError("the token is no bearer token: want one line of letters, digits and ._~+/-")
        self._text = text

    def __repr__(self) -> str:
        return "Token(...)"

    def reveal(self) -> str:
        """The text itself."""
        return self._text


@dataclass(frozen=True, slots=True)
class BaseUrl:
    """A gateway's URL in its parts: two are equal where they name the same gateway. :func:`base_url` makes it."""

    scheme: str
    """``http`` or ``https``."""
    host: str
    """In lower case."""
    port: int
    prefix: str
    """The path before ``/v1``, without a slash at its end."""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.prefix}"

    @property
    def authority(self) -> str:
        """Host and port, as the Host header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _SCHEMES[self.scheme] else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Address:
    """A gateway's address; :func:`gateway_address` makes it."""

    base: BaseUrl
    token: Token | None
    tls: ssl.SSLContext | None
    """None for plain HTTP."""

    def __str__(self) -> str:
        return str(self.base)


def address_of(
    where: Path | str, *, token: str | None, verify: Path | str | ssl.SSLContext | None, unsafe_token_over_http: bool
) -> Address | None:
    """The gateway that ``where`` names; None where it is the path of a Unix socket.

    Raises:
        AddressError: URL, token or certificates cannot be used, or there is no gateway to use them for.
    """
    if isinstance(where, str) and "://" in where:
        return gateway_address(where, token=token, verify=verify, unsafe_token_over_http=unsafe_token_over_http)
    if token is not None or verify is not None:
        raise AddressError("a Unix socket takes no token and no CA certificates: a gateway's URL begins with https://")
    return None


def base_url(url: str) -> BaseUrl:
    """A gateway's URL: ``http://`` or ``https://``, a host, a port, and a path where a proxy has put it below one.

    Raises:
        AddressError: it is none.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise AddressError(f"URL {url[:200]!r} is none") from None
    if parts.scheme not in _SCHEMES:
        raise AddressError(f"URL has the scheme {parts.scheme[:80]!r}, want http or https")
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        raise AddressError("URL holds a user or password: want a token instead, which is kept out of URLs")
    if not _HOST.fullmatch(host) or not _PATH.fullmatch(parts.path) or parts.query or parts.fragment or port == 0:
        raise AddressError(f"URL {url[:200]!r} is not of the form https://HOST:PORT")
    port = _SCHEMES[parts.scheme] if port is None else port
    return BaseUrl(scheme=parts.scheme, host=host, port=port, prefix=_API.sub("", parts.path))


def gateway_address(
    url: str, *, token: str | None, verify: Path | str | ssl.SSLContext | None, unsafe_token_over_http: bool
) -> Address:
    """The address in a URL.

    Args:
        url: as for :func:`base_url`.
        token: the gateway's bearer token.
        verify: a file or folder of CA certificates in PEM, or a context of the caller's own; None for this computer's
            CAs. There is no way to have no certificate checked.
        unsafe_token_over_http: lets the token cross a network that others can read.

    Raises:
        AddressError: one of them cannot be used.
    """
    base = base_url(url)
    known = None if token is None else Token(token)
    if known is not None and base.scheme == "http" and not (unsafe_token_over_http or is_loopback(base.host)):
        raise AddressError(f"the token would cross the network in the clear to {base.host}: use https")
    if verify is not None and base.scheme == "http":
        raise AddressError("CA certificates are given for an http URL, which has no TLS: use https")
    return Address(base=base, token=known, tls=_tls(verify) if base.scheme == "https" else None)


def is_loopback(host: str) -> bool:
    """Whether ``host`` never leaves this computer (RFC 1122, section 3.2.1.3; RFC 6761, section 6.3)."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _tls(verify: Path | str | ssl.SSLContext | None) -> ssl.SSLContext:
    """TLS 1.2 or later, the certificate and its name checked."""
    if isinstance(verify, ssl.SSLContext):
        if verify.verify_mode is not ssl.CERT_REQUIRED or not verify.check_hostname:
            raise AddressError("the TLS context checks no certificate or name: want CERT_REQUIRED and check_hostname")
        return verify
    try:
        if verify is None:
            return ssl.create_default_context()
        if Path(verify).is_dir():
            return ssl.create_default_context(capath=str(verify))
        return ssl.create_default_context(cafile=str(verify))
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        if isinstance(error, ssl.SSLError):
            reason = "no certificate in PEM"
        else:
            reason = os_error_text(error) if isinstance(error, OSError) else str(error)
        raise AddressError(f"CA certificates {verify}: {reason}") from None
