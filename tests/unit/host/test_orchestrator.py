import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.rigs.host.fake_chip import FakeChip, host_of, sigstruct, stream

from casemate.host import image_store
from casemate.host import orchestrator as module
from casemate.host.catalogue import CatalogueError
from casemate.host.enclave_states import AGAIN, MOST_DEATHS
from casemate.host.orchestrator import Orchestrator
from casemate.images.layout import lay_out
from casemate.wire.errors import WireError
from casemate.wire.messages.host import EnclaveIs, Launch, PutImage
from casemate.wire.protocol.faults import Code, FaultError
from casemate.wire.protocol.image_index import LOCK_PATH, MAGIC, MANIFEST_PATH
from casemate.wire.protocol.lifecycle import State

Body = Callable[[Orchestrator, FakeChip], Awaitable[None]]
STREAM = stream(b"a manifest")
FILES = (STREAM, sigstruct(STREAM))
LAUNCH = Launch("one", *FILES)


def host(folder: Path, body: Body, *, starts: bool = True) -> None:
    async def run() -> None:
        async with host_of(folder, starts=starts) as (orchestrator, chip):
            await asyncio.wait_for(body(orchestrator, chip), 10)

    asyncio.run(run())


async def launch(orchestrator: Orchestrator, chip: FakeChip) -> None:
    assert (await orchestrator.launch(LAUNCH)).enclave == 1
    assert list(chip.loaded) == [101]  # the chip's number is its own


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what it looks at tells nobody
        await asyncio.sleep(0.005)


async def refused(code: Code, doing: Awaitable[object]) -> str:
    with pytest.raises(FaultError) as refusal:
        await doing
    assert refusal.value.fault.code is code
    return refusal.value.fault.reason


async def told(orchestrator: Orchestrator) -> list[object]:
    """What has happened so far, in order: the states of enclaves, and words about the machine."""
    said: list[object] = []
    async for event in orchestrator.events.since(0):
        assert event.number == len(said) + 1
        said.append(event.what.state if isinstance(event.what, EnclaveIs) else event.what)
        if event.number == orchestrator.events.last:
            break
    return said


def test_what_runs_is_launched_again_under_its_number(tmp_path: Path) -> None:
    async def again(orchestrator: Orchestrator, chip: FakeChip) -> None:
        assert await orchestrator.plain_call(1, "main", b"1") == b"1"  # waits for the launch
        assert [shown.state for shown in orchestrator.enclaves()] == [State.RUNNING]
        assert len(chip.loaded) == 1

    host(tmp_path, launch)
    host(tmp_path, again)


def test_what_is_stopped_stays_so_until_it_is_started(tmp_path: Path) -> None:
    async def stop(orchestrator: Orchestrator, chip: FakeChip) -> None:
        await launch(orchestrator, chip)
        assert (await orchestrator.stop(1)).state is State.STOPPED

    async def start(orchestrator: Orchestrator, chip: FakeChip) -> None:
        assert orchestrator.enclave(1).state is State.STOPPED
        assert not chip.loaded
        await refused(Code.WRONG_STATE, orchestrator.plain_call(1, "main", b"1"))
        await refused(Code.WRONG_STATE, orchestrator.stop(1))
        assert (await orchestrator.start(1)).state is State.RUNNING
        await refused(Code.WRONG_STATE, orchestrator.start(1))

    async def runs(orchestrator: Orchestrator, _chip: FakeChip) -> None:
        assert await orchestrator.plain_call(1, "main", b"1") == b"1"

    for body in (stop, start, runs):
        host(tmp_path, body)


def test_what_is_destroyed_or_temporary_does_not_come_back(tmp_path: Path) -> None:
    async def end(orchestrator: Orchestrator, chip: FakeChip) -> None:
        await launch(orchestrator, chip)
        assert (await orchestrator.destroy(1)).state is State.DESTROYED
        await refused(Code.UNKNOWN_ENCLAVE, orchestrator.destroy(1))
        passing = await orchestrator.launch(Launch("errand", *FILES, temporary=True))
        assert passing.enclave == 2
        assert await orchestrator.plain_call(2, "main", b"1") == b"1"

    async def look(orchestrator: Orchestrator, chip: FakeChip) -> None:
        assert not orchestrator.enclaves()
        assert not await orchestrator.images()
        assert (await orchestrator.launch(LAUNCH)).enclave == 3
        assert len(chip.loaded) == 1

    host(tmp_path, end)
    host(tmp_path, look)


