"""Chip to supervisor, and supervisor to chip: plain frames over a socket pair that the supervisor makes.

The chip sends ``ChipReady`` (or a ``Fault``, and exits) once. Before that, and while it works on a ``MicrocodeUpdate``,
it may send ``Certify``, which the supervisor answers with ``Certified`` or a ``Fault`` after it has run the vendor. The
supervisor may send ``MicrocodeUpdate`` at any time after ``ChipReady``, one at a time; the chip answers ``MicrocodeIs``
or a ``Fault``. The chip ends when the supervisor closes its end.
Nothing on this link is secret: the chip sends public keys and identifiers alone.
"""

from dataclasses import dataclass
from typing import Annotated

from casemate.wire.message import U16, U32, Bytes16, Fixed, Limit, Name, message

PUBLIC_KEY_SIZE = 65
"""Bytes of an uncompressed P-256 point, SEC 1 section 2.3.3: 04, X, Y."""

MAX_CHAIN = 32 * 1024
"""Longest PCK chain (bytes of PEM, leaf first)."""


@message(0x80)
@dataclass(frozen=True, slots=True)
class Certify:
    """Certify this chip's provisioning key at this TCB, please. Reply: ``Certified`` or ``Fault``."""

    public_key: Annotated[bytes, Fixed(PUBLIC_KEY_SIZE)]
    """The PCK: another one at each TCB."""
    ppid: Bytes16
    """Names the chip, at every TCB."""
    cpu_svn: Bytes16
    pce_svn: U16
    pce_id: U16
    fmspc: Annotated[bytes, Fixed(6)]
    seeded: bool
    """The fuses came from a public seed: the certificate says so."""


@message(0x81)
@dataclass(frozen=True, slots=True)
class Certified:
    """The PCK certificate and its issuers."""

    chain: Annotated[bytes, Limit(MAX_CHAIN)]
    """PEM: leaf, intermediate CA, root."""


@message(0x82)
@dataclass(frozen=True, slots=True)
class ChipReady:
    """The chip serves its host from now."""

    pid: U32
    platform: Name
    """The platform's tag in runtime locks, such as ``linux-x86_64-cp311``."""
    runtime_digest: Annotated[bytes, Fixed(32)]
    ppid: Bytes16
    """Names the chip, at every TCB."""
    runtime_rebuilt: bool
    """The runtime copy was missing or had been touched, and was made anew."""
    cpu_svn: Bytes16
    pce_svn: U16


@message(0x83)
@dataclass(frozen=True, slots=True)
class MicrocodeUpdate:
    """Raise the TCB to at least this. Reply: ``MicrocodeIs`` or ``Fault``."""

    cpu_svn: Bytes16
    pce_svn: U16


@message(0x84)
@dataclass(frozen=True, slots=True)
class MicrocodeIs:
    """The TCB that is now fused in and certified."""

    cpu_svn: Bytes16
    pce_svn: U16
