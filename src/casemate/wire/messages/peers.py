"""Calls between enclaves, as their host relays them: between the calling one and the host, the host and the called one.

A handshake, and then calls; A calls, B is called. Whatever the host does, A and B prove themselves to each other:

1. A asks for the enclave that its alias means (``PeerOpen``). The host hands A's hello to B (``PeerGreeted``), B
   answers ``PeerWelcome``, and A hears that with the target of its REPORT (``PeerOpened``).
2. A sends its proof (``PeerProve``), which the host hands to B (``PeerIntroduced``), where evidence is wanted with the
   REPORT made into evidence. B answers with its own (``PeerProof``), which A gets likewise (``PeerProved``).
3. A's calls (``PeerCall``) are ordinary entries of B (``Enter``), and A gets what is answered (``PeerReturned``).

``PeerOpen``, ``PeerProve`` and ``PeerCall`` are questions: their numbers rise, share no number, and are repeated in the
answer or in ``PeerRefused``.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from casemate.wire.encodings.message import U64, Bytes32, Fixed, Limit, message
from casemate.wire.protocol.call import ENCAPSULATION_SIZE, MAX_SEALED, Envelope
from casemate.wire.protocol.faults import Fault
from casemate.wire.protocol.function_name import MAX_FUNCTION_NAME
from casemate.wire.protocol.sandbox_layers import SandboxLayers
from casemate.wire.protocol.tee import MAX_ENDORSEMENTS, MAX_REPORT

MAX_EVIDENCE = 65536
"""Longest evidence, or REPORT in its place (bytes)."""

Service = Annotated[str, Limit(MAX_FUNCTION_NAME)]
"""NAME of the caller's ``[uses.NAME]``."""
TargetInfo = Annotated[bytes, Fixed(512)]
"""TARGETINFO of SGX; zeros where there is none."""
Encapsulation = Annotated[bytes, Fixed(ENCAPSULATION_SIZE)]


class PeerWay(StrEnum):
    """How two enclaves prove themselves to each other. The host's word: each enclave decides whether it will do."""

    LOCAL = "local"
    """By a REPORT for the other: both are enclaves of one SGX chip."""
    EVIDENCE = "evidence"
    """By evidence, that of the quoting enclave or of an SEV-SNP guest."""


@dataclass(frozen=True, slots=True)
class PeerHello:
    """What a caller begins with."""

    nonce: Bytes32
    hpke_key: Bytes32


@message(0xD5)
@dataclass(frozen=True, slots=True)
class PeerGreeted:
    """Host to B: an enclave would like to have a session. Reply: ``PeerWelcome`` or ``Fault``."""

    hello: PeerHello
    way: PeerWay


@message(0xD6)
@dataclass(frozen=True, slots=True)
class PeerWelcome:
    """B's answer."""

    nonce: Bytes32
    hpke_key: Bytes32
    session: U64
    """The session's number at B."""
    target_info: TargetInfo
    """B's own, for a REPORT that B can check; zeros where B can check none."""


@message(0xD7)
@dataclass(frozen=True, slots=True)
class PeerIntroduced:
    """Host to B: the proof of the enclave that has that session's number. Reply: ``PeerProof`` or ``Fault``."""

    session: U64
    encapsulation: Encapsulation
    """The session's secret, sealed to B's HPKE key."""
    evidence: Annotated[bytes, Limit(MAX_EVIDENCE)]
    """A's REPORT for B (LOCAL), or A's evidence."""
    endorsements: Annotated[bytes, Limit(MAX_ENDORSEMENTS)]
    """Of that evidence; empty for a REPORT."""
    receipt_key: Bytes32
    layers: SandboxLayers
    target_info: TargetInfo
    """The quoting enclave's, for B's own REPORT; zeros with LOCAL, where the target is in A's REPORT."""


@message(0xD8)
@dataclass(frozen=True, slots=True)
class PeerProof:
    """B's own proof."""

    report: Annotated[bytes, Limit(MAX_REPORT)]
    receipt_key: Bytes32
    layers: SandboxLayers


@message(0xD9)
@dataclass(frozen=True, slots=True)
class PeerOpen:
    """A to host: find the enclave that the alias means, and greet it. Answer: ``PeerOpened``."""

    number: U64
    service: Service
    hello: PeerHello


@message(0xDA)
@dataclass(frozen=True, slots=True)
class PeerOpened:
    """The enclave that the host has found has answered."""

    number: U64
    way: PeerWay
    target_info: TargetInfo
    """The target of A's REPORT: B (LOCAL), or the quoting enclave."""
    welcome: PeerWelcome


@message(0xDB)
@dataclass(frozen=True, slots=True)
class PeerProve:
    """A to host: hand over this proof, as evidence where that is the way. Answer: ``PeerProved``."""

    number: U64
    service: Service
    session: U64
    encapsulation: Encapsulation
    report: Annotated[bytes, Limit(MAX_REPORT)]
    receipt_key: Bytes32
    layers: SandboxLayers


@message(0xDC)
@dataclass(frozen=True, slots=True)
class PeerProved:
    """B's proof."""

    number: U64
    evidence: Annotated[bytes, Limit(MAX_EVIDENCE)]
    """B's REPORT for A (LOCAL), or B's evidence."""
    endorsements: Annotated[bytes, Limit(MAX_ENDORSEMENTS)]
    receipt_key: Bytes32
    layers: SandboxLayers


@message(0xDD)
@dataclass(frozen=True, slots=True)
class PeerCall:
    """A to host: enter B with this sealed call. Answer: ``PeerReturned``."""

    number: U64
    service: Service
    envelope: Envelope


@message(0xDE)
@dataclass(frozen=True, slots=True)
class PeerReturned:
    """B's sealed response."""

    number: U64
    sealed: Annotated[bytes, Limit(MAX_SEALED)]


@message(0xDF)
@dataclass(frozen=True, slots=True)
class PeerRefused:
    """The host cannot relay it, or B has refused it. The host's word alone, which may be a lie."""

    number: U64
    fault: Fault


PeerQuestion = PeerOpen | PeerProve | PeerCall
PeerAnswer = PeerOpened | PeerProved | PeerReturned
PEER_QUESTIONS = (PeerOpen, PeerProve, PeerCall)
PEER_ANSWERS = (PeerOpened, PeerProved, PeerReturned, PeerRefused)
"""What a host answers to these questions."""
