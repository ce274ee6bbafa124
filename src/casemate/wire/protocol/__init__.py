"""The public contract: calls, receipts, manifests, images, evidence in certificates.

Clients in other languages implement what is here, in `encodings`, `sgx` and `snp`. `docs/protocol.md` has the bytes.
"""
