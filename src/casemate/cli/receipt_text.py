"""What a receipt says, for a person and for a program."""

from casemate.wire.protocol.call import Receipt, StateMark
from casemate.wire.protocol.caller_key import caller_key_text


def receipt_document(receipt: Receipt) -> dict[str, object]:
    """A receipt, for ``--json``."""
    state = receipt.state
    return {
        "measurement": receipt.measurement.hex(),
        "entry": receipt.entry,
        "caller": None if receipt.caller is None else caller_key_text(receipt.caller),
        "session": receipt.session,
        "sequence": receipt.sequence,
        "counter": receipt.counter,
        "state": None if state is None else {"epoch": state.epoch, "recoveries": state.recoveries},
        "quote_hash": receipt.quote_hash.hex(),
        "input_commitment": receipt.input_commitment.hex(),
        "output_commitment": receipt.output_commitment.hex(),
    }


def receipt_facts(receipt: Receipt) -> list[tuple[str, str]]:
    """A receipt, for a person."""
    rows = [
        ("code", receipt.measurement.hex()),
        ("entry", receipt.entry),
        ("caller", "nobody signed" if receipt.caller is None else caller_key_text(receipt.caller)),
        ("place", f"number {receipt.counter} of its launch; session {receipt.session}, call {receipt.sequence}"),
    ]
    if receipt.state is not None:
        rows.append(("state", state_text(receipt.state)))
    return rows


def state_text(state: StateMark | None) -> str:
    """Where the sealed state stood."""
    if state is None:
        return "none touched"
    return f"commit {state.epoch}" + (f", after {state.recoveries} recoveries" if state.recoveries else "")


def state_warning(state: StateMark | None) -> str | None:
    """What whoever relies on the receipt must hear of its state; None where there is nothing."""
    if state is None or not state.recoveries:
        return None
    times = "once" if state.recoveries == 1 else f"{state.recoveries} times"
    return (
        f"the operator had an older state accepted {times} before this call: what was committed earlier may have been "
        "undone, so compare with the receipts that you kept"
    )
