"""The nested page table: guest physical to system physical addresses. The hypervisor may write anything into it."""

from casemate.vm.errors import NestedFaultError
from casemate.wire.snp.page_info import PAGE_SIZE


class NestedPageTable:
    """GPA to SPA, by pages. A mapping has no permissions: a hypervisor that wants to deny an access unmaps the page."""

    def __init__(self) -> None:
        self._pages: dict[int, int] = {}

    def map(self, gpa: int, spa: int | None, count: int) -> None:
        """Maps ``count`` pages from ``gpa`` to ``spa``; None unmaps them."""
        first = gpa // PAGE_SIZE
        if spa is None:
            for number in range(first, first + count):
                self._pages.pop(number, None)
        else:
            self._pages.update((first + number, spa + number * PAGE_SIZE) for number in range(count))

    def spa(self, gpa: int, error_code: int = 0) -> int:
        """The SPA of the page at ``gpa``; :class:`NestedFaultError` with ``error_code`` where it is not mapped."""
        spa = self._pages.get(gpa // PAGE_SIZE)
        if spa is None:
            raise NestedFaultError(gpa, error_code, "the nested page table maps nothing there")
        return spa
