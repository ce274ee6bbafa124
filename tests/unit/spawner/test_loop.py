"""The spawner process with stub enclaves and real guests."""

import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.rigs.two_users import python_for_all

from casemate.link.errors import PeerGoneError
from casemate.testing.lone_spawner import LoneSpawner, late, lone_spawner, shared_engine
from casemate.wire.encodings.message import encode_message
from casemate.wire.messages.spawner import Exited, Kill, Spawned
from casemate.wire.protocol.faults import Code
from casemate.wire.protocol.image_index import Link
from casemate.wire.protocol.sandbox_layers import LayerMode, LayerName, LayerRequest

pytestmark = pytest.mark.machine
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and the Linux layers")
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

ECHO = "export function main(x) { return x; }"
NOBODY = 65534


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except OSError:
        return False
    return state not in "ZX"


def soon(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.005)
    return condition()


def children_of(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


@pytest.fixture
def spawner() -> Iterator[LoneSpawner]:
    with lone_spawner(shared_engine()) as spawner:
        yield spawner


def test_an_enclave_gets_a_warm_guest_and_calls_it(spawner: LoneSpawner) -> None:
    enclave = spawner.spawn()
    given = enclave.need_guest()
    assert [name for name, _, _ in given["layers"]] == list(LayerName)
    assert enclave.load(ECHO).code == "ok"
    assert enclave.call(arguments={"a": [1]}).text == '{"a":[1]}'
    enclave.close()
    assert "ended with status" in spawner.exited().reason


def test_modules_are_linked_in_a_confined_guest(spawner: LoneSpawner) -> None:
    enclave = spawner.spawn()
    enclave.need_guest()
    main = 'import { twice } from "./lib.js"; export function main(x) { return twice(x); }'
    place = main.index('"./lib.js"')
    loaded = enclave.load_modules(
        {"guest/lib.js": "export const twice = (x) => x + x;", "guest/main.js": main},
        links=[Link("guest/main.js", "./lib.js", "guest/lib.js", place, place + 10)],
    )
    assert loaded.code == "ok"
    assert enclave.call(arguments="ab").text == '"abab"'


@linux_only
def test_the_layers_that_a_doctor_promises_are_applied(spawner: LoneSpawner) -> None:
    enclave = spawner.spawn()
    of_enclave = {name: state for name, state, _ in enclave.order(do="layers")}
    given = enclave.need_guest()
    of_guest = {name: state for name, state, _ in given["layers"]}
    for layers in (of_enclave, of_guest):
        assert {layers[name] for name in ("rlimits", "no-new-privs", "seccomp", "watchdog")} == {"applied"}
    status = Path(f"/proc/{given['pid']}/status").read_text()
    assert "Seccomp:\t2" in status
    assert "NoNewPrivs:\t1" in status
    limits = Path(f"/proc/{given['pid']}/limits").read_text()
    assert "Max data size             unlimited" not in limits


def root_of(guest: dict[str, Any]) -> Path:
    """Where the root of a guest lies; the test is skipped where a guest can have none."""
    detail = next(detail for name, _, detail in guest["layers"] if name == LayerName.NAMESPACES)
    if not detail.endswith("; root with its engine alone"):
        pytest.skip(f"guests have no root of their own here: {detail}")
    try:
        return Path(f"/proc/{guest['pid']}/root").readlink()
    except PermissionError:
        pytest.skip("needs root, to look at a guest's root")


@linux_only
def test_an_engine_sees_the_loader_and_its_libraries_and_holds_no_file(spawner: LoneSpawner) -> None:
    enclave = spawner.spawn()
    guest = enclave.need_guest()
    root = root_of(guest)
    assert root.parent.name.startswith("casemate-engine-root-")
    view = Path(f"/proc/{guest['pid']}/root")
    assert {path.name.partition(".so")[1] for path in view.rglob("*") if path.is_file()} == {".so"}
    assert Path(f"/proc/{guest['pid']}/cwd").readlink() == root
    held = {str(path.readlink()) for path in Path(f"/proc/{guest['pid']}/fd").iterdir()}
    assert {name.partition(":")[0] for name in held} <= {"pipe", "anon_inode", "socket"}
    enclave.load(ECHO)
    assert enclave.call(arguments=1).text == "1"


@linux_only
@root_only
def test_enclave_and_guest_have_user_ids_of_their_own(spawner: LoneSpawner) -> None:
    enclave = spawner.spawn()
    pids = (enclave.pid, enclave.need_guest()["pid"], spawner.process.pid)
    ids = [
        next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "Uid:" in line) for pid in pids
    ]
    assert len(set(ids)) == 3


