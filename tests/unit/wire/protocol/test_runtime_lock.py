import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.wire.protocol.runtime_lock import (
    HEAD,
    MAX_LOCK,
    MAX_RECORDS,
    RECORD_SIZE,
    Record,
    RuntimeLock,
    RuntimeLockError,
    RuntimePart,
    platform_tag,
    used,
)

TAG = "linux-x86_64-cp311"
TAGS = st.sampled_from([TAG, "linux-aarch64-cp312", "darwin-aarch64-cp313"])
NAMES = st.sampled_from(["core", "javascript", "python"])
DIGEST = bytes(range(32))
LINE = Record("core", TAG, DIGEST).encode()
PARTS = st.lists(st.builds(RuntimePart, NAMES, st.binary(min_size=32, max_size=32)), max_size=6)


@given(st.dictionaries(TAGS, PARTS))
def test_a_lock_comes_back_as_it_was(runtimes: dict[str, list[RuntimePart]]) -> None:
    lock = RuntimeLock()
    for tag, parts in runtimes.items():
        lock = lock.with_runtime(tag, parts)
    text = lock.encode()
    assert RuntimeLock.parse(text) == lock
    assert len(text) == RECORD_SIZE * (1 + len(lock.records))
    for tag, parts in runtimes.items():
        for part in parts:
            assert part.digest in lock.digests(part.component, tag)


def test_the_format_is_one_that_a_person_can_read_and_compare() -> None:
    lock = RuntimeLock().with_runtime(TAG, [RuntimePart("javascript", b"\x01" * 32), RuntimePart("core", DIGEST)])
    assert lock.encode().decode().splitlines() == [
        f"casemate.lock 2  platform{' ' * 54}SHA-256 of the files of that part of the runtime",
        f"core             linux-x86_64-cp311                            {DIGEST.hex()}",
        f"javascript       linux-x86_64-cp311                            {'01' * 32}",
    ]
    assert not any(line.endswith(" ") for line in lock.encode().decode().splitlines())


def test_a_runtime_replaces_its_own_platform_alone() -> None:
    lock = RuntimeLock().with_runtime(TAG, [RuntimePart("core", DIGEST), RuntimePart("core", bytes(32))])
    lock = lock.with_runtime("linux-aarch64-cp312", [RuntimePart("core", DIGEST)])
    assert lock.digests("core", TAG) == (bytes(32), DIGEST)
    lock = lock.with_runtime(TAG, [RuntimePart("core", b"\x07" * 32)])
    assert lock.digests("core", TAG) == (b"\x07" * 32,)
    assert lock.digests("core", "linux-aarch64-cp312") == (DIGEST,)
    assert lock.digests("javascript", TAG) == ()
    assert lock.platforms() == ("linux-aarch64-cp312", TAG)


def test_what_is_accepted_besides_and_taken_out_again_leaves_the_lock_as_it_was() -> None:
    lock = RuntimeLock().with_runtime(TAG, [RuntimePart("core", DIGEST)])
    wider = lock.accepting(TAG, [RuntimePart("core", bytes(32)), RuntimePart("core", DIGEST)])
    assert wider.digests("core", TAG) == (bytes(32), DIGEST)
    assert RuntimeLock.parse(wider.encode()) == wider
    assert wider.without([Record("core", TAG, bytes(32)), Record("core", TAG, b"\x07" * 32)]) == lock


