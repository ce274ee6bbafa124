"""The JSON documents of the learner's form."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from casemate.gateway.v1.documents import Base64, Document, EnclaveNumber, Hex32, NameOfFunction
from casemate.wire.protocol.sandbox_layers import LayerName, LayerState
from casemate.wire.protocol.seal_binding import SealBinding

VISIBILITY = (
    "The operator of this machine could read this request and this answer: they passed the gateway and the host in the "
    "clear. Under /v1, calls are sealed to the enclave's attested key, and only the caller reads them."
)
SEEN = Literal["operator"]

Anything = Annotated[Any, Field(json_schema_extra={"description": "Any JSON."})]


class Function(StrEnum):
    """The functions of the learner's enclave."""

    STATISTICS = "statistics"
    WORDS = "words"
    FIBONACCI = "fibonacci"
    PRIMES = "primes"
    HASH = "hash"


class Question(StrEnum):
    """The questions that the learner's enclave can ask its host."""

    TIME = "time"
    ECHO = "echo"


class Answer(Document):
    """Members that every answer of the learner's form has beside its result."""

    enclave: EnclaveNumber
    mrenclave: Annotated[Hex32, Field(description="MRENCLAVE of the code that computed this, in the operator's words.")]
    seen_by: Annotated[SEEN, Field(description="Who beside you could read this.")] = "operator"
    visibility: str = VISIBILITY


class ComputeRequest(Document):
    """A function of the learner's enclave, and what goes in."""

    function: Function
    input: Annotated[Anything, Field(description="As the function's schema says; docs/gateway.md shows each.")]


class ComputeAnswer(Answer):
    """The result of a computation."""

    function: Function
    result: Anything


class EcallRequest(Document):
    """An entry point, by name."""

    entry: Annotated[str, Field(pattern="^[A-Za-z][A-Za-z0-9_]{0,63}$", description="Its manifest must say `plain`.")]
    arguments: Anything = None
    enclave: Annotated[EnclaveNumber | NameOfFunction | None, Field(description="Default: the learner's.")] = None


class EcallAnswer(Answer):
    """The result of an ECALL."""

    entry: str
    result: Anything


class OcallRequest(Document):
    """Has the enclave ask its host something."""

    question: Question
    message: Annotated[str, Field(max_length=1000, description="What the host shall echo.")] = "hello"


class Asked(Document):
    """The question as it left the enclave."""

    ocall: str
    arguments: Anything


class Trust(Document):
    """Which party is trusted for which value."""

    enclave: str = "Its measured code decides what is asked, and its manifest's schemas what may be answered."
    host: str = "Nothing: it may lie, delay or refuse. That an answer has the right form does not make it true."


class OcallAnswer(Answer):
    """One question and its answer, as the enclave saw them."""

    enclave_asked: Asked
    host_answered: Anything
    enclave_concluded: Annotated[str, Field(description="What the enclave's code made of it.")]
    trust: Trust = Trust()


class SealRequest(Document):
    """The data to seal, and the identity that can unseal it."""

    data: Annotated[Anything, Field(description="Any JSON, at most 1 MiB.")]
    policy: Annotated[SealBinding, Field(description="`mrenclave`: this very code; `mrsigner`: its developer's.")] = (
        SealBinding.MRENCLAVE
    )


class SealAnswer(Answer):
    """Sealed data. It can be stored anywhere."""

    sealed: Base64
    policy: SealBinding


class UnsealRequest(Document):
    """Sealed data from `/enclave/seal`."""

    sealed: Annotated[str, Field(max_length=1_000_000, description="Base64.")]


class UnsealAnswer(Answer):
    """The unsealed data."""

    data: Anything


class AttestRequest(Document):
    """A challenge."""

    nonce: Annotated[
        str, Field(pattern="^[0-9a-fA-F]{64}$", description="32 bytes in hexadecimal, drawn by you, never used twice.")
    ]
    enclave: Annotated[EnclaveNumber | NameOfFunction | None, Field(description="Default: the learner's.")] = None


class ReportFields(Document):
    """The fields of the REPORT in the quote (Intel SDM volume 3D, 38.15), in hexadecimal where they are bytes."""

    cpu_svn: Annotated[str, Field(description="The processor's security version (16 bytes).")]
    misc_select: str
    attributes: Annotated[str, Field(description="Flags and XFRM (16 bytes).")]
    debug: bool
    mr_enclave: Hex32
    mr_signer: Hex32
    isv_prod_id: int
    isv_svn: int
    report_data: Annotated[str, Field(description="SHA-512 over a label, keys, your nonce and sandbox layers.")]


class LayerDocument(Document):
    """One layer of a sandbox."""

    name: LayerName
    state: LayerState
    detail: str


class LayersDocument(Document):
    """The layers around an enclave's process and around its guest's, as the enclave reports them of itself."""

    enclave: list[LayerDocument]
    guest: list[LayerDocument]


class Binding(Document):
    """The values of which REPORTDATA is the hash, in the format that `casemate verify --binding` reads."""

    hpke_key: Annotated[Hex32, Field(description="X25519: requests are sealed to it.")]
    receipt_key: Annotated[Hex32, Field(description="Ed25519: it signs receipts.")]
    nonce: Hex32
    layers: LayersDocument


class AttestAnswer(Answer):
    """Evidence: unverified, until you verify it."""

    session: Annotated[int, Field(ge=0, description="The session that this challenge opened.")]
    nonce: Hex32
    report: ReportFields
    binding: Binding
    quote: Annotated[Base64, Field(description="An SGX quote, version 3.")]
    collateral: Annotated[str, Field(description="The path where the vendor's signed collateral is.")]
    verify: Annotated[list[str], Field(description="Commands that check it on your own computer.")]
