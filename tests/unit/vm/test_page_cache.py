"""The memory controller's cache over a DRAM file that is written to from outside."""

import os
import random
import secrets
import tempfile
from collections.abc import Iterator

import pytest

from casemate.vm.dram import Dram
from casemate.vm.errors import IntegrityError
from casemate.vm.nested import NestedPageTable
from casemate.vm.page_cache import Access, PageCache, Privilege
from casemate.vm.page_cipher import AuthenticatedPages, PageCipher, TweakedPages
from casemate.wire.snp.page_info import PAGE_SIZE

PAGES = 16
TOP = 1 << 24
SUPERVISOR = Privilege(0, user=False)
WRITES = 10_000


class Controller:
    """A cache, its DRAM, and what the guest believes to be there."""

    def __init__(self, cipher: PageCipher, descriptor: int) -> None:
        self.descriptor = descriptor
        os.ftruncate(descriptor, PAGES * PAGE_SIZE)
        nested = NestedPageTable()
        nested.map(0, 0, PAGES)
        self.cache = PageCache(Dram(descriptor, PAGES), nested, None, cipher, TOP)
        self.written: dict[int, bytes] = {}
        for page in range(PAGES):
            self.write(page, secrets.token_bytes(PAGE_SIZE))
        self.cache.flush()

    def write(self, page: int, content: bytes) -> None:
        place = self.cache.place(page * PAGE_SIZE, Access.WRITE, SUPERVISOR, private=True)
        self.cache.memory[place : place + PAGE_SIZE] = content
        self.written[page] = content

    def read(self, page: int) -> bytes:
        place = self.cache.place(page * PAGE_SIZE, Access.READ, SUPERVISOR, private=True)
        return self.cache.memory[place : place + PAGE_SIZE]

    def dram(self, page: int) -> bytes:
        return os.pread(self.descriptor, PAGE_SIZE, page * PAGE_SIZE)


@pytest.fixture
def descriptor() -> Iterator[int]:
    with tempfile.TemporaryFile() as file:
        yield file.fileno()


def test_authenticated_pages_tell_every_write_from_outside_and_nothing_else(descriptor: int) -> None:
    chance = random.Random(2024)
    controller = Controller(AuthenticatedPages(secrets.token_bytes(32), 1), descriptor)
    changed = 0
    for _ in range(WRITES):
        page, at = chance.randrange(PAGES), chance.randrange(PAGE_SIZE)
        honest = controller.dram(page)
        content = chance.randbytes(min(chance.choice((1, 1, 8, 64)), PAGE_SIZE - at))
        os.pwrite(descriptor, content, page * PAGE_SIZE + at)
        if controller.dram(page) == honest:
            assert controller.read(page) == controller.written[page]
        else:
            changed += 1
            with pytest.raises(IntegrityError) as told:
                controller.read(page)
            assert told.value.gpa == page * PAGE_SIZE
            os.pwrite(descriptor, honest, page * PAGE_SIZE)
            assert controller.read(page) == controller.written[page]
        if chance.random() < 0.1:
            controller.write(page, chance.randbytes(PAGE_SIZE))
        controller.cache.flush()
    assert changed > WRITES * 0.95


def test_what_the_guest_has_written_over_is_read_whatever_was_put_beneath_it(descriptor: int) -> None:
    controller = Controller(AuthenticatedPages(secrets.token_bytes(32), 1), descriptor)
    controller.write(3, b"x" * PAGE_SIZE)
    os.pwrite(descriptor, bytes(PAGE_SIZE), 3 * PAGE_SIZE)
    assert controller.read(3) == b"x" * PAGE_SIZE
    controller.cache.flush()
    assert controller.read(3) == b"x" * PAGE_SIZE


def test_an_evicted_page_is_in_dram_and_no_longer_in_the_cache(descriptor: int) -> None:
    cipher = TweakedPages(secrets.token_bytes(32), secrets.token_bytes(32))
    controller = Controller(cipher, descriptor)
    controller.write(1, b"1" * PAGE_SIZE)
    controller.write(2, b"2" * PAGE_SIZE)
    before = controller.dram(2)
    assert controller.cache.evict(PAGE_SIZE)
    assert cipher.decrypt(PAGE_SIZE, PAGE_SIZE, controller.dram(1)) == b"1" * PAGE_SIZE
    assert controller.dram(2) == before
    os.pwrite(descriptor, before, PAGE_SIZE)
    assert controller.read(1) != b"1" * PAGE_SIZE
    assert not controller.cache.evict(3 * PAGE_SIZE)
