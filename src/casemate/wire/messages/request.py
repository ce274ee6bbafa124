"""A message that a host answers; its class states the type of the answer.

Example:
    @message(0x66)
    @dataclass(frozen=True, slots=True)
    class StopEnclave(Request[EnclaveIs]):
        enclave: U64
"""

from typing import Any, Generic, TypeVar, cast, get_args

A = TypeVar("A")


class Request(Generic[A]):
    """A message that is answered by an ``A``, or by a ``Fault``."""

    __slots__ = ()


def answer_type(request: type[Request[A]]) -> type[A]:
    """The class of the answers to requests of this class."""
    (base,) = cast("tuple[Any, ...]", vars(request)["__orig_bases__"])
    (answer,) = get_args(base)
    return cast("type[A]", answer)
