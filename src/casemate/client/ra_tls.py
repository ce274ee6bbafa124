"""RA-TLS from the client's side: straight to an enclave's own port, with Python's own TLS and HTTP.

The certificate is no authority's, so TLS's usual checks say nothing about it. What counts is the evidence in it: it is
appraised after the handshake, and before a byte of the caller's is sent. Then the enclave is asked what confines it, if
the policy wants to know. A connection that has not passed is closed and never handed out.

The host relays, and sees how many bytes go when. It learns nothing of what they say.

Example:
    from casemate.client.ra_tls import RaTlsConnection

    connection = RaTlsConnection("127.0.0.1", port, policy=policy, collateral=collateral)
    connection.request("POST", "/entry/main", body=b'{"n": 7}', headers={"content-type": "application/json"})
    print(connection.getresponse().read(), connection.certificate.enclave.mr_enclave.hex())
"""

import http.client
import os
import secrets
import socket
import ssl
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID

from casemate.client.caller_keys import CallerKey
from casemate.client.core import arguments_of
from casemate.client.errors import (
    CallerKeyError,
    EnclaveRefusedError,
    FunctionRefusedError,
    NoHostError,
    TlsRefusedError,
)
from casemate.link.errors import PeerGoneError, TimedOutError
from casemate.verifier import RequiredLayers, SgxPolicy, VerifiedCertificate, appraise_certificate
from casemate.wire.encodings.json_object import JsonObject, parse_object
from casemate.wire.encodings.json_text import Json, parse_json
from casemate.wire.errors import WireError, os_error_text
from casemate.wire.messages.verbs import ASK_TIMEOUT, CALL_TIMEOUT
from casemate.wire.protocol.call import MAX_OUTPUT
from casemate.wire.protocol.faults import Code, fault
from casemate.wire.protocol.sandbox_layers import SandboxLayers
from casemate.wire.protocol.sandbox_layers_json import parse_layers
from casemate.wire.sgx.collateral import Collateral

MAX_ABOUT = 256 * 1024
"""Longest answer to ``GET /`` (bytes)."""

_NO_CHECK_TIME = ssl.VerifyFlags(0x20_0000)
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which Python does not name."""

_CERTIFICATE_VALIDITY = timedelta(days=1)


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class _Demand:
    policy: SgxPolicy
    collateral: Collateral
    now: Callable[[], datetime]


class RaTlsConnection(http.client.HTTPSConnection):
    """An HTTP connection that is good for one enclave or not at all.

    ``connect`` (which the first request does by itself) raises ``RefusedError`` where the certificate does not satisfy
    the policy, and :class:`TlsRefusedError` where there is no TLS. Nothing has been sent then but a handshake.

    Args:
        host: name or address of the machine.
        port: the enclave's own.
        policy: what its evidence must satisfy.
        collateral: the maker's word on its platforms.
        caller: shows itself by a certificate made for this connection alone, in a second handshake: the first one
            shows nothing and is appraised, the second one shows it to the very certificate that was. An impostor
            learns nothing of who calls.
        timeout: of the handshake, and of each wait after it (seconds).
        now: the clock.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        policy: SgxPolicy,
        collateral: Collateral,
        caller: CallerKey | None = None,
        timeout: float = CALL_TIMEOUT,
        now: Callable[[], datetime] = _now,
    ) -> None:
        super().__init__(host, port, timeout=timeout, context=_context())
        self._caller = caller
        self._demand = _Demand(policy, collateral, now)
        self._verified: VerifiedCertificate | None = None

    @property
    def certificate(self) -> VerifiedCertificate:
        """The verified certificate of the enclave behind this connection; :class:`RuntimeError` before ``connect``."""
        if self._verified is None:
            raise RuntimeError("the connection is not made yet")
        return self._verified

    def connect(self) -> None:
        """Connects, shakes hands, appraises; whatever fails, the connection is closed."""
        self._verified = None
        try:
            self._connect()
        except BaseException:
            self.close()
            raise

    def _connect(self) -> None:
        certificate = self._shake_hands(_context())
        policy = self._demand.policy
        self._verified = self._appraise(certificate, replace(policy, layers="UNSAFE_ANY_SANDBOX"), None)
        if isinstance(policy.layers, RequiredLayers):
            self._verified = self._appraise(certificate, policy, self._layers())
        if self._caller is not None:
            self.sock.close()  # not close(): the request that has us connect is under way
            self._shake_hands(_context(self._caller, certificate))

    def _shake_hands(self, context: ssl.SSLContext) -> bytes:
        """Connects; the certificate in DER of whoever answers."""
        try:
            http.client.HTTPConnection.connect(self)
            sock = context.wrap_socket(self.sock, server_hostname=self.host)
        except TimeoutError:
            raise TimedOutError(f"{self.host}:{self.port} did not shake hands within {self.timeout} s") from None
        except ssl.SSLCertVerificationError:
            said = "another certificate than the one that was appraised; the caller was not shown to it. Try again"
            raise TlsRefusedError(f"{self.host}:{self.port} now answers with {said}") from None
        except (ssl.SSLError, ConnectionResetError, ssl.CertificateError) as error:
            raise TlsRefusedError(f"{self.host}:{self.port}: no TLS handshake: {error}") from None
        except OSError as error:
            raise NoHostError(f"{self.host}:{self.port}: {os_error_text(error)}") from None
        self.sock = sock
        return sock.getpeercert(binary_form=True) or b""

    def _appraise(self, certificate: bytes, policy: SgxPolicy, layers: SandboxLayers | None) -> VerifiedCertificate:
        demand = self._demand
        return appraise_certificate(certificate, policy, demand.collateral, demand.now(), layers=layers)

    def _layers(self) -> SandboxLayers:
        """Asks the enclave for its sandbox layers. The request has no secret; the enclave's key is attested already."""
        sock: Any = self.sock
        response = http.client.HTTPResponse(sock, method="GET")  # not self.request(): that calls this method
        try:
            sock.sendall(b"GET / HTTP/1.1\r\nhost: enclave\r\n\r\n")
            response.begin()
            text = response.read(MAX_ABOUT + 1)
        except TimeoutError:
            raise TimedOutError(f"{self.host}:{self.port} did not say in time what it is") from None
        except (http.client.HTTPException, OSError) as error:
            raise PeerGoneError(f"{self.host}:{self.port}, asked what it is: {_failure(error)}") from None
        return parse_layers(parse_object("GET /", text, limit=MAX_ABOUT).child("layers"))