def test_an_image_uses_the_core_and_its_engine() -> None:
    runtime = tuple(RuntimePart(name, DIGEST) for name in ("core", "javascript", "python"))
    assert [part.component for part in used(runtime, "python")] == ["core", "python"]
    assert [part.component for part in used(runtime, "wasm")] == ["core"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "not a runtime lock"),
        (
            b'[runtime]\nlinux-x86_64-cp311 = "' + b"ab" * 32 + b'"\n',
            "the TOML that earlier versions of Casemate wrote",
        ),
        (HEAD.replace(b"lock 2", b"lock 3"), "of another version, 'casemate.lock 3'"),
        (HEAD.lower(), "of another version"),
        (HEAD.replace(b"\n", b"\r\n") + LINE, "not a runtime lock|of another version"),
        (HEAD + LINE[:-1], "bytes, the format wants records"),
        (HEAD + LINE + b"\n", "bytes, the format wants records"),
        (HEAD + LINE * 2, "each record once, in rising order"),
        (HEAD + Record("javascript", TAG, DIGEST).encode() + LINE, "each record once, in rising order"),
        (HEAD + LINE.upper(), "casemate.lock record"),
        (HEAD + LINE.replace(b"\n", b" "), "casemate.lock record"),
        (HEAD + LINE.replace(b"core ", b" core"), "casemate.lock"),
        (HEAD + LINE.replace(b"core ", b"co re"), "casemate.lock"),
        (HEAD + LINE.replace(b"linux-x86_64-cp311", b"linux             "), "casemate.lock platform"),
        (HEAD + LINE.replace(b"core", b"\xc3\xa9ab"), "casemate.lock"),
        (HEAD + bytes(MAX_LOCK), f"at most {MAX_LOCK}"),
    ],
)
def test_refuses_what_is_no_lock_and_says_what_to_do(text: bytes, reason: str) -> None:
    with pytest.raises(RuntimeLockError, match=reason):
        RuntimeLock.parse(text)


def test_no_more_records_than_a_chip_reads() -> None:
    most = [RuntimePart("core", number.to_bytes(32)) for number in range(MAX_RECORDS)]
    lock = RuntimeLock().with_runtime(TAG, most)
    assert len(lock.encode()) == MAX_LOCK
    assert RuntimeLock.parse(lock.encode()) == lock
    with pytest.raises(RuntimeLockError, match="257 records"):
        RuntimeLock().with_runtime(TAG, [*most, RuntimePart("core", b"\xff" * 32)])


@pytest.mark.parametrize(
    ("component", "tag", "digest"),
    [
        ("core", "linux", DIGEST),
        ("core", TAG, DIGEST[:31]),
        ("core", "a-b-c\n", DIGEST),
        ("core", "a-b-" + "c" * 45, DIGEST),
        ("Core", TAG, DIGEST),
        ("", TAG, DIGEST),
        ("c" * 17, TAG, DIGEST),
    ],
)
def test_refuses_to_take_what_it_would_not_parse(component: str, tag: str, digest: bytes) -> None:
    with pytest.raises(RuntimeLockError):
        RuntimeLock().with_runtime(tag, [RuntimePart(component, digest)])


def _is_lock_or_refused(text: bytes) -> None:
    try:
        assert RuntimeLock.parse(text).encode() == text
    except RuntimeLockError:
        return


@given(st.binary(max_size=300))
def test_random_bytes_are_a_lock_or_a_typed_refusal(data: bytes) -> None:
    for text in (data, HEAD + data):
        _is_lock_or_refused(text)


@given(st.lists(st.tuples(st.integers(0, RECORD_SIZE - 1), st.integers(0, 255)), min_size=1, max_size=3))
def test_a_changed_lock_is_another_lock_or_a_typed_refusal(changes: list[tuple[int, int]]) -> None:
    line = bytearray(LINE)
    for at, value in changes:
        line[at] = value
    _is_lock_or_refused(HEAD + line)


def test_a_platform_has_one_tag_whatever_its_system_calls_the_processor() -> None:
    assert platform_tag("linux", "x86_64", (3, 11)) == platform_tag("Linux", "AMD64", (3, 11)) == TAG
    assert platform_tag("darwin", "arm64", (3, 13)) == "darwin-aarch64-cp313"


def test_a_service_is_one_build_and_no_platform() -> None:
    lock = RuntimeLock().with_runtime(TAG, [RuntimePart("core", DIGEST)]).with_services({"crypto": DIGEST})
    assert RuntimeLock.parse(lock.encode()) == lock
    assert lock.service("crypto") == DIGEST
    assert lock.service("storage") is None
    assert lock.services() == ("crypto",)
    assert lock.platforms() == (TAG,)
    assert lock.with_runtime(TAG, []).service("crypto") == DIGEST
    assert lock.with_services({}).services() == ()
    twice = RuntimeLock((*lock.records, Record("service", "casemate:crypto", b"\xff" * 32)))
    assert twice.service("crypto") is None


@pytest.mark.parametrize(("part", "name"), [("service", TAG), ("core", "casemate:crypto"), ("service", "casemate:")])
def test_services_and_platforms_are_never_mixed_up(part: str, name: str) -> None:
    with pytest.raises(RuntimeLockError, match="platform"):
        Record(part, name, DIGEST)
