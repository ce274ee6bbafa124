"""Encryption of pages: what each kind tells apart, and what it does not."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.vm.errors import IntegrityError
from casemate.vm.page_cipher import AuthenticatedPages, PageCipher, TweakedPages
from casemate.wire.snp.page_info import PAGE_SIZE

KEY, TWEAK_KEY = bytes(range(32)), bytes(range(32, 64))
PAGE = os.urandom(PAGE_SIZE)
ADDRESS = st.integers(0, (1 << 31) // PAGE_SIZE).map(lambda number: number * PAGE_SIZE)


def tweaked() -> TweakedPages:
    return TweakedPages(KEY, TWEAK_KEY)


def authenticated() -> AuthenticatedPages:
    return AuthenticatedPages(KEY, 1)


@pytest.mark.parametrize("cipher", [tweaked(), authenticated()])
@given(spa=ADDRESS, gpa=ADDRESS, content=st.binary(min_size=PAGE_SIZE, max_size=PAGE_SIZE))
def test_what_was_written_is_read(cipher: PageCipher, spa: int, gpa: int, content: bytes) -> None:
    sealed = cipher.encrypt(spa, gpa, content)
    assert len(sealed) == PAGE_SIZE
    assert sealed != content
    assert cipher.decrypt(spa, gpa, sealed) == content


def test_xts_is_deterministic_bound_to_its_place_and_without_integrity() -> None:
    cipher = tweaked()
    sealed = cipher.encrypt(0x1000, 0, PAGE)
    assert cipher.encrypt(0x1000, 0x5000, PAGE) == sealed, "the GPA is of no account"
    assert cipher.encrypt(0x2000, 0, PAGE) != sealed
    assert cipher.decrypt(0x2000, 0, sealed) != PAGE, "moved: garbage, and no error"
    flipped = bytes((sealed[0] ^ 1, *sealed[1:]))
    garbage = cipher.decrypt(0x1000, 0, flipped)
    assert garbage[:16] != PAGE[:16]
    assert garbage[16:] == PAGE[16:], "one block of 16 bytes is garbage"


def test_gcm_never_writes_the_same_twice_and_refuses_what_was_there_once() -> None:
    cipher = authenticated()
    first = cipher.encrypt(0x1000, 0x4000, PAGE)
    second = cipher.encrypt(0x1000, 0x4000, PAGE)
    assert first != second
    assert cipher.decrypt(0x1000, 0x4000, second) == PAGE
    with pytest.raises(IntegrityError):
        cipher.decrypt(0x1000, 0x4000, first)


def test_gcm_refuses_another_pages_content_and_a_flipped_bit() -> None:
    cipher = authenticated()
    one = cipher.encrypt(0x1000, 0x1000, PAGE)
    other = cipher.encrypt(0x2000, 0x2000, PAGE)
    for wrong in (other, bytes((one[0] ^ 1, *one[1:]))):
        with pytest.raises(IntegrityError):
            cipher.decrypt(0x1000, 0x1000, wrong)


def test_gcm_reads_zeros_where_the_guest_has_written_nothing_since_the_page_became_its_own() -> None:
    cipher = authenticated()
    assert cipher.decrypt(0x1000, 0x1000, PAGE) == bytes(PAGE_SIZE)
    sealed = cipher.encrypt(0x1000, 0x1000, PAGE)
    cipher.forget(0x1000)
    assert cipher.decrypt(0x1000, 0x1000, sealed) == bytes(PAGE_SIZE)
    again = cipher.encrypt(0x1000, 0x1000, PAGE)
    assert again != sealed, "no counter is used twice with a page's key"
    with pytest.raises(IntegrityError):
        cipher.decrypt(0x1000, 0x1000, sealed)


def test_vms_do_not_read_each_others_pages() -> None:
    sealed = AuthenticatedPages(KEY, 1).encrypt(0, 0, PAGE)
    other = AuthenticatedPages(TWEAK_KEY, 2)
    other.encrypt(0, 0, PAGE)
    with pytest.raises(IntegrityError):
        other.decrypt(0, 0, sealed)
