"""What a manifest (casemate.toml) means: an enclave's identity, its limits, its callers and its entry points.

:func:`casemate.wire.protocol.manifest_text.parse_manifest` makes these values of the file's text. The schemas are JSON
documents here; :mod:`casemate.images.schemas.compiled` compiles them.
"""

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import TYPE_CHECKING

from casemate.wire.protocol.capabilities.service import Kind, OperationRules, ServiceRules
from casemate.wire.protocol.capabilities.uses import EnclaveCaller, Use
from casemate.wire.protocol.isolation import Isolation
from casemate.wire.protocol.manifest_table import Schema
from casemate.wire.protocol.seal_binding import SealBinding

if TYPE_CHECKING:
    from casemate.wire.protocol.capabilities.appraise import AppraiseRules
    from casemate.wire.protocol.capabilities.keys import KeyRules
    from casemate.wire.protocol.capabilities.run import RunRules


class Engine(StrEnum):
    """The engines that run a guest's code."""

    JAVASCRIPT = "javascript"
    PYTHON = "python"


class Permission(StrEnum):
    """What a guest may use beyond computing, where no table grants it: a name in ``permissions``."""

    SEAL = "seal"
    """Sealed texts: ``context.seal`` and ``context.unseal``."""
    LOG = "log"
    """A console, whose lines a debug enclave shows to its operator."""
    RANDOM = "random"
    """Random numbers of the operating system's. Without it the guest finds no source of chance."""
    NOW = "now"
    """The host's clock, which may lie. Without it the guest's clock stands still."""


class Anyone(Enum):
    """The value of ``callers = "anyone"``: a call needs no signature."""

    ANYONE = "anyone"


ANYONE = Anyone.ANYONE


@dataclass(frozen=True, slots=True)
class Caller:
    """A party that signs its calls."""

    name: str
    public_key: bytes
    """Ed25519, 32 bytes."""


class Recovery(StrEnum):
    """What an operator may do when the newest state that is left is older than the one that the chip's anchor names."""

    OPERATOR = "operator"
    """The operator may accept the older state, each time by a command; it is logged and counted in later receipts."""
    NEVER = "never"
    """The older state is never used: what the enclave stored is lost."""


@dataclass(frozen=True, slots=True)
class StateRules:
    """The table ``[state]``: the sealed state that the guest may keep."""

    binding: SealBinding
    """The key ``policy``."""
    recovery: Recovery
    max_kib: int
    """All keys and values together (KiB)."""


@dataclass(frozen=True, slots=True)
class EntryPoint:
    """A table ``[entry.NAME]``: a function of the guest that may be called."""

    name: str
    input: Schema
    """The arguments' schema."""
    output: Schema
    """The result's schema."""
    callers: tuple[Caller, ...] | Anyone
    enclaves: tuple[EnclaveCaller, ...]
    """Those of the admitted callers that are enclaves and prove themselves by their evidence."""
    plain: bool
    """It may also be called without encryption and without a signature, so that the operator can read the call."""
    stream: bool
    """It is an asynchronous generator that takes and gives bytes in pieces."""
    operation: OperationRules | None = None
    """What it is as an operation of a service; None where the image is none."""

    @property
    def may_write(self) -> bool:
        """Whether it may change the state: all may but a service's queries."""
        return self.operation is None or self.operation.kind is Kind.COMMAND

    def admits(self, public_key: bytes | None) -> bool:
        """Whether a call may enter that this key signed; None for a call without a signature."""
        return self.callers is ANYONE or any(caller.public_key == public_key for caller in self.callers)

    def admits_enclave(self, name: str | None) -> bool:
        """Whether an enclave may call that the manifest knows by this name; None for one that it does not name."""
        return self.callers is ANYONE or any(caller.name == name for caller in self.enclaves)


@dataclass(frozen=True, slots=True)
class Ocall:
    """A table ``[ocall.NAME]``: a question that the guest may ask the untrusted host."""

    name: str
    input: Schema
    """The schema of the arguments, which leave the enclave."""
    output: Schema
    """The schema of the host's answer, which may be a lie."""


