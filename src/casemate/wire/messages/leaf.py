"""Enclave to chip, over the private socket pair that is the enclave's identity: boot pages and ENCLU leaf functions."""

from dataclasses import dataclass
from typing import Annotated

from casemate.wire.message import U16, U32, Bytes16, Bytes32, Bytes64, Fixed, Limit, message

MAX_PAGES = 64 * 1024 * 1024
"""Largest enclave (bytes of pages)."""


@message(0x30)
@dataclass(frozen=True, slots=True)
class Boot:
    """The first frame a new enclave process reads: its measured pages, in address order, and its identity."""

    mr_enclave: Bytes32
    mr_signer: Bytes32
    isv_prod_id: U16
    isv_svn: U16
    debug: bool
    pages: Annotated[bytes, Limit(MAX_PAGES)]


@message(0x31)
@dataclass(frozen=True, slots=True)
class EReport:
    """EREPORT. Reply: ``ReportMade`` or ``Fault``."""

    target_info: Annotated[bytes, Fixed(512)]
    report_data: Bytes64


@message(0x32)
@dataclass(frozen=True, slots=True)
class ReportMade:
    """A REPORT."""

    report: Annotated[bytes, Fixed(432)]


@message(0x33)
@dataclass(frozen=True, slots=True)
class EGetKey:
    """EGETKEY. Reply: ``KeyIs`` or ``Fault``."""

    key_request: Annotated[bytes, Fixed(512)]


@message(0x34)
@dataclass(frozen=True, slots=True)
class KeyIs:
    """A derived 128-bit key."""

    key: Bytes16


@message(0x35)
@dataclass(frozen=True, slots=True)
class CounterCreate:
    """A new monotonic counter of this enclave's signer. Reply: ``CounterIs`` with value 0."""


@message(0x36)
@dataclass(frozen=True, slots=True)
class CounterRead:
    """Reply: ``CounterIs`` or ``Fault``."""

    counter: Bytes16


@message(0x37)
@dataclass(frozen=True, slots=True)
class CounterIncrement:
    """Durable before the reply: ``CounterIs`` or ``Fault``."""

    counter: Bytes16


@message(0x38)
@dataclass(frozen=True, slots=True)
class CounterIs:
    """A counter's id and value."""

    counter: Bytes16
    value: U32


@message(0x39)
@dataclass(frozen=True, slots=True)
class Booted:
    """The enclave to the chip, once it can be entered."""