def test_an_enclave_that_dies_is_launched_again_and_calls_wait_for_it(tmp_path: Path) -> None:
    async def body(orchestrator: Orchestrator, chip: FakeChip) -> None:
        await launch(orchestrator, chip)
        await chip.lose(101)
        await until(lambda: orchestrator.enclave(1).state is not State.RUNNING or 101 not in chip.loaded)
        assert await orchestrator.plain_call(1, "main", b"1") == b"1"
        assert list(chip.loaded) == [102]
        assert (await orchestrator.stop(1)).state is State.STOPPED
        await refused(Code.WRONG_STATE, orchestrator.plain_call(1, "main", b"1"))

    host(tmp_path, body)


def test_one_that_dies_all_the_time_stays_lost_until_it_is_started(tmp_path: Path) -> None:
    async def body(orchestrator: Orchestrator, chip: FakeChip) -> None:
        await launch(orchestrator, chip)
        for place in range(101, 101 + MOST_DEATHS):
            await until(lambda place=place: place in chip.running)  # type: ignore[misc] # bound now
            assert await orchestrator.plain_call(1, "main", b"1") == b"1"
            await chip.lose(place)
        await until(lambda: "start it yourself" in orchestrator.enclave(1).reason)
        await refused(Code.LOST, orchestrator.plain_call(1, "main", b"1"))
        assert (await orchestrator.start(1)).state is State.RUNNING

    host(tmp_path, body)


def test_a_temporary_one_stays_lost(tmp_path: Path) -> None:
    async def body(orchestrator: Orchestrator, chip: FakeChip) -> None:
        passing = await orchestrator.launch(Launch("errand", *FILES, temporary=True))
        await chip.lose(101)
        await until(lambda: "killed" in orchestrator.enclave(1).reason)
        await refused(Code.LOST, orchestrator.plain_call(passing.enclave, "main", b"1"))
        assert "cannot start" in await refused(Code.WRONG_STATE, orchestrator.start(passing.enclave))

    host(tmp_path, body)


def test_a_lock_that_no_chip_would_read_is_refused_before_the_chip_is_asked(tmp_path: Path) -> None:
    def with_lock(lock: bytes) -> bytes:
        return lay_out({LOCK_PATH: lock, MANIFEST_PATH: b"x"}, (), engine="javascript").encode()

    no_lock = lay_out({MANIFEST_PATH: b"x"}, (), engine="javascript").encode()
    dotted = with_lock(b"a." * 16_000 + b"a=1")
    old = with_lock(b'[runtime]\nlinux-x86_64-cp311 = "' + b"ab" * 32 + b'"\n')
    other_page = STREAM.replace(MAGIC, bytes(len(MAGIC)))

    async def body(orchestrator: Orchestrator, chip: FakeChip) -> None:
        for sgxs in (no_lock, dotted, old, other_page, b"", STREAM[:5000]):
            files = (sgxs, sigstruct(sgxs))
            for asking in (orchestrator.launch(Launch("x", *files)), orchestrator.put_image(PutImage("x", *files))):
                assert (await refused(Code.LAUNCH_REFUSED, asking)).startswith("runtime-lock: ")
        assert chip.asked == 0
        assert not await orchestrator.images()

    host(tmp_path, body)


def test_one_image_at_a_time_is_on_its_way_to_the_chip(tmp_path: Path) -> None:
    async def body(orchestrator: Orchestrator, chip: FakeChip) -> None:
        launches = [orchestrator.launch(Launch(f"n{number}", *FILES)) for number in range(6)]
        assert len({launched.enclave for launched in await asyncio.gather(*launches)}) == 6
        assert chip.most_loads == 1

    host(tmp_path, body)


def test_a_launch_that_fails_leaves_nothing(tmp_path: Path) -> None:
    async def body(orchestrator: Orchestrator, chip: FakeChip) -> None:
        await refused(
            Code.LAUNCH_REFUSED, orchestrator.launch(Launch("bad", stream(b"refused"), sigstruct(b"refused")))
        )
        with pytest.raises(WireError):
            await orchestrator.launch(Launch("none", STREAM, bytes(1808)))
        assert not orchestrator.enclaves()
        assert not chip.loaded
        assert not await orchestrator.images()

    host(tmp_path, body)


