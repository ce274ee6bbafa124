"""A session with an enclave, as its client has it: keys, numbers, and whatever keeps a number from being used twice.

AES-GCM gives its key away where two texts are sealed under one nonce, and here the nonce is the call's sequence number.
So a session makes its secret itself, gives each number once, and cannot be duplicated: not by copying or pickling, and
not by ``fork()``, after which it is dead in the child and lives on in the parent. What this cannot see is a copy of the
whole process's memory by somebody else: a virtual machine, or a process, that is started twice from one snapshot.
"""

import hashlib
import os
import threading
from collections.abc import Callable
from typing import NoReturn

from casemate.client.errors import SessionForkedError
from casemate.client.sealing import SessionKeys
from casemate.wire.encodings.message import message_parts
from casemate.wire.protocol.call import CallBinding, CallRequest, Envelope, SessionBinding
from casemate.wire.protocol.padding import pad


class _Forks:
    """Counts the forks between the first process and this one."""

    count = 0

    @classmethod
    def add(cls) -> None:
        cls.count += 1


os.register_at_fork(after_in_child=_Forks.add)


def _this_process() -> tuple[int, int]:
    """A value that no other process has in this one's line of descent.

    The count tells a child that was given an earlier process's number; the number, one that C code forked without
    Python's knowledge.
    """
    return _Forks.count, os.getpid()


class Unduplicable:
    """A class whose objects refuse to be copied or pickled."""

    __slots__ = ()

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError(f"{type(self).__name__} cannot be copied or pickled: two copies would use one number twice")


class ClientSession(Unduplicable):
    """Seals the requests of one session and opens the responses. Threads may share it.

    Args:
        hpke_key: the appraised enclave's.
        about: the session.

    Raises:
        ResponseRefusedError: the key keeps no secret.
    """

    __slots__ = ("_about", "_is_confirmed", "_keys", "_last", "_lock", "_owner", "encapsulation_hash")

    def __init__(self, hpke_key: bytes, about: SessionBinding) -> None:
        self._about = about
        self._keys = SessionKeys(hpke_key, about)
        self.encapsulation_hash = hashlib.sha256(self._keys.encapsulation).digest()
        self._is_confirmed = False
        self._last = 0
        self._lock = threading.Lock()
        self._owner = _this_process()

    def __repr__(self) -> str:
        """Shows the numbers only."""
        return f"ClientSession(session={self._about.session}, last={self._last})"

    @property
    def number(self) -> int:
        """The enclave's number for the session, in the host's words."""
        return self._about.session

    def seal(self, entry: str, request_for: Callable[[CallBinding], CallRequest]) -> tuple[Envelope, CallRequest]:
        """A request under the next number, sealed and as it is. The number is used up even if this raises.

        Args:
            entry: the entry point's name.
            request_for: makes the request, for the binding that it will have.

        Raises:
            SessionForkedError: this is not the process that attested.
        """
        self._check_process()  # before the lock: a thread that was not forked along may hold it
        with self._lock:
            self._last += 1
            sequence = self._last
        binding = CallBinding(self._about.quote_hash, self._about.session, sequence, entry)
        request = request_for(binding)
        text = pad(*message_parts(request))
        self._check_process()  # once more: what made the request may have forked
        sealed = self._keys.seal(text, binding)
        return Envelope(binding, sealed, None if self._is_confirmed else self._keys.encapsulation), request

    def open(self, sealed: bytes, request: Envelope) -> bytes:
        """The padded plaintext of the enclave's response to a request that was sealed here.

        The first one shows that the enclave has the session's secret: later requests go without it.

        Raises:
            SessionForkedError: this is not the process that attested.
            ResponseRefusedError: this is no answer of the enclave's to this request.
        """
        self._check_process()
        text = self._keys.open(sealed, request.binding, request.sealed)
        self._is_confirmed = True
        return text

    def _check_process(self) -> None:
        if self._owner != _this_process():
            raise SessionForkedError(
                "this session belongs to the process that attested, of which this one is a fork: attest again here"
            )
