"""An open loop of calls: each is due at its moment, whether those before it have been answered or not."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from casemate.client import AttestAgainError, HostRefusedError, aio
from casemate.verifier import AnyPolicy
from casemate.wire.protocol.faults import Code

_RETRIED = frozenset({Code.BUSY, Code.SESSION_UNKNOWN})


@dataclass
class Tally:
    """What became of every call that was due."""

    due: int = 0
    results: Counter[str] = field(default_factory=Counter)
    """Calls that ended in a result, by that."""
    refused: Counter[str] = field(default_factory=Counter)
    """Refusals that say when to try again, by their code."""
    otherwise: Counter[str] = field(default_factory=Counter)
    """All other ends."""
    sessions: int = 0
    """How many were opened."""

    @property
    def ended(self) -> int:
        """Calls that have ended, in whatever way."""
        return self.results.total() + self.refused.total() + self.otherwise.total()


@dataclass(frozen=True)
class Load:
    """Calls of a function by its name, so many in a second, from so many sessions, each over its own connection.

    A session that is refused because its enclave was replaced attests the name again, for the calls after that one.
    """

    where: str
    token: str
    name: str
    policy: AnyPolicy
    sessions: int
    per_second: float
    enough: asyncio.Event = field(default_factory=asyncio.Event)
    """Set, no more calls come due."""
    tally: Tally = field(default_factory=Tally)

    async def run(self) -> Tally:
        """Returns when every call that came due has ended."""
        begin = asyncio.get_running_loop().time()
        await asyncio.gather(*(self._caller(begin + at / self.per_second) for at in range(self.sessions)))
        return self.tally

    async def _caller(self, begin: float) -> None:
        due: asyncio.Queue[bool] = asyncio.Queue()
        clock = asyncio.create_task(self._tick(due, begin))
        async with await aio.connect(self.where, token=self.token) as client:
            enclave = await self._attest(client)
            while await due.get():
                try:
                    result = await enclave.call("main", None)
                    self.tally.results[str(result.value)] += 1
                except HostRefusedError as error:
                    says_when = error.fault.retry_ms > 0 and error.fault.code in _RETRIED
                    told = self.tally.refused if says_when else self.tally.otherwise
                    told[str(error.fault.code) if says_when else str(error)] += 1
                    if isinstance(error, AttestAgainError):
                        enclave = await self._attest(client)
                except Exception as error:
                    self.tally.otherwise[repr(error)] += 1
        await clock

    async def _attest(self, client: aio.Client) -> aio.Enclave:
        self.tally.sessions += 1
        return await client.attest(self.name, self.policy)

    async def _tick(self, due: "asyncio.Queue[bool]", begin: float) -> None:
        loop, moment = asyncio.get_running_loop(), begin
        while not self.enough.is_set():
            await asyncio.sleep(max(0.0, moment - loop.time()))
            self.tally.due += 1
            due.put_nowait(True)
            moment += self.sessions / self.per_second
        due.put_nowait(False)
