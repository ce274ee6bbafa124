import asyncio
import contextlib
import ctypes
import errno
import gc
import mmap
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.rigs.sandbox_children import Run

from casemate.sandbox.errors import UnavailableError
from casemate.sandbox.privileges import refuse_new_privileges
from casemate.sandbox.python_syscalls import IMAGE, PYTHON_GUEST
from casemate.sandbox.seccomp import Compare, Rule, SyscallFilter, When, compile_filter, install_filter
from casemate.sandbox.syscalls import ENCLAVE, GUEST, HOST

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="seccomp is Linux's")

_LIBC = ctypes.CDLL(None, use_errno=True)
_BPF, _CLONE, _FANOTIFY_INIT, _CLOCK_NANOSLEEP, _MADVISE, _FUTEX = (
    (321, 56, 300, 230, 28, 202) if os.uname().machine == "x86_64" else (280, 220, 262, 115, 233, 98)
)


def behind(syscalls: SyscallFilter, body: Callable[[], object]) -> Callable[[], object]:
    program = compile_filter(syscalls)

    def confined() -> object:
        refuse_new_privileges()
        install_filter(program)
        return body()

    return confined


def clone_process() -> None:
    os.fork()


def map_executable() -> None:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC).close()


def make_executable() -> int:
    with mmap.mmap(-1, 4096) as memory:
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        result: int = _LIBC.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(4096), ctypes.c_int(7))
        return result


def trace() -> int:
    result: int = _LIBC.ptrace(0, 0, 0, 0)
    return result


Attempts = dict[str, Callable[[], object]]

KILLED_IN_ENCLAVE: Attempts = {
    "socket": socket.socket,
    "socketpair": socket.socketpair,
    "fork": clone_process,
    "exec": lambda: os.execv("/bin/true", ["true"]),  # noqa: S606 - it is refused
    "kill": lambda: os.kill(os.getppid(), 0),
    "kill itself": lambda: os.kill(os.getpid(), 0),
    "pipe": os.pipe,
    "executable mapping": map_executable,
    "memory made executable": make_executable,
    "ptrace": trace,
    "setuid": lambda: os.setuid(1),
    "mount": lambda: _LIBC.mount(b"none", b"/", b"tmpfs", 0, None),
    "unshare": lambda: _LIBC.unshare(0x10000000),
    "bpf": lambda: _LIBC.syscall(_BPF, 0, None, 0),
    "io_uring": lambda: _LIBC.syscall(425, 1, None),
    "process_vm_readv": lambda: _LIBC.process_vm_readv(os.getppid(), None, 0, None, 0, 0),
    "memfd": lambda: os.memfd_create("x"),
    "setrlimit": lambda: resource.setrlimit(resource.RLIMIT_NPROC, (1, 1)),
}
_QUIET = {"setrlimit"}
"""Refused with an errno: glibc sets limits by prlimit64, which harmless code uses to ask."""


@pytest.mark.parametrize("what", KILLED_IN_ENCLAVE)
def test_an_enclave_is_killed_for_it(child: Run, what: str) -> None:
    ended = child(behind(ENCLAVE, KILLED_IN_ENCLAVE[what]))
    if what in _QUIET:
        assert ended.signal is None
        assert "PermissionError" in ended.said or "not allowed" in ended.said
    else:
        assert ended.signal is signal.SIGSYS, ended


REFUSED_IN_ENCLAVE: Attempts = {
    "read a file": lambda: open("/etc/passwd", "rb"),  # noqa: SIM115, PTH123 - it fails
    "write a file": lambda: open("/tmp/casemate-x", "wb"),  # noqa: SIM115, PTH123 - it fails
    "list a folder": lambda: os.listdir("/"),  # noqa: PTH208
    "stat": lambda: os.stat("/etc/passwd"),  # noqa: PTH116
    "unlink": lambda: os.unlink("/tmp/casemate-x"),  # noqa: PTH108
    "mkdir": lambda: os.mkdir("/tmp/casemate-y"),  # noqa: PTH102
    "rename": lambda: os.rename("/tmp/casemate-x", "/tmp/casemate-z"),  # noqa: PTH104
}


@pytest.mark.parametrize("what", REFUSED_IN_ENCLAVE)
def test_an_enclave_gets_an_error_for_it(child: Run, what: str) -> None:
    ended = child(behind(ENCLAVE, REFUSED_IN_ENCLAVE[what]))
    assert (ended.signal, ended.said.split(":")[0]) == (None, "PermissionError")


