"""Enclave to chip, over the private socket pair that is the enclave's identity: its pages, reports, keys, anchors.

The messages are the same for every kind of TEE; the chip translates what differs.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from casemate.wire.encodings.message import U16, U32, U64, Bytes16, Bytes32, Bytes64, Fixed, Limit, message
from casemate.wire.protocol.seal_binding import SealBinding
from casemate.wire.protocol.tee import MAX_REPORT, Identity

MAX_PAGES = 64 * 1024 * 1024
"""Largest enclave (bytes of pages)."""


@message(0x30)
@dataclass(frozen=True, slots=True)
class Boot:
    """The first frame of a new enclave process: its measured pages, in address order, and its identity."""

    identity: Identity
    tcb: Bytes16
    """The platform's current TCB, for sealing keys: CPUSVN, or a TCB_VERSION and zeros."""
    pages: Annotated[bytes, Limit(MAX_PAGES)]


@message(0x31)
@dataclass(frozen=True, slots=True)
class MakeReport:
    """EREPORT, or MSG_REPORT_REQ. Reply: ``ReportMade`` or ``Fault``."""

    target_info: Annotated[bytes, Fixed(512)]
    """The target of a REPORT; ignored for an attestation report, which everyone can check."""
    report_data: Bytes64


@message(0x32)
@dataclass(frozen=True, slots=True)
class ReportMade:
    """A REPORT (432 bytes), or an attestation report (1184)."""

    report: Annotated[bytes, Limit(MAX_REPORT)]


@message(0x33)
@dataclass(frozen=True, slots=True)
class GetSealingKey:
    """EGETKEY of a SEAL_KEY, or a key derived as by MSG_KEY_REQ. Reply: ``KeyIs`` or ``Fault``.

    Refused where ``isv_svn`` or ``tcb`` are above the asking enclave's and the platform's.
    """

    binding: SealBinding
    isv_svn: U16
    tcb: Bytes16
    """The TCB in ``Boot``, of now or of the time when something was sealed."""
    key_id: Bytes32


@message(0x34)
@dataclass(frozen=True, slots=True)
class KeyIs:
    """A derived 128-bit key."""

    key: Bytes16


@message(0x35)
@dataclass(frozen=True, slots=True)
class AnchorRead:
    """Asks for the anchor of this enclave's sealed state with that binding. Reply: ``AnchorIs`` or ``Fault``.

    The chip derives the state's name from the enclave's identity. Refused as ``state-refused`` where an enclave with a
    higher ISVSVN has written.
    """

    binding: SealBinding


@message(0x36)
@dataclass(frozen=True, slots=True)
class AnchorAdvance:
    """Moves the anchor to a new history; durable before the reply: ``AnchorIs`` of the next epoch, or ``Fault``.

    Refused as ``state-conflict`` where the anchor is not at the expected epoch, as ``state-refused`` as above.
    """

    binding: SealBinding
    epoch: U64
    """The expected current epoch of the anchor."""
    head: Bytes32
    """Digest of the history's newest record."""


@message(0x37)
@dataclass(frozen=True, slots=True)
class AnchorIs:
    """The newest history of a sealed state."""

    epoch: U64
    """Commits so far; equal to the floor where there was none since."""
    head: Bytes32
    """Zeros at the floor."""
    isv_svn: U16
    """The last writer's ISVSVN."""
    recoveries: U32
    """How often an older history has replaced the newest."""
    is_forgiven: bool
    """The operator allows an older history, until the next advance, which counts it."""
    floor: U64 = 0
    """Where this state begins: 0, or where it began anew after its owner gave it up, or the chip lost its anchors. No
    record of an epoch up to it counts."""


@message(0x39)
@dataclass(frozen=True, slots=True)
class Booted:
    """The enclave to the chip, once it can be entered."""


@message(0x3B)
@dataclass(frozen=True, slots=True)
class GetReportKey:
    """EGETKEY of a REPORT_KEY, which checks the REPORTs made for the asking enclave. Reply: ``KeyIs`` or ``Fault``.

    Of the processor's present CPUSVN. Refused for a guest of SEV-SNP, whose reports are signed and have no such key.
    """

    key_id: Bytes32
    """REPORT.KEYID."""


class OptionalPart(StrEnum):
    """Code that most enclaves do without. The spawner loads it when the first enclave that needs it is started."""

    TLS = "RA-TLS"
    VERIFIER = "verifier"
    RUN = "run"
    CALL = "call"
    KEYS = "keys"


@message(0x3A)
@dataclass(frozen=True, slots=True)
class PartWanted:
    """In place of ``Booted``: this image needs code that its process lacks, so it has to be forked again."""

    part: OptionalPart
