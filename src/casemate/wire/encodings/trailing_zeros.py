"""One rule for padding: zero bytes behind evidence are passed over, whatever way it comes in; other bytes are refused.

Evidence comes in buffers of fixed size: quotes of 8192 bytes, reports in messages of 4000, documents with the NUL that
ends a C string. A quote and a report have lengths of their own, so what follows can be told from what is meant. The
verifier's classes of evidence cut it off, so files, calls, certificates and receipts need not; the hash of a quote to
which calls are bound is that of the quote alone. Collateral, receipts and binding files are JSON: there the parsers do.
"""

from casemate.wire.errors import WireError


def without_zeros(what: str, data: bytes, size: int) -> bytes:
    """The first ``size`` bytes.

    Args:
        what: what they are, for the error.
        data: a buffer that holds them at its front.
        size: how many there must be.

    Raises:
        WireError: there are fewer, or something other than zero bytes follows.
    """
    if len(data) < size:
        raise WireError(what, got=f"{len(data)} bytes", want=f"{size} bytes")
    if any(data[size:]):
        got = f"{len(data) - size} bytes that are not all zero"
        raise WireError(f"{what}.padding", got=got, want=f"zero bytes, or none, behind the {size} that it has")
    return data[:size]


def without_trailing_zeros(text: bytes) -> bytes:
    """A text without the zero bytes behind it."""
    return text.rstrip(b"\x00")