ENCLAVE_TRIES = {
    "open('/etc/passwd')": ("PermissionError",),
    "os.listdir('/')": ("PermissionError",),
    "import json.tool": ("PermissionError", "ModuleNotFoundError", "done"),
    "os.environ['X'] = 'y'": ("done",),
    "bytearray(200_000_000)": ("done",),
    "bytearray(2_000_000_000)": ("MemoryError",),
}


@linux_only
@pytest.mark.parametrize("what", ENCLAVE_TRIES)
def test_an_enclave_lives_through(spawner: LoneSpawner, what: str) -> None:
    enclave = spawner.spawn()
    assert enclave.order(do="try", what=what) in ENCLAVE_TRIES[what]


@linux_only
@pytest.mark.parametrize(
    "what", ["os.fork()", "socket.socket()", "os.execv('/bin/true', ['x'])", "os.kill(os.getppid(), 9)", "os.pipe()"]
)
def test_an_enclave_dies_of(spawner: LoneSpawner, what: str) -> None:
    enclave = spawner.spawn()
    guest = enclave.need_guest()["pid"]
    with pytest.raises(Exception, match="closed"):
        enclave.order(do="try", what=what)
    assert spawner.exited().reason == "its process killed by SIGSYS (a system call outside its filter)"
    assert not alive(guest)
    assert alive(spawner.process.pid)
    enclave.close()


def test_a_killed_enclave_takes_its_guest_along(spawner: LoneSpawner) -> None:
    enclave = spawner.spawn()
    guest = enclave.need_guest()["pid"]
    assert spawner.kill(enclave) == Exited(enclave.number, "its process killed by SIGKILL")
    assert not alive(guest)
    enclave.close()


def test_an_enclave_that_is_not_there_is_reported_so(spawner: LoneSpawner) -> None:
    spawner.control.send(encode_message(Kill(99)))
    assert spawner.exited() == Exited(99, "there is no such process")


def test_several_enclaves_live_side_by_side(spawner: LoneSpawner) -> None:
    enclaves = [spawner.spawn() for _ in range(3)]
    guests = {enclave.need_guest()["pid"] for enclave in enclaves}
    assert len(guests) == 3
    for number, enclave in enumerate(enclaves):
        enclave.load(ECHO)
        assert enclave.call(arguments=number).text == str(number)
    spawner.kill(enclaves[0])
    assert enclaves[1].call(arguments=5).text == "5"


@linux_only
def test_everything_ends_with_the_chip() -> None:
    with lone_spawner(shared_engine(), pool=2) as spawner:
        enclave = spawner.spawn()
        enclave.need_guest()
        assert soon(lambda: len(children_of(spawner.process.pid)) == 4)
        children = children_of(spawner.process.pid)
    assert spawner.process.returncode == 0
    assert not [pid for pid in children if alive(pid)]


@linux_only
def test_everything_ends_with_a_killed_spawner() -> None:
    with lone_spawner(shared_engine(), pool=2) as spawner:
        enclave = spawner.spawn()
        enclave.need_guest()
        assert soon(lambda: len(children_of(spawner.process.pid)) == 4)
        children = children_of(spawner.process.pid)
        spawner.process.kill()
        assert soon(lambda: not [pid for pid in children if alive(pid)])


@linux_only
def test_the_engines_root_goes_with_its_spawner_or_at_the_start_of_the_next() -> None:
    with lone_spawner(shared_engine(), pool=0) as killed:
        abandoned = root_of(killed.spawn().need_guest())
        assert abandoned.is_dir()
        killed.process.kill()
    with lone_spawner(shared_engine(), pool=0) as spawner:
        assert not abandoned.parent.exists()
        root = root_of(spawner.spawn().need_guest())
        assert root.is_dir()
    assert not root.parent.exists()


@linux_only
def test_nothing_is_left_in_the_control_groups() -> None:
    from casemate.sandbox.cgroup import find_places
    from casemate.sandbox.errors import UnavailableError

    try:
        places = find_places()
    except UnavailableError as error:
        pytest.skip(str(error))
    with lone_spawner(shared_engine()) as spawner:
        spawner.spawn().need_guest()
        mine = f"casemate-{spawner.process.pid}-*"
        assert list(places.memory.glob(mine))
    assert not list(places.memory.glob(mine))


def test_a_new_guest_replaces_the_old_one(spawner: LoneSpawner) -> None:
    enclave = spawner.spawn()
    first = enclave.need_guest()["pid"]
    second = enclave.need_guest()["pid"]
    assert first != second
    assert soon(lambda: not alive(first))
    enclave.load(ECHO)
    assert enclave.call(arguments=1).text == "1"


