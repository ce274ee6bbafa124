"""The JSON documents of the API under /v1."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool
from pydantic_core import PydanticCustomError

from casemate.wire.messages.functions import MAX_DRAIN
from casemate.wire.messages.machine_log import LogSource
from casemate.wire.messages.services import ServiceState
from casemate.wire.protocol.capabilities.service import Family as ServiceFamily
from casemate.wire.protocol.capabilities.service import Kind
from casemate.wire.protocol.function_name import MAX_FUNCTION_NAME, PATTERN
from casemate.wire.protocol.lifecycle import State
from casemate.wire.protocol.tee import Tee

Hex32 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Hex48 = Annotated[str, Field(pattern="^[0-9a-f]{96}$")]
Base64 = Annotated[str, Field(json_schema_extra={"contentEncoding": "base64"})]


def _json_number(value: object) -> object:
    """Refuses strings and booleans, which pydantic would accept as numbers; ``1.0`` is a valid JSON integer."""
    if isinstance(value, str | bool):
        raise PydanticCustomError("number", "want a number")
    return value


EnclaveNumber = Annotated[
    int, Field(ge=0, le=2**53 - 1, description="The host's number of this enclave."), BeforeValidator(_json_number)
]


NameOfFunction = Annotated[
    str, Field(pattern=PATTERN, max_length=MAX_FUNCTION_NAME, description="A function's name: see `/v1/functions`.")
]


class Document(BaseModel):
    """A JSON object without unknown members."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Health(Document):
    """The gateway answers."""

    status: Annotated[str, Field(pattern="^serving$")]
    version: Annotated[str, Field(description="Casemate's version.")]


class MachineDocument(Document):
    """A machine as its operator describes it. A relying party trusts none of this and pins the root by other means."""

    platform: Annotated[str, Field(description="The platform's tag in runtime locks, such as `linux-x86_64-cp311`.")]
    runtime: Annotated[
        dict[str, Hex32],
        Field(description="SHA-256 of each part of the runtime, `core` and engines, as in runtime locks."),
    ]
    seeded: Annotated[bool, Field(description="The fuses came from a public seed: everybody can have the keys.")]
    root_certificate: Annotated[str, Field(description="The simulated vendor's root certificate (PEM).")]
    version: Annotated[str, Field(description="Casemate's version.")]


class EnclaveDocument(Document):
    """An enclave as its host describes it: the operator's claims, unverified until its evidence is appraised."""

    id: EnclaveNumber
    name: str
    image: Annotated[str | None, Field(description="The image (SHA-256 of both files, hex), if it is kept here.")]
    mr_enclave: Annotated[Hex32, Field(description="MRENCLAVE: measures code and manifest.")]
    mr_signer: Annotated[Hex32, Field(description="MRSIGNER: SHA-256 of the developer's public key.")]
    isv_prod_id: Annotated[int, Field(ge=0, le=65535)]
    isv_svn: Annotated[int, Field(ge=0, le=65535, description="The code's security version.")]
    debug: Annotated[bool, Field(description="The operator may look inside.")]
    state: State
    reason: Annotated[str, Field(description="Why it is in this state, where there is something to say.")]
    ra_tls_port: Annotated[int | None, Field(ge=1, le=65535, description="The TCP port of its own TLS server.")]
    tee: Annotated[Tee, Field(description="As what it runs: an SGX enclave, or a paravirtual SEV-SNP guest.")]
    launch_digest: Annotated[
        Hex48 | None, Field(description="SEV-SNP: measures the same pages; null for enclaves, and before a launch.")
    ]
    owner: Annotated[
        Hex32 | None,
        Field(description="The Ed25519 key of its deployment's owner; with the name it makes the attested identity."),
    ] = None


class EvidenceDocument(Document):
    """What a verifier needs to appraise an enclave; unverified."""

    tee: Tee
    evidence: Annotated[Base64, Field(description="An SGX quote, version 3, or an SEV-SNP attestation report.")]
    hpke_key: Annotated[Base64, Field(description="X25519: requests are sealed to it.")]
    receipt_key: Annotated[Base64, Field(description="Ed25519: it signs receipts.")]
    layers: Annotated[Base64, Field(description="The sandbox layers as REPORTDATA binds them, encoded.")]
    session: Annotated[int, Field(ge=0, description="The number of the session that was opened for the challenger.")]
    endorsements: Annotated[
        Base64, Field(description="JSON: QuoteCollateralV3, or `certificates` (PEM) and `revocation_list` (base64).")
    ]


class EnclavesDocument(Document):
    """All enclaves."""

    enclaves: list[EnclaveDocument]


