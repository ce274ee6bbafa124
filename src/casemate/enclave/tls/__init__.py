"""RA-TLS: the enclave as a TLS server of its own, its evidence in its certificate, the host a relay of bytes.

Loaded for enclaves alone whose manifest asks for it, by :mod:`casemate.enclave.tls.loading`.
"""
