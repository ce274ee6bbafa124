"""A guest whose page was found changed does not run again, whatever its host puts back."""

import os

import pytest

from casemate.images.vm.builtin import firmware
from casemate.testing.lone_guest import LoneGuest
from casemate.wire.messages.vm.hypervisor import ExitReason
from casemate.wire.snp.mode import VmMode
from casemate.wire.snp.page_info import PAGE_SIZE

PAGE_A = 0x20_0000


@pytest.mark.parametrize("what", ["page", "registers"])
def test_a_page_that_is_put_back_does_not_bring_the_guest_back(what: str) -> None:
    with LoneGuest(firmware("victim"), VmMode.AUTHENTICATED) as host:
        assert host.run() is None
        dram, spa = host.vm.dram.fileno(), PAGE_A if what == "page" else host.vm.vmsas[0]
        honest = os.pread(dram, PAGE_SIZE, spa)
        os.pwrite(dram, bytes(PAGE_SIZE), spa)
        first = host.run()
        os.pwrite(dram, honest, spa)
        again = host.run()
    assert first is not None
    assert first.reason is ExitReason.INTEGRITY
    assert again == first
