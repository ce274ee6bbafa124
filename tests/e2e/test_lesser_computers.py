"""Functions of an ordinary user on computers that lack what confines a guest: real system calls fail there.

Many have no user namespaces for those who are not root: Debian before 11, Ubuntu 24.04 by AppArmor's rule, containers.
Some have no Landlock besides: kernels before 5.13, or built without it.
"""

import contextlib
import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.rigs.newcomer import Newcomer, Told, machine_of, ordinary_user

from casemate.cli.errors import ExitCode
from casemate.sandbox import linux
from casemate.sandbox.errors import UnavailableError
from casemate.sandbox.privileges import refuse_new_privileges
from casemate.sandbox.seccomp import Rule, SyscallFilter, compile_filter, install_filter

pytestmark = [pytest.mark.machine, pytest.mark.skipif(sys.platform != "linux", reason="these are Linux's layers")]

_NEWUSER = 0x1000_0000  # linux/sched.h
SCRIPT = "export function main() { return 1; }\n"
PROGRAM = "def main(input, context):\n    return 1\n"
MANIFEST = """\
[enclave]
name = "one"
product_id = 1
security_version = 1
engine = "{engine}"
main = "guest/main.{suffix}"
permissions = ["random", "now"]

[limits]
memory_mib = 64
time_ms = 2000
output_kib = 64

[entry.main]
input = {{}}
output = {{ type = "integer" }}
callers = "anyone"
"""


def lose_user_namespaces() -> None:
    """The calling process, and all that it starts, can make no namespaces: none may be made below its own.

    Where the kernel lets this user make none at all, that is so already.
    """
    uid, gid = os.getuid(), os.getgid()
    with contextlib.suppress(UnavailableError):
        linux.unshare(_NEWUSER)
        linux.prctl(linux.PR_SET_DUMPABLE, 1)  # else its own files in /proc are root's
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
        Path("/proc/sys/user/max_user_namespaces").write_text("0")


def lose_landlock_too() -> Callable[[], None]:
    """The same, and Landlock's system calls are not there."""
    without = compile_filter(SyscallFilter((Rule("landlock_create_ruleset", errno.ENOSYS),), others_pass=True))

    def lose() -> None:
        lose_user_namespaces()
        refuse_new_privileges()
        install_filter(without)

    return lose


def run(ann: Newcomer, engine: str, code: str) -> Told:
    suffix = "py" if engine == "python" else "js"
    folder = ann.home / engine
    ann.writes(folder, {
        f"guest/main.{suffix}": code, "casemate.toml": MANIFEST.format(engine=engine, suffix=suffix),
        "input.json": "null",
    })  # fmt: skip
    return ann.casemate("run", folder, "--input", folder / "input.json")


def test_without_user_namespaces_both_engines_run_with_landlock() -> None:
    with ordinary_user() as ann, machine_of(ann, "--no-gateway", first=lose_user_namespaces):
        for engine, code in (("python", PROGRAM), ("javascript", SCRIPT)):
            told = run(ann, engine, code)
            assert (told.code, told.out) == (ExitCode.OK, "1\n"), told
            guest = next(line for line in told.err.splitlines() if line.startswith("guest in"))
            assert "landlock, seccomp" in guest
            assert "namespaces unavailable (unshare: " in guest


def test_without_landlock_too_python_is_refused_by_the_layers_name_and_javascript_runs() -> None:
    with ordinary_user() as ann, machine_of(ann, "--no-gateway", first=lose_landlock_too()):
        told = run(ann, "python", PROGRAM)
        assert (told.code, told.out) == (ExitCode.FAILED, ""), told
        assert "layer landlock is unavailable (" in told.err
        assert "Python code has no wall of its own" in told.err
        assert "write the function in JavaScript" in told.err
        told = run(ann, "javascript", SCRIPT)
        assert (told.code, told.out) == (ExitCode.OK, "1\n"), told
        assert "landlock unavailable (" in told.err