def test_a_deployment_that_cannot_be_launched_again_says_why(tmp_path: Path) -> None:
    async def look(orchestrator: Orchestrator, chip: FakeChip) -> None:
        assert orchestrator.enclave(1).reason == AGAIN
        chip.starts.set()
        await refused(Code.LOST, orchestrator.plain_call(1, "main", b"1"))
        assert "could not be launched again: launch-refused" in orchestrator.enclave(1).reason
        await orchestrator.destroy(1)

    async def put(orchestrator: Orchestrator, chip: FakeChip) -> None:
        await launch(orchestrator, chip)
        rows = orchestrator._catalogue._rows
        rows.execute("UPDATE image SET sgxs = ?", (b"refused now",))

    host(tmp_path, put)
    host(tmp_path, look, starts=False)


def test_a_call_waits_for_its_enclave_no_longer_than_it_is_patient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(orchestrator: Orchestrator, chip: FakeChip) -> None:
        monkeypatch.setattr(module, "PATIENCE", 0.05)
        assert "want running" in await refused(Code.WRONG_STATE, orchestrator.plain_call(1, "main", b"1"))
        monkeypatch.setattr(module, "PATIENCE", 10.0)
        chip.starts.set()
        assert await orchestrator.plain_call(1, "main", b"1") == b"1"

    host(tmp_path, launch)
    host(tmp_path, slow, starts=False)


def test_images_are_kept_and_deployed_by_their_digest(tmp_path: Path) -> None:
    async def body(orchestrator: Orchestrator, _chip: FakeChip) -> None:
        kept = await orchestrator.put_image(PutImage("function", *FILES))
        assert await orchestrator.image(kept.image) == kept
        shown = await orchestrator.deploy(kept.image)
        assert (shown.name, shown.image, shown.state) == ("function", kept.image, State.RUNNING)
        assert (await orchestrator.deploy(kept.image, "another")).name == "another"
        await refused(Code.UNKNOWN_IMAGE, orchestrator.deploy(bytes(32)))
        await orchestrator.remove_image(kept.image)
        await refused(Code.UNKNOWN_IMAGE, orchestrator.remove_image(bytes(32)))

    host(tmp_path, body)


def test_chip_hears_for_whom_an_enclave_is_launched_after_a_restart_too(tmp_path: Path) -> None:
    async def first(orchestrator: Orchestrator, chip: FakeChip) -> None:
        kept = await orchestrator.put_image(PutImage("function", *FILES))
        await orchestrator.deploy(kept.image, launcher="ci")
        assert chip.launchers == ["ci"]

    async def second(orchestrator: Orchestrator, chip: FakeChip) -> None:
        assert await orchestrator.plain_call(1, "main", b"1") == b"1"
        assert chip.launchers == ["ci"]

    host(tmp_path, first)
    host(tmp_path, second)


def test_the_number_of_images_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(orchestrator: Orchestrator, _chip: FakeChip) -> None:
        await orchestrator.put_image(PutImage("function", *FILES))
        await orchestrator.put_image(PutImage("function", *FILES))  # it is there
        await refused(Code.BUSY, orchestrator.put_image(PutImage("more", stream(b"more"), sigstruct(b"more"))))

    monkeypatch.setattr(image_store, "MAX_IMAGES", 1)
    host(tmp_path, body)


