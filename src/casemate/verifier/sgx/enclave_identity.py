"""What an enclave is, by its REPORT: the rules about its identity."""

from casemate.verifier.checks import Trail
from casemate.verifier.rules import Rule
from casemate.verifier.sgx.policy import UNSAFE_ALLOW_DEBUG, SgxPolicy
from casemate.wire.sgx.report import ReportBody

IDENTITY_RULES = (
    Rule.ENCLAVE_DEBUG,
    Rule.ENCLAVE_MR_ENCLAVE,
    Rule.ENCLAVE_MR_SIGNER,
    Rule.ENCLAVE_PRODUCT_ID,
    Rule.ENCLAVE_SVN,
)


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
