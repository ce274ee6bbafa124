"""Rules for what REPORTDATA binds and for the sandbox it attests; they are the same for every kind of TEE."""

from dataclasses import dataclass

from casemate.verifier.checks import Trail
from casemate.verifier.common_demands import (
    ExpectedNonce,
    ExpectedReportData,
    ExpectedReportDataPrefix,
    ReportDataDemand,
    RequiredLayers,
)
from casemate.verifier.rules import Rule
from casemate.wire.encodings.message import Bytes32
from casemate.wire.errors import WireError
from casemate.wire.protocol.report_data import ReportDataBinding
from casemate.wire.protocol.sandbox_layers import Layer, LayerName, LayerState, SandboxLayers

BINDING_RULES = (Rule.BINDING_NONCE, Rule.BINDING_VALUES, Rule.BINDING_REPORT_DATA)
SANDBOX_RULES = (Rule.SANDBOX_ENCLAVE, Rule.SANDBOX_GUEST)


@dataclass(frozen=True, slots=True)
class BoundValues:
    """The values that an enclave claims its REPORTDATA binds. The nonce comes from the challenger."""

    hpke_key: Bytes32
    receipt_key: Bytes32
    layers: SandboxLayers


def check_report_data(
    trail: Trail, got: bytes, bound: BoundValues | None, demand: ReportDataDemand, *, at: str
) -> ReportDataBinding | None:
    """The values that REPORTDATA is checked to bind; None if the policy does not demand that it binds a nonce.

    Args:
        trail: records the checks.
        got: REPORTDATA, 64 bytes.
        bound: the values that the enclave claims are bound.
        demand: the policy's demand on REPORTDATA.
        at: the field's name in the evidence.
    """

    def check_equal(want: bytes) -> None:
        trail.expect(Rule.BINDING_REPORT_DATA, got == want, got=got, want=want, at=(at,))

    if isinstance(demand, ExpectedNonce):
        if bound is None:
            trail.refuse(Rule.BINDING_VALUES, got="evidence alone", want="the keys and layers that the enclave binds")
        binding = ReportDataBinding(bound.hpke_key, bound.receipt_key, demand.nonce, bound.layers)
        check_equal(_hash(trail, binding))
        return binding
    if isinstance(demand, ExpectedReportData):
        check_equal(demand.value)
    elif isinstance(demand, ExpectedReportDataPrefix):
        size = len(demand.prefix)
        trail.expect(
            Rule.BINDING_REPORT_DATA,
            got.startswith(demand.prefix),
            got=got,
            want=f"{demand.prefix.hex()} as its first {size} bytes",
            at=(at,),
        )
    elif demand == "FRESH_NONCE":
        trail.refuse(
            Rule.BINDING_NONCE,
            got="no challenge",
            want="the challenge that was sent, since the policy's report_data is FRESH_NONCE",
        )
    else:
        trail.waive(Rule.BINDING_REPORT_DATA, got=got, by=demand, at=(at,))
    return None


def check_layers(trail: Trail, told: SandboxLayers | None, required: RequiredLayers | str) -> None:
    """Checks that the attested sandbox layers include all that the policy requires; ``told`` None: none attested."""
    for rule, which in ((Rule.SANDBOX_ENCLAVE, "enclave"), (Rule.SANDBOX_GUEST, "guest")):
        layers: tuple[Layer, ...] = getattr(told, which) if told is not None else ()
        applied = frozenset(layer.name for layer in layers if layer.state is LayerState.APPLIED)
        if isinstance(required, RequiredLayers):
            wanted: frozenset[LayerName] = getattr(required, which)
            trail.expect(rule, wanted <= applied, got=applied, want=wanted)
        else:
            trail.waive(rule, got=applied, by=required)


def layers_of(binding: ReportDataBinding | None) -> SandboxLayers | None:
    """The sandbox layers that REPORTDATA binds, if any."""
    return None if binding is None else binding.layers


def _hash(trail: Trail, binding: ReportDataBinding) -> bytes:
    """The expected REPORTDATA; refuses values of the wrong size."""
    try:
        return binding.report_data()
    except WireError as error:
        trail.refuse(Rule.BINDING_VALUES, got=f"{error.field}: {error.got}", want=error.want)
