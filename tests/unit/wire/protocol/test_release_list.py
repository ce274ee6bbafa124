import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.wire.errors import WireError
from casemate.wire.protocol.release_list import MAX_RELEASES, Release, ReleaseList, signed_bytes

RELEASES = st.builds(Release, st.binary(min_size=32, max_size=32), st.binary(min_size=48, max_size=48))
LISTS = st.builds(
    lambda name, version, releases, signature: ReleaseList(name, version, tuple(sorted(set(releases))), signature),
    st.from_regex(r"[a-z][a-z0-9]{0,20}", fullmatch=True),
    st.integers(1, 2**53 - 1),
    st.lists(RELEASES, max_size=5),
    st.binary(min_size=64, max_size=64),
)
ONE = Release(bytes(32), bytes(48))
TWO = Release(b"\x01" * 32, bytes(48))
SOUND = ReleaseList("hello", 7, (ONE, TWO), bytes(64))


def _changed(at: int, to: bytes) -> bytes:
    text = SOUND.encode()
    return text[:at] + to + text[at + len(to) :]


@given(LISTS)
def test_a_list_is_read_as_it_was_written(found: ReleaseList) -> None:
    assert ReleaseList.parse(found.encode()) == found


@given(st.binary(max_size=400) | st.builds(_changed, st.integers(0, 500), st.binary(max_size=2)))
def test_any_bytes_are_a_list_or_a_typed_error(text: bytes) -> None:
    try:
        found = ReleaseList.parse(text)
    except WireError:
        return
    assert ReleaseList.parse(found.encode()) == found


@given(LISTS, LISTS)
def test_two_lists_that_differ_are_signed_over_different_bytes(one: ReleaseList, other: ReleaseList) -> None:
    unsigned = (replace(each, signature=bytes(64)) for each in (one, other))
    assert (one.signed_bytes() == other.signed_bytes()) == (next(unsigned) == next(unsigned))


def test_what_is_signed_is_pinned() -> None:
    assert signed_bytes("ab", 3, (ONE,)) == (
        b"casemate release list 1\x00\x02ab\x03" + bytes(7) + b"\x01\x00" + bytes(80)
    )


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"format": "casemate-releases-2"}, "release list.format"),
        ({"format": 1}, "release list.format"),
        ({"name": "7"}, "function's name"),
        ({"name": "../x"}, "function's name"),
        ({"version": 0}, "release list.version"),
        ({"version": 2**53}, "release list"),
        ({"version": "7"}, "release list.version"),
        ({"signature": "AA=="}, "release list.signature"),
        ({"signature": "!"}, "release list.signature"),
        ({"more": 1}, "release list"),
        ({"releases": [{"mr_enclave": "00" * 32}]}, "release list.releases[0].launch_digest"),
        ({"releases": [{"mr_enclave": "00", "launch_digest": "00" * 48}]}, "release list.releases[0].mr_enclave"),
        ({"releases": {}}, "release list.releases"),
    ],
)
def test_what_is_no_list_is_refused_with_its_place(change: dict[str, object], field: str) -> None:
    document = json.loads(SOUND.encode()) | change
    with pytest.raises(WireError) as refused:
        ReleaseList.parse(json.dumps(document).encode())
    assert refused.value.field == field


def test_releases_stand_in_one_order_each_once_and_are_bounded() -> None:
    for releases in ((TWO, ONE), (ONE, ONE)):
        with pytest.raises(WireError, match="rising measurements"):
            ReleaseList("hello", 1, releases, bytes(64))
    many = tuple(Release(number.to_bytes(32, "big"), bytes(48)) for number in range(MAX_RELEASES + 1))
    with pytest.raises(WireError, match=str(MAX_RELEASES)):
        ReleaseList("hello", 1, many, bytes(64))
