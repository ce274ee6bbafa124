"""Sealed state: a few keys and values that outlive the enclave, that its host can neither read nor turn back.

Example:
    keys = SealingKeys(leaf, program.identity, program.tcb)
    store = Store(leaf, host_line, keys, manifest.state)   # asks nothing yet
    transaction = store.begin(deadline)                    # at the first use in a call: reads the anchor
    if transaction.compare_and_set("count", None, b"1"):
        mark = transaction.commit(deadline)                # durable; goes into the receipt
"""

from casemate.enclave.store.host_line import HostLine
from casemate.enclave.store.store import Store
from casemate.enclave.store.transaction import Transaction
from casemate.enclave.store.values import sorted_json

__all__ = ["HostLine", "Store", "Transaction", "sorted_json"]
