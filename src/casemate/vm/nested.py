"""The nested page table: from guest to system physical addresses. It is the hypervisor's, to write what it likes."""

from casemate.vm.errors import NestedFaultError
from casemate.wire.snp.page_info import PAGE_SIZE


class NestedPageTable:
    """GPA to SPA, by pages; every mapping allows everything, since whoever wants less takes the page away."""

    def __init__(self) -> None:
        self._pages: dict[int, int] = {}

    def map(self, gpa: int, spa: int | None, count: int) -> None:
        """``count`` pages from ``gpa`` are at ``spa`` from now; None: nowhere."""
        first = gpa // PAGE_SIZE
        if spa is None:
            for number in range(first, first + count):
                self._pages.pop(number, None)
        else:
            self._pages.update((first + number, spa + number * PAGE_SIZE) for number in range(count))

    def spa(self, gpa: int, error_code: int = 0) -> int:
        """Where the page at ``gpa`` is; :class:`NestedFaultError` with ``error_code`` where it is nowhere."""
        spa = self._pages.get(gpa // PAGE_SIZE)
        if spa is None:
            raise NestedFaultError(gpa, error_code, "the nested page table maps nothing there")
        return spa
