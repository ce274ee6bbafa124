"""The launch of a VM: each page is written to DRAM, assigned to the guest by RMPUPDATE, and given to the firmware."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from casemate.host.vm.firmware import SevFirmware
from casemate.host.vm.guest import Guest
from casemate.wire.messages.snp_firmware import MAX_UPDATE_PAGES, LaunchUpdate
from casemate.wire.messages.vm.hypervisor import RmpUpdate
from casemate.wire.snp.launch import Part, PlannedPage
from casemate.wire.snp.page_info import PAGE_SIZE, LaunchPage, PageType


@dataclass(frozen=True, slots=True)
class Run:
    """Pages of one type that are contiguous in both address spaces, collected for one LAUNCH_UPDATE."""

    page_type: PageType
    gpa: int
    spa: int
    contents: list[bytes]

    def goes_on_with(self, page: LaunchPage, spa: int) -> bool:
        """Whether ``page`` at ``spa`` can be appended."""
        size = len(self.contents) * PAGE_SIZE
        return (
            page.page_type is self.page_type
            and page.page_type in _IN_RUNS
            and len(self.contents) < MAX_UPDATE_PAGES
            and (page.gpa, spa) == (self.gpa + size, self.spa + size)
        )


_IN_RUNS = (PageType.NORMAL, PageType.ZERO, PageType.UNMEASURED)


class Launch:
    """A VM between LAUNCH_START and LAUNCH_FINISH."""

    def __init__(self, vm: int, guest: Guest, firmware: SevFirmware) -> None:
        """Takes the firmware's number of the VM, and the VM's parts."""
        self._vm = vm
        self._guest = guest
        self._firmware = firmware
        self._taken: set[int] = set()
        self._vcpus = 0

    async def map(self) -> None:
        """Maps every page of the guest as the plan says."""
        plan, link = self._guest.plan, self._guest.link
        await link.map(0, 0, plan.ram // PAGE_SIZE)
        if plan.firmware:
            start = (1 << 32) - plan.firmware
            await link.map(start, plan.spa(start), plan.firmware // PAGE_SIZE)

    async def add(self, pages: Iterable[PlannedPage]) -> bytes | None:
        """LAUNCH_UPDATE for all of these pages, in order; the digest so far, or None where there were no pages."""
        digest = None
        for run in self._runs(pages):
            count = len(run.contents)
            self._guest.dram.write(run.spa, b"".join(run.contents))
            if self._guest.mode.has_rmp:
                update = RmpUpdate(spa=run.spa, count=count, assigned=True, gpa=run.gpa, immutable=True)
                await self._guest.link.update_rmp(update)
            digest = await self._firmware.launch_update(
                LaunchUpdate(vm=self._vm, page_type=run.page_type, spa=run.spa, gpa=run.gpa, count=count)
            )
            self._taken.update(range(run.spa, run.spa + count * PAGE_SIZE, PAGE_SIZE))
        return digest

    async def give_the_rest(self) -> None:
        """Assigns the RAM that was not launched to the guest, which has to validate it before it can use it."""
        if not self._guest.mode.has_rmp:
            return
        start = 0
        for spa in (*sorted(taken for taken in self._taken if taken < self._guest.plan.ram), self._guest.plan.ram):
            if spa > start:
                count = (spa - start) // PAGE_SIZE
                await self._guest.link.update_rmp(
                    RmpUpdate(spa=start, count=count, assigned=True, gpa=start, immutable=False)
                )
            start = spa + PAGE_SIZE

    def _runs(self, pages: Iterable[PlannedPage]) -> Iterator[Run]:
        run: Run | None = None
        for planned in pages:
            page, spa, gpa = self._placed(planned)
            if run is not None and run.goes_on_with(page, spa):
                run.contents.append(page.content)
                continue
            if run is not None:
                yield run
            run = Run(page.page_type, gpa, spa, [page.content])
        if run is not None:
            yield run

    def _placed(self, planned: PlannedPage) -> tuple[LaunchPage, int, int]:
        """The page with the content that this hypervisor provides, its SPA, and the GPA of its RMP entry."""
        page = planned.page
        if planned.part is Part.VMSA:
            vcpu, self._vcpus = self._vcpus, self._vcpus + 1
            return page, self._guest.plan.vmsa(vcpu), self._guest.plan.vmsa_gpa(vcpu)
        if page.page_type is PageType.CPUID:
            page = replace(page, content=self._guest.cpuid.page().encode())
        return page, self._guest.plan.spa(page.gpa), page.gpa
