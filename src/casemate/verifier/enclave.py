"""The enclave itself: its identity, what its REPORTDATA vouches for, and what confines it."""

from casemate.verifier.checks import Trail
from casemate.verifier.evidence import BoundValues
from casemate.verifier.policy import (
    FRESH_NONCE,
    UNSAFE_ALLOW_DEBUG,
    ExpectedNonce,
    ExpectedReportData,
    RequiredLayers,
    SgxPolicy,
)
from casemate.verifier.rules import Rule
from casemate.wire.binding import ReportDataBinding
from casemate.wire.errors import WireError
from casemate.wire.sandbox import Layer, LayerName, LayerState, SandboxLayers
from casemate.wire.sgx.report import ReportBody

IDENTITY_RULES = (
    Rule.ENCLAVE_DEBUG,
    Rule.ENCLAVE_MR_ENCLAVE,
    Rule.ENCLAVE_MR_SIGNER,
    Rule.ENCLAVE_PRODUCT_ID,
    Rule.ENCLAVE_SVN,
)
BINDING_RULES = (Rule.BINDING_NONCE, Rule.BINDING_VALUES, Rule.BINDING_REPORT_DATA)
SANDBOX_RULES = (Rule.SANDBOX_ENCLAVE, Rule.SANDBOX_GUEST)


def check_identity(trail: Trail, body: ReportBody, policy: SgxPolicy) -> None:
    """The enclave is one that the policy accepts."""
    trail.expect(
        Rule.ENCLAVE_DEBUG,
        not body.attributes.debug or policy.debug is UNSAFE_ALLOW_DEBUG,
        got="DEBUG" if body.attributes.debug else "no DEBUG",
        want=policy.debug.value,
        at=("body.attributes.flags",),
    )
    for rule, name, wanted in (
        (Rule.ENCLAVE_MR_ENCLAVE, "mr_enclave", policy.mr_enclave),
        (Rule.ENCLAVE_MR_SIGNER, "mr_signer", policy.mr_signer),
    ):
        got: bytes = getattr(body, name)
        if isinstance(wanted, frozenset):
            trail.expect(rule, got in wanted, got=got, want=wanted, at=(f"body.{name}",))
        else:
            trail.waive(rule, got=got, by=wanted.value, at=(f"body.{name}",))
    product_id, minimum = policy.product_id, policy.minimum_svn
    trail.expect(
        Rule.ENCLAVE_PRODUCT_ID,
        not isinstance(product_id, int) or body.isv_prod_id == product_id,
        got=body.isv_prod_id,
        want=product_id if isinstance(product_id, int) else product_id.value,
        at=("body.isv_prod_id",),
    )
    trail.expect(
        Rule.ENCLAVE_SVN,
        not isinstance(minimum, int) or body.isv_svn >= minimum,
        got=body.isv_svn,
        want=f"{minimum} or above" if isinstance(minimum, int) else minimum.value,
        at=("body.isv_svn",),
    )


def check_report_data(
    trail: Trail, body: ReportBody, bound: BoundValues | None, policy: SgxPolicy
) -> ReportDataBinding | None:
    """What REPORTDATA vouches for, where the policy demands that it binds a nonce."""
    demand = policy.report_data
    if isinstance(demand, ExpectedNonce):
        if bound is None:
            trail.refuse(Rule.BINDING_VALUES, got="a quote alone", want="the keys and layers that the enclave binds")
        binding = ReportDataBinding(bound.hpke_key, bound.receipt_key, demand.nonce, bound.layers)
        _check_equal(trail, body.report_data, _hash(trail, binding))
        return binding
    if isinstance(demand, ExpectedReportData):
        _check_equal(trail, body.report_data, demand.value)
    elif demand is FRESH_NONCE:
        trail.refuse(Rule.BINDING_NONCE, got="FRESH_NONCE", want="the nonce of a challenge: policy.with_nonce(...)")
    else:
        trail.waive(Rule.BINDING_REPORT_DATA, got=body.report_data, by=demand.value, at=("body.report_data",))
    return None


def check_layers(trail: Trail, told: SandboxLayers | None, policy: SgxPolicy) -> None:
    """The sandbox layers that the policy requires were applied, in the enclave's attested words, if it has said any."""
    required = policy.layers
    for rule, which in ((Rule.SANDBOX_ENCLAVE, "enclave"), (Rule.SANDBOX_GUEST, "guest")):
        layers: tuple[Layer, ...] = getattr(told, which) if told is not None else ()
        applied = frozenset(layer.name for layer in layers if layer.state is LayerState.APPLIED)
        if isinstance(required, RequiredLayers):
            wanted: frozenset[LayerName] = getattr(required, which)
            trail.expect(
                rule,
                wanted <= applied,
                got=applied,
                want=wanted,
            )
        else:
            trail.waive(rule, got=applied, by=required.value)


def _hash(trail: Trail, binding: ReportDataBinding) -> bytes:
    """What REPORTDATA should be; values of the wrong size are refused."""
    try:
        return binding.report_data()
    except WireError as error:
        trail.refuse(Rule.BINDING_VALUES, got=f"{error.field}: {error.got}", want=error.want)


def _check_equal(trail: Trail, got: bytes, want: bytes) -> None:
    trail.expect(Rule.BINDING_REPORT_DATA, got == want, got=got, want=want, at=("body.report_data",))
