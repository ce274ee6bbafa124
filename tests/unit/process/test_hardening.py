import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.rigs.sandbox_children import NOBODY, run_child

from casemate.process.hardening import die_with_parent, forbid_dumps

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="/proc and prctl are Linux's")


@linux_only
class TestSecrets:
    CODE = """
import ctypes, os, resource, sys, time
from casemate.process.hardening import keep_secrets_in
if os.geteuid() == 0:
    os.setuid(65534)
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
if sys.argv[1] == "hardened":
    keep_secrets_in()
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), *resource.getrlimit(resource.RLIMIT_CORE), flush=True)
time.sleep(60)
"""

    @contextlib.contextmanager
    def victim(self, how: str) -> Iterator[tuple[int, list[str]]]:
        made = subprocess.Popen([sys.executable, "-c", self.CODE, how], stdout=subprocess.PIPE, text=True)
        assert made.stdout is not None
        try:
            yield made.pid, made.stdout.readline().split()
        finally:
            made.kill()
            made.communicate()

    def read_memory_as_the_same_user(self, pid: int) -> bool:
        """Whether a process of the victim's user, without privileges, can open its memory."""
        command = ["/bin/sh", "-c", f": < /proc/{pid}/mem"]
        nobody = 65534 if os.geteuid() == 0 else None
        groups = () if os.geteuid() == 0 else None
        done = subprocess.run(command, stderr=subprocess.DEVNULL, check=False, user=nobody, extra_groups=groups)
        return done.returncode == 0

    def test_no_other_process_of_the_user_reads_the_memory(self) -> None:
        with self.victim("plain") as (pid, said):
            assert said[0] == "1"
            assert self.read_memory_as_the_same_user(pid)
        with self.victim("hardened") as (pid, said):
            assert said[0] == "0"
            assert not self.read_memory_as_the_same_user(pid)
            assert Path(f"/proc/{pid}/mem").stat().st_uid == 0  # the kernel's own way to show it

    def test_there_are_no_core_files(self) -> None:
        with self.victim("hardened") as (_, said):
            assert said[1:] == ["0", "0"]


@linux_only
@pytest.mark.parametrize("uid", [None, NOBODY])
def test_a_process_without_dumps_cannot_be_looked_into(uid: int | None) -> None:
    def body() -> str:
        forbid_dumps()
        return str(Path("/proc/self/mem").stat().st_uid)

    if uid is not None and os.geteuid() != 0:
        pytest.skip("only root can become another user")
    assert run_child(body, user=uid).said == "0"


@linux_only
def test_a_child_dies_with_its_parent() -> None:
    reading, writing = os.pipe()
    middle = os.fork()
    if middle == 0:
        me = os.getpid()
        if os.fork() == 0:
            die_with_parent(me)
            os.write(writing, b"bound")
            time.sleep(30)
        else:
            time.sleep(30)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb", buffering=0) as said:
        assert said.read(5) == b"bound"
        os.kill(middle, signal.SIGKILL)
        os.waitpid(middle, 0)
        began = time.monotonic()
        assert said.read(1) == b""
        assert time.monotonic() - began < 5


def test_a_child_whose_parent_is_gone_already_ends_at_once() -> None:
    if sys.platform != "linux":
        pytest.skip("elsewhere the end of a pipe has to do")

    def body() -> str:
        die_with_parent(os.getppid() + 1)
        return "lives"

    assert run_child(body).said == ""
