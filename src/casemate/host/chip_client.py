"""The host's requests to the chip: one method for each request of ``wire.messages.chip``."""

import asyncio
import socket
from dataclasses import dataclass, field
from typing import TypeVar

from casemate.host.catalogue import ImageBytes
from casemate.link.calls import Caller
from casemate.link.errors import PeerGoneError, TimedOutError
from casemate.wire.messages import chip
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.protocol.tee import Tee

CHIP_TIMEOUT = 60.0
"""Longest wait for the chip (seconds): measuring the largest image on a slow machine takes a few."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ChipClient:
    """Sends requests over ``link``. The chip's refusals, and its death, are raised as :class:`FaultError`."""

    link: Caller
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """One image at a time is sent to the chip."""

    async def load(self, files: ImageBytes, tee: Tee, launcher: str, deployment: bytes) -> chip.Initialised:
        """Loads and initialises an image; what fails on the way is removed again.

        One image at a time is on its way: the chip measures them one after the other, and holds all that were sent.
        """
        async with self.turn:
            loaded, _ = await self._ask(chip.Load(files.sgxs, tee, launcher, deployment), chip.Loaded)
            try:
                made, _ = await self._ask(chip.Initialise(loaded.enclave, files.sigstruct), chip.Initialised)
            except BaseException:
                await self.destroy(loaded.enclave)
                raise
            return made

    async def start(self, number: int) -> socket.socket:
        """Starts an enclave; the host's end of its socket."""
        _, descriptors = await self._ask(chip.Start(number), chip.Started)
        ends = [socket.socket(fileno=descriptor) for descriptor in descriptors]
        if len(ends) != 1:
            for end in ends:
                end.close()
            raise refuse(Code.MALFORMED, f"the chip gave {len(ends)} descriptors for an enclave, want 1")
        return ends[0]

    async def stop(self, number: int) -> chip.StateIs:
        """Ends an enclave's process."""
        return (await self._ask(chip.Stop(number), chip.StateIs))[0]

    async def destroy(self, number: int) -> chip.StateIs:
        """Removes an enclave's pages."""
        return (await self._ask(chip.Destroy(number), chip.StateIs))[0]

    async def quote_target(self) -> bytes:
        """TARGETINFO of the quoting enclave."""
        return (await self._ask(chip.QuoteTarget(), chip.QuoteTargetIs))[0].target_info

    async def quote(self, number: int, report: bytes) -> bytes:
        """The evidence of what an enclave has reported."""
        return (await self._ask(chip.GetQuote(number, report), chip.Quoted))[0].quote

    async def _ask(self, question: object, wanted: type[T]) -> tuple[T, tuple[int, ...]]:
        try:
            return await self.link.call(question, wanted, timeout=CHIP_TIMEOUT)
        except PeerGoneError as error:
            raise refuse(Code.LOST, f"the chip is gone: {error}") from None
        except TimedOutError as error:
            raise refuse(Code.TIMED_OUT, f"the chip: {error}") from None
