"""The receipts of other enclaves' calls that came with an answer: their tree, checked."""

from collections.abc import Mapping
from dataclasses import dataclass

from casemate.client.errors import ReceiptRefusedError
from casemate.client.sealing import check_receipt_signature
from casemate.verifier import SgxPolicy
from casemate.wire.errors import WireError
from casemate.wire.protocol.call import Receipt
from casemate.wire.protocol.inner_receipts import (
    Branch,
    ChainedReceipt,
    InnerCall,
    InnerReceipt,
    branches,
    check_committed,
)


@dataclass(frozen=True, slots=True)
class CheckedInner:
    """A receipt in the tree that holds, if the enclaves above it are what they have proved to be."""

    service: str
    """The name by which the enclave above calls this one."""
    call: InnerCall
    """The receipt, and what the enclave above says of this one."""
    inner: tuple["CheckedInner", ...]
    """Of the calls that this call has made, in the order in which their answers came."""
    is_whole: bool
    """False where the receipt commits to others that were left out."""


def check_inner(receipt: Receipt, inner: tuple[InnerReceipt, ...]) -> tuple[CheckedInner, ...]:
    """The tree of the receipts to which ``receipt`` commits, none where they were left out.

    1. Each receipt commits to those below it, in this order, and to no others.
    2. The key that the enclave above names has signed it.
    3. None is there twice.

    Raises:
        ReceiptRefusedError: the first that does not hold.
    """
    try:
        check_committed(inner, committed_in(receipt))  # 1
    except WireError as error:
        raise ReceiptRefusedError(error.field, got=error.got, want=error.want) from None
    seen: set[tuple[bytes, int]] = set()
    for each in inner:
        check_receipt_signature(each.call.receipt_key, each.call.signed, each.call.signature)  # 2
        number = each.call.receipt_key, each.call.receipt.counter
        if number in seen:  # 3
            words = f"receipt {number[1]} of {each.call.service} twice"
            raise ReceiptRefusedError("inner receipts", got=words, want="one receipt for each call")
        seen.add(number)
    return tuple(map(_checked, branches(inner)))


def committed_in(receipt: Receipt) -> bytes | None:
    """The hash of the receipts to which a receipt commits; None where it names no others."""
    return receipt.inner if isinstance(receipt, ChainedReceipt) else None


def verify_chain(inner: tuple[CheckedInner, ...], services: Mapping[str, SgxPolicy], *, above: str = "") -> None:
    """Refuses a tree in which an enclave is not what the checker demands of its service, or a receipt was left out.

    What is compared is what the enclave above has seen proved: measurement, signer, product, security version and
    deployment. A policy's other demands, such as the chip's TCB, are about evidence, which is not here.

    Args:
        inner: of a checked receipt.
        services: a policy for each service, by the names that lead to it: ``billing``, ``billing/ledger``.
        above: the names that lead to ``inner``.

    Raises:
        ReceiptRefusedError: it is another enclave, there is no policy for it, or receipts were left out.
    """
    for each in inner:
        path = f"{above}{each.service}"
        policy = services.get(path)
        if policy is None:
            known = ", ".join(services) or "none"
            raise ReceiptRefusedError("inner receipts.service", got=path, want=f"one with a policy, which are: {known}")
        _judge(path, each.call, policy)
        if not each.is_whole:
            raise ReceiptRefusedError(f"{path}.inner", got="none", want="the receipts that its receipt names")
        verify_chain(each.inner, services, above=f"{path}/")


def _checked(branch: Branch) -> CheckedInner:
    below = tuple(map(_checked, branches(branch.below)))
    return CheckedInner(branch.call.service, branch.call, below, branch.is_whole)


def _judge(path: str, call: InnerCall, policy: SgxPolicy) -> None:
    _one_of(f"{path}.mr-enclave", call.receipt.measurement, policy.mr_enclave)
    _one_of(f"{path}.mr-signer", call.mr_signer, policy.mr_signer)
    _one_of(f"{path}.config-id", call.deployment + bytes(32), policy.config_id)
    if isinstance(policy.product_id, int) and call.product_id != policy.product_id:
        raise ReceiptRefusedError(f"{path}.product-id", got=call.product_id, want=policy.product_id)
    if isinstance(policy.minimum_svn, int) and call.security_version < policy.minimum_svn:
        raise ReceiptRefusedError(f"{path}.svn", got=call.security_version, want=f"at least {policy.minimum_svn}")


def _one_of(rule: str, got: bytes, accepted: frozenset[bytes] | str) -> None:
    """Refuses bytes that are none of those accepted; a word accepts all, as in the policy."""
    if not isinstance(accepted, str) and got not in accepted:
        raise ReceiptRefusedError(rule, got=got.hex(), want=" or ".join(sorted(each.hex() for each in accepted)))
