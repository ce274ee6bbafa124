"""A message that a host answers, and the type of its answer: stated once, at the message's class.

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
    """The class of what answers requests of this class."""
    (base,) = cast("tuple[Any, ...]", vars(request)["__orig_bases__"])
    (answer,) = get_args(base)
    return cast("type[A]", answer)
