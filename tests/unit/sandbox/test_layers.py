"""Namespaces, user id, limits, privileges, and the life line: each in a child."""

import errno
import os
import resource
import signal
import socket
import sys
import time
from pathlib import Path

import pytest
from tests.rigs.sandbox_children import NOBODY, Run, run_child

from casemate.process.hardening import forbid_dumps
from casemate.sandbox.errors import UnavailableError
from casemate.sandbox.namespaces import enter_namespaces
from casemate.sandbox.privileges import FIRST_UID, refuse_new_privileges, take_own_uid
from casemate.sandbox.rlimits import Limits, limit_data, set_limits

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="this layer is Linux's")
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def status_of(field: str) -> str:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(line for line in lines if line.startswith(field)).split(":", 1)[1].strip()


@linux_only
def test_namespaces_leave_no_network(child: Run) -> None:
    def body() -> str:
        said = enter_namespaces()
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.connect(("192.0.2.1", 9))
        except OSError as error:
            return f"{said}: {type(error).__name__}, {[name for _, name in socket.if_nameindex()]}"
        return f"{said}: connected"

    said = child(body).said
    if said.startswith("UnavailableError"):
        pytest.skip(said)
    assert said.endswith("net, ipc, uts, mount, cgroup: OSError, ['lo']"), said


@linux_only
def test_namespaces_leave_no_capabilities_to_an_ordinary_user() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")

    def body() -> str:
        forbid_dumps()
        enter_namespaces()
        return f"{os.getuid()} {status_of('CapEff')} {status_of('CapPrm')}"

    said = run_child(body, user=NOBODY).said
    if said.startswith("UnavailableError"):
        pytest.skip(said)
    assert said == f"{NOBODY} {'0' * 16} {'0' * 16}"


@linux_only
@root_only
def test_a_user_namespace_without_an_id_map_leaves_no_capabilities_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """As under AppArmor's rule of Ubuntu 24.04, which lets a process into one, and refuses it what it needs there."""
    real = Path.write_text

    def refused(path: Path, text: str) -> int:
        if path.name == "uid_map":
            raise PermissionError(errno.EPERM, "Operation not permitted")
        return real(path, text)

    monkeypatch.setattr(Path, "write_text", refused)

    def body() -> str:
        try:
            enter_namespaces()
        except UnavailableError as error:
            return f"{error}: {status_of('CapEff')} {status_of('CapPrm')}"
        return "entered"

    said = run_child(body, user=NOBODY).said
    if said.startswith("unshare"):
        pytest.skip(said)
    assert said == f"id map of the user namespace: Operation not permitted: {'0' * 16} {'0' * 16}"


@linux_only
@root_only
def test_an_own_user_id_is_the_process_s_alone_and_for_good() -> None:
    def body() -> str:
        take_own_uid()
        try:
            os.setuid(0)
        except PermissionError:
            own = FIRST_UID + os.getpid()
            right = os.getresuid() == (own,) * 3 and os.getresgid() == (own,) * 3 and not os.getgroups()
            return f"{right} {status_of('CapEff')}"
        return "back"

    assert run_child(body).said == f"True {'0' * 16}"


@root_only
def test_an_ordinary_user_has_no_own_user_id() -> None:
    assert "not root: shares user id 65534" in run_child(take_own_uid, user=NOBODY).said


def test_limits_are_hard(child: Run) -> None:
    def body() -> str:
        set_limits(Limits(open_files=16, threads=5, data=1 << 30), own_uid=True)
        names = (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE, resource.RLIMIT_NPROC)
        return str([resource.getrlimit(name) for name in (*names, resource.RLIMIT_DATA)])

    assert child(body).said == f"[(16, 16), (0, 0), (0, 0), (5, 5), ({1 << 30}, {1 << 30})]"


def test_the_number_of_threads_is_not_limited_for_a_shared_user_id(child: Run) -> None:
    before = resource.getrlimit(resource.RLIMIT_NPROC)

    def body() -> str:
        set_limits(Limits(open_files=16, threads=5, data=None), own_uid=False)
        return str(resource.getrlimit(resource.RLIMIT_NPROC))

    assert child(body).said == str(before)


@linux_only
@pytest.mark.parametrize("user", [None, pytest.param(NOBODY, marks=root_only)])
def test_another_process_s_data_is_limited(user: int | None) -> None:
    pid = os.fork()
    if pid == 0:
        if user is not None:
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
        time.sleep(10)
        os._exit(0)
    try:
        while user is not None and f"Uid:\t{user}" not in Path(f"/proc/{pid}/status").read_text():
            time.sleep(0.001)
        limit_data(pid, 1 << 28)
        limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
        assert next(line for line in limits if line.startswith("Max data size")).split()[3:5] == [str(1 << 28)] * 2
        assert os.getresuid() == (os.getuid(), os.geteuid(), os.geteuid())
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@linux_only
def test_no_new_privileges_is_set(child: Run) -> None:
    def body() -> str:
        refuse_new_privileges()
        return status_of("NoNewPrivs")

    assert child(body).said == "1"
