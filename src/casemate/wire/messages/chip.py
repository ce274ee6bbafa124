"""Host to chip, and chip to host. The answer to each request is its reply or a ``Fault``."""

from dataclasses import dataclass
from typing import Annotated

from casemate.wire.encodings.message import U16, U64, Bytes32, Fixed, Limit, Name, message
from casemate.wire.protocol.deployment import NO_DEPLOYMENT
from casemate.wire.protocol.lifecycle import State
from casemate.wire.protocol.tee import LAUNCH_DIGEST_SIZE, MAX_REPORT, Tee

MAX_SGXS = 100 * 1024 * 1024
"""Longest SGXS stream (bytes): 64 MiB of pages with their records take 84 MiB."""


@message(0x20)
@dataclass(frozen=True, slots=True)
class Load:
    """ECREATE, EADD and EEXTEND of the stream's records. Reply: ``Loaded``."""

    sgxs: Annotated[bytes, Limit(MAX_SGXS)]
    tee: Tee = Tee.SGX
    """The kind of TEE to run it as. For a guest of SEV-SNP the same pages are also measured into a launch digest."""
    launcher: Name = ""
    """The user that the host launches it for; empty for the machine's owner. New anchors count towards that user's
    share."""
    deployment: Bytes32 = NO_DEPLOYMENT
    """CONFIGID, with zeros after it, or HOST_DATA."""


@message(0x21)
@dataclass(frozen=True, slots=True)
class Loaded:
    """The chip's number for the new enclave and what it measured."""

    enclave: U64
    mr_enclave: Bytes32


@message(0x22)
@dataclass(frozen=True, slots=True)
class Initialise:
    """EINIT; or SNP_LAUNCH_FINISH, with the same checks. Reply: ``Initialised``."""

    enclave: U64
    sigstruct: Annotated[bytes, Fixed(1808)]


@message(0x23)
@dataclass(frozen=True, slots=True)
class Initialised:
    """The identity that EINIT fixed."""

    enclave: U64
    mr_enclave: Bytes32
    mr_signer: Bytes32
    isv_prod_id: U16
    isv_svn: U16
    debug: bool
    launch_digest: Annotated[bytes, Fixed(LAUNCH_DIGEST_SIZE)] | None
    """The launch digest of an SEV-SNP guest; None for SGX."""


@message(0x24)
@dataclass(frozen=True, slots=True)
class Start:
    """Starts the enclave's process. Reply: ``Started``, with the host's end of its socket as a descriptor."""

    enclave: U64


@message(0x25)
@dataclass(frozen=True, slots=True)
class Started:
    """The enclave has started; a descriptor comes with this message."""

    enclave: U64


@message(0x26)
@dataclass(frozen=True, slots=True)
class Stop:
    """Ends the process, keeps the pages. Reply: ``StateIs``."""

    enclave: U64


@message(0x27)
@dataclass(frozen=True, slots=True)
class Destroy:
    """Ends the process and removes the pages. Reply: ``StateIs``."""

    enclave: U64


@message(0x28)
@dataclass(frozen=True, slots=True)
class StateIs:
    """A reply; or, with request number 0, the news that an enclave has died."""

    enclave: U64
    state: State
    reason: Annotated[str, Limit(1024)]


@message(0x29)
@dataclass(frozen=True, slots=True)
class QuoteTarget:
    """Asks for the quoting enclave's TARGETINFO. Reply: ``QuoteTargetIs``."""


@message(0x2A)
@dataclass(frozen=True, slots=True)
class QuoteTargetIs:
    """TARGETINFO of the quoting enclave."""

    target_info: Annotated[bytes, Fixed(512)]


@message(0x2B)
@dataclass(frozen=True, slots=True)
class GetQuote:
    """Asks for evidence from a report that an enclave has made. Reply: ``Quoted``."""

    enclave: U64
    report: Annotated[bytes, Limit(MAX_REPORT)]
    """A REPORT that it made for the quoting enclave; or an attestation report, which is evidence already."""


@message(0x2C)
@dataclass(frozen=True, slots=True)
class Quoted:
    """An ECDSA quote, version 3; or the attestation report."""

    quote: Annotated[bytes, Limit(65536)]
