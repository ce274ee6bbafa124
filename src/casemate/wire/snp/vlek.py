"""The binding of a VLEK: the bytes under which it is derived, wrapped and unwrapped."""

from casemate.wire.snp.tcb import Product, TcbVersion

VLEK_SIZE = 48
"""Bytes of a VLEK's scalar, big-endian."""

MAX_CSP_ID = 128
"""Longest name of a cloud provider (characters of printable ASCII)."""

_LABEL = b"casemate vlek v1\x00"


def vlek_binding(product: Product, csp_id: str, tcb: TcbVersion) -> bytes:
    """Label, product, TCB and provider; different inputs give different bytes."""
    return _LABEL + product.encode().ljust(16, b"\x00") + tcb.encode() + csp_id.encode("ascii")
