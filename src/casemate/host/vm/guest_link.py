"""The requests that a hypervisor may make of a VM's process: those of ``wire.messages.vm.hypervisor``, as methods."""

import asyncio
import socket
from typing import TypeVar

from casemate.link.async_channel import AsyncChannel
from casemate.link.calls import Caller
from casemate.link.errors import PeerGoneError, TimedOutError
from casemate.wire.messages.vm.hypervisor import (
    MAX_COPY,
    DebugLoad,
    DebugRegisters,
    Done,
    HostLoad,
    HostStore,
    MapNested,
    MemoryIs,
    Pause,
    RmpIs,
    RmpRead,
    RmpUpdate,
    VcpuExit,
    Vmrun,
)
from casemate.wire.protocol.faults import Code, refuse

TIMEOUT = 30.0
"""Longest wait (seconds) for an answer, except of a run."""

T = TypeVar("T")


class GuestLink:
    """A VM's process at the other end of ``end``, which it owns.

    Refusals, and the end of the process, raise :class:`FaultError`.
    """

    def __init__(self, end: socket.socket) -> None:
        self._channel = AsyncChannel(end)
        self._caller = Caller(self._channel)
        self._listening = asyncio.create_task(self._caller.run())

    async def close(self) -> None:
        """Ends the link, and with it the VM's process."""
        self._channel.close()
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)

    async def update_rmp(self, update: RmpUpdate) -> None:
        """RMPUPDATE."""
        await self._ask(update, Done)

    async def map(self, gpa: int, spa: int | None, count: int) -> None:
        """Changes the nested page table."""
        await self._ask(MapNested(gpa, spa, count), Done)

    async def store(self, spa: int, content: bytes) -> None:
        """A store by the host's CPU."""
        await self._ask(HostStore(spa, content), Done)

    async def load(self, spa: int, size: int) -> bytes:
        """A load by the host's CPU, which gets ciphertext where a page is private."""
        return (await self._ask(HostLoad(spa, size), MemoryIs)).content

    async def debug_load(self, gpa: int, size: int) -> bytes:
        """The plaintext of private memory, where the guest's policy allows it."""
        return (await self._ask(DebugLoad(gpa, min(size, MAX_COPY)), MemoryIs)).content

    async def debug_registers(self, vmsa: int) -> bytes:
        """A VMSA in the clear, where the guest's policy or mode allows it."""
        return (await self._ask(DebugRegisters(vmsa), MemoryIs)).content

    async def rmp(self, spa: int, count: int) -> RmpIs:
        """RMPREAD."""
        return await self._ask(RmpRead(spa, count), RmpIs)

    async def run(self, vmrun: Vmrun) -> VcpuExit:
        """VMRUN."""
        return await self._ask(vmrun, VcpuExit, TIMEOUT + vmrun.time_ms / 1000)

    async def pause(self) -> None:
        """Ends a run that is under way."""
        await self._ask(Pause(), Done)

    async def _ask(self, question: object, wanted: type[T], wait: float = TIMEOUT) -> T:
        try:
            return (await self._caller.call(question, wanted, timeout=wait))[0]
        except PeerGoneError as error:
            raise refuse(Code.LOST, f"the VM's process is gone: {error}") from None
        except TimedOutError as error:
            raise refuse(Code.TIMED_OUT, f"the VM's process: {error}") from None
