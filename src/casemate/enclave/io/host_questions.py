"""Questions to the host in the middle of a call: the guest's OCALLs, and records of the sealed state."""

import itertools
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from casemate.enclave.guest.console import Console
from casemate.enclave.guest.ocall import Said, answer_to, check_answer, declared_ocall, question
from casemate.enclave.io.pump import Pump
from casemate.enclave.io.socket_peer import SocketPeer
from casemate.images.layout import ImageContents
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.errors import WireError
from casemate.wire.messages.state import StateRefused
from casemate.wire.protocol.faults import Code, refuse

T = TypeVar("T")


class HostQuestions:
    """Asks the host, one question at a time, each under a number of its own; see ``wire.messages.entry`` for the rules.

    For the store this is its ``HostLine``.
    """

    def __init__(
        self,
        image: ImageContents,
        pump: Pump,
        host: SocketPeer,
        console: Console,
        *,
        is_guest_gone: Callable[[], bool],
    ) -> None:
        self._image = image
        self._pump = pump
        self._host = host
        self._console = console
        self._is_guest_gone = is_guest_gone
        self._numbers = itertools.count(1)

    def ocall(self, name: str, arguments: bytes, deadline: float) -> bytes:
        """An OCALL: the guest's JSON in, checked JSON out.

        Raises:
            FaultError: the manifest does not allow it, or the host did not answer properly by the deadline.
        """
        schemas = declared_ocall(self._image.schemas, name)
        number = next(self._numbers)
        self._send(question(name, schemas.input, number, arguments))
        said = self._await(partial(answer_to, number), deadline, is_vain=self._is_guest_gone)
        if not isinstance(said, Said):
            raise refuse(Code.OCALL_REFUSED, f"the host did not answer OCALL {name!r} while the call lasted")
        return check_answer(name, schemas.output, said)

    def ask(self, question: Callable[[int], object], wanted: type[T], deadline: float) -> T:
        """See :class:`casemate.enclave.store.host_line.HostLine`. It goes on if the guest dies meanwhile."""
        number = next(self._numbers)
        self._send(encode_message(question(number)))

        said = self._await(lambda frame: _about(number, frame, wanted), deadline, is_vain=lambda: False)
        if isinstance(said, wanted):
            return said
        if isinstance(said, StateRefused):
            raise refuse(Code.UNAVAILABLE, f"the host says about the sealed state: {said.fault.reason}")
        raise refuse(Code.UNAVAILABLE, "the host did not answer a question about the sealed state in time")

    def tell(self, message: object) -> None:
        """See :class:`casemate.enclave.store.host_line.HostLine`."""
        self._send(encode_message(message))

    def _send(self, frame: bytes) -> None:
        self._console.flush()
        self._host.send(frame)

    def _await(
        self, answer: Callable[[bytes | None], T | None], deadline: float, is_vain: Callable[[], bool]
    ) -> T | None:
        """The host's answer; None at the deadline, or once ``is_vain``. Everything else that it sends is dropped."""
        pump, incoming = self._pump, self._host.incoming
        while time.monotonic() < deadline and pump.until(lambda: bool(incoming) or is_vain(), deadline):
            if not incoming:
                break
            said = answer(incoming.popleft())
            if said is not None:
                return said
        return None


def _about(number: int, frame: bytes | None, wanted: type) -> object:
    """The message in a frame that answers the question of that number; None for every other frame."""
    try:
        said: object = parse_message(frame or b"", wanted, StateRefused)
    except WireError:
        return None
    return said if getattr(said, "number", None) == number else None
