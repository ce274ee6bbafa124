"""The public contract: calls, receipts, bindings, RA-TLS, image index, runtime lock.

Clients in other languages implement what is here, in `encodings`, `sgx` and `snp`.
"""
