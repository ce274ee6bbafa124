"""Entries into the enclave: challenges, sealed calls, streams, and the receipts for them."""
