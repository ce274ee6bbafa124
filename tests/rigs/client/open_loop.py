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


async def open_loop(
    where: str, token: str, name: str, policy: AnyPolicy, *, sessions: int, per_second: float, seconds: float
) -> Tally:
    """Calls a function by its name from so many sessions, each over a connection of its own.

    A session that is refused because its enclave was replaced attests the name again, for the calls after that one.
    """
    tally, begin = Tally(), asyncio.get_running_loop().time()
    count = int(per_second * seconds / sessions)
    every = sessions / per_second
    await asyncio.gather(
        *(
            _Caller(where, token, name, policy, tally).run(begin + at * every / sessions, every, count)
            for at in range(sessions)
        )
    )
    return tally


@dataclass
class _Caller:
    where: str
    token: str
    name: str
    policy: AnyPolicy
    tally: Tally

    async def run(self, begin: float, every: float, count: int) -> None:
        due: asyncio.Queue[int] = asyncio.Queue()
        clock = asyncio.create_task(self._tick(due, begin, every, count))
        async with await aio.connect(self.where, token=self.token) as client:
            enclave = await self._attest(client)
            for _ in range(count):
                await due.get()
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

    async def _tick(self, due: "asyncio.Queue[int]", begin: float, every: float, count: int) -> None:
        for number in range(count):
            await asyncio.sleep(max(0.0, begin + number * every - asyncio.get_running_loop().time()))
            due.put_nowait(number)