def test_a_token_has_a_share_of_the_images_and_is_told_what_to_remove(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(orchestrator: Orchestrator, _chip: FakeChip) -> None:
        kept = await orchestrator.put_image(PutImage("function", *FILES), keeper="ci")
        with pytest.raises(
            FaultError, match=f"its share is 1 of .* MiB: remove one, such as {kept.image.hex()}"
        ) as full:
            await orchestrator.put_image(PutImage("more", stream(b"more"), sigstruct(b"more")), keeper="ci")
        assert full.value.fault.code is Code.BUSY
        await orchestrator.put_image(PutImage("function", *FILES), keeper="ci")  # it is there
        await orchestrator.put_image(PutImage("more", stream(b"more"), sigstruct(b"more")), keeper="other")
        await orchestrator.put_image(PutImage("owner", stream(b"owner"), sigstruct(b"owner")))
        await orchestrator.remove_image(kept.image)
        await orchestrator.put_image(PutImage("next", stream(b"next"), sigstruct(b"next")), keeper="ci")

    monkeypatch.setattr(image_store, "MAX_IMAGES", 4)
    host(tmp_path, body)


@pytest.mark.parametrize("keeper", ["", "ci"])
def test_the_bytes_of_images_are_bounded_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keeper: str) -> None:
    async def body(orchestrator: Orchestrator, _chip: FakeChip) -> None:
        await orchestrator.put_image(PutImage("function", *FILES), keeper=keeper)
        more = orchestrator.put_image(PutImage("more", stream(b"more"), sigstruct(b"more")), keeper=keeper)
        await refused(Code.BUSY, more)

    room = len(FILES[0]) + len(FILES[1]) + 1
    monkeypatch.setattr(image_store, "MAX_IMAGE_BYTES", room * (image_store.SHARE_OF_BYTES if keeper else 1))
    host(tmp_path, body)


def test_a_token_has_a_share_of_the_enclaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(orchestrator: Orchestrator, _chip: FakeChip) -> None:
        kept = await orchestrator.put_image(PutImage("function", *FILES))
        made = await orchestrator.deploy(kept.image, launcher="ci")
        with pytest.raises(FaultError, match=f"its share: destroy one of {made.enclave}") as full:
            await orchestrator.deploy(kept.image, launcher="ci")
        assert full.value.fault.code is Code.BUSY
        await orchestrator.deploy(kept.image, launcher="other")
        await orchestrator.deploy(kept.image)
        await orchestrator.destroy(made.enclave)
        await orchestrator.deploy(kept.image, launcher="ci")

    monkeypatch.setattr(module, "MAX_ENCLAVES", 4)
    host(tmp_path, body)


def test_a_catalogue_that_fails_fails_the_launch_and_nothing_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(orchestrator: Orchestrator, chip: FakeChip) -> None:
        def full(*_arguments: object) -> None:
            raise CatalogueError("catalogue.db: database or disk is full")

        monkeypatch.setattr(orchestrator._catalogue, "deploy", full)
        assert "disk is full" in await refused(Code.UNAVAILABLE, orchestrator.launch(LAUNCH))
        assert not chip.loaded
        assert not orchestrator.enclaves()

    host(tmp_path, body)


def test_what_happens_is_told_to_whoever_listens(tmp_path: Path) -> None:
    async def body(orchestrator: Orchestrator, chip: FakeChip) -> None:
        await launch(orchestrator, chip)
        await orchestrator.stop(1)
        await orchestrator.destroy(1)
        assert await told(orchestrator) == [State.RUNNING, State.STOPPED, State.DESTROYED]

    host(tmp_path, body)


def test_an_enclave_that_is_stopped_in_the_middle_of_a_call_is_not_taken_for_dead(tmp_path: Path) -> None:
    """Its link ends before the chip has said that it is stopped; it must not be launched again."""

    async def body(orchestrator: Orchestrator, chip: FakeChip) -> None:
        await launch(orchestrator, chip)
        calling = asyncio.create_task(orchestrator.plain_call(1, "hang", b"1"))
        await asyncio.sleep(0.02)
        assert (await orchestrator.stop(1)).state is State.STOPPED
        await refused(Code.LOST, calling)
        assert orchestrator.enclave(1).state is State.STOPPED
        assert await told(orchestrator) == [State.RUNNING, State.STOPPED]
        await orchestrator.start(1)
        assert await orchestrator.plain_call(1, "main", b"1") == b"1"

    host(tmp_path, body)


def test_every_enclave_is_lost_with_its_chip(tmp_path: Path) -> None:
    async def body(orchestrator: Orchestrator, chip: FakeChip) -> None:
        await launch(orchestrator, chip)
        chip.link.close()
        await refused(Code.LOST, orchestrator.launch(LAUNCH))
        orchestrator.chip_died()
        assert orchestrator.enclave(1).state is State.LOST
        await refused(Code.LOST, orchestrator.plain_call(1, "main", b"1"))

    host(tmp_path, body)
