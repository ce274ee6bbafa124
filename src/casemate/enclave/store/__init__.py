"""Sealed state: keys and values that outlive the enclave, and that its host can neither read nor roll back.

Example:
    keys = SealingKeys(leaf, program.identity, program.tcb)
    store = Store(leaf, host_line, keys, manifest.state)   # asks nothing yet
    transaction = await store.begin(deadline)              # at the first use in a call: reads the anchor
    if transaction.compare_and_set("count", None, b"1"):
        mark = await transaction.commit(deadline)          # durable; goes into the receipt
"""
