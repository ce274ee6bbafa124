"""A receipt's contents as text for people and as JSON."""

from collections.abc import Sequence

from casemate.cli.metrics_text import metrics_document, metrics_facts
from casemate.wire.protocol.call import Receipt, StateMark
from casemate.wire.protocol.caller_key import caller_key_text
from casemate.wire.protocol.inner_receipts import InnerCall, InnerReceipt
from casemate.wire.protocol.isolation import Isolation


def receipt_document(receipt: Receipt) -> dict[str, object]:
    """A receipt as JSON."""
    state = receipt.state
    return {
        "measurement": receipt.measurement.hex(),
        "entry": receipt.entry,
        "caller": None if receipt.caller is None else caller_key_text(receipt.caller),
        "session": receipt.session,
        "sequence": receipt.sequence,
        "counter": receipt.counter,
        "state": None if state is None else {"epoch": state.epoch, "recoveries": state.recoveries},
        "isolation": None if receipt.isolation is None else str(receipt.isolation),
        "error": receipt.error,
        "metrics": None if receipt.metrics is None else metrics_document(receipt.metrics),
        "quote_hash": receipt.quote_hash.hex(),
        "input_commitment": receipt.input_commitment.hex(),
        "output_commitment": receipt.output_commitment.hex(),
    }


def receipt_facts(receipt: Receipt) -> list[tuple[str, str]]:
    """A receipt as rows for a person."""
    rows = [
        ("code", receipt.measurement.hex()),
        ("entry", receipt.entry),
        ("caller", "nobody signed" if receipt.caller is None else caller_key_text(receipt.caller)),
        ("place", f"number {receipt.counter} of its launch; session {receipt.session}, call {receipt.sequence}"),
    ]
    if receipt.error is not None:
        rows.append(("refused", f"by the function, with its error {receipt.error}; it kept nothing of the call"))
    if receipt.state is not None:
        rows.append(("state", state_text(receipt.state)))
    rows.append(("isolation", isolation_text(receipt.isolation)))
    if receipt.metrics is not None:
        rows += metrics_facts(receipt.metrics)
    return rows


def inner_document(inner: Sequence[InnerReceipt]) -> list[dict[str, object]]:
    """The receipts of other enclaves' calls as JSON, as they stand in a file: each followed by those below it."""
    return [
        {
            "level": each.level,
            "service": each.call.service,
            "mr_signer": each.call.mr_signer.hex(),
            "product_id": each.call.product_id,
            "security_version": each.call.security_version,
            "deployment": each.call.deployment.hex(),
            "names_others": each.call.inner is not None,
            **receipt_document(each.call.receipt),
        }
        for each in inner
    ]


def inner_facts(inner: Sequence[InnerReceipt]) -> list[tuple[str, str]]:
    """The receipts of other enclaves' calls as rows for a person: a tree."""
    return [("  " * (each.level - 1) + f"called {each.call.service}", _inner_words(each.call)) for each in inner]


def _inner_words(call: InnerCall) -> str:
    receipt = call.receipt
    refused = "" if receipt.error is None else f", refused with {receipt.error}"
    product = f"product {call.product_id} version {call.security_version} of {call.mr_signer.hex()[:16]}..."
    return f"{receipt.entry}{refused}; number {receipt.counter}; code {receipt.measurement.hex()[:16]}..., {product}"


def isolation_text(isolation: Isolation | None) -> str:
    """How the image keeps callers apart, in words."""
    match isolation:
        case Isolation.CALLER:
            return "caller: each caller had guests of its own"
        case Isolation.CALL:
            return "call: each call had a guest of its own"
        case Isolation.SHARED:
            return "shared: one guest served all callers, one call at a time"
    return "not said: the receipt is older than that"


def state_text(state: StateMark | None) -> str:
    """The state that the receipt names, in words."""
    if state is None:
        return "none touched"
    return f"commit {state.epoch}" + (f", after {state.recoveries} recoveries" if state.recoveries else "")


def state_warning(state: StateMark | None) -> str | None:
    """A warning about the state that the receipt names; None where none is needed."""
    if state is None or not state.recoveries:
        return None
    times = "once" if state.recoveries == 1 else f"{state.recoveries} times"
    return (
        f"the operator had an older state accepted {times} before this call: what was committed earlier may have been "
        "undone, so compare with the receipts that you kept"
    )
