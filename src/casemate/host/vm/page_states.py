"""Pages that a guest makes private, or shares with its hypervisor: RMPUPDATE, where there is a reverse map table."""

from casemate.host.vm.guest import Guest
from casemate.wire.messages.vm.hypervisor import RmpUpdate
from casemate.wire.snp.page_info import PAGE_SIZE
from casemate.wire.snp.page_state import PageOperation, PageStateChange


async def change_page(guest: Guest, gpa: int, operation: PageOperation, pages: int) -> None:
    """One request's pages.

    Raises:
        FaultError: there is no such page, or the RMP does not allow it.
    """
    first = guest.plan.spa(gpa)
    guest.plan.spa(gpa + pages * PAGE_SIZE - 1)
    if guest.mode.has_rmp and operation in (PageOperation.PRIVATE, PageOperation.SHARED):
        is_private = operation is PageOperation.PRIVATE
        await guest.link.update_rmp(
            RmpUpdate(spa=first, count=pages, assigned=is_private, gpa=gpa if is_private else 0, immutable=False)
        )


async def change_pages(guest: Guest, change: PageStateChange) -> PageStateChange:
    """All entries that are not done; as :func:`change_page`. Gives the structure as the guest gets it back."""
    for entry in change.entries[change.cur_entry :]:
        left = entry.pages - entry.cur_page
        if left:
            await change_page(guest, entry.gpa + entry.cur_page * PAGE_SIZE, entry.operation, left)
    return PageStateChange(len(change.entries), change.entries)