def test_an_enclave_can_compute_and_talk(child: Run) -> None:
    ours, theirs = socket.socketpair()

    def work() -> str:
        grown = bytearray()
        for _ in range(200):
            grown += bytes(100_000)  # realloc of large blocks is mremap
        garbage = [{"n": [n]} for n in range(100_000)]
        del garbage
        gc.collect()
        caught = ""
        try:
            1 / 0  # noqa: B018 - a traceback is made
        except ZeroDivisionError as error:
            caught = str(error)
        theirs.settimeout(1)
        theirs.sendmsg([b"question"])
        answer = theirs.recv(100)
        time.sleep(0.001)
        return f"{len(grown)} {caught} {answer!r} {len(os.urandom(32))}"

    with ours, theirs:
        ours.send(b"answer")
        said = child(behind(ENCLAVE, work)).said
    assert said == "20000000 division by zero b'answer' 32"


def test_an_enclave_s_cryptography_works_behind_the_filter(child: Run) -> None:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    X25519PrivateKey.generate()  # imports more when it is first called

    def work() -> str:
        signed = Ed25519PrivateKey.generate()
        signed.public_key().verify(signed.sign(b"x"), b"x")
        shared = X25519PrivateKey.generate().exchange(X25519PrivateKey.generate().public_key())
        key = HKDF(hashes.SHA256(), 32, None, b"").derive(shared)
        cipher = AESGCM(key)
        return cipher.decrypt(bytes(12), cipher.encrypt(bytes(12), b"x" * 1_000_000, b""), b"")[:1].decode()

    assert child(behind(ENCLAVE, work)).said == "x"


def test_an_enclave_s_schemas_work_behind_the_filter(child: Run) -> None:
    import jsonschema_rs

    def work() -> str:
        schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^x+$", "format": "email"}}}
        validator = jsonschema_rs.Draft202012Validator(schema)
        return f"{validator.is_valid({'a': 'xx'})} {validator.is_valid({'a': 5})}"

    assert child(behind(ENCLAVE, work)).said == "True False"


def raw_pair(family: int, kind: int) -> tuple[int, int]:
    """Without what Python's own asks besides."""
    pair = (ctypes.c_int * 2)()
    if _LIBC.socketpair(family, kind, 0, pair) == -1:
        raise OSError(ctypes.get_errno(), "refused")
    return pair[0], pair[1]


KILLED_IN_GUEST: Attempts = {
    "fork": clone_process,
    "ptrace": trace,
    "setuid": lambda: os.setuid(1),
    "mount": lambda: _LIBC.mount(b"none", b"/", b"tmpfs", 0, None),
    "unshare": lambda: _LIBC.unshare(0x10000000),
    "process_vm_readv": lambda: _LIBC.process_vm_readv(os.getppid(), None, 0, None, 0, 0),
    "connect": lambda: _LIBC.connect(0, b"", 0),
    "pair of datagram sockets": lambda: raw_pair(socket.AF_UNIX, socket.SOCK_DGRAM),
    "pair of packet sockets": lambda: raw_pair(socket.AF_UNIX, socket.SOCK_SEQPACKET),
    "pair of another family": lambda: raw_pair(30, socket.SOCK_STREAM),
}


@pytest.mark.parametrize("what", KILLED_IN_GUEST)
def test_a_guest_is_killed_for_it(child: Run, what: str) -> None:
    assert child(behind(GUEST, KILLED_IN_GUEST[what])).signal is signal.SIGSYS


REFUSED_IN_GUEST: Attempts = {
    "socket": socket.socket,
    "kill": lambda: os.kill(os.getppid(), 0),
    "write a file": lambda: open("/tmp/casemate-x", "wb"),  # noqa: SIM115, PTH123
    "create a file": lambda: os.open("/tmp/casemate-x", os.O_RDONLY | os.O_CREAT),
    "open to write": lambda: os.open("/dev/null", os.O_RDWR),
    "append": lambda: os.open("/dev/null", os.O_WRONLY | os.O_APPEND),
    "unlink": lambda: os.unlink("/tmp/casemate-x"),  # noqa: PTH108
    "raise a limit": lambda: resource.setrlimit(resource.RLIMIT_NPROC, (1, 1)),
}