class LogEntryDocument(Document):
    """One line of the machine's log."""

    number: Annotated[int, Field(description="Rises; starts anew with the host's process.")]
    at: Annotated[int, Field(description="Milliseconds since 1970, by the host's clock.")]
    source: Annotated[
        LogSource,
        Field(description="`console`: a debug enclave's function printed it; `enclave`: its state; `machine`."),
    ]
    enclave: Annotated[int, Field(description="The enclave's number; 0 for the machine.")]
    text: str


class LogDocument(Document):
    """Entries in the order of their numbers."""

    host: Annotated[int, Field(description="Another for each process of the host.")]
    entries: list[LogEntryDocument]


class ImageDocument(Document):
    """A stored image and its SIGSTRUCT's values, which the chip checks at launch."""

    image: Annotated[Hex32, Field(description="SHA-256 of SGXS stream and SIGSTRUCT: the image's name here.")]
    name: str
    size: Annotated[int, Field(ge=0, description="Bytes of both.")]
    mr_enclave: Hex32
    mr_signer: Hex32
    isv_prod_id: Annotated[int, Field(ge=0, le=65535)]
    isv_svn: Annotated[int, Field(ge=0, le=65535)]
    debug: bool


class ImagesDocument(Document):
    """All stored images."""

    images: list[ImageDocument]


class NewEnclave(Document):
    """What to launch."""

    image: Annotated[Hex32, Field(description="An image that is kept here.")]
    name: Annotated[
        str | None,
        Field(pattern="^[!-~](?:[ -~]{0,62}[!-~])?$", description="For people; default: the image's."),
    ] = None
    tee: Annotated[Tee, Field(description="As what it is to run.")] = Tee.SGX
    candidate: Annotated[
        bool,
        Field(
            strict=True,
            description="To replace another under its name by `/v1/functions/{name}/switch`: until then it answers to"
            " its number alone, and after ten minutes it is destroyed.",
        ),
    ] = False
    owner: Annotated[
        Hex32 | None,
        Field(
            description="The Ed25519 public key of the deployment's owner. It and the name make an identity that"
            " evidence shows, and that sealed state is bound to. Default: none."
        ),
    ] = None


class FunctionDocument(Document):
    """What a name stands for, in the host's words."""

    name: Annotated[str, Field(pattern=PATTERN, max_length=MAX_FUNCTION_NAME)]
    current: Annotated[EnclaveDocument, Field(description="New sessions go to it.")]
    previous: Annotated[
        EnclaveDocument | None,
        Field(description="What it has replaced: it runs until its sessions are over, and is kept to switch back to."),
    ]
    deployed: Annotated[
        bool, Field(description="The name was given by a switch; otherwise this is the only enclave that bears it.")
    ]


class FunctionsDocument(Document):
    """All names that were given by a switch."""

    functions: list[FunctionDocument]


class OperationDocument(Document):
    """An entry point of a service."""

    name: str
    kind: Kind
    idempotent: Annotated[bool, Field(description="Asked twice it does as much as once.")]
    plain: Annotated[bool, Field(description="It can be called in the clear, and the operator sees such calls.")]
    stream: bool
    input: Annotated[Any, Field(description="JSON Schema of the arguments; null in lists.")]
    output: Annotated[Any, Field(description="JSON Schema of the result; null in lists.")]


class ServiceDocument(Document):
    """An installed service, in the host's words."""

    name: Annotated[str, Field(pattern=PATTERN, max_length=MAX_FUNCTION_NAME)]
    version: str
    family: ServiceFamily
    description: str
    state: ServiceState
    reason: Annotated[str, Field(description="Why it is so; empty where it is as it should be.")]
    enclave: Annotated[EnclaveNumber | None, Field(description="The enclave that answers to its name.")]
    image: Hex32
    mr_enclave: Hex32
    mr_signer: Hex32
    operations: list[OperationDocument]
    uses: Annotated[list[str], Field(description="The NAME of each `[uses.NAME]` of its manifest.")]
    source: Annotated[str, Field(description="Where it came from, in the words of who installed it.")]


class ServicesDocument(Document):
    """All installed services, in the order of their names."""

    services: list[ServiceDocument]


class StopServiceDocument(Document):
    """What becomes of those that use the service."""

    with_users: Annotated[StrictBool, Field(description="Stop running services that use it before it.")]


class SwitchDocument(Document):
    """Which enclave is to answer to a name."""

    enclave: EnclaveNumber
    replaces: Annotated[EnclaveNumber, Field(description="The one that answers to it now; 0 for none.")]
    drain: Annotated[
        int,
        Field(
            ge=0, le=MAX_DRAIN, description="Seconds for which the replaced one may go on with its sessions, at most."
        ),
        BeforeValidator(_json_number),
    ]
