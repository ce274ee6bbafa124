"""Pages of code: where in them the emulator has to stop, and whether they have changed since it translated them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from unicorn import UC_HOOK_CODE, Uc

from casemate.vm.page_cache import PageCache
from casemate.vm.vcpu.instructions import beginnings
from casemate.wire.snp.page_info import PAGE_SIZE

MAX_PAGES = 512
"""When there are more, all are forgotten; each is learned again when it is executed."""

OnCode = Callable[[Uc, int, int, object], None]


@dataclass(frozen=True, slots=True)
class _Page:
    place: int
    content: bytes
    hooks: tuple[int, ...]


class CodePages:
    """Pages in which the emulator stops at instructions that it must not execute, by linear address as in its cache."""

    def __init__(self, uc: Uc, cache: PageCache, on_intercepted: OnCode) -> None:
        self._uc = uc
        self._cache = cache
        self._on_intercepted = on_intercepted
        self._pages: dict[int, _Page] = {}
        self._counting: Any = None

    def knows(self, linear: int, place: int) -> bool:
        """Whether the page at ``place``, executed as ``linear``, has the content that was last learned."""
        page = self._pages.get(linear)
        return page is not None and page.place == place and page.content == self._content(place)

    def learn(self, linear: int, place: int) -> None:
        """Has the emulator stop wherever in the page an instruction may begin that it must not execute itself."""
        place &= -PAGE_SIZE
        if self.knows(linear, place):
            return
        if len(self._pages) >= MAX_PAGES:
            for known in tuple(self._pages):
                self._forget(known)
        self._forget(linear)
        content = self._content(place)
        hooks = tuple(
            self._uc.hook_add(UC_HOOK_CODE, self._on_intercepted, begin=linear + at, end=linear + at)
            for at in beginnings(content)
        )
        self._pages[linear] = _Page(place, content, hooks)
        self._uc.ctl_flush_tb()

    def code(self, linear: int, size: int) -> bytes:
        """Up to ``size`` bytes of the learned code, from ``linear`` on."""
        found = b""
        while len(found) < size:
            page = self._pages.get((linear + len(found)) & -PAGE_SIZE)
            if page is None:
                break
            at = (linear + len(found)) % PAGE_SIZE
            found += page.content[at : at + size - len(found)]
        return found

    def count_all(self, on_any: OnCode | None) -> None:
        """Has the emulator call ``on_any`` before each instruction; None ends that."""
        if self._counting is not None:
            self._uc.hook_del(self._counting)
        self._counting = None if on_any is None else self._uc.hook_add(UC_HOOK_CODE, on_any, begin=1, end=0)
        self._uc.ctl_flush_tb()

    def _forget(self, linear: int) -> None:
        page = self._pages.pop(linear, None)
        if page is not None:
            for hook in page.hooks:
                self._uc.hook_del(hook)

    def _content(self, place: int) -> bytes:
        return self._cache.memory[place : place + PAGE_SIZE]
