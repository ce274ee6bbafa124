"""Chip to supervisor, and supervisor to chip: plain frames over a socket pair that the supervisor makes.

The chip sends ``ChipReady`` (or a ``Fault``, and exits) once. Before that, and while it works on a ``MicrocodeUpdate``,
it may send ``Certify``, which the supervisor answers with ``Certified`` or a ``Fault`` after it has run the maker. The
supervisor may send ``MicrocodeUpdate`` at any time after ``ChipReady``, one at a time; the chip answers ``MicrocodeIs``
or a ``Fault``. In the same turns it passes on what the machine's owner asks about anchors (``AcceptRollback``,
``GiveUpAnchor``, ``ListAnchors``), and has certificates renewed (``RenewCertificates``). It may send ``NewHost`` at any
time after ``ChipReady``, but not while it waits for an answer. The chip ends when the supervisor closes its end.
``messages.snp_certification`` has what is said besides for SEV-SNP.
Nothing on this link is secret: the chip sends public keys and identifiers alone.
"""

from dataclasses import dataclass
from typing import Annotated

from casemate.wire.encodings.message import U16, U32, U64, Bytes16, Bytes32, Fixed, Limit, Name, message
from casemate.wire.protocol.runtime_lock import Runtime

PUBLIC_KEY_SIZE = 65
"""Bytes of an uncompressed P-256 point, SEC 1 section 2.3.3: 04, X, Y."""

MAX_CHAIN = 32 * 1024
"""Longest chain of certificates (bytes of PEM, leaf first)."""


@message(0x80)
@dataclass(frozen=True, slots=True)
class Certify:
    """Asks for a certificate of this chip's provisioning key at this TCB. Reply: ``Certified`` or ``Fault``."""

    public_key: Annotated[bytes, Fixed(PUBLIC_KEY_SIZE)]
    """The PCK: a different key at each TCB."""
    ppid: Bytes16
    """Names the chip, at every TCB."""
    cpu_svn: Bytes16
    pce_svn: U16
    pce_id: U16
    fmspc: Annotated[bytes, Fixed(6)]
    seeded: bool
    """The fuses are derived from a public seed, which the certificate has to say."""


@message(0x81)
@dataclass(frozen=True, slots=True)
class Certified:
    """The PCK certificate and its issuers."""

    chain: Annotated[bytes, Limit(MAX_CHAIN)]
    """PEM: leaf, intermediate CA, root."""


@message(0x82)
@dataclass(frozen=True, slots=True)
class ChipReady:
    """The chip serves its host."""

    pid: U32
    platform: Name
    """The platform's tag in runtime locks, such as ``linux-x86_64-cp311``."""
    runtime: Runtime
    """The runtime of enclaves."""
    ppid: Bytes16
    """Names the chip, at every TCB."""
    runtime_rebuilt: bool
    """The runtime copy was missing or changed, and was made again."""
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


@message(0x85)
@dataclass(frozen=True, slots=True)
class AcceptRollback:
    """The owner accepts, once, that a sealed state is older than its anchor. Reply: ``RollbackAccepted`` or ``Fault``.

    Logged durably by the chip before it has any effect.
    """

    namespace: Bytes32
    reason: Annotated[str, Limit(1024)]
    """The owner's, for the log."""


@message(0x86)
@dataclass(frozen=True, slots=True)
class RollbackAccepted:
    """The next opening may use the newest history that is left; the commit that follows counts as a recovery."""

    namespace: Bytes32
    epoch: U64
    """The anchor's epoch."""


@message(0x70)
@dataclass(frozen=True, slots=True)
class GiveUpAnchor:
    """The owner frees the anchor of a sealed state for good: the state begins anew, empty, and counts on from there.

    Logged durably by the chip before it has any effect. Reply: ``AnchorGivenUp`` or ``Fault``.
    """

    namespace: Bytes32
    reason: Annotated[str, Limit(1024)]
    """The owner's, for the log."""


@message(0x71)
@dataclass(frozen=True, slots=True)
class AnchorGivenUp:
    """The state was given up: no record up to this epoch is valid any more."""

    namespace: Bytes32
    epoch: U64


@message(0x72)
@dataclass(frozen=True, slots=True)
class RenewCertificates:
    """Have certificates renewed that are not valid now, or of another root than this. Reply: ``PckChainIs``."""

    root_digest: Bytes32
    """SHA-256 of the maker's root certificate."""
    owner: bool
    """By the owner's order: kept certificates of VCEKs are also requested again when they are next needed."""


@message(0x73)
@dataclass(frozen=True, slots=True)
class PckChainIs:
    """The PCK's chain, renewed if it had to be and could be."""

    root_digest: Bytes32
    not_before: U64
    """Seconds since 1970: from when on all certificates of the chain are valid."""
    not_after: U64


@message(0x87)
@dataclass(frozen=True, slots=True)
class ListAnchors:
    """Reply: ``AnchorsAre``."""


@dataclass(frozen=True, slots=True)
class AnchorShown:
    """The anchor of one sealed state; no part of it is secret."""

    namespace: Bytes32
    epoch: U64
    isv_svn: U16
    recoveries: U32
    is_forgiven: bool


@message(0x88)
@dataclass(frozen=True, slots=True)
class AnchorsAre:
    """All anchors of the chip."""

    anchors: tuple[AnchorShown, ...]


@message(0x89)
@dataclass(frozen=True, slots=True)
class NewHost:
    """A host has been started in the place of one that died. One descriptor comes with it: the chip's end of the link.

    The old host's enclaves end with its own link; the new one finds none. No reply.
    """
