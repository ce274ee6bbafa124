"""Parameters of requests: in paths, in queries, and Accept."""

from typing import Annotated

from fastapi import Path, Query
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError
from starlette.requests import Request

from casemate.gateway.http.problems import ProblemError, Trouble
from casemate.wire.encodings.decimal_text import decimal
from casemate.wire.errors import WireError
from casemate.wire.protocol.function_name import MAX_FUNCTION_NAME, PATTERN

MAX_SAFE = 2**53 - 1
"""The largest integer that every JSON parser represents exactly (RFC 7493, section 2.2)."""


def _digits(value: object) -> object:
    """Accepts ASCII digits only; pydantic also takes signs, spaces, ``1_0``, ``1.0`` and other scripts' digits."""
    if not isinstance(value, str):
        return value
    try:
        return decimal("number", value, most=MAX_SAFE)
    except WireError:
        raise PydanticCustomError("digits", f"want a decimal number from 0 to {MAX_SAFE}, its digits alone") from None


DIGITS = BeforeValidator(_digits)
"""For every number in a path or query."""

EnclaveId = Annotated[int, Path(ge=0, le=MAX_SAFE, description="The host's number of the enclave."), DIGITS]
FunctionName = Annotated[str, Path(pattern=PATTERN, max_length=MAX_FUNCTION_NAME, description="The function's name.")]
Nonce = Annotated[
    str,
    Query(pattern="^[0-9a-fA-F]{64}$", description="32 bytes in hexadecimal, the challenger's, never used twice."),
]
VmId = Annotated[int, Path(ge=0, le=MAX_SAFE, description="The host's number of the VM."), DIGITS]
Address = Annotated[
    str, Query(pattern="^0x[0-9a-fA-F]{1,16}$", description="Hexadecimal: an SPA, or in the guest's view a GPA.")
]
Spa = Annotated[str, Query(pattern="^0x[0-9a-fA-F]{1,16}$", description="System physical address, hexadecimal.")]
Gpa = Annotated[str, Query(pattern="^0x[0-9a-fA-F]{1,16}$", description="Guest physical address, hexadecimal.")]


def negotiated(request: Request, *offered: str) -> str:
    """The first of the ``offered`` types that Accept names (RFC 9110, section 12.5.1). Weights are ignored.

    Raises:
        ProblemError: Accept names none of them.
    """
    accept = request.headers.get("accept", "*/*")
    types = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
    for offer in offered:
        if types & {offer, "*/*", f"{offer.partition('/')[0]}/*"}:
            return offer
    raise ProblemError(Trouble.NOT_ACCEPTABLE, f"Accept is {accept[:80]!r}, this comes as {' or '.join(offered)}")