def call(connection: RaTlsConnection, entry: str, value: object) -> Json:
    """One call of an entry point.

    Raises:
        FunctionRefusedError: the function refuses, with an error that its manifest declares; there is no receipt.
        EnclaveRefusedError: the enclave's own refusal.
        RefusedError: the enclave does not satisfy the policy; nothing was sent.
        PeerGoneError, TimedOutError: it is unknown what became of the call.
        WireError: the answer is not valid JSON.
    """
    try:
        connection.request(
            "POST", f"/entry/{entry}", body=arguments_of(value), headers={"content-type": "application/json"}
        )
        response = connection.getresponse()
        text = response.read(MAX_OUTPUT + 1)
    except TimeoutError:
        connection.close()
        raise TimedOutError(f"{connection.host}:{connection.port} did not answer in time") from None
    except (http.client.HTTPException, OSError) as error:
        connection.close()
        raise PeerGoneError(f"{connection.host}:{connection.port}: {_failure(error)}") from None
    answer: Json = parse_json("answer", text, limit=MAX_OUTPUT)
    if response.status != http.client.OK:
        raise _refusal(answer)
    return answer


def certificate_of(host: str, port: int, *, timeout: float = ASK_TIMEOUT) -> bytes:
    """The certificate in DER of whoever answers there, which nobody has looked at; nothing else is sent."""
    try:
        with (
            socket.create_connection((host, port), timeout=timeout) as plain,
            _context().wrap_socket(plain, server_hostname=host) as sock,
        ):
            return sock.getpeercert(binary_form=True) or b""
    except TimeoutError:
        raise TimedOutError(f"{host}:{port} did not shake hands within {timeout:g} s") from None
    except ssl.SSLError as error:
        raise TlsRefusedError(f"{host}:{port}: no TLS handshake: {error}") from None
    except OSError as error:
        raise NoHostError(f"{host}:{port}: {os_error_text(error)}") from None


def _failure(error: Exception) -> str:
    """The text of an error about an answer."""
    return os_error_text(error) if isinstance(error, OSError) else "an answer that is not HTTP"


def _refusal(answer: Json) -> EnclaveRefusedError | FunctionRefusedError:
    members = answer if isinstance(answer, dict) else {}
    try:
        code = Code(str(members.get("code")))
    except ValueError:
        raise WireError("problem.code", got=ascii(members.get("code", "nothing"))[:80], want="a known code") from None
    if code is Code.FUNCTION_REFUSED:
        return _refusal_of_function(members.get("error"))
    return EnclaveRefusedError(fault(code, str(members.get("detail", ""))))


def _refusal_of_function(error: Json) -> FunctionRefusedError:
    if not isinstance(error, dict):
        raise WireError("problem.error", got=type(error).__name__, want="an object")
    body = JsonObject("problem.error", dict(error))
    return FunctionRefusedError(body.text("code"), body.text("reason"), error.get("details"))


def _context(caller: CallerKey | None = None, appraised: bytes = b"") -> ssl.SSLContext:
    """TLS without authorities: it is not handed out, since without the appraisal it trusts everybody.

    With a ``caller`` it trusts the one certificate that was ``appraised``, which OpenSSL checks before it sends the
    caller's. Whether that is valid now was appraised, too, by the policy's clock.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if caller is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
        context.load_verify_locations(cadata=appraised)
        _show(context, caller)
    return context


def _show(context: ssl.SSLContext, caller: CallerKey) -> None:
    """Gives the caller's key to TLS, which takes it from files alone: one in memory, or for a moment one on disk."""
    text = caller.to_pem() + caller_certificate(caller)
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("caller", os.MFD_CLOEXEC), "wb") as file:
            file.write(text)
            file.flush()
            context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
        return
    with tempfile.TemporaryDirectory(prefix="casemate-") as folder:  # its owner's alone
        path = Path(folder, "caller.pem")
        path.write_bytes(text)
        context.load_cert_chain(path)


def caller_certificate(caller: CallerKey) -> bytes:
    """A self-signed certificate in PEM, by which a caller shows its key to an enclave in a TLS handshake."""
    key = load_pem_private_key(caller.to_pem(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise CallerKeyError("caller key is not Ed25519")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "casemate caller")])
    started = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(secrets.randbits(128) | 1)
        .not_valid_before(started - _CERTIFICATE_VALIDITY)
        .not_valid_after(started + _CERTIFICATE_VALIDITY)
        .sign(key, None)
    )
    return certificate.public_bytes(Encoding.PEM)