@dataclass(frozen=True, slots=True)
class DeclaredError:
    """A member of the table ``[errors]``: a refusal that a function may tell its caller."""

    name: str
    """The code that the caller gets."""
    reason: str
    """The words that the caller gets."""
    details: Schema | None
    """The schema of what goes with it; None where nothing may."""


class Monitored(StrEnum):
    """What the behaviour monitor counts: the names of the tables ``[monitor.NAME]``."""

    OCALLS = "ocalls"
    """OCALLs of the enclave in a minute."""
    CPU_MS = "cpu_ms"
    """Milliseconds that its guests compute in a minute."""
    MEMORY_MIB = "memory_mib"
    """MiB by which a guest has grown since it was loaded."""
    DEATHS = "deaths"
    """Guests that were ended, or ended themselves, over a call in a minute."""


class Reaction(StrEnum):
    """What happens where the monitor finds more than the manifest expects."""

    WARN = "warn"
    """An event says so."""
    SLOW = "slow"
    """And further calls wait."""
    STOP = "stop"
    """And further calls are refused, until the enclave is launched again."""


@dataclass(frozen=True, slots=True)
class MonitorRule:
    """A table ``[monitor.NAME]``."""

    subject: Monitored
    most: int
    """In the subject's unit."""
    then: Reaction


@dataclass(frozen=True, slots=True)
class Limits:
    """The table ``[limits]``: what one call may use, and how many calls and guests there may be at once."""

    memory_mib: int
    time_ms: int
    output_kib: int
    concurrent: int
    """Calls that the enclave serves at once."""
    guests: int
    """Guests at once, those included that rest between two calls."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """A whole manifest, with the names in ``callers`` lists replaced by the callers."""

    name: str
    product_id: int
    """ISVPRODID."""
    security_version: int
    """ISVSVN."""
    debug: bool
    engine: Engine
    isolation: Isolation
    permissions: frozenset[Permission]
    main: str
    """Path of the module that exports the entry points."""
    limits: Limits
    callers: tuple[Caller, ...]
    enclave_callers: tuple[EnclaveCaller, ...]
    """The callers that are enclaves; their names are none of ``callers``."""
    uses: tuple[Use, ...]
    """The enclaves that the guest may call."""
    state: StateRules | None
    """None where the guest keeps no state."""
    ra_tls: bool
    """The enclave is a TLS server, with its evidence in its certificate."""
    entries: tuple[EntryPoint, ...]
    ocalls: tuple[Ocall, ...]
    errors: tuple[DeclaredError, ...]
    monitor: tuple[MonitorRule, ...]
    receipt_metrics: bool
    """Receipts say what their call has used."""
    receipt_inner: bool = False
    """Receipts name those of the calls that their call has made, and answers bring these."""
    run: "RunRules | None" = None
    """None where the function may run no code but its own."""
    appraise: "AppraiseRules | None" = None
    """None where the function may appraise no evidence."""

    @property
    def judges_by_time(self) -> bool:
        """Whether the enclave appraises evidence of other chips, for its function or for its own sessions."""
        demanded = [use.demands for use in self.uses] + [caller.demands for caller in self.enclave_callers]
        return self.appraise is not None or any(demands.evidence is not None for demands in demanded)

    keys: "tuple[KeyRules, ...]" = ()
    """The keys that are made inside."""
    service: ServiceRules | None = None
    """None where the image is no service."""

    def entry(self, name: str) -> EntryPoint | None:
        """The entry point of that name."""
        return next((entry for entry in self.entries if entry.name == name), None)

    def ocall(self, name: str) -> Ocall | None:
        """The OCALL of that name."""
        return next((ocall for ocall in self.ocalls if ocall.name == name), None)

    def use(self, name: str) -> Use | None:
        """The enclave to call that the manifest has under that name."""
        return next((use for use in self.uses if use.name == name), None)

    def error(self, name: str) -> DeclaredError | None:
        """The declared error of that name."""
        return next((error for error in self.errors if error.name == name), None)

    def caller(self, public_key: bytes) -> Caller | None:
        """The named caller with that key."""
        return next((caller for caller in self.callers if caller.public_key == public_key), None)