@pytest.mark.parametrize("what", REFUSED_IN_GUEST)
def test_a_guest_gets_an_error_for_it(child: Run, what: str) -> None:
    ended = child(behind(GUEST, REFUSED_IN_GUEST[what]))
    assert ended.signal is None
    assert "PermissionError" in ended.said or "not allowed" in ended.said


def prctl(option: int, *arguments: int) -> None:
    if _LIBC.prctl(option, *map(ctypes.c_ulong, (*arguments, 0, 0, 0))) == -1:
        raise OSError(ctypes.get_errno(), "prctl")


def send_to_name() -> None:
    socket.socketpair()[0].sendto(b"x", "/nowhere")


PRCTL: Attempts = {
    "no signal when the parent ends": lambda: prctl(1, 0),
    "dumpable": lambda: prctl(4, 1),
    "keep capabilities": lambda: prctl(8, 1),
    "another filter": lambda: prctl(22, 2),
    "time that lies": lambda: prctl(26, 2),
    "tracer": lambda: prctl(0x59616D61, -1),
    "subreaper": lambda: prctl(36, 1),
}


@pytest.mark.parametrize("what", PRCTL)
def test_a_guest_cannot_change_what_it_is(child: Run, what: str) -> None:
    assert child(behind(GUEST, PRCTL[what])).said == "PermissionError: [Errno 1] prctl"


def test_a_guest_s_streams_reach_each_other_and_nothing_with_a_name(child: Run) -> None:
    name = ctypes.create_string_buffer(b"thread")

    def attempt() -> str:
        prctl(15, ctypes.addressof(name))
        near, far = raw_pair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        _LIBC.sendto(near, b"x", 1, 0, None, 0)
        refused = _LIBC.sendto(near, b"x", 1, 0, b"\x01\x00/nowhere", 10)
        return f"{os.read(far, 9)!r} {refused} {errno.errorcode[ctypes.get_errno()]}"

    assert child(behind(GUEST, attempt)).said == "b'x' -1 EPERM"


def raw(number: int, *arguments: int) -> None:
    if _LIBC.syscall(ctypes.c_long(number), *map(ctypes.c_ulong, (*arguments, 0, 0, 0, 0, 0))) == -1:
        raise OSError(ctypes.get_errno(), "refused")


def clock_of(pid: int) -> int:
    """The clock of what a process has computed (clock_getcpuclockid(3))."""
    return ~pid << 3 | 2


MEASURES_GUESTS = "what it has computed"
ASKS_ABOUT_OTHERS: dict[str, Callable[[int], object]] = {
    MEASURES_GUESTS: lambda pid: time.clock_gettime(clock_of(pid)),
    "its clock's resolution": lambda pid: time.clock_getres(clock_of(pid)),
    "waiting until it computes": lambda pid: raw(_CLOCK_NANOSLEEP, clock_of(pid) & (1 << 64) - 1, 0, 0, 0),
    "its processors": os.sched_getaffinity,
}
ASKS_MORE_ABOUT_OTHERS: dict[str, Callable[[int], object]] = {
    "other processors for it": lambda pid: os.sched_setaffinity(pid, {0}),
    "its priority": os.sched_getparam,
    "its scheduler": os.sched_getscheduler,
    "its limits": lambda pid: resource.prlimit(pid, resource.RLIMIT_NOFILE),
}
"""Refused in guests by name; an enclave that asks is killed, or refused whatever it asks."""


@pytest.mark.parametrize("what", [*ASKS_ABOUT_OTHERS, *ASKS_MORE_ABOUT_OTHERS])
@pytest.mark.parametrize("syscalls", [ENCLAVE, GUEST, IMAGE, PYTHON_GUEST], ids=["enclave", "guest", "image", "copy"])
def test_nobody_learns_which_other_processes_there_are(child: Run, syscalls: SyscallFilter, what: str) -> None:
    """One that is there and one that is not make no difference. An enclave reads its guests' clocks, by their pids."""
    if syscalls is ENCLAVE and what == MEASURES_GUESTS:
        assert float(child(behind(syscalls, lambda: ASKS_ABOUT_OTHERS[what](os.getppid()))).said) >= 0
        return
    ask = {**ASKS_ABOUT_OTHERS, **ASKS_MORE_ABOUT_OTHERS}[what]
    answers = [child(behind(syscalls, lambda pid=pid: ask(pid))) for pid in (os.getppid(), 0x3FFFFFF)]  # type: ignore[misc]
    assert answers[0] == answers[1]
    assert answers[0].signal is signal.SIGSYS or re.match(r"(OS|Permission)Error: \[Errno", answers[0].said)


