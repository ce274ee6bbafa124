"""The client's errors, by who refused, whether the answer can be trusted, and what to do next."""

from typing import TYPE_CHECKING

from casemate.link.errors import PeerGoneError
from casemate.wire.encodings.json_text import Json
from casemate.wire.errors import CasemateError
from casemate.wire.protocol.call import PROTOCOL, CallMetrics
from casemate.wire.protocol.faults import Code, Fault, FaultError

if TYPE_CHECKING:
    from casemate.client.receipts import ReceiptBundle


class HostRefusedError(FaultError):
    """The untrusted host refuses, or says that the enclave does. Nothing vouches for its word."""


class AttestAgainError(HostRefusedError):
    """The enclave was started anew, or has forgotten this session: attest it again, then call again."""


class OtherProtocolError(HostRefusedError):
    """The host cannot read this client's calls, which are well formed: it speaks another version of the protocol."""

    advice = f"this client speaks protocol {PROTOCOL}: update Casemate there, or the client if it is the older one"


class SessionForkedError(CasemateError):
    """The session was opened before this process was forked, and lives on in its parent alone: attest again here."""


class EnclaveRefusedError(FaultError):
    """The appraised enclave itself refuses this call: the refusal was sealed to it.

    Args:
        fault: says why.
        metrics: what the call had used by then, as the enclave measured it; None where no guest was given it, and over
            RA-TLS.
    """

    def __init__(self, fault: Fault, metrics: CallMetrics | None = None) -> None:
        super().__init__(fault)
        self.metrics = metrics


class FunctionRefusedError(CasemateError):
    """The function itself refuses the call, with an error that its manifest declares. It kept nothing of the call.

    Args:
        code: the error's name in the manifest.
        reason: its words there.
        details: the JSON value that the function gave with it; None where its manifest allows none.
        receipt: of the call, which names the error; None over RA-TLS, where answers have no receipts.
        metrics: what the call used, as the enclave measured it; None over RA-TLS.
    """

    def __init__(
        self,
        code: str,
        reason: str,
        details: Json,
        receipt: "ReceiptBundle | None" = None,
        metrics: CallMetrics | None = None,
    ) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason
        self.details = details
        self.receipt = receipt
        self.metrics = metrics


class ResponseRefusedError(CasemateError):
    """The response is not the enclave's answer to this request: altered, replaced by another, or malformed."""


class ReceiptRefusedError(CasemateError):
    """A receipt does not hold: the message names the rule, what was found, and what was wanted."""

    def __init__(self, rule: str, *, got: object, want: object) -> None:
        super().__init__(f"{rule}: got {got}, want {want}")
        self.rule = rule
        self.got = got
        self.want = want


class StreamBrokenError(CasemateError):
    """A stream is over before its result: a step of it was lost, refused or given up. Open another."""


class CallerKeyError(CasemateError):
    """A file holds no Ed25519 key that a caller could sign with."""


class NoHostError(PeerGoneError):
    """Nobody answers at that path or URL: nothing was sent."""


class NotOfferedError(CasemateError):
    """This kind of connection does not offer the request."""


class AddressError(CasemateError):
    """A gateway's URL, token or file of CA certificates cannot be used as they were given."""


class TlsRefusedError(CasemateError):
    """The gateway's TLS certificate is not trusted, or it does not speak TLS. Nothing was sent."""


class GatewayRefusedError(CasemateError):
    """The gateway refuses for a reason of its own, before it asked the host.

    Args:
        status: HTTP's.
        code: the problem's, or empty where there was no problem document.
        detail: in the gateway's words.
        request_id: what its log calls the request, or empty.
    """

    def __init__(self, status: int, code: str, detail: str, request_id: str = "") -> None:
        named = f" (request {request_id})" if request_id else ""
        super().__init__(f"the gateway refuses with {status}{' ' + code if code else ''}: {detail}{named}")
        self.status = status
        self.code = code
        self.detail = detail
        self.request_id = request_id


class TokenRefusedError(GatewayRefusedError):
    """The gateway wants a bearer token, or does not know this one."""


class RoleRefusedError(GatewayRefusedError):
    """The token is known, and its role may not do this."""


class GatewayBusyError(GatewayRefusedError):
    """The gateway has too much to do, or is about to end: nothing was done, try again in a moment."""


_ATTEST_AGAIN = frozenset((Code.SESSION_UNKNOWN, Code.CANNOT_OPEN))


def host_refusal(fault: Fault) -> HostRefusedError:
    """The error for a host's refusal."""
    return (AttestAgainError if fault.code in _ATTEST_AGAIN else HostRefusedError)(fault)
