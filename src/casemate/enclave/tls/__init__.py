"""RA-TLS: the enclave as a TLS server of its own, its evidence in its certificate, the host a relay of bytes.

Loaded only for enclaves whose manifest asks for it: see :mod:`casemate.enclave.parts`.
"""
