"""Sessions: whose they are, and which of their numbers are used.

In bounded memory, and without ever forgetting into acceptance.
"""

from collections import OrderedDict

from casemate.enclave.keys import EnclaveKeys, SessionKeys, is_same_hash, sha256
from casemate.enclave.peer_policy import KnownPeer
from casemate.wire.protocol.call import CallBinding, Envelope, SessionBinding
from casemate.wire.protocol.faults import Code, refuse

MAX_FRESH = 1024
"""Most sessions that no request has opened in yet; challenging without calling evicts only such."""

MAX_USED = 4096
"""Most sessions with calls; the one that has rested longest goes first."""


class Session:
    """A session that belongs to whoever has its secret. The object itself is the identity of an anonymous caller.

    Numbers would not do for that: a host gives them out.
    """

    __slots__ = ("_quote_hash", "encapsulation_hash", "keys", "last", "number", "peer")

    def __init__(
        self, about: SessionBinding, encapsulation: bytes, keys: SessionKeys, peer: KnownPeer | None = None
    ) -> None:
        self.number = about.session
        self._quote_hash = about.quote_hash
        self.encapsulation_hash = sha256(encapsulation)
        self.keys = keys
        self.last = 0
        """The highest sequence number that is used up."""
        self.peer = peer
        """The enclave that it was proved to belong to; None for a client's."""

    @classmethod
    def begun_by(cls, envelope: Envelope, encapsulation: bytes, keys: EnclaveKeys) -> "Session":
        """The session of a client's request that carries its secret.

        Raises:
            FaultError: the secret was not sealed for this enclave and this session (``cannot-open``).
        """
        about = envelope.binding.of_session
        return cls(about, encapsulation, keys.open_session(encapsulation, about))

    def __repr__(self) -> str:
        """Shows the numbers only."""
        return f"Session(number={self.number}, last={self.last})"

    def check(self, envelope: Envelope) -> None:
        """Refuses a request that cannot be of this session, before anything is deciphered.

        Raises:
            FaultError: it carries another secret (``session-unknown``), or names another quote (``cannot-open``).
        """
        carried = envelope.encapsulation
        if carried is not None and not is_same_hash(sha256(carried), self.encapsulation_hash):
            raise refuse(Code.SESSION_UNKNOWN, f"session {self.number} was opened with another secret: challenge again")
        if envelope.binding.quote_hash != self._quote_hash:
            raise refuse(Code.CANNOT_OPEN, f"session {self.number} was opened for another quote")


class Sessions:
    """Numbers that this enclave issued. A number is issued once, so one that was evicted is refused for ever."""

    __slots__ = ("_fresh", "_issued", "_used")

    def __init__(self) -> None:
        self._issued = 0
        self._fresh: OrderedDict[int, None] = OrderedDict()
        self._used: OrderedDict[int, Session] = OrderedDict()

    def issue(self) -> int:
        """A new session's number, above all before it."""
        self._issued += 1
        self._fresh[self._issued] = None
        if len(self._fresh) > MAX_FRESH:
            self._fresh.popitem(last=False)
        return self._issued

    def find(self, binding: CallBinding) -> Session | None:
        """The session that a request names; None if it is fresh: no request has opened in it yet.

        Raises:
            FaultError: the session is not held (``session-unknown``), or the number is not above its last
                (``sequence-used``).
        """
        session = self._used.get(binding.session)
        if session is None and binding.session not in self._fresh:
            raise refuse(
                Code.SESSION_UNKNOWN, f"session {binding.session} is not known here, or no more: challenge again"
            )
        last = 0 if session is None else session.last
        if binding.sequence <= last:
            raise refuse(Code.SEQUENCE_USED, f"sequence number {binding.sequence} is not above {last}")
        return session

    def burn(self, session: Session, sequence: int) -> None:
        """Uses up a number and all below it, and makes a fresh session one that belongs to its secret.

        For requests that :meth:`find` let pass and that have opened, before they do anything.
        """
        session.last = sequence
        self.hold(session)

    def hold(self, session: Session) -> None:
        """Keeps a session that has its secret, as the one that was used last."""
        self._fresh.pop(session.number, None)
        self._used[session.number] = session
        self._used.move_to_end(session.number)
        if len(self._used) > MAX_USED:
            self._used.popitem(last=False)