@pytest.mark.parametrize("syscalls", [ENCLAVE, GUEST, PYTHON_GUEST], ids=["enclave", "guest", "copy"])
def test_a_process_s_own_clocks_and_advice_work(child: Run, syscalls: SyscallFilter) -> None:
    clocks = (time.CLOCK_REALTIME, time.CLOCK_MONOTONIC, time.CLOCK_PROCESS_CPUTIME_ID, time.CLOCK_THREAD_CPUTIME_ID)

    def work() -> str:
        memory = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        memory[0] = 1
        memory.madvise(mmap.MADV_DONTNEED)
        return f"{memory[0]} {all(time.clock_gettime(clock) > 0 for clock in clocks)} {bool(os.sched_getaffinity(0))}"

    assert child(behind(syscalls, work)).said == "0 True True"


@pytest.mark.parametrize("syscalls", [ENCLAVE, GUEST, PYTHON_GUEST], ids=["enclave", "guest", "copy"])
@pytest.mark.parametrize("bits_above", [0, 1 << 32])
def test_nobody_has_its_pages_compared_to_those_of_others(child: Run, syscalls: SyscallFilter, bits_above: int) -> None:
    def attempt() -> None:
        with mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
            address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
            raw(_MADVISE, address, 4096, 12 | bits_above)  # MADV_MERGEABLE

    assert child(behind(syscalls, attempt)).said == "OSError: [Errno 22] refused"


@pytest.mark.parametrize("syscalls", [ENCLAVE, GUEST, IMAGE, PYTHON_GUEST], ids=["enclave", "guest", "image", "copy"])
def test_nobody_is_woken_by_another_process_at_a_place_in_a_library(child: Run, syscalls: SyscallFilter) -> None:
    """Code of libc lies in one file, whatever processes have mapped it; the flag 128 keeps a futex private."""
    place = ctypes.cast(_LIBC.getpid, ctypes.c_void_p).value or 0
    place &= ~3
    assert _LIBC.syscall(ctypes.c_long(_FUTEX), ctypes.c_void_p(place), 1, 1, None, None, 0) == 0, "the kernel would"

    def attempt() -> str:
        for operation in (1, 3, 4, 5, 10):  # FUTEX_WAKE, REQUEUE, CMP_REQUEUE, WAKE_OP, WAKE_BITSET
            with contextlib.suppress(PermissionError):
                raw(_FUTEX, place, operation, 1, 0, place, 1)
                return f"{operation} was not refused"
        raw(_FUTEX, place, 1 | 128, 1)
        return "refused"

    assert child(behind(syscalls, attempt)).said == "refused"


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="other numbers of system calls are x86-64's speciality")
@pytest.mark.parametrize("syscalls", [ENCLAVE, GUEST, IMAGE, PYTHON_GUEST], ids=["enclave", "guest", "image", "copy"])
def test_the_numbers_of_other_systems_are_the_end(child: Run, syscalls: SyscallFilter) -> None:
    """Of x32, and of 32-bit programs: getpid, which each filter allows by its own number."""
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(bytes.fromhex("b814000000 cd80 c3"))  # mov eax, 20; int 0x80; ret
    by_interrupt = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
    for attempt in (lambda: raw(0x40000000 | 39), by_interrupt):
        assert child(behind(syscalls, attempt)).signal is signal.SIGSYS


REFUSED_IN_HOST: Attempts = {
    "socket": lambda: socket.socket(socket.AF_UNIX),
    "datagram socket": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM),
    "network": socket.socket,
    "netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "pair of datagram sockets": lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM),
    "pair of packet sockets": lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET),
    "pair of raw sockets": lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_RAW),
    "pair of another family": lambda: socket.socketpair(30, socket.SOCK_STREAM),
    "connect": lambda: socket.socketpair()[0].connect("/nowhere"),
    "bind": lambda: socket.socketpair()[0].bind("/nowhere"),
    "send to a name": send_to_name,
    "limits of another": lambda: resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE),
    "process in new namespaces": lambda: raw(_CLONE, 0x10000000 | signal.SIGCHLD),
    "fanotify": lambda: raw(_FANOTIFY_INIT),
    "new file system": lambda: raw(430),
}


