"""Judges another enclave by the REPORT that it has shown to this one, under a table of this enclave's manifest.

The verifier judges evidence of other chips. A REPORT needs none of it, since the chip itself has made it for this
enclave: no chain, no collateral, no clock. The rules are the verifier's, by the same names and in the same order, so a
refusal is called the same wherever it is found; a test holds the two against each other.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from casemate.wire.errors import CasemateError
from casemate.wire.protocol.capabilities.uses import (
    EnclaveCaller,
    EvidenceDemand,
    LayersDemand,
    MeasurementDemand,
    PeerDemands,
    Same,
    ServiceDemand,
)
from casemate.wire.protocol.deployment import DEPLOYMENT_SIZE, NO_DEPLOYMENT, deployment_id
from casemate.wire.protocol.runtime_lock import RuntimeLock
from casemate.wire.protocol.sandbox_layers import Layer, LayerName, LayerState, SandboxLayers
from casemate.wire.protocol.tee import Tee
from casemate.wire.sgx.attributes import AttributeFlag
from casemate.wire.sgx.report import ReportBody

_CONFIG_PADDING = bytes(32)
"""The rest of CONFIGID."""


class PeerRefusedError(CasemateError):
    """Another enclave is not what the manifest demands: nothing may be told to it, nor taken from it.

    Args:
        rule: the verifier's name for the rule.
        got: what the other has shown.
        want: what the manifest demands.
    """

    def __init__(self, rule: str, *, got: object, want: object, advice: str = "") -> None:
        super().__init__(f"{rule}: got {got}, want {want}")
        self.advice = advice
        self.rule = rule
        self.got = str(got)
        self.want = str(want)


class UnresolvedServiceError(CasemateError):
    """The lock has no measurement of a service that the manifest names."""


@dataclass(frozen=True, slots=True)
class PeerIdentity:
    """Another enclave's identity, proved to this one."""

    tee: Tee
    measurement: bytes
    mr_signer: bytes
    product_id: int
    security_version: int
    debug: bool
    deployment: bytes
    """32 bytes; zeros where it has no owner."""

    @property
    def key(self) -> str:
        """What stands for it where other callers have a public key.

        The same for all versions of a signer's product in one deployment, and for nobody else.
        """
        who = (str(self.tee), self.mr_signer.hex(), str(self.product_id), str(self.debug), self.deployment.hex())
        return f"enclave:{hashlib.sha256(' '.join(who).encode()).hexdigest()}"


@dataclass(frozen=True, slots=True)
class KnownPeer:
    """Another enclave that has proved itself, as one of this enclave's callers."""

    identity: PeerIdentity
    name: str | None
    """Its name under ``[callers]``; None for one that none of them admits."""


@dataclass(frozen=True, slots=True)
class PeerPolicy:
    """A table's demands, with everything in them that depends on this enclave filled in."""

    mr_enclave: bytes | None
    """Or else the three below."""
    mr_signer: bytes | None
    product_id: int | None
    min_security_version: int | None
    layers: LayersDemand
    deployment: bytes | None
    """None: any."""
    evidence: EvidenceDemand | None
    """What evidence of another chip must show; None where none counts."""

    @property
    def config_id(self) -> bytes | None:
        """CONFIGID of the deployment that is demanded; None where any will do."""
        return None if self.deployment is None else self.deployment + _CONFIG_PADDING

    def judge(self, report: ReportBody, layers: SandboxLayers) -> PeerIdentity:
        """The identity in a REPORT that meets these demands.

        Args:
            report: its MAC, and that REPORTDATA binds keys, layers and session, is the caller's to have checked.
            layers: those that REPORTDATA binds.

        Raises:
            PeerRefusedError: the first rule that it breaks.
        """
        found = identity_in(report)
        _expect("enclave.debug", "DEBUG" if found.debug else "no DEBUG", "no DEBUG")
        if self.mr_enclave is not None:
            _expect("enclave.mr-enclave", found.measurement.hex(), self.mr_enclave.hex())
        if self.mr_signer is not None:
            _expect("enclave.mr-signer", found.mr_signer.hex(), self.mr_signer.hex())
        if self.product_id is not None:
            _expect("enclave.product-id", found.product_id, self.product_id)
        if self.min_security_version is not None and found.security_version < self.min_security_version:
            want = f"{self.min_security_version} or above"
            raise PeerRefusedError("enclave.svn", got=found.security_version, want=want)
        if self.config_id is not None:
            _expect("enclave.config-id", report.config_id.hex(), self.config_id.hex())
        self.check_layers(layers)
        return found

    def check_layers(self, told: SandboxLayers) -> None:
        """Refuses sandbox layers, as REPORTDATA binds them, that lack one which is demanded."""
        _check_layers("sandbox.enclave", told.enclave, self.layers.enclave)
        _check_layers("sandbox.guest", told.guest, self.layers.guest)


def identity_in(report: ReportBody) -> PeerIdentity:
    """Who has shown a REPORT, under no demand."""
    return PeerIdentity(
        Tee.SGX,
        report.mr_enclave,
        report.mr_signer,
        report.isv_prod_id,
        report.isv_svn,
        bool(report.attributes.flags & AttributeFlag.DEBUG),
        report.config_id[:DEPLOYMENT_SIZE] if report.config_id.endswith(_CONFIG_PADDING) else NO_DEPLOYMENT,
    )


def compile_policy(demands: PeerDemands, *, own_signer: bytes, lock: RuntimeLock) -> PeerPolicy:
    """The policy that a table's demands mean to this enclave.

    Args:
        demands: the table.
        own_signer: this enclave's own MRSIGNER, as the chip says.
        lock: this image's; it has the measurements of services.

    Raises:
        UnresolvedServiceError: the lock has none of the service that the table names.
    """
    wanted = demands.deployment
    deployment = None if wanted is None else deployment_id(wanted.owner, wanted.name)
    rest = (demands.layers, deployment, demands.evidence)
    match demands.identity:
        case MeasurementDemand(mrenclave):
            return PeerPolicy(mrenclave, None, None, None, *rest)
        case ServiceDemand(service):
            measurement = lock.service(service)
            if measurement is None:
                raise UnresolvedServiceError(f"casemate.lock has no measurement of the service casemate:{service}")
            return PeerPolicy(measurement, None, None, None, *rest)
        case signed:
            mr_signer = own_signer if isinstance(signed.mrsigner, Same) else signed.mrsigner
            return PeerPolicy(None, mr_signer, signed.product_id, signed.min_security_version, *rest)


def named_caller(
    callers: Iterable[tuple[EnclaveCaller, PeerPolicy]], report: ReportBody, layers: SandboxLayers
) -> str | None:
    """The first name under ``[callers]`` whose demands a REPORT meets; None: a genuine enclave that none names.

    Such a one may call what ``callers = "anyone"`` lets anybody call.
    """
    for caller, policy in callers:
        try:
            policy.judge(report, layers)
        except PeerRefusedError:
            continue
        return caller.name
    return None


def _expect(rule: str, got: object, want: object) -> None:
    if got != want:
        raise PeerRefusedError(rule, got=got, want=want)


def _check_layers(rule: str, told: tuple[Layer, ...], wanted: frozenset[LayerName]) -> None:
    applied = frozenset(layer.name for layer in told if layer.state is LayerState.APPLIED)
    if not wanted <= applied:
        got = ", ".join(sorted(applied)) or "none"
        raise PeerRefusedError(rule, got=got, want=", ".join(sorted(wanted)))
