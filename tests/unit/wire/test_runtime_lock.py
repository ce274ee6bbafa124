import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.wire.errors import WireError
from casemate.wire.runtime_lock import RuntimeLock, platform_tag

TAGS = st.sampled_from(["linux-x86_64-cp311", "linux-aarch64-cp312", "darwin-aarch64-cp313"])
DIGEST = bytes(range(32))
LINE = f'linux-x86_64-cp311 = "{DIGEST.hex()}"'


@given(st.dictionaries(TAGS, st.binary(min_size=32, max_size=32)))
def test_a_lock_comes_back_as_it_was(digests: dict[str, bytes]) -> None:
    lock = RuntimeLock(())
    for tag, digest in digests.items():
        lock = lock.with_digest(tag, digest)
    assert RuntimeLock.parse(lock.encode()) == lock
    assert all(lock.digest(tag) == digest for tag, digest in digests.items())


def test_a_platform_that_is_not_named_is_refused_with_those_that_are() -> None:
    lock = RuntimeLock.parse(f"[runtime]\n{LINE}".encode())
    with pytest.raises(WireError, match=r"linux-x86_64-cp311 alone.*a runtime digest for linux-aarch64-cp311"):
        lock.digest("linux-aarch64-cp311")
    with pytest.raises(WireError, match="no platform alone"):
        RuntimeLock(()).digest("linux-aarch64-cp311")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "runtime = 1",
        f"{LINE}",
        f"[runtime]\n{LINE}\n[more]",
        f"[runtime]\n{LINE}\n{LINE}",
        f"[runtime]\n{LINE.upper()}",
        f'[runtime]\n{LINE[:-1]}0"',
        "[runtime]\nlinux-x86_64-cp311 = 7",
        f'[runtime]\nlinux = "{DIGEST.hex()}"',
        "[runtime]\n" + "#" * 70_000,
    ],
)
def test_refuses_what_is_no_lock(text: str) -> None:
    with pytest.raises(WireError, match=r"casemate\.lock"):
        RuntimeLock.parse(text.encode())


@pytest.mark.parametrize(
    ("tag", "digest"), [("linux", bytes(32)), ("linux-x86_64-cp311", bytes(31)), ("a-b-c\n", bytes(32))]
)
def test_refuses_to_take_what_it_would_not_parse(tag: str, digest: bytes) -> None:
    with pytest.raises(WireError):
        RuntimeLock(()).with_digest(tag, digest)


@given(st.binary(max_size=100) | st.text(alphabet='[]runtime\n"=#.{}0a-', max_size=60).map(str.encode))
def test_random_bytes_are_a_lock_or_a_wire_error(data: bytes) -> None:
    for text in (data, b"[runtime]\n" + data):
        try:
            RuntimeLock.parse(text)
        except WireError:
            continue


def test_a_platform_has_one_tag_whatever_its_system_calls_the_processor() -> None:
    assert platform_tag("linux", "x86_64", (3, 11)) == platform_tag("Linux", "AMD64", (3, 11)) == "linux-x86_64-cp311"
    assert platform_tag("darwin", "arm64", (3, 13)) == "darwin-aarch64-cp313"