@pytest.mark.parametrize("what", REFUSED_IN_HOST)
def test_a_host_gets_an_error_for_it(child: Run, what: str) -> None:
    ended = child(behind(HOST, REFUSED_IN_HOST[what]))
    assert ended.signal is None
    assert ended.said.startswith("PermissionError: [Errno 1]")


def test_a_host_serves_with_the_sockets_that_it_has(child: Run, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        client.connect(str(tmp_path / "s"))
        client.sendall(b"question")
        listener.settimeout(0)

        async def serve() -> str:
            loop = asyncio.get_running_loop()
            accepted, _ = await loop.sock_accept(listener)
            asked = await loop.sock_recv(accepted, 100)
            reading, writing = os.pipe()
            socket.send_fds(accepted, [b"answer"], [reading, writing])
            return asked.decode()

        assert child(behind(HOST, lambda: asyncio.run(serve()))).said == "question"
        assert client.recv(100) == b"answer"


def test_a_host_cannot_trace_and_lives(child: Run) -> None:
    def attempt() -> str:
        result = _LIBC.process_vm_readv(os.getppid(), None, 0, None, 0, 0)
        return f"{result} {errno.errorcode[ctypes.get_errno()]} {subprocess.run(['/bin/true'], check=False).returncode}"

    assert child(behind(HOST, attempt)).said == "-1 EPERM 0"


def test_a_filter_outlives_an_attempt_to_replace_it(child: Run) -> None:
    allow_all = SyscallFilter((), others_pass=True)

    def attempt() -> str:
        install_filter(compile_filter(allow_all))
        return "replaced"

    compile_filter(allow_all)
    assert child(behind(ENCLAVE, attempt)).said.startswith("UnavailableError: prctl 22: EPERM")


def test_needs_no_new_privileges_without_rights(child: Run) -> None:
    program = compile_filter(ENCLAVE)

    def attempt() -> str:
        install_filter(program)
        return "installed"

    assert child(attempt).said.split(":")[0] in (
        "installed",
        "UnavailableError",
        "",
    )  # root may; a filtered pipe is open


def test_conditions_that_exclude_each_other_each_hold(child: Run) -> None:
    syscalls = SyscallFilter(
        (
            Rule("getpriority", None, When(0, Compare.EQUALS, 0)),
            Rule("getpriority", errno.EDOM, When(0, Compare.DIFFERS, 0)),
        ),
        others_pass=True,
    )

    def attempt() -> str:
        os.getpriority(os.PRIO_PROCESS, 0)
        os.getpriority(os.PRIO_USER, 0)
        return "both"

    assert "[Errno 33]" in child(behind(syscalls, attempt)).said


def test_two_conditions_of_one_rule_must_both_hold(child: Run) -> None:
    both = When(0, Compare.EQUALS, os.PRIO_PROCESS), When(1, Compare.MASKED_EQUALS, 0, 0xF)
    syscalls = SyscallFilter((Rule("getpriority", errno.EDOM, *both),), others_pass=True)

    def attempt() -> str:
        os.getpriority(os.PRIO_PROCESS, 1)
        os.getpriority(os.PRIO_USER, 0)
        os.getpriority(os.PRIO_PROCESS, 0)
        return "all"

    assert "[Errno 33]" in child(behind(syscalls, attempt)).said


def test_passes_over_calls_that_this_architecture_lacks() -> None:
    assert compile_filter(SyscallFilter((Rule("there_is_no_such_call"),), others_pass=True))


def test_is_compiled_once() -> None:
    assert compile_filter(ENCLAVE) is compile_filter(ENCLAVE)


def test_says_why_it_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    from casemate.sandbox import linux, seccomp

    monkeypatch.setattr(linux, "IS_LINUX", False)
    seccomp._library.cache_clear()
    with pytest.raises(UnavailableError, match="Linux"):
        compile_filter(SyscallFilter((Rule("read"),)))
    seccomp._library.cache_clear()


def test_a_filter_is_compiled_where_memory_files_are_denied(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def denied(_name: str) -> int:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    expected = compile_filter(HOST)
    monkeypatch.setattr(os, "memfd_create", denied)
    compile_filter.cache_clear()
    assert compile_filter(HOST) == expected
    monkeypatch.setattr("tempfile.TemporaryFile", lambda: (tmp_path / "none" / "file").open("w+b"))
    compile_filter.cache_clear()
    with pytest.raises(UnavailableError, match="memfd_create: Operation not permitted; a temporary file: No such file"):
        compile_filter(HOST)