def test_a_dead_guest_is_reported_and_replaced(spawner: LoneSpawner) -> None:
    enclave = spawner.spawn()
    guest = enclave.need_guest()["pid"]
    enclave.load(ECHO)
    os.kill(guest, signal.SIGKILL)
    outcome = enclave.call()
    assert (outcome.code, outcome.text) == (Code.GUEST_CRASHED, "the guest killed by SIGKILL")
    enclave.need_guest()
    assert enclave.load(ECHO).code == "ok"


def test_a_guest_that_dies_between_calls_is_reported_at_once(spawner: LoneSpawner) -> None:
    enclave = spawner.spawn()
    guest = enclave.need_guest()["pid"]
    enclave.load(ECHO)
    os.kill(guest, signal.SIGKILL)
    outcome = enclave.order(do="rest", seconds=2)
    assert (outcome["code"], outcome["text"]) == (Code.GUEST_CRASHED, "the guest killed by SIGKILL")
    assert outcome["seconds"] < 1


@pytest.mark.parametrize("died_of", [signal.SIGKILL, signal.SIGABRT])
def test_a_guest_that_its_enclave_has_ended_keeps_the_cause_of_an_earlier_death(
    spawner: LoneSpawner, died_of: signal.Signals
) -> None:
    enclave = spawner.spawn()
    guest = enclave.need_guest()["pid"]
    enclave.load(ECHO)
    if died_of is not signal.SIGKILL:
        os.kill(guest, died_of)
        assert soon(lambda: not alive(guest))
    outcome = enclave.order(do="end")
    assert (outcome["code"], outcome["text"]) == (Code.GUEST_CRASHED, f"the guest killed by {died_of.name}")


def test_a_time_limit_is_held_within_half_a_second(spawner: LoneSpawner) -> None:
    enclave = spawner.spawn()
    enclave.need_guest()
    enclave.load("export function main() { for (;;); }")
    outcome = enclave.call(time_ms=300)
    assert outcome.code == Code.TIME_LIMIT
    assert 0.3 <= outcome.seconds < 0.3 + late()


@pytest.mark.parametrize("memory_mib", [16, 128, 512])
def test_other_sizes_of_guests_are_started_when_asked_for(spawner: LoneSpawner, memory_mib: int) -> None:
    enclave = spawner.spawn()
    enclave.need_guest(memory_mib)
    enclave.load(
        "export function main(mib) { const a = [];"
        " for (let i = 0; i < mib; i++) a.push(new Uint8Array(2 ** 20).fill(1)); return a.length; }"
    )
    assert enclave.call(arguments=memory_mib, time_ms=20_000).text == str(memory_mib)
    assert enclave.call(arguments=memory_mib * 2 + 96, time_ms=20_000).code in (Code.GUEST_ERROR, Code.MEMORY_LIMIT)


@linux_only
def test_another_size_is_kept_warm_after_its_first_use(spawner: LoneSpawner) -> None:
    enclave = spawner.spawn()
    enclave.need_guest(32)
    assert soon(lambda: len(children_of(spawner.process.pid)) == 4)  # an enclave, its guest, two warm ones
    before = children_of(spawner.process.pid)
    assert enclave.need_guest(32)["pid"] in before


def test_a_heap_of_the_promised_size_is_there(spawner: LoneSpawner) -> None:
    enclave = spawner.spawn()
    enclave.need_guest(64)
    enclave.load(
        "export function main() { const a = []; for (let i = 0; i < 7e6; i++) a.push(i + 0.5); return a.length; }"
    )
    assert enclave.call(time_ms=20_000).text == "7000000"  # 56 MB of doubles


@pytest.mark.parametrize("text", ["", "\x47", "\x48\x00", "nonsense" * 100])
def test_an_enclave_that_talks_nonsense_is_ended(spawner: LoneSpawner, text: str) -> None:
    enclave = spawner.spawn()
    enclave.need_guest()
    with contextlib.suppress(PeerGoneError):  # it may be ended before it can say that it did
        enclave.order(do="send_to_spawner", text=text)
    assert spawner.exited().reason == "its process killed by SIGKILL"
    enclave.close()
    assert spawner.spawn().need_guest()["pid"]


def test_an_engine_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match=r"the spawner did not start: Fault.*No such file"),
        lone_spawner(tmp_path / "none"),
    ):
        pass


