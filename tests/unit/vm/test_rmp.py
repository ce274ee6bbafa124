"""The reverse map table's rules, one by one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.vm.errors import NestedFaultError, NotValidatedError, RequestError, RmpViolationError
from casemate.vm.rmp import NPF_RMP, NPF_VMPL, Permissions, ReverseMapTable
from casemate.wire.snp.page_info import PAGE_SIZE

SPA, GPA = 0x3000, 0x7000
NOTHING = (0, 0, 0)


def launched(perms: tuple[int, int, int] = NOTHING, *, vmsa: bool = False) -> ReverseMapTable:
    """A table with one page that the firmware has taken."""
    table = ReverseMapTable(16)
    table.update(SPA, 1, GPA, immutable=True)
    table.take(SPA, perms, vmsa=vmsa)
    return table


def test_a_page_must_be_pre_guest_to_be_launched() -> None:
    table = ReverseMapTable(16)
    assert not table.is_pre_guest(SPA, GPA)
    table.update(SPA, 1, GPA, immutable=True)
    assert table.is_pre_guest(SPA, GPA)
    assert table.is_pre_guest(SPA, None)
    assert not table.is_pre_guest(SPA, GPA + PAGE_SIZE)
    table.take(SPA, NOTHING, vmsa=False)
    assert not table.is_pre_guest(SPA, GPA)


def test_the_hypervisor_cannot_change_what_waits_for_its_launch() -> None:
    table = ReverseMapTable(16)
    table.update(SPA, 1, GPA, immutable=True)
    with pytest.raises(RequestError, match="immutable"):
        table.update(SPA, 1, None, immutable=False)


def test_rmpupdate_takes_validation_away() -> None:
    table = launched()
    table.check_private(SPA, GPA, 0, Permissions.READ)
    table.update(SPA, 1, GPA, immutable=False)
    with pytest.raises(NotValidatedError):
        table.check_private(SPA, GPA, 0, Permissions.READ)


def test_a_page_at_another_gpa_or_of_the_hypervisors_is_a_nested_fault() -> None:
    table = launched()
    for spa, gpa in ((SPA, GPA + PAGE_SIZE), (SPA + PAGE_SIZE, GPA)):
        with pytest.raises(NestedFaultError) as fault:
            table.check_private(spa, gpa, 0, Permissions.READ)
        assert fault.value.error_code & NPF_RMP


def test_stores_of_the_host_fault_on_every_page_of_the_guests_whatever_its_state() -> None:
    table = ReverseMapTable(16)
    table.check_host_store(SPA, 3 * PAGE_SIZE)
    table.update(SPA, 1, GPA, immutable=False)
    for at, size in ((SPA, 1), (SPA - 1, 2), (SPA + PAGE_SIZE - 1, 1), (0, 16 * PAGE_SIZE)):
        with pytest.raises(RmpViolationError):
            table.check_host_store(at, size)
    table.check_host_store(SPA - 1, 1)
    table.check_host_store(SPA + PAGE_SIZE, 1)


def test_lower_vmpls_have_what_they_were_given_and_no_more() -> None:
    table = launched((Permissions.READ | Permissions.WRITE, Permissions.READ, 0))
    table.check_private(SPA, GPA, 1, Permissions.WRITE)
    table.check_private(SPA, GPA, 2, Permissions.READ)
    for vmpl, wanted in ((1, Permissions.USER_EXECUTE), (2, Permissions.WRITE), (3, Permissions.READ)):
        with pytest.raises(NestedFaultError) as fault:
            table.check_private(SPA, GPA, vmpl, wanted)
        assert fault.value.error_code & NPF_VMPL
    table.adjust(SPA, 3, Permissions.READ, vmsa=False)
    table.check_private(SPA, GPA, 3, Permissions.READ)


def test_a_guest_stores_into_shared_memory_where_the_page_is_the_hypervisors() -> None:
    table = launched()
    table.check_shared(SPA + PAGE_SIZE, GPA, write=True)
    table.check_shared(SPA, GPA, write=False)
    with pytest.raises(NestedFaultError):
        table.check_shared(SPA, GPA, write=True)


def test_what_is_rescinded_is_no_vmsa_any_more() -> None:
    table = launched(vmsa=True)
    assert table.is_vmsa(SPA)
    assert table.set_validated(SPA, validated=False)
    assert not table.is_vmsa(SPA)
    assert not table.set_validated(SPA, validated=False), "twice is once"


@given(
    gpa=st.integers(0, (1 << 44) // PAGE_SIZE - 1).map(lambda number: number * PAGE_SIZE),
    perms=st.tuples(*[st.integers(0, 15)] * 3),
)
def test_an_entry_says_what_was_put_in(gpa: int, perms: tuple[int, int, int]) -> None:
    table = ReverseMapTable(2)
    table.update(PAGE_SIZE, 1, gpa, immutable=True)
    table.take(PAGE_SIZE, perms, vmsa=True)
    other, entry = table.entries(0, 2)
    assert not other.assigned
    assert (entry.spa, entry.gpa, entry.assigned, entry.validated, entry.vmsa) == (PAGE_SIZE, gpa, True, True, True)
    assert entry.perms == (15, *perms)
    assert table.gpa_of(PAGE_SIZE) == gpa
