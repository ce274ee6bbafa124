"""Client to host, and host to client: enclaves and images."""

from dataclasses import dataclass
from typing import Annotated

from casemate.wire.encodings.message import U16, U64, Bytes32, Fixed, Limit, Name, message, retire
from casemate.wire.messages.chip import MAX_SGXS
from casemate.wire.messages.request import Request
from casemate.wire.protocol.call import MAX_SEALED, PROTOCOL, Envelope
from casemate.wire.protocol.deployment import NO_DEPLOYMENT, deployment_id
from casemate.wire.protocol.lifecycle import State
from casemate.wire.protocol.sandbox_layers import SandboxLayers
from casemate.wire.protocol.tee import LAUNCH_DIGEST_SIZE, MAX_ENDORSEMENTS, Tee


@message(0x61)
@dataclass(frozen=True, slots=True)
class Launched:
    """The new enclave."""

    enclave: U64
    """The host's number of this deployment: it stays the same over restarts, and is never used again."""
    mr_enclave: Bytes32


@message(0x60)
@dataclass(frozen=True, slots=True)
class Launch(Request[Launched]):
    """Load, initialise and start an image."""

    name: Name
    sgxs: Annotated[bytes, Limit(MAX_SGXS)]
    sigstruct: Annotated[bytes, Fixed(1808)]
    temporary: bool = False
    """Only for this client: it ends with the host's process, and the next one does not launch it again."""
    tee: Tee = Tee.SGX
    """The kind of TEE to run it as."""
    candidate: bool = False
    """To replace another under its name, which is yet to be switched: it answers to its number alone, and is destroyed
    where the switch does not come."""
    owner: Bytes32 | None = None
    """The Ed25519 public key that, with the name, makes the identity of the deployment; None: it has none."""


@message(0x63)
@dataclass(frozen=True, slots=True)
class EvidenceIs:
    """Evidence, what its REPORTDATA should bind, and the endorsements to appraise it with; all unverified."""

    tee: Tee
    evidence: Annotated[bytes, Limit(65536)]
    """A quote of SGX, or an attestation report of SEV-SNP."""
    hpke_key: Bytes32
    receipt_key: Bytes32
    layers: SandboxLayers
    session: U64
    endorsements: Annotated[bytes, Limit(MAX_ENDORSEMENTS)]
    """JSON. For a quote in the shape of Intel's sgx_ql_qve_collateral_t as dcap-qvl writes it (QuoteCollateralV3);
    for an attestation report as :mod:`casemate.wire.snp.endorsements` says."""


@message(0x62)
@dataclass(frozen=True, slots=True)
class GetEvidence(Request[EvidenceIs]):
    """A fresh quote or report over the challenger's nonce."""

    enclave: U64
    nonce: Bytes32


@message(0x65)
@dataclass(frozen=True, slots=True)
class Answer:
    """A sealed response."""

    sealed: Annotated[bytes, Limit(MAX_SEALED)]


retire(0x64, "protocol", got=1, want=f"{PROTOCOL}: update the client")  # a call whose envelope is of protocol 1


@message(0x6E)
@dataclass(frozen=True, slots=True)
class Call(Request[Answer]):
    """A sealed call to be relayed."""

    enclave: U64
    envelope: Envelope


@message(0x69)
@dataclass(frozen=True, slots=True)
class EnclaveIs:
    """One enclave as the host sees it."""

    enclave: U64
    name: Name
    mr_enclave: Bytes32
    mr_signer: Bytes32
    isv_prod_id: U16
    isv_svn: U16
    debug: bool
    state: State
    reason: Annotated[str, Limit(1024)]
    """Why it is in this state, for a person."""
    image: Bytes32
    """SHA-256 of its SGXS stream and SIGSTRUCT."""
    ra_tls_port: U16 | None = None
    """TCP port of this machine on which it is a TLS server with evidence in its certificate."""
    tee: Tee = Tee.SGX
    launch_digest: Annotated[bytes, Fixed(LAUNCH_DIGEST_SIZE)] | None = None
    """The launch digest of a guest of SEV-SNP; None for enclaves, and before the first launch."""
    owner: Bytes32 | None = None
    """The Ed25519 public key of its deployment's owner, if it has one."""

    @property
    def deployment(self) -> bytes:
        """The identity that the chip attests: see :mod:`casemate.wire.protocol.deployment`."""
        return NO_DEPLOYMENT if self.owner is None else deployment_id(self.owner, self.name)


@message(0x66)
@dataclass(frozen=True, slots=True)
class StopEnclave(Request[EnclaveIs]):
    """End an enclave's process; its pages stay."""

    enclave: U64


@message(0x67)
@dataclass(frozen=True, slots=True)
class DestroyEnclave(Request[EnclaveIs]):
    """End an enclave and forget it."""

    enclave: U64


@message(0x6A)
@dataclass(frozen=True, slots=True)
class EnclavesAre:
    """All enclaves that the host knows."""

    enclaves: tuple[EnclaveIs, ...]


@message(0x68)
@dataclass(frozen=True, slots=True)
class ListEnclaves(Request[EnclavesAre]):
    """All enclaves of this host."""


@message(0x6B)
@dataclass(frozen=True, slots=True)
class StartEnclave(Request[EnclaveIs]):
    """Start a stopped or lost enclave again, with fresh keys."""

    enclave: U64


@message(0x6C)
@dataclass(frozen=True, slots=True)
class PutImage:
    """The body of an upload: an image to keep, and to launch as often as wanted by the SHA-256 of its two files."""

    name: Name
    sgxs: Annotated[bytes, Limit(MAX_SGXS)]
    sigstruct: Annotated[bytes, Fixed(1808)]


@message(0x6D)
@dataclass(frozen=True, slots=True)
class ImageIs:
    """An image that the host keeps, and the content of its SIGSTRUCT (the chip checks that at launch)."""

    image: Bytes32
    """SHA-256 of the SGXS stream and the SIGSTRUCT."""
    name: Name
    size: U64
    """Bytes of both."""
    mr_enclave: Bytes32
    mr_signer: Bytes32
    isv_prod_id: U16
    isv_svn: U16
    debug: bool