def test_a_program_that_is_no_engine_is_a_fault() -> None:
    with lone_spawner(Path(shutil.which("true") or "/bin/true"), pool=0) as spawner:
        enclave = spawner.spawn()
        answer = enclave.need_guest()
        assert answer["refused"] == Code.UNAVAILABLE
        assert answer["reason"].startswith("no guest: the engine did not start")
        assert enclave.need_guest()["refused"] == Code.UNAVAILABLE


def test_a_required_layer_that_is_missing_is_refused() -> None:
    if os.geteuid() != 0:
        request = LayerRequest(LayerName.UID, LayerMode.REQUIRE)
        user = None
    else:
        request, user = LayerRequest(LayerName.UID, LayerMode.REQUIRE), NOBODY
    python = python_for_all()
    with lone_spawner(shared_engine(), layers=(request,), user=user, python=python) as spawner:
        with pytest.raises(AssertionError, match="layer uid is required"):
            spawner.spawn()
        with pytest.raises(AssertionError, match="layer uid is required"):
            spawner.spawn()


@linux_only
@root_only
def test_it_all_works_without_root() -> None:
    with lone_spawner(shared_engine(), user=NOBODY, python=python_for_all()) as spawner:
        enclave = spawner.spawn()
        layers = {name: state for name, state, _ in enclave.order(do="layers")}
        assert layers["uid"] == "unavailable"
        assert layers["seccomp"] == layers["no-new-privs"] == layers["rlimits"] == "applied"
        enclave.need_guest()
        enclave.load(ECHO)
        assert enclave.call(arguments=1).text == "1"
        assert enclave.order(do="try", what="open('/etc/passwd')") == "PermissionError"
        enclave.need_guest()
        enclave.load("export function main() { const a = []; for (;;) a.push(new Uint8Array(1e7).fill(1)); }")
        assert enclave.call(time_ms=20_000).code in (Code.GUEST_ERROR, Code.MEMORY_LIMIT)
        assert root_of(enclave.need_guest()).stat().st_uid == NOBODY
        assert spawner.kill(enclave).enclave == enclave.number


def test_all_layers_can_be_switched_off() -> None:
    off = tuple(LayerRequest(name, LayerMode.OFF) for name in LayerName)
    with lone_spawner(shared_engine(), layers=off) as spawner:
        enclave = spawner.spawn()
        assert {state for _, state, _ in enclave.order(do="layers")} == {"off"}
        assert {state for _, state, _ in enclave.need_guest()["layers"]} == {"off"}
        enclave.load(ECHO)
        assert enclave.call(arguments=1).text == "1"


def test_a_spawn_without_sockets_is_refused(spawner: LoneSpawner) -> None:
    from casemate.wire.encodings.message import parse_message
    from casemate.wire.messages.spawner import Spawn
    from casemate.wire.protocol.faults import Fault

    spawner.control.send(encode_message(Spawn(7)))
    answer: object = parse_message(spawner.control.receive(timeout=5).payload, Spawned, Fault)
    assert isinstance(answer, Fault)
    assert answer.code is Code.WRONG_STATE


@linux_only
def test_the_spawner_starts_no_thread_and_no_engine(spawner: LoneSpawner) -> None:
    spawner.spawn().need_guest()
    status = Path(f"/proc/{spawner.process.pid}/status").read_text()
    assert "Threads:\t1" in status
    with contextlib.suppress(PermissionError):  # nobody but root may look into it
        assert "deno" not in Path(f"/proc/{spawner.process.pid}/maps").read_text()


def test_an_enclave_that_runs_cannot_be_spawned_again(spawner: LoneSpawner) -> None:
    first = spawner.spawn()
    spawner._last -= 1
    with pytest.raises(AssertionError, match="wrong-state"):
        spawner.spawn()
    assert spawner.spawn().need_guest()["pid"]
    assert first.need_guest()["pid"]


@pytest.mark.parametrize("memory_mib", [0, 4097, 2**32 - 1])
def test_a_guest_of_an_absurd_size_is_refused(spawner: LoneSpawner, memory_mib: int) -> None:
    enclave = spawner.spawn()
    answer = enclave.need_guest(memory_mib)
    assert answer["refused"] == Code.UNAVAILABLE
    assert f"a guest of {memory_mib} MiB" in answer["reason"]
    assert enclave.need_guest()["pid"]


def test_a_spawner_that_cannot_fork_says_so(spawner: LoneSpawner) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may always fork")
    import resource

    enclave = spawner.spawn()
    resource.prlimit(spawner.process.pid, resource.RLIMIT_NPROC, (1, 1))
    assert "cannot fork" in enclave.need_guest(128)["reason"]
    with pytest.raises(AssertionError, match="cannot fork"):
        spawner.spawn()
