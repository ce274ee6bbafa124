"""The commands of SEV-SNP firmware, and all guests of this chip (AMD 56860, chapter 8)."""

import asyncio
import fcntl
import os
import secrets
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from casemate.chip.errors import CertificationError, StateError
from casemate.chip.snp.certification import SnpCertification
from casemate.chip.snp.errors import FirmwareError, FirmwareStatus
from casemate.chip.snp.guest_context import Command, GuestContext
from casemate.chip.snp.guest_requests import answer
from casemate.chip.snp.launch import (
    MEASURED,
    Memory,
    check_policy,
    check_update,
    checked_cpuid_page,
    extended,
    identified,
    secrets_page,
)
from casemate.chip.snp.platform import SnpPlatform
from casemate.chip.snp.vm_process import VmProcess
from casemate.link.calls import Reply
from casemate.link.channel import Frame
from casemate.wire.encodings.message import parse_message
from casemate.wire.errors import WireError
from casemate.wire.messages.snp_firmware import (
    MAX_DRAM_PAGES,
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
from casemate.wire.messages.vm.silicon import AddPages, Finish, Finished, PageIs, PagesAdded, PowerOn, ReadPage
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.protocol.sandbox_layers import LayerRequest
from casemate.wire.snp.page_info import DIGEST_SIZE, PAGE_SIZE, PageType
from casemate.wire.snp.simulated_platform import CPUIDS
from casemate.wire.snp.vmm import signature

MAX_GUESTS = 64
"""Guests of this chip at a time: each is a process."""

MAX_TOP = 1 << 32
"""Highest guest physical address, and one (bytes): what a VM's process has room for."""

UPDATE_TIME = 30.0
"""Seconds that a VM may take for the pages of one LAUNCH_UPDATE: hashing and encrypting 16 MiB."""
ANSWER_TIME = 10.0
"""Seconds that a VM may take for anything else."""

_KEY_SIZE = 32
_MAX_REASON = 1024
_REQUESTS = (
    LaunchStart,
    LaunchUpdate,
    LaunchFinish,
    GuestRequest,
    DestroyVm,
    PlatformStatus,
    SetConfig,
    Commit,
    GetCertificates,
    LoadVlek,
)


@dataclass(slots=True)
class _Guest:
    number: int
    context: GuestContext
    memory: Memory
    process: VmProcess
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    lost: str | None = None
    """Why its process has ended, where nobody had asked for that."""


class Firmware:
    """Serves one host at a time: the guests of a host end with its link."""

    def __init__(
        self,
        platform: SnpPlatform,
        certification: SnpCertification,
        *,
        python: Path,
        layers: tuple[LayerRequest, ...],
        tell: Callable[[VmProcessIs], None],
    ) -> None:
        """No guest yet.

        Args:
            platform: of this chip.
            certification: of its keys.
            python: the interpreter for the processes of VMs.
            layers: what their sandboxes must have.
            tell: takes the news of a VM's death to the host.
        """
        self._platform = platform
        self._certification = certification
        self._python = python
        self._layers = layers
        self._tell = tell
        self._guests: dict[int, _Guest] = {}
        self._starting = 0
        self._last_number = 0

    async def answer(self, frame: Frame) -> Reply:
        """The reply to one command; :class:`FaultError` or :class:`WireError` where it is refused.

        The frame's descriptors stay the caller's.
        """
        command: object = parse_message(frame.payload, *_REQUESTS)
        try:
            match command:
                case LaunchStart():
                    return await self._launch_start(command, frame.descriptors)
                case LaunchUpdate():
                    return Reply(await self._launch_update(self._guest(command.vm), command))
                case LaunchFinish():
                    return Reply(await self._launch_finish(self._guest(command.vm), command))
                case GuestRequest(number, request):
                    return Reply(GuestResponse(answer(self._guest(number).context, self._platform, request)))
                case DestroyVm(number):
                    return Reply(await self._destroy(self._guest(number, or_lost=True)))
            return Reply(await self._answer_of_platform(command))
        except FirmwareError as error:
            raise refuse(Code.FIRMWARE_REFUSED, str(error)) from None
        except (CertificationError, StateError) as error:
            raise refuse(Code.UNAVAILABLE, str(error)) from None

    async def _answer_of_platform(self, command: object) -> object:
        match command:
            case SetConfig(reported_tcb, mask_chip_id):
                self._platform.set_config(reported_tcb, mask_chip_id=mask_chip_id)
            case Commit():
                self._platform.commit()
            case LoadVlek(csp_id):
                await self._certification.load_vlek(csp_id)
            case GetCertificates():
                return CertificatesAre(await self._certification.certificates())
        return self._status()

    async def end_guests(self) -> None:
        """Ends all guests; their processes are dead when this returns."""
        await asyncio.gather(*(self._destroy(guest) for guest in tuple(self._guests.values())))

    async def _launch_start(self, start: LaunchStart, descriptors: tuple[int, ...]) -> Reply:
        """SNP_GCTX_CREATE, SNP_ACTIVATE and SNP_LAUNCH_START."""
        if len(descriptors) != 1:
            raise WireError("LaunchStart", got=f"{len(descriptors)} descriptors", want="1")
        current = self._platform.state.current
        check_policy(start.policy, product=self._platform.product, api_major=current.major, api_minor=current.minor)
        _check_memory(start, descriptors[0])
        if len(self._guests) + self._starting >= MAX_GUESTS:
            raise FirmwareError(FirmwareStatus.RESOURCE_LIMIT, f"there are {MAX_GUESTS} guests, and no other ASID")
        self._starting += 1
        try:
            return await self._started(start, descriptors[0])
        finally:
            self._starting -= 1

    async def _started(self, start: LaunchStart, dram: int) -> Reply:
        context = GuestContext.create(start.mode, start.policy, self._platform.state.current.tcb, secrets.token_bytes)
        context.step(Command.LAUNCH_START)
        self._last_number += 1
        number = self._last_number
        power_on = PowerOn(
            mode=start.mode,
            key=secrets.token_bytes(_KEY_SIZE),
            tweak_key=secrets.token_bytes(_KEY_SIZE),
            asid=number,
            pages=start.pages,
            top=start.top,
            policy=start.policy,
            layers=self._layers,
        )
        process, hypervisor = await VmProcess.start(
            self._python, power_on, dram, lambda reason: self._lost(number, reason)
        )
        guest = _Guest(number, context, Memory(start.pages, start.top), process)
        self._guests[number] = guest
        return Reply(
            LaunchStarted(number, power_on.asid),
            (hypervisor.detach(),),
            undelivered=lambda: self._destroy(guest),
        )

    async def _launch_update(self, guest: _Guest, update: LaunchUpdate) -> LaunchDigest:
        async with guest.turn:
            guest.context.check(Command.LAUNCH_UPDATE)
            check_update(update, guest.memory)
            add = AddPages(
                page_type=update.page_type,
                spa=update.spa,
                gpa=update.gpa,
                count=update.count,
                vmpl1_perms=update.vmpl1_perms,
                vmpl2_perms=update.vmpl2_perms,
                vmpl3_perms=update.vmpl3_perms,
                content=await self._content(guest, update),
            )
            added = await guest.process.ask(add, PagesAdded, UPDATE_TIME)
            want = DIGEST_SIZE * update.count if update.page_type in MEASURED else 0
            if len(added.digests) != want:
                guest.process.give_up(f"it gave {len(added.digests)} bytes of digests instead of {want}")
                raise refuse(Code.LOST, "the VM's process does not measure what it takes, and was ended")
            guest.context.digest = extended(guest.context.digest, update, added.digests)
            guest.context.step(Command.LAUNCH_UPDATE)
            return LaunchDigest(guest.number, guest.context.digest)

    async def _content(self, guest: _Guest, update: LaunchUpdate) -> bytes | None:
        """What the firmware puts into the page; None where that is what DRAM holds."""
        if update.page_type is PageType.SECRETS:
            cpuid = CPUIDS[self._platform.product]
            return secrets_page(guest.context, signature(cpuid.family, cpuid.model, cpuid.stepping))
        if update.page_type is PageType.CPUID:
            page = await guest.process.ask(ReadPage(update.spa), PageIs, ANSWER_TIME)
            return checked_cpuid_page(page.content, guest.context.mode)
        return None

    async def _launch_finish(self, guest: _Guest, finish: LaunchFinish) -> LaunchDigest:
        async with guest.turn:
            guest.context.check(Command.LAUNCH_FINISH)
            identity = identified(guest.context, finish)
            await guest.process.ask(Finish(), Finished, ANSWER_TIME)
            guest.context.identity = identity
            guest.context.step(Command.LAUNCH_FINISH)
            return LaunchDigest(guest.number, guest.context.digest)

    async def _destroy(self, guest: _Guest) -> VmProcessIs:
        """SNP_DECOMMISSION: its context and, with its process, its keys are gone."""
        self._guests.pop(guest.number, None)
        await guest.process.end()
        return VmProcessIs(guest.number, guest.lost or "decommissioned")

    def _guest(self, number: int, *, or_lost: bool = False) -> _Guest:
        guest = self._guests.get(number)
        if guest is None:
            raise refuse(Code.UNKNOWN_VM, f"there is no VM {number} on this chip")
        if guest.lost is not None and not or_lost:
            raise refuse(Code.LOST, f"VM {number} is lost: {guest.lost}")
        return guest

    def _lost(self, number: int, reason: str) -> None:
        guest = self._guests.get(number)
        if guest is not None:  # else it is being launched, and whoever launches it is told
            guest.lost = reason.encode("utf-8", "replace")[:_MAX_REASON].decode("utf-8", "ignore")
            self._tell(VmProcessIs(number, guest.lost))

    def _status(self) -> PlatformIs:
        return self._platform.status(len(self._guests), self._certification.provider)


def _check_memory(start: LaunchStart, dram: int) -> None:
    """Whether DRAM is what the command says: a plain file of that size, open for reading and writing."""
    if not 1 <= start.pages <= MAX_DRAM_PAGES:
        raise FirmwareError(FirmwareStatus.INVALID_PARAM, f"{start.pages} pages of DRAM, want 1 to {MAX_DRAM_PAGES}")
    if not 0 < start.top <= MAX_TOP or start.top % PAGE_SIZE:
        raise FirmwareError(FirmwareStatus.INVALID_PARAM, f"top {start.top:#x}, want whole pages up to {MAX_TOP:#x}")
    status, flags = os.fstat(dram), fcntl.fcntl(dram, fcntl.F_GETFL)
    size = PAGE_SIZE * start.pages
    if not stat.S_ISREG(status.st_mode) or status.st_size != size or flags & os.O_ACCMODE != os.O_RDWR:
        raise FirmwareError(
            FirmwareStatus.INVALID_ADDRESS,
            f"DRAM is no plain file of {size} bytes that is open for reading and writing",
        )
