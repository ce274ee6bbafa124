"""Python guests as the spawner makes them: a base, an image process for each enclave, and copies of that."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.rigs.python_spawner import PythonImage, python_spawner
from tests.rigs.two_users import python_for_all

from casemate.testing.lone_spawner import LoneEnclave, LoneSpawner, late
from casemate.wire.protocol.sandbox_layers import LayerMode, LayerName, LayerRequest

pytestmark = [
    pytest.mark.machine,
    pytest.mark.skipif(sys.platform != "linux", reason="Python guests need Linux's layers"),
]
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

ECHO = "def main(x): return x"
NOBODY = 65534
CLONE = "import ctypes, os\nclone = lambda: ctypes.CDLL(None).syscall(56, 0x8011, 0, 0, 0, 0)\n"
x86_only = pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of system calls are x86-64's")


@pytest.fixture(scope="module")
def spawner() -> Iterator[LoneSpawner]:
    with python_spawner() as spawner:
        yield spawner


@pytest.fixture
def enclave(spawner: LoneSpawner) -> Iterator[LoneEnclave]:
    enclave = spawner.spawn()
    yield enclave
    enclave.close()
    spawner.exited()


def soon(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


def in_session(leader: int) -> set[int]:
    """The living processes of a session."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(") ")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] not in "ZX":
            found.add(int(folder.name))
    return found


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


class TestCopies:
    def test_copies_of_a_loaded_program_answer_and_do_not_share_what_they_change(self, enclave: LoneEnclave) -> None:
        image = PythonImage(enclave, "seen = []\ndef main(x):\n    seen.append(x)\n    return seen")
        assert image.loaded.code == "ok"
        first, second = image.copy(), image.copy()
        assert image.call(1, guest=first).text == "[1]"
        assert image.call(2, guest=first).text == "[1,2]"
        assert image.call(3, guest=second).text == "[3]"

    def test_the_spawner_is_the_parent_of_all_and_the_image_process_leads_their_session(
        self, spawner: LoneSpawner, enclave: LoneEnclave
    ) -> None:
        image = PythonImage(enclave, ECHO)
        copy = image.ask()
        assert {status(pid)["PPid"] for pid in (image.pid, copy["pid"])} == {str(spawner.process.pid)}
        assert in_session(image.pid) == {image.pid, copy["pid"]}

    def test_two_copies_draw_different_random_numbers(self, enclave: LoneEnclave) -> None:
        image = PythonImage(
            enclave,
            "import os, random\ndef main(_): return [random.random(), random.getrandbits(64), os.urandom(8).hex()]",
        )
        drawn = [json.loads(image.call().text) for _ in range(3)]
        for position in range(3):
            assert len({numbers[position] for numbers in drawn}) == 3

    def test_images_do_not_share_layout_and_hash_seed_with_the_spawner_s_forks(
        self, spawner: LoneSpawner, enclave: LoneEnclave
    ) -> None:
        image = PythonImage(enclave, ECHO)

        def stack_of(pid: int) -> str:
            return next(line for line in Path(f"/proc/{pid}/maps").read_text().splitlines() if "[stack]" in line)

        assert stack_of(image.pid) != stack_of(spawner.process.pid)

    def test_a_copy_has_no_descriptor_but_its_own(self, enclave: LoneEnclave) -> None:
        image = PythonImage(enclave, "import socket\npair = socket.socketpair()\n" + ECHO)
        copy = image.ask()
        assert enclave.inherit(copy["guest"]).code == "ok"
        assert len(list(Path(f"/proc/{copy['pid']}/fd").iterdir())) == 5

    def test_many_copies_one_after_the_other(self, enclave: LoneEnclave) -> None:
        image = PythonImage(enclave, ECHO)
        for number in range(100):
            given = enclave.need_guest(engine="python", copy_of=image.number, beside=number == 0)
            assert enclave.inherit(given["guest"]).code == "ok"

    def test_a_guest_that_is_no_image_process_cannot_be_copied(self, enclave: LoneEnclave) -> None:
        image = PythonImage(enclave, ECHO)
        copy = image.copy()
        refused = enclave.need_guest(engine="python", copy_of=copy, beside=True)
        assert "is gone" in refused["reason"]


