"""RA-TLS: host to enclave, the certificate and the connections' bytes; and the code that a process needs for it.

The entries follow the rules of :mod:`casemate.wire.messages.entry`. Those of one connection go one at a time, except
for the one that ends it. To the host a connection is a number and bytes. It may drop, delay, reorder and invent bytes,
as any network may; TLS protects against that.
"""

from dataclasses import dataclass
from typing import Annotated

from casemate.wire.encodings.message import U64, Fixed, Limit, message

MAX_INWARD = 64 * 1024
"""Most bytes of a connection in one entry."""

MAX_OUTWARD = 256 * 1024
"""Most bytes of a connection in one reply."""

MAX_CERTIFICATE = 256 * 1024
"""Longest certificate (bytes of DER): two quotes take 10 KiB."""


@message(0xA0)
@dataclass(frozen=True, slots=True)
class TlsPrepare:
    """Asks for a new TLS key, and REPORTs over it for this target. Reply: ``TlsPrepared``."""

    target_info: Annotated[bytes, Fixed(512)]


@message(0xA1)
@dataclass(frozen=True, slots=True)
class TlsPrepared:
    """REPORTs to be quoted, in this order; none from an enclave whose manifest does not ask for RA-TLS."""

    reports: tuple[Annotated[bytes, Fixed(432)], ...]


@message(0xA2)
@dataclass(frozen=True, slots=True)
class TlsInstall:
    """The quotes over the REPORTs of the last ``TlsPrepare``, in their order. Reply: ``TlsInstalled``."""

    quotes: tuple[Annotated[bytes, Limit(65536)], ...]


@message(0xA3)
@dataclass(frozen=True, slots=True)
class TlsInstalled:
    """New connections get this certificate; older ones go on with theirs."""

    certificate: Annotated[bytes, Limit(MAX_CERTIFICATE)]
    """DER."""
    expires_at: U64
    """Unix time (seconds) by the clock of the machine, which nobody vouches for; to be renewed well before."""


@message(0xA4)
@dataclass(frozen=True, slots=True)
class TlsBytes:
    """Bytes of a connection, in order; a number that was not seen yet opens one. Reply: ``TlsReply``."""

    connection: U64
    """Never used twice while this enclave runs."""
    data: Annotated[bytes, Limit(MAX_INWARD)]
    """None where the host only asks for what is still to go out."""
    has_ended: bool
    """The client will send no more: the connection is closed, whatever is under way in it."""


@message(0xA5)
@dataclass(frozen=True, slots=True)
class TlsReply:
    """Bytes for the client."""

    data: Annotated[bytes, Limit(MAX_OUTWARD)]
    has_more: bool
    """There is more to send: ask again once the client has taken this. Until then the enclave reads nothing from it."""
    is_over: bool
    """Close the connection once the data is sent."""
