"""The highest evaluation numbers, revocation list numbers and issue dates of what was verified, which never fall.

A maker's documents are good until they run out. Until then a host may show older ones than an enclave has seen, in
which a platform is not yet out of date, or a key not yet revoked. The newest issue date bounds the enclave's time; the
numbers are compared, for each root and each issuer of lists.

Where the image has state, they are kept in it, as new as the anchor is, for all launches and instances of the image.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final

from casemate.enclave.appraisal import Appraised, EvidenceRefusedError
from casemate.enclave.enclave_time import EnclaveTime, encode_time, parse_time
from casemate.wire.encodings.json_object import JsonObject, parse_object
from casemate.wire.encodings.json_text import Json, encode_json
from casemate.wire.errors import WireError
from casemate.wire.protocol.faults import Code, FaultError, refuse

if TYPE_CHECKING:
    from casemate.enclave.store.store import Store

EVALUATION_RULE: Final = "memory.evaluation-number"
LIST_RULE: Final = "memory.list-number"

MAX_KNOWN = 256
"""Most roots and issuers of lists that are remembered. None is forgotten for another: its numbers would fall."""

_NAME = "issued"
"""Where the state has it, among the enclave's own keys."""
_MAX_TEXT = 64 * 1024
_RETRIES = 4
"""How often another instance may be faster."""


@dataclass(slots=True)
class _Highest:
    newest: datetime | None = None
    numbers: dict[str, int] = field(default_factory=dict)
    """By the rule and what they are of: SHA-256 of the root's key, or of the key that issued a list."""

    def take(self, other: "_Highest") -> None:
        """Whatever is higher there."""
        if other.newest is not None and (self.newest is None or other.newest > self.newest):
            self.newest = other.newest
        for name, number in other.numbers.items():
            self.numbers[name] = max(number, self.numbers.get(name, number))

    def encode(self) -> bytes:
        """As the state keeps it: numbers in hexadecimal, since those of lists have up to 20 bytes."""
        newest = None if self.newest is None else encode_time(self.newest).decode()
        numbers: dict[str, Json] = {name: f"{number:x}" for name, number in sorted(self.numbers.items())}
        return encode_json({"newest": newest, "numbers": numbers})

    @classmethod
    def parse(cls, text: bytes) -> "_Highest":
        """What :meth:`encode` has made; ``state-refused`` for anything else."""
        try:
            body = parse_object("issued", text, limit=_MAX_TEXT)
            newest = parse_time(body.text("newest").encode()) if body.has("newest") else None
            listed: JsonObject = body.child("numbers")
            return cls(newest, {name: int(listed.text(name), 16) for name in listed.names()})
        except (WireError, ValueError):
            raise refuse(Code.STATE_REFUSED, "the state's record of issue dates and numbers is none") from None


class IssueMemory:
    """Remembers them for a launch, and in the state where there is one.

    Args:
        clock: told of the newest issue date.
        store: the sealed state; None where the image has none.
    """

    def __init__(self, clock: EnclaveTime, store: "Store | None") -> None:
        self._clock = clock
        self._store = store
        self._highest = _Highest()

    async def recall(self, deadline: float) -> None:
        """Takes what the state knows, of whichever instance; :class:`FaultError` as :meth:`Store.begin` raises it."""
        if self._store is None:
            return
        kept = (await self._store.begin(deadline)).get_own(_NAME)
        if kept is not None:
            self._highest.take(_Highest.parse(kept))
        self._tell_clock()

    def check(self, appraised: Appraised) -> None:
        """Refuses what is below.

        Raises:
            EvidenceRefusedError: a number is below one that was seen before.
        """
        self._check(_seen(appraised))

    async def keep(self, appraised: Appraised, deadline: float) -> None:
        """Keeps what is above, durably before this returns.

        Raises:
            EvidenceRefusedError: another instance has seen a number above.
            FaultError: the state cannot be read or written, or there is no room for another root.
        """
        seen = _seen(appraised)
        self._check_room(seen)
        before = self._highest.encode()
        self._highest.take(seen)
        self._tell_clock()
        if self._store is not None and self._highest.encode() != before:
            await self._keep(seen, deadline)

    def _check(self, seen: _Highest) -> None:
        for name, number in seen.numbers.items():
            highest = self._highest.numbers.get(name, 0)
            if number < highest:
                rule = name.partition(" ")[0]
                raise EvidenceRefusedError(
                    rule, got=str(number), want=f"{highest} or above, which this enclave has seen before"
                )

    def _check_room(self, seen: _Highest) -> None:
        known = self._highest.numbers.keys() | seen.numbers.keys()
        if len(known) > MAX_KNOWN:
            raise refuse(Code.STATE_LIMIT, f"{len(known)} roots and issuers, of which {MAX_KNOWN} can be remembered")

    async def _keep(self, seen: _Highest, deadline: float) -> None:
        if self._store is None:
            return
        for attempt in range(_RETRIES):
            transaction = await self._store.begin(deadline)
            kept = transaction.get_own(_NAME)
            if kept is not None:
                self._highest.take(_Highest.parse(kept))
                self._check(seen)
                self._check_room(seen)
            if kept == self._highest.encode():
                return
            transaction.put_own(_NAME, self._highest.encode())
            try:
                await transaction.commit(deadline)
            except FaultError as error:
                if error.fault.code is not Code.STATE_CONFLICT or attempt + 1 == _RETRIES:
                    raise
            else:
                return

    def _tell_clock(self) -> None:
        if self._highest.newest is not None:
            self._clock.is_after(self._highest.newest)


def _seen(appraised: Appraised) -> _Highest:
    marks = appraised.marks
    numbers = {f"{LIST_RULE} {listed.issuer.hex()}": listed.number for listed in marks.lists}
    if marks.evaluation_number is not None:
        numbers[f"{EVALUATION_RULE} {marks.root.hex()}"] = marks.evaluation_number
    return _Highest(marks.newest, numbers)
