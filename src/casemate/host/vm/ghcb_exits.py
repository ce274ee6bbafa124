"""VMGEXIT: serves what guests of SEV-ES and later ask through the GHCB MSR or the GHCB (AMD 56421).

The input is the guest's, which may be hostile to its host: every value is checked, and no request raises.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from casemate.host.vm.guest import Guest
from casemate.wire.encodings.fields import MAX_U32
from casemate.wire.errors import WireError
from casemate.wire.messages.vm.hypervisor import RmpUpdate
from casemate.wire.protocol.faults import Code, FaultError
from casemate.wire.snp import ghcb_msr as msr
from casemate.wire.snp.ghcb import (
    SHARED_BUFFER,
    SHARED_BUFFER_SIZE,
    ExitCode,
    Ghcb,
    GhcbField,
    GuestRequestError,
    Malformed,
    guest_request_result,
)
from casemate.wire.snp.page_info import PAGE_SIZE
from casemate.wire.snp.page_state import PageOperation, PageStateChange
from casemate.wire.snp.port_access import PortAccess, PortString

C_BIT = 51
_VERSIONS = (2, 1)
_LOW = MAX_U32
_REFUSED_BY_FIRMWARE = 1
"""A status other than 0 for the guest, which gets no text."""


@dataclass(frozen=True, slots=True)
class Served:
    """The result of an exit."""

    ghcb: int | None = None
    """The new value of the GHCB MSR; None leaves it unchanged."""
    stopped: str | None = None
    """Why the guest cannot go on."""


class GhcbExits:
    """Serves the VMGEXITs of one VM."""

    def __init__(
        self,
        guest: Guest,
        ask_firmware: Callable[[bytes], Awaitable[bytes]],
        certificates: Callable[[], Awaitable[bytes]],
    ) -> None:
        """Serves one VM.

        Args:
            guest: the VM's memory, link and devices.
            ask_firmware: gives the firmware's sealed answer to a sealed guest request; FaultError where it refuses.
            certificates: gives the certificate table for extended requests.
        """
        self._guest = guest
        self._mode, self._plan, self._link = guest.mode, guest.plan, guest.link
        self._devices, self._cpuid = guest.devices, guest.cpuid
        self._ask_firmware = ask_firmware
        self._certificates = certificates

    async def serve(self, value: int) -> Served:
        """Serves the request of a guest that left ``value`` in the GHCB MSR. No request of a guest raises.

        Raises:
            FaultError: of code ``lost``: the VM's process is gone.
        """
        try:
            asked = msr.parse_request(value)
            if isinstance(asked, msr.GhcbAddress):
                return await self._serve_page(asked.gpa)
            return await self._serve_msr(asked)
        except (WireError, FaultError) as error:
            if isinstance(error, FaultError) and error.fault.code is Code.LOST:
                raise
            return Served(stopped=f"it asked for what no hypervisor can do: {error}")

    async def _serve_msr(self, asked: msr.MsrRequest) -> Served:
        match asked:
            case msr.SevInfoRequest():
                answer: msr.SevInfo | msr.CpuidResponse | msr.PreferredGpaResponse | msr.RegisterGpaResponse
                answer = msr.SevInfo(*_VERSIONS, C_BIT)
            case msr.CpuidRequest(function, register):
                answer = msr.CpuidResponse(self._cpuid.answer(function, 0)[register], register)
            case msr.PreferredGpaRequest():
                answer = msr.PreferredGpaResponse(msr.NO_GFN)
            case msr.RegisterGpaRequest(gfn):
                self._plan.spa(gfn * PAGE_SIZE)
                answer = msr.RegisterGpaResponse(gfn)
            case msr.PageStateRequest(gfn, operation):
                gpa = gfn * PAGE_SIZE
                await change_page(self._guest, gpa, PageOperation(operation), 1)
                return Served(msr.PageStateResponse(0).encode())
            case msr.FeaturesRequest():
                return Served(msr.FeaturesResponse(self._features).encode())
            case msr.TerminateRequest(reason_set, reason):
                return Served(stopped=f"it ended itself, with reason {reason_set}:{reason:#x}")
            case _:
                return Served(stopped="it waits to be started, which nobody does")
        return Served(answer.encode())

    @property
    def _features(self) -> int:
        return msr.HypervisorFeature.SNP if self._mode.has_rmp else 0

    async def _serve_page(self, gpa: int) -> Served:
        spa = self._plan.spa(gpa)
        ghcb = Ghcb.parse(await self._link.load(spa, PAGE_SIZE))
        try:
            code = ghcb.exit_code
        except WireError:
            answer: Ghcb | None = ghcb.refuse(Malformed.INVALID_EVENT)
        else:
            if code is ExitCode.TERMINATE:
                return Served(stopped="it ended itself")
            try:
                answer = await self._event(code, ghcb, gpa)
            except WireError:
                answer = ghcb.refuse(Malformed.INVALID_INPUT)
        if answer is None:
            return Served(stopped="it waits to be started, which nobody does")
        await self._link.store(spa, answer.encode())
        return Served()

    async def _event(self, code: ExitCode, ghcb: Ghcb, gpa: int) -> Ghcb | None:
        match code:
            case ExitCode.IOIO if PortString.is_meant(ghcb.get(GhcbField.SW_EXITINFO1)):
                return self._port_string(ghcb, gpa)
            case ExitCode.IOIO:
                access = PortAccess.parse(ghcb.get(GhcbField.SW_EXITINFO1))
                value = self._devices.access(access, 0 if access.is_in else ghcb.get(GhcbField.RAX))
                return ghcb.answer({GhcbField.RAX: value} if access.is_in else {})
            case ExitCode.CPUID:
                leaf, subleaf = ghcb.get(GhcbField.RAX) & _LOW, ghcb.get(GhcbField.RCX) & _LOW
                fields = (GhcbField.RAX, GhcbField.RBX, GhcbField.RCX, GhcbField.RDX)
                return ghcb.answer(dict(zip(fields, self._cpuid.answer(leaf, subleaf), strict=True)))
            case ExitCode.MSR:
                is_write = bool(ghcb.get(GhcbField.SW_EXITINFO1))
                return ghcb.answer({} if is_write else {GhcbField.RAX: 0, GhcbField.RDX: 0})
            case ExitCode.PAGE_STATE_CHANGE:
                change = PageStateChange.parse(ghcb.shared_buffer)
                done = await change_pages(self._guest, change)
                return ghcb.answer(shared_buffer=done.encode())
            case ExitCode.GUEST_REQUEST:
                return await self._guest_request(ghcb, {})
            case ExitCode.EXTENDED_GUEST_REQUEST:
                return await self._extended_request(ghcb)
            case ExitCode.HYPERVISOR_FEATURES:
                return ghcb.answer(info_2=self._features)
            case _:
                return None

    def _port_string(self, ghcb: Ghcb, gpa: int) -> Ghcb:
        """String I/O.

        The values have to be in the GHCB's shared buffer: the hypervisor reads no other memory of the guest for it.
        """
        string = PortString.parse(ghcb.get(GhcbField.SW_EXITINFO1), ghcb.get(GhcbField.SW_EXITINFO2))
        start, access = ghcb.get(GhcbField.SW_SCRATCH) - gpa - SHARED_BUFFER, string.access
        end = start + string.size
        if not 0 <= start < end <= SHARED_BUFFER_SIZE:
            return ghcb.refuse(Malformed.INVALID_SCRATCH_AREA)
        buffer = bytearray(ghcb.shared_buffer)
        for at in range(start, end, access.size):
            value = self._devices.access(access, int.from_bytes(buffer[at : at + access.size], "little"))
            if access.is_in:
                buffer[at : at + access.size] = value.to_bytes(access.size, "little")
        return ghcb.answer(shared_buffer=bytes(buffer))

    async def _guest_request(self, ghcb: Ghcb, values: dict[GhcbField, int]) -> Ghcb:
        request, response = ghcb.get(GhcbField.SW_EXITINFO1), ghcb.get(GhcbField.SW_EXITINFO2)
        message = await self._link.load(self._plan.spa(request), PAGE_SIZE)
        try:
            answer = await self._ask_firmware(message)
        except FaultError:
            return ghcb.answer(values, info_2=guest_request_result(GuestRequestError.NONE, _REFUSED_BY_FIRMWARE))
        await self._link.store(self._plan.spa(response), answer.ljust(PAGE_SIZE, b"\0"))
        return ghcb.answer(values)

    async def _extended_request(self, ghcb: Ghcb) -> Ghcb:
        """A guest request whose answer comes with the certificates.

        Where these do not fit, the firmware is not asked: its sequence number would advance for an answer that the
        guest does not get.
        """
        address, pages = ghcb.get(GhcbField.RAX), ghcb.get(GhcbField.RBX)
        table = await self._certificates()
        needed = -(-len(table) // PAGE_SIZE)
        if pages < needed:
            error = guest_request_result(GuestRequestError.INVALID_LENGTH)
            return ghcb.answer({GhcbField.RBX: needed}, info_2=error)
        padded = table.ljust(needed * PAGE_SIZE, b"\0")
        for at in range(0, len(padded), PAGE_SIZE):
            await self._link.store(self._plan.spa(address + at), padded[at : at + PAGE_SIZE])
        return await self._guest_request(ghcb, {GhcbField.RBX: needed})


async def change_page(guest: Guest, gpa: int, operation: PageOperation, pages: int) -> None:
    """Makes pages private or shared: RMPUPDATE, where there is a reverse map table.

    Both ends of the range are looked up before anything changes, so a guest cannot have pages changed that are not its
    own.

    Raises:
        FaultError: there is no such page, or the reverse map table does not allow it.
    """
    first = guest.plan.spa(gpa)
    guest.plan.spa(gpa + pages * PAGE_SIZE - 1)
    if guest.mode.has_rmp and operation in (PageOperation.PRIVATE, PageOperation.SHARED):
        is_private = operation is PageOperation.PRIVATE
        await guest.link.update_rmp(
            RmpUpdate(spa=first, count=pages, assigned=is_private, gpa=gpa if is_private else 0, immutable=False)
        )


async def change_pages(guest: Guest, change: PageStateChange) -> PageStateChange:
    """Serves all entries of a Page State Change that are not done; raises as :func:`change_page`.

    Returns the structure as the guest gets it back, with the entry after the last as the current one.
    """
    for entry in change.entries[change.cur_entry :]:
        left = entry.pages - entry.cur_page
        if left:
            await change_page(guest, entry.gpa + entry.cur_page * PAGE_SIZE, entry.operation, left)
    return PageStateChange(len(change.entries), change.entries)
