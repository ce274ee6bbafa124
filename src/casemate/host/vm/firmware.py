"""SEV firmware's commands for hypervisors: each request of ``wire.messages.snp_firmware`` as a method."""

import socket
from dataclasses import dataclass
from typing import TypeVar

from casemate.link.calls import Caller
from casemate.link.errors import PeerGoneError, TimedOutError
from casemate.wire.messages.snp_firmware import (
    CertificatesAre,
    Commit,
    DestroyVm,
    GetCertificates,
    GuestRequest,
    GuestResponse,
    LaunchDigest,
    LaunchFinish,
    LaunchStart,
    LaunchStarted,
    LaunchUpdate,
    LoadVlek,
    PlatformIs,
    PlatformStatus,
    SetConfig,
    VmProcessIs,
)
from casemate.wire.protocol.faults import Code, refuse

TIMEOUT = 60.0
"""Longest wait for the chip (seconds)."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SevFirmware:
    """SEV firmware behind ``link``. Its refusals, and the end of the chip, raise :class:`FaultError`."""

    link: Caller

    async def launch_start(self, wanted: LaunchStart, dram: int) -> tuple[int, socket.socket]:
        """The VM's number, and the hypervisor's end of the link to its process."""
        started, descriptors = await self._ask(wanted, LaunchStarted, (dram,))
        ends = [socket.socket(fileno=descriptor) for descriptor in descriptors]
        if len(ends) != 1:
            for end in ends:
                end.close()
            raise refuse(Code.MALFORMED, f"the chip gave {len(ends)} descriptors for a VM, want 1")
        return started.vm, ends[0]

    async def launch_update(self, wanted: LaunchUpdate) -> bytes:
        """LAUNCH_UPDATE; returns the launch digest so far."""
        return (await self._ask(wanted, LaunchDigest))[0].digest

    async def launch_finish(self, wanted: LaunchFinish) -> bytes:
        """LAUNCH_FINISH; returns the launch digest."""
        return (await self._ask(wanted, LaunchDigest))[0].digest

    async def guest_request(self, vm: int, request: bytes) -> bytes:
        """The firmware's sealed answer to a guest's sealed request."""
        return (await self._ask(GuestRequest(vm, request), GuestResponse))[0].response

    async def destroy(self, vm: int) -> None:
        """Destroys the guest's keys."""
        await self._ask(DestroyVm(vm), VmProcessIs)

    async def certificates(self) -> bytes:
        """The certificates of the key that signs reports now, up to the root (PEM)."""
        return (await self._ask(GetCertificates(), CertificatesAre))[0].chain

    async def platform(self, command: PlatformStatus | SetConfig | Commit | LoadVlek) -> PlatformIs:
        """The state of the platform after one of its commands."""
        return (await self._ask(command, PlatformIs))[0]

    async def _ask(
        self, question: object, wanted: type[T], descriptors: tuple[int, ...] = ()
    ) -> tuple[T, tuple[int, ...]]:
        try:
            return await self.link.call(question, wanted, timeout=TIMEOUT, descriptors=descriptors)
        except PeerGoneError as error:
            raise refuse(Code.LOST, f"the chip is gone: {error}") from None
        except TimedOutError as error:
            raise refuse(Code.TIMED_OUT, f"the chip: {error}") from None