class TestConfinement:
    @root_only
    def test_image_process_and_copy_are_confined_as_their_layers_say(self, enclave: LoneEnclave) -> None:
        image = PythonImage(enclave, ECHO)
        copy = image.ask()
        assert [[name, state] for name, state, _ in copy["layers"]] == [[name, "applied"] for name in LayerName]
        for pid, filters in ((image.pid, "2"), (copy["pid"], "3")):
            told = status(pid)
            assert told["NoNewPrivs"] == "1"
            assert told["Seccomp"] == "2"
            assert told["Seccomp_filters"] == filters
            assert int(told["CapEff"], 16) == int(told["CapPrm"], 16) == 0
            assert told["Uid"].split() == [str(1_900_000_000 + image.pid)] * 4
            assert told["Threads"] == "1"
            assert str(Path(f"/proc/{pid}/root").readlink()).endswith("(deleted)")
            limits = Path(f"/proc/{pid}/limits").read_text()
            assert "unlimited" not in next(line for line in limits.splitlines() if line.startswith("Max address space"))

    @root_only
    def test_the_base_keeps_what_it_needs_to_give_user_ids_and_no_more(
        self, spawner: LoneSpawner, enclave: LoneEnclave
    ) -> None:
        PythonImage(enclave, ECHO)
        children = Path(f"/proc/{spawner.process.pid}/task/{spawner.process.pid}/children").read_text().split()
        bases = [pid for pid in children if b"casemate-python" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        base = min(bases, key=int)
        assert int(status(int(base))["CapEff"], 16) == (1 << 6) | (1 << 7)
        assert status(int(base))["Seccomp_filters"] == "1"

    @pytest.mark.parametrize("name", ["rlimits", "no-new-privs", "landlock", "seccomp"])
    def test_without_a_needed_layer_there_is_no_python_guest_and_javascript_ones_are(self, name: str) -> None:
        with python_spawner(layers=(LayerRequest(LayerName(name), LayerMode.OFF),)) as spawner:
            enclave = spawner.spawn()
            refused = enclave.need_guest(engine="python")
            assert f"layer {name} is off" in refused["reason"]
            assert f"--layer {name}=off" in refused["reason"]
            assert "pid" in enclave.need_guest()

    @pytest.mark.parametrize(
        ("what", "error"),
        [
            ("open('/etc/passwd')", "PermissionError"),
            ("os.stat('/proc/1')", "PermissionError"),
            ("os.listdir('/')", "PermissionError"),
            ("os.fork()", "PermissionError"),
            ("os.kill(os.getppid(), 0)", "PermissionError"),
            ("os.kill(os.getpid(), 9)", "PermissionError"),
            ("threading.Thread(target=print).start()", "RuntimeError"),
            ("socket.socket()", "PermissionError"),
            ("socket.socketpair(type=socket.SOCK_DGRAM)", "PermissionError"),
            ("socket.socketpair(type=socket.SOCK_RAW)", "PermissionError"),
            ("socket.socketpair(type=socket.SOCK_SEQPACKET)", "PermissionError"),
            ("socket.socketpair(type=socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)", "PermissionError"),
            ("[end.close() for end in socket.socketpair()]", "ok"),
            ("socket.socketpair()[0].dup()", "PermissionError"),
            ("fcntl.lockf(1, fcntl.LOCK_SH)", "PermissionError"),
            ("fcntl.fcntl(1, fcntl.F_DUPFD, 9)", "PermissionError"),
            ("fcntl.fcntl(1, fcntl.F_SETOWN, 1)", "PermissionError"),
            ("mmap.mmap(1, 10)", "PermissionError"),
            ("os.chown('/a', 0, 0)", "PermissionError"),
            ("os.copy_file_range(0, 1, 1)", "PermissionError"),
            ("os.listdir(1)", "PermissionError"),
            ("os.listxattr('/')", "PermissionError"),
            ("os.mkfifo('a')", "PermissionError"),
            ("os.pwrite(1, b'', 0)", "PermissionError"),
            ("os.sched_get_priority_max(0)", "PermissionError"),
            ("os.sched_setscheduler(0, 0, os.sched_param(0))", "PermissionError"),
            ("os.sync()", "ok"),
            ("os.truncate('a', 0)", "PermissionError"),
            ("signal.sigpending()", "PermissionError"),
            ("signal.sigtimedwait([10], 0)", "PermissionError"),
            ("socket.sethostname('a')", "PermissionError"),
            ("time.clock_settime(0, 1)", "PermissionError"),
            ("subprocess.run(['true'])", "PermissionError"),
            ("mmap.mmap(-1, 4096)", "PermissionError"),
            ("mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE, prot=7)", "PermissionError"),
            ("ctypes.CDLL(None).syscall(321, 0, 0, 0)", "ok"),
            ("bytearray(1 << 30)", "MemoryError"),
            ("[0] * (1 << 40)", "MemoryError"),
            ("mmap.mmap(-1, 1 << 41, flags=mmap.MAP_PRIVATE, prot=1)", "OSError"),
            ("asyncio.run(asyncio.sleep(0.001))", "ok"),
        ],
    )
    def test_a_guest_may_compute_and_nothing_else(self, enclave: LoneEnclave, what: str, error: str) -> None:
        image = PythonImage(
            enclave,
            "import asyncio, ctypes, fcntl, mmap, os, signal, socket, subprocess, threading, time\n"
            f"def main(_):\n    {what}\n",
        )
        outcome = image.call()
        if error == "ok":
            assert outcome.code == "ok"
        else:
            assert outcome.text.startswith(error)


class TestWithoutRoot:
    @root_only
    def test_an_ordinary_user_s_guests_are_confined_and_answer(self) -> None:
        with python_spawner(user=NOBODY, python=python_for_all()) as spawner:
            image = PythonImage(spawner.spawn(), "import os\ndef main(what): return eval(what)")
            states = {name: state for name, state, _ in image.given["layers"]}
            needed = ("rlimits", "no-new-privs", "landlock", "seccomp")
            assert [states[name] for name in needed] == ["applied"] * len(needed)
            assert image.call("1 + 1").text == "2"
            assert image.call("os.stat('/')").text.startswith("PermissionError")
            told = status(image.pid)
            assert int(told["CapEff"], 16) == int(told["CapPrm"], 16) == 0

    @root_only
    @x86_only
    def test_an_ordinary_user_s_fork_bomb_is_ended(self) -> None:
        with python_spawner(user=NOBODY, python=python_for_all()) as spawner:
            image = PythonImage(spawner.spawn(), CLONE + "while True: clone()")
            assert "started a process of its own" in image.loaded.text
            assert soon(lambda: in_session(image.pid) == set())


class TestEnds:
    def test_an_enclave_s_end_is_the_end_of_all_its_processes(self, spawner: LoneSpawner) -> None:
        enclave = spawner.spawn()
        image = PythonImage(enclave, ECHO)
        image.copy()
        assert len(in_session(image.pid)) == 2
        enclave.close()
        spawner.exited()
        assert in_session(image.pid) == set()

    def test_copies_end_with_their_image_process(self, enclave: LoneEnclave) -> None:
        image = PythonImage(enclave, ECHO)
        copy = image.copy()
        os.kill(image.pid, signal.SIGKILL)
        assert soon(lambda: in_session(image.pid) == set())
        assert image.call(guest=copy).code == "guest-crashed"
        assert "is gone" in image.ask()["reason"]

    def test_a_copy_that_dies_leaves_the_others_and_the_image_process(self, enclave: LoneEnclave) -> None:
        image = PythonImage(enclave, "import os\ndef main(x):\n    if x: os._exit(3)")
        first, second = image.copy(), image.copy()
        assert image.call(True, guest=first).text == "the guest ended with status 3"
        assert image.call(False, guest=second).code == "ok"
        assert image.call(False).code == "ok"

    def test_all_end_with_the_spawner(self) -> None:
        with python_spawner() as spawner:
            image = PythonImage(spawner.spawn(), ECHO)
            image.copy()
            spawner.process.kill()
            spawner.process.wait()
            assert soon(lambda: in_session(image.pid) == set())

    def test_after_the_base_s_death_images_live_on_and_new_ones_wait_for_another(self) -> None:
        with python_spawner(pool=0) as spawner:
            image = PythonImage(spawner.spawn(), ECHO)
            children = Path(f"/proc/{spawner.process.pid}/task/{spawner.process.pid}/children").read_text().split()
            base = min(pid for pid in children if b"casemate-python" in Path(f"/proc/{pid}/cmdline").read_bytes())
            os.kill(int(base), signal.SIGKILL)
            assert soon(lambda: not Path(f"/proc/{base}").exists())
            assert image.call(7).text == "7"
            other = spawner.spawn()
            assert "a moment ago" in other.need_guest(engine="python")["reason"]
            time.sleep(5)
            assert PythonImage(other, ECHO).call(8).text == "8"


class TestHostileImports:
    """Programs that misbehave while they are loaded: each ends in time, with a typed error, and nothing is left."""

    def load(self, enclave: LoneEnclave, source: str, **more: Any) -> PythonImage:
        before = time.monotonic()
        image = PythonImage(enclave, source, time_ms=1000, **more)
        assert time.monotonic() - before < 1.3 + late()
        return image

    @x86_only
    def test_a_fork_bomb(self, spawner: LoneSpawner, enclave: LoneEnclave) -> None:
        neighbour = PythonImage(spawner.spawn(), ECHO)
        copy = neighbour.copy()
        image = self.load(enclave, CLONE + "while True: clone()")
        assert image.loaded.code == "guest-crashed"
        assert "started a process of its own" in image.loaded.text
        assert soon(lambda: in_session(image.pid) == set())
        assert neighbour.call(1, guest=copy).text == "1"
        neighbour.enclave.close()
        spawner.exited()

    @x86_only
    def test_a_child_that_waits_until_the_program_is_loaded(self, enclave: LoneEnclave) -> None:
        image = self.load(enclave, CLONE + "import time\nif clone() == 0:\n    time.sleep(60)\n" + ECHO)
        assert soon(lambda: in_session(image.pid) == set())
        assert "is gone" in image.ask()["reason"]

    def test_threads(self, enclave: LoneEnclave) -> None:
        image = self.load(enclave, "import threading\nthreading.Thread(target=print).start()")
        assert "RuntimeError: can't start new thread" in image.loaded.text

    def test_memory(self, enclave: LoneEnclave) -> None:
        image = self.load(enclave, "kept = []\nwhile True: kept.append(bytearray(1 << 20))")
        assert "MemoryError" in image.loaded.text

    def test_an_endless_loop(self, enclave: LoneEnclave) -> None:
        image = self.load(enclave, "while True: pass")
        assert image.loaded.code == "time-limit"
        assert soon(lambda: in_session(image.pid) == set())

    @x86_only
    @pytest.mark.parametrize(
        "call",
        [
            "41, 2, 1, 0",  # socket
            "56, 0x8011 | 0x10000000, 0, 0, 0, 0",  # clone with a new user namespace
            "56, 0x50f00, 0, 0, 0, 0",  # clone, a thread
            "57",  # fork
            "59, 0, 0, 0",  # execve
            "62, os.getppid(), 9",  # kill
            "112",  # setsid
            "117, 0, 0, 0",  # setresuid
            "157, 1, 0",  # prctl: to outlive the spawner
            "157, 4, 1",  # prctl: to be traced
            "272, 0x10000000",  # unshare
            "302, 0, 9, 0, 0",  # prlimit64
            "435, 0, 0",  # clone3
            "317, 1, 8, 0",  # seccomp, with a listener
            "9, 0, 4096, 7, 0x22, -1, 0",  # mmap of code
            "9, 0, 4096, 3, 0x21, -1, 0",  # mmap of shared memory
        ],
    )
    def test_raw_system_calls_are_refused(self, enclave: LoneEnclave, call: str) -> None:
        source = f"import ctypes, os\nlibc = ctypes.CDLL(None)\nassert libc.syscall({call}) == -1\n{ECHO}"
        assert self.load(enclave, source).loaded.code == "ok"


class TestLyingImages:
    """Programs that have taken over the code by which their process is copied."""

    TAKEN = "import sys\nimage = sys.modules['casemate.zygote.image']\nguest = sys.modules['casemate.zygote.guest']\n"

    def test_a_copy_that_never_comes_ends_the_image_process(self, enclave: LoneEnclave) -> None:
        image = PythonImage(enclave, self.TAKEN + "import time\nimage.clone_sibling = lambda: time.sleep(60)\n" + ECHO)
        before = time.monotonic()
        assert "was ended" in image.ask()["reason"]
        assert 1.9 < time.monotonic() - before < 3 + late()
        assert soon(lambda: in_session(image.pid) == set())

    def test_an_image_process_that_passes_itself_off_as_its_copy_is_ended(self, enclave: LoneEnclave) -> None:
        source = (
            self.TAKEN
            + "import os\ntruly = image.receive\n"
            + "def receive(control):\n"
            + "    payload, descriptors = truly(control)\n"
            + "    os.write(descriptors[3], b'here I am')\n"
            + "    return payload, descriptors\n"
            + "image.receive = receive\nimage.clone_sibling = lambda: False\n"
        )
        image = PythonImage(enclave, source + ECHO)
        assert "was ended" in image.ask()["reason"]
        assert soon(lambda: in_session(image.pid) == set())

    def test_a_process_beside_the_copy_is_found(self, enclave: LoneEnclave) -> None:
        source = (
            self.TAKEN
            + "import time\ntruly = image.clone_sibling\n"
            + "def twice():\n"
            + "    if truly():\n        return True\n"
            + "    if truly():\n        time.sleep(60)\n"
            + "    return False\n"
            + "image.clone_sibling = twice\n"
        )
        image = PythonImage(enclave, source + ECHO)
        image.ask()
        assert soon(lambda: in_session(image.pid) == set())

    def test_a_copy_that_installs_no_filter_has_the_image_process_s_still(self, enclave: LoneEnclave) -> None:
        image = PythonImage(
            enclave, self.TAKEN + "import os\nguest.confine_copy = lambda *_, **__: None\ndef main(_): os.fork()"
        )
        assert image.call().text.startswith("PermissionError")

    def test_a_refused_copy_is_told_and_the_next_one_comes(self, enclave: LoneEnclave) -> None:
        source = (
            self.TAKEN
            + "truly = image.clone_sibling\nleft = [1]\n"
            + "def once():\n    if left:\n        left.pop()\n        return False\n    return truly()\n"
            + "image.clone_sibling = once\n"
        )
        image = PythonImage(enclave, source + ECHO)
        assert "made none" in image.ask()["reason"]
        assert image.call(5).text == "5"
