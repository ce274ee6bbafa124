"""Hostile Python guests as data: their source, and the outcomes that a call of their ``main`` may have.

As :mod:`casemate.testing.hostile_guests`, and each thing is tried twice: with Python's own functions, and by raw system
calls through ``ctypes``, which no import hook and no replaced function can keep from them. What is tried and must be
refused gives a list of what was not.
"""

import platform
import textwrap
from collections.abc import Mapping

from casemate.testing.hostile_guests import OK, HostileGuest
from casemate.wire.protocol.faults import Code

_TIME = (Code.TIME_LIMIT,)
_MEMORY = (Code.MEMORY_LIMIT, Code.GUEST_ERROR, Code.TIME_LIMIT)
"""The kernel refuses the memory, which is an exception; or the watchdog sees it, or filling it takes too long."""
_THREW = (Code.GUEST_ERROR,)
_CRASHED = (Code.GUEST_CRASHED,)

SYSCALLS: Mapping[str, Mapping[str, int]] = {
    "x86_64": {
        "accept4": 288, "acct": 163, "add_key": 248, "arch_prctl": 158, "bind": 49, "bpf": 321, "brk": 12,
        "cachestat": 451, "capset": 126, "chdir": 80, "chroot": 161, "clock_getres": 229, "clock_gettime": 228,
        "clock_nanosleep": 230, "clone": 56, "clone3": 435, "close_range": 436, "connect": 42, "dup3": 292,
        "eventfd2": 290, "execve": 59, "execveat": 322, "fanotify_init": 300, "fcntl": 72, "fork": 57, "fsopen": 430,
        "futex": 202, "futex_waitv": 449, "getcwd": 79, "getdents64": 217, "getpriority": 140, "getsid": 124,
        "init_module": 175, "inotify_init1": 294, "io_uring_setup": 425, "ioctl": 16, "iopl": 172, "ioprio_set": 251,
        "kcmp": 312, "keyctl": 250, "kill": 62, "landlock_create_ruleset": 444, "landlock_restrict_self": 446,
        "listen": 50, "lsm_get_self_attr": 459, "lstat": 6, "madvise": 28, "map_shadow_stack": 453, "mbind": 237,
        "membarrier": 324, "memfd_create": 319, "memfd_secret": 447, "migrate_pages": 256, "mincore": 27,
        "mlock2": 325, "mmap": 9, "modify_ldt": 154, "mount": 165, "move_pages": 279, "mprotect": 10, "mq_open": 240,
        "mq_unlink": 241, "mseal": 462, "msgget": 68, "name_to_handle_at": 303, "newfstatat": 262, "open": 2,
        "open_by_handle_at": 304, "openat": 257, "openat2": 437, "perf_event_open": 298, "personality": 135,
        "pidfd_getfd": 438, "pidfd_open": 434, "pidfd_send_signal": 424, "pivot_root": 155, "pkey_mprotect": 329,
        "prctl": 157, "prlimit64": 302, "process_madvise": 440, "process_mrelease": 448, "process_vm_readv": 310,
        "process_vm_writev": 311, "ptrace": 101, "quotactl": 179, "readlink": 89, "recvmsg": 47,
        "remap_file_pages": 216, "request_key": 249, "rt_sigprocmask": 14, "rt_sigqueueinfo": 129,
        "rt_sigtimedwait": 128, "rt_tgsigqueueinfo": 297, "sched_getaffinity": 204, "sched_getparam": 143,
        "sched_setaffinity": 203, "sched_setscheduler": 144, "seccomp": 317, "semget": 64, "semtimedop": 220,
        "sendmsg": 46, "setitimer": 38, "setns": 308, "setpgid": 109, "setpriority": 141, "setrlimit": 160,
        "setsid": 112, "setsockopt": 54, "setuid": 105, "shmat": 30, "shmget": 29, "shutdown": 48, "signalfd4": 289,
        "socket": 41, "socketpair": 53, "splice": 275, "stat": 4, "statmount": 457, "statx": 332, "swapon": 167,
        "sysinfo": 99, "syslog": 103, "tgkill": 234, "timer_create": 222, "timerfd_create": 283, "tkill": 200,
        "truncate": 76, "umount2": 166, "unlink": 87, "unshare": 272, "userfaultfd": 323, "vfork": 58, "vmsplice": 278,
        "x32_getpid": 0x40000027,
    },
    "aarch64": {
        "accept4": 242, "acct": 89, "add_key": 217, "bind": 200, "bpf": 280, "brk": 214, "cachestat": 451,
        "capset": 91, "chdir": 49, "chroot": 51, "clock_getres": 114, "clock_gettime": 113, "clock_nanosleep": 115,
        "clone": 220, "clone3": 435, "close_range": 436, "connect": 203, "dup3": 24, "eventfd2": 19, "execve": 221,
        "execveat": 281, "fanotify_init": 262, "fcntl": 25, "fsopen": 430, "futex": 98, "futex_waitv": 449,
        "getcwd": 17, "getdents64": 61, "getpriority": 141, "getsid": 156, "init_module": 105, "inotify_init1": 26,
        "io_uring_setup": 425, "ioctl": 29, "ioprio_set": 30, "kcmp": 272, "keyctl": 219, "kill": 129,
        "landlock_create_ruleset": 444, "landlock_restrict_self": 446, "listen": 201, "lsm_get_self_attr": 459,
        "madvise": 233, "mbind": 235, "membarrier": 283, "memfd_create": 279, "memfd_secret": 447,
        "migrate_pages": 238, "mincore": 232, "mlock2": 284, "mmap": 222, "mount": 40, "move_pages": 239,
        "mprotect": 226, "mq_open": 180, "mq_unlink": 181, "mseal": 462, "msgget": 186, "name_to_handle_at": 264,
        "newfstatat": 79, "open_by_handle_at": 265, "openat": 56, "openat2": 437, "perf_event_open": 241,
        "personality": 92, "pidfd_getfd": 438, "pidfd_open": 434, "pidfd_send_signal": 424, "pivot_root": 41,
        "pkey_mprotect": 288, "prctl": 167, "prlimit64": 261, "process_madvise": 440, "process_mrelease": 448,
        "process_vm_readv": 270, "process_vm_writev": 271, "ptrace": 117, "quotactl": 60, "recvmsg": 212,
        "remap_file_pages": 234, "request_key": 218, "rt_sigprocmask": 135, "rt_sigqueueinfo": 138,
        "rt_sigtimedwait": 137, "rt_tgsigqueueinfo": 240, "sched_getaffinity": 123, "sched_getparam": 121,
        "sched_setaffinity": 122, "sched_setscheduler": 119, "seccomp": 277, "semget": 190, "semtimedop": 192,
        "sendmsg": 211, "setitimer": 103, "setns": 268, "setpgid": 154, "setpriority": 140, "setsid": 157,
        "setsockopt": 208, "setuid": 146, "shmat": 196, "shmget": 194, "shutdown": 210, "signalfd4": 74, "socket": 198,
        "socketpair": 199, "splice": 76, "statmount": 457, "statx": 291, "swapon": 224, "sysinfo": 179, "syslog": 116,
        "tgkill": 131, "timer_create": 107, "timerfd_create": 85, "tkill": 130, "truncate": 45, "umount2": 39,
        "unshare": 97, "userfaultfd": 282, "vmsplice": 75,
    },
}  # fmt: skip
"""Numbers of system calls by machine; those that a machine does not have are not tried on it."""

RAW = """
import ctypes

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
NUMBERS = {numbers!r}


def word(value):
    return value if isinstance(value, (bytes, ctypes.Array)) else ctypes.c_long(value)


def raw(name, *arguments):
    "A system call's result; minus its errno where it is refused; that of a call which does not exist for one unknown."
    if name not in NUMBERS:
        return -38
    result = _libc.syscall(ctypes.c_long(NUMBERS[name]), *map(word, arguments))
    return result if result >= 0 else -ctypes.get_errno()
"""
"""Begins a module that makes system calls without Python's own functions."""

_REFUSED_HEAD = """
def refused(attempts):
    got = []
    for name, attempt in attempts.items():
        try:
            outcome = attempt()
        except Exception:
            continue
        if not (isinstance(outcome, int) and outcome < 0):
            got.append(name)
    return got
"""


def raw_head() -> str:
    """:data:`RAW` with the numbers of this machine."""
    return RAW.format(numbers=dict(SYSCALLS.get(platform.machine(), {})))


def _main(body: str, *, head: str = "") -> str:
    body = textwrap.indent(textwrap.dedent(body).strip(), "    ")
    return f"{head}\n\ndef main(input, context):\n{body}\n"


def _plain(name: str, body: str, outcomes: tuple[str, ...], **rest: object) -> HostileGuest:
    return HostileGuest(name, _main(body), outcomes, **rest)  # type: ignore[arg-type]


def _raw(name: str, body: str, outcomes: tuple[str, ...], **rest: object) -> HostileGuest:
    return HostileGuest(f"{name} (raw)", _main(body, head=raw_head()), outcomes, **rest)  # type: ignore[arg-type]


def _refused(name: str, *, head: str = "", **attempts: str) -> HostileGuest:
    """Each attempt is an expression that must raise, or be a negative number: the result lists the others."""
    table = ", ".join(f"{attempt!r}: lambda: {code}" for attempt, code in attempts.items())
    return HostileGuest(name, _main(f"return refused({{{table}}})", head=head + _REFUSED_HEAD), (OK,), result=[])


def _refused_raw(name: str, **attempts: str) -> HostileGuest:
    return _refused(f"{name} (raw)", head=raw_head(), **attempts)


_MMAP_LOOP = """
size = 1 << 24
while True:
    place = raw("mmap", 0, size, 3, {flags}, -1, 0)
    if place < 0:
        raise MemoryError(place)
    ctypes.memset(place, 1, size)
"""

_BRK_LOOP = """
size = 1 << 24
at = raw("brk", 0)
while True:
    if raw("brk", at + size) < at + size:
        raise MemoryError
    ctypes.memset(at, 1, size)
    at += size
"""

_PAGE_TABLES = """
size = 2 << 40
place = raw("mmap", 0, size, 1, 0x4022, -1, 0)  # PROT_READ, MAP_PRIVATE, MAP_ANONYMOUS, MAP_NORESERVE
if place < 0:
    raise MemoryError(place)
for at in range(place, place + size, 2 << 20):
    ctypes.string_at(at, 1)
"""

USES_UP = (
    _plain("endless loop", "while True: pass", _TIME),
    _raw("endless loop", "while True: raw('fcntl', 0, 1)", _TIME),
    _plain("endless sleep", "import time\nwhile True: time.sleep(1e6)", _TIME),
    _raw("endless sleep", "while True: _libc.sleep(1000)", _TIME),
    _plain("a list that grows", "a = []\nwhile True: a.append('x' * 100_000)", _MEMORY),
    _plain("a buffer that doubles", "b = bytearray(1)\nwhile True: b += b", _MEMORY),
    _plain(
        "swallowed memory errors",
        ("a = []\nwhile True:\n    try:\n        a.append(bytearray(1 << 20))\n    except MemoryError:\n        pass"),
        (*_MEMORY,),
    ),
    _plain(
        "private mapping", "import mmap\nm = mmap.mmap(-1, 8 << 30, flags=2 | 0x20)\nm.write(b'x' * len(m))", _MEMORY
    ),
    _plain("shared mapping", "import mmap\nm = mmap.mmap(-1, 8 << 30)\nm.write(b'x' * len(m))", _MEMORY),
    _plain(
        "shared mappings",
        ("import mmap\na = []\nwhile True:\n    a.append(mmap.mmap(-1, 1 << 24))\n    a[-1].write(b'x' * (1 << 24))"),
        _MEMORY,
    ),
    _raw("a heap that grows", _BRK_LOOP, (*_MEMORY, *_CRASHED)),
    _raw(
        "a stack that grows",
        (
            "end = ctypes.c_void_p.in_dll(_libc, '__libc_stack_end').value & ~4095\n"
            "for at in range(end, 0, -4096): ctypes.string_at(at, 1)"
        ),
        (*_CRASHED, *_THREW),
    ),
    _raw("private mappings", _MMAP_LOOP.format(flags="0x22"), _MEMORY),
    _raw("shared mappings", _MMAP_LOOP.format(flags="0x21"), _MEMORY),
    _raw("mappings that grow down", _MMAP_LOOP.format(flags="0x122"), _MEMORY),
    _raw("page tables", _PAGE_TABLES, _MEMORY),
    _plain("a large power", "return 10 ** 10 ** 8 > 0", (OK, *_MEMORY)),
    _plain(
        "a large power's digits", "import sys\nsys.set_int_max_str_digits(0)\nreturn len(str(10 ** 10 ** 7))", _MEMORY
    ),
    _plain("more digits than are allowed", "return len(str(10 ** 100_000))", _THREW, then=_THREW),
    _plain("a shift", "return 1 << 10 ** 12", _THREW, then=_THREW),
    _plain("recursion", "def f(): return f() + 1\nreturn f()", _THREW, then=_THREW),
    _plain(
        "recursion without a limit",
        ("import sys\nsys.setrecursionlimit(10 ** 9)\ndef f(): return f() + 1\nreturn f()"),
        (*_MEMORY, *_CRASHED),
    ),
    _plain(
        "recursion in C",
        ("import sys\nsys.setrecursionlimit(10 ** 9)\na = []\nfor _ in range(10 ** 6): a = [a]\nreturn len(repr(a))"),
        (*_MEMORY, *_CRASHED),
    ),
    _plain("JSON of a million brackets", "import json\nreturn json.loads('[' * 10 ** 6)", (*_THREW, *_CRASHED)),
    _plain("a deep expression", "return eval('-' * 10 ** 6 + '1')", (*_MEMORY, *_CRASHED)),
    _plain(
        "a regular expression that backtracks", ("import re\nreturn re.match('(a+)+$', 'a' * 40 + 'b') is None"), _TIME
    ),
    _plain(
        "numbers whose hashes collide",
        ("table = {}\nfor n in range(1, 200_000): table[n * (2 ** 61 - 1)] = n\nreturn len(table)"),
        _TIME,
    ),
    _plain(
        "a bomb of zlib's",
        (
            "import zlib\nbomb = zlib.compress(bytes(1 << 27))\n"
            "return [len(zlib.decompress(bomb)) for _ in range(10 ** 6)][0]"
        ),
        (*_MEMORY,),
    ),
    _plain(
        "endless destructors",
        ("class Again:\n    def __del__(self): Again()\nAgain()\nreturn 1"),
        (*_TIME, *_CRASHED, *_THREW, OK),
    ),
    _plain("coroutine that waits for nothing", "import asyncio\nasyncio.run(asyncio.sleep(1e6))", _TIME),
    HostileGuest(
        "future that never comes",
        ("import asyncio\n\n\nasync def main(input, context):\n    await asyncio.get_running_loop().create_future()\n"),
        (*_TIME, *_THREW),
        then=(*_TIME, *_THREW),
    ),
    HostileGuest(
        "awaitable that never ends",
        (
            "class Never:\n    def __await__(self):\n        while True: yield\n\n\n"
            "async def main(input, context):\n    await Never()\n"
        ),
        (*_TIME, *_THREW),
        then=(*_TIME, *_THREW),
    ),
    _plain(
        "a result without an end",
        "a = []\na.append(a)\nreturn a",
        (*_THREW, Code.RESULT_REFUSED),
        then=(*_THREW, Code.RESULT_REFUSED),
    ),
    _plain(
        "all signals blocked",
        ("import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\nwhile True: pass"),
        (*_TIME, *_THREW),
    ),
)
"""Guests that use up time or memory."""

_THREAD = "import threading\nthreading.Thread(target=print).start()\nreturn 1"
_SIGNAL_ALL = "[os.kill(pid, 9) for pid in (os.getppid(), -1, 1)]"

ENDS = (
    _plain("os._exit", "import os\nos._exit(0)", _CRASHED),
    _plain("abort", "import os\nos.abort()", _CRASHED),
    _plain("sys.exit", "import sys\nsys.exit(0)", _THREW, then=_THREW),
    _plain("KeyboardInterrupt", "raise KeyboardInterrupt", _THREW, then=_THREW),
    _plain("GeneratorExit", "raise GeneratorExit", _THREW, then=_THREW),
    _plain("StopIteration", "raise StopIteration(1)", _THREW, then=_THREW),
    _plain(
        "an exception that cannot be told",
        ("class Bad(Exception):\n    def __str__(self): raise self\n    __repr__ = __str__\nraise Bad"),
        _THREW,
        then=_THREW,
    ),
    _plain(
        "an exception that never ends",
        ("class Bad(Exception):\n    def __str__(self):\n        while True: pass\nraise Bad"),
        (*_TIME, *_THREW),
        then=(*_TIME, *_THREW),
    ),
    _plain(
        "an exit of its own",
        "import atexit\natexit.register(lambda: [None for _ in iter(int, 1)])\nreturn 1",
        (OK,),
        then=(OK,),
    ),
    _raw(
        "an exit of its own",
        "_libc.__cxa_atexit(ctypes.cast(_libc.pause, ctypes.c_void_p), None, None)\nreturn 1",
        (OK, *_THREW),
        then=(OK, *_THREW),
    ),
    _plain("closed descriptors", "import os\nos.closerange(0, 1000)\nreturn 1", (OK, *_CRASHED)),
    _raw("a null pointer", "return ctypes.string_at(0)", _CRASHED),
    _raw(
        "code in a mapping",
        (
            "place = raw('mmap', 0, 4096, 7, 0x22, -1, 0)\n"
            "if place < 0: raise PermissionError(place)\n"
            "ctypes.memmove(place, bytes([0xB8, 1, 0, 0, 0, 0xC3]), 6)\n"
            "return ctypes.CFUNCTYPE(ctypes.c_int)(place)()"
        ),
        (*_THREW, *_CRASHED),
    ),
    _raw("a callback", "return ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 1)()", (OK, *_THREW, *_CRASHED), result=1),
    _raw("execve", "return raw('execve', b'/bin/true', 0, 0) < 0", (OK, *_CRASHED), result=True),
)
"""Guests that end, or break, their own process."""

ESCAPES = (
    _plain("a thread", _THREAD, _THREW, then=_THREW),
    _plain("a fork bomb", "import os\nwhile True: os.fork()", _THREW, then=_THREW),
    _refused(
        "processes",
        head="import multiprocessing, os, subprocess, signal, _posixsubprocess\n",
        fork="os.fork()",
        spawn="os.posix_spawn('/bin/true', ['/bin/true'], {})",
        run="subprocess.run(['/bin/true'])",
        system="-1 if os.system('true') else 1",
        execute="os.execv('/bin/true', ['/bin/true'])",
        multi="multiprocessing.get_context('fork').Process(target=print).start()",
        parent="os.kill(os.getppid(), 9)",
        everybody="os.kill(-1, 9)",
        group="os.killpg(os.getppid(), 9)",
        own_group="os.killpg(0, 9)",
        sibling="os.kill(os.getpid() + 1, 9)",
        first="os.kill(1, 0)",
        stop="os.kill(os.getpid(), signal.SIGSTOP)",
        nice="os.setpriority(os.PRIO_PROCESS, 0, 19)",
        session="os.setsid()",
        identity="os.setuid(0)",
    ),
    _refused_raw(
        "processes",
        fork="raw('fork')",
        vfork="raw('vfork')",
        clone="raw('clone', 17, 0, 0, 0, 0)",
        sibling="raw('clone', 0x8000 | 17, 0, 0, 0, 0)",
        thread="raw('clone', 0x10F00, 0, 0, 0, 0)",
        namespace="raw('clone', 0x10000000 | 17, 0, 0, 0, 0)",
        parent="raw('kill', _libc.getppid(), 9)",
        everybody="raw('kill', -1, 9)",
        own_group="raw('kill', 0, 9)",
        siblings="max(raw('kill', _libc.getpid() + step, 9) for step in (-2, -1, 1, 2))",
        stop="raw('kill', _libc.getpid(), 19)",
        thread_signal="raw('tgkill', _libc.getppid(), _libc.getppid(), 9)",
        old_thread_signal="raw('tkill', _libc.getppid(), 9)",
        queued="raw('rt_sigqueueinfo', _libc.getppid(), 9, bytes(128))",
        pidfd="raw('pidfd_open', _libc.getppid(), 0)",
        trace="raw('ptrace', 16, _libc.getppid(), 0, 0)",
        read="raw('process_vm_readv', _libc.getppid(), bytes(16), 1, bytes(16), 1, 0)",
        write="raw('process_vm_writev', _libc.getppid(), bytes(16), 1, bytes(16), 1, 0)",
        limits="raw('prlimit64', _libc.getppid(), 9, 0, bytes(16))",
        own_limits="raw('prlimit64', 0, 9, ctypes.create_string_buffer(b'\\\\xff' * 16, 16), 0)",
        old_limits="raw('setrlimit', 9, ctypes.create_string_buffer(b'\\\\xff' * 16, 16))",
        session="raw('setsid')",
        group="raw('setpgid', 0, 0)",
        identity="raw('setuid', 0)",
        priority="raw('setpriority', 0, 0, 19)",
    ),
    _refused_raw(
        "what other processes do",
        clock="raw('clock_gettime', ~_libc.getppid() << 3 | 2, ctypes.create_string_buffer(16))",
        resolution="raw('clock_getres', ~_libc.getppid() << 3 | 2, ctypes.create_string_buffer(16))",
        waiting="raw('clock_nanosleep', ~_libc.getppid() << 3 | 2, 0, bytes(16), 0)",
        processors="raw('sched_getaffinity', _libc.getppid(), 128, ctypes.create_string_buffer(128))",
        priority="raw('sched_getparam', _libc.getppid(), ctypes.create_string_buffer(4))",
        equal_pages="raw('madvise', raw('mmap', 0, 4096, 3, 0x22, -1, 0), 4096, 12)",
        everybodys_processors="raw('membarrier', 1, 0, 0)",
        locked="raw('mmap', 0, 1 << 20, 3, 0x2022, -1, 0)",
        futex="raw('futex', ctypes.cast(_libc.getpid, ctypes.c_void_p).value & ~3, 1, 1, 0, 0, 0)",
    ),
    _refused(
        "files",
        head="import io, os, pathlib, shutil, tempfile\n",
        accounts="open('/etc/passwd')",
        own_memory="open('/proc/self/mem', 'r+b')",
        own_maps="open('/proc/self/maps')",
        parents="open(f'/proc/{os.getppid()}/environ')",
        opened="os.open('/', os.O_RDONLY)",
        path="os.open('.', os.O_PATH)",
        listed="os.listdir('/')",
        listed_here="os.listdir('.')",
        processes="os.listdir('/proc')",
        looked="os.stat('/proc/1')",
        looked_here="os.stat('.')",
        shadow="os.lstat('/etc/shadow')",
        link="os.readlink('/proc/self/exe')",
        there="-1 if not os.path.exists('/') else 1",
        made="os.mkdir('/tmp/casemate-was-here')",
        wrote="pathlib.Path('/tmp/casemate-was-here').write_text('x')",
        temporary="tempfile.TemporaryFile()",
        memory="os.memfd_create('x')",
        copied="shutil.copy('/etc/passwd', '/tmp/casemate-was-here')",
        removed="os.unlink('/tmp/x')",
        moved="os.chdir('/')",
        root="os.chroot('/')",
    ),
    _refused_raw(
        "files",
        opened="raw('openat', -100, b'/etc/passwd', 0, 0)",
        old="raw('open', b'/etc/passwd', 0, 0)",
        path="raw('openat', -100, b'/', 0x200000, 0)",
        how="raw('openat2', -100, b'/etc/passwd', bytes(24), 24)",
        relative="raw('openat', -100, b'../../../../etc/passwd', 0, 0)",
        temporary="raw('openat', -100, b'/tmp', 0x410002, 0o600)",
        looked="raw('newfstatat', -100, b'/proc/1', ctypes.create_string_buffer(144), 0)",
        looked_old="raw('stat', b'/proc/1', ctypes.create_string_buffer(144))",
        looked_new="raw('statx', -100, b'/etc/shadow', 0, 0xFFF, ctypes.create_string_buffer(256))",
        link="raw('readlink', b'/proc/self/exe', ctypes.create_string_buffer(64), 64)",
        where="raw('getcwd', ctypes.create_string_buffer(64), 64)",
        moved="raw('chdir', b'/')",
        root="raw('chroot', b'/')",
        handle="raw('name_to_handle_at', -100, b'/', ctypes.create_string_buffer(128), bytes(8), 0)",
        by_handle="raw('open_by_handle_at', -100, bytes(128), 0)",
        memory="raw('memfd_create', b'x', 0)",
        removed="raw('unlink', b'/tmp/x')",
        notify="raw('inotify_init1', 0)",
    ),
    _refused(
        "network",
        head="import socket, urllib.request, asyncio\n",
        stream="socket.socket()",
        local="socket.socket(socket.AF_UNIX)",
        datagram="socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)",
        raw="socket.socket(socket.AF_INET, socket.SOCK_RAW)",
        packet="socket.socket(17, socket.SOCK_RAW)",
        netlink="socket.socket(16, socket.SOCK_RAW)",
        server="socket.create_server(('127.0.0.1', 0))",
        client="socket.create_connection(('127.0.0.1', 9))",
        url="urllib.request.urlopen('http://127.0.0.1:9/')",
        looked_up="socket.getaddrinfo('localhost', 80)",
        loop="asyncio.run(asyncio.open_connection('127.0.0.1', 9))",
        bound="socket.socketpair()[0].bind('\\0casemate')",
        sent="socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)",
    ),
    _refused_raw(
        "network",
        **{f"family_{family}": f"raw('socket', {family}, 1, 0)" for family in (1, 2, 10, 16, 17, 38, 40, 44)},
        connect="raw('connect', 0, bytes(16), 16)",
        bind="raw('bind', 0, bytes(16), 16)",
        listen="raw('listen', 0, 1)",
        accept="raw('accept4', 0, 0, 0, 0)",
    ),
)
"""Guests that try to reach files, network and other processes, without ending themselves by it."""

_LONELY = (
    "io_uring_setup|1, bytes(120)",
    "userfaultfd|0",
    "bpf|0, bytes(72), 72",
    "perf_event_open|bytes(128), 0, -1, -1, 0",
    "keyctl|0, -3, 0",
    "add_key|b'user', b'x', b'x', 1, -3",
    "unshare|0x10000000",
    "setns|0, 0",
    "mount|b'x', b'/', b'tmpfs', 0, 0",
    "umount2|b'/', 0",
    "pivot_root|b'/', b'/'",
    "fsopen|b'tmpfs', 0",
    "init_module|b'', 0, b''",
    "seccomp|1, 0, bytes(16)",
    "prctl|4, 1, 0, 0, 0",
    "prctl|1, 0, 0, 0, 0",
    "prctl|22, 0, 0, 0, 0",
    "prctl|35, 1, 0, 0, 0",
    "prctl|59, 1, 0, 0, 0",
    "personality|0x400000",
    "capset|bytes(8), bytes(24)",
    "shmget|0, 4096, 0o1600",
    "shmat|0, 0, 0",
    "mq_open|b'x', 0, 0, 0",
    "timer_create|0, 0, ctypes.create_string_buffer(8)",
    "execveat|-100, b'/bin/true', 0, 0, 0",
    "fanotify_init|0, 0",
    "kcmp|1, 1, 0, 0, 0",
    "process_madvise|0, bytes(16), 1, 0, 0",
    "pidfd_getfd|0, 0, 0",
    "pidfd_send_signal|0, 9, 0, 0",
    "sched_setscheduler|0, 1, bytes(4)",
    "sched_setaffinity|1, 8, bytes(8)",
    "vmsplice|1, bytes(16), 1, 0",
    "swapon|b'/x', 0",
    "rt_tgsigqueueinfo|1, 1, 9, bytes(128)",
    "memfd_secret|0",
    "clone3|bytes(88), 88",
    "landlock_restrict_self|0, 0",
    "mmap|0, 4096, 7, 0x22, -1, 0",
    "pkey_mprotect|0, 4096, 7, -1",
    "ioctl|0, 0x5412, b'x'",
    "truncate|b'/tmp/x', 0",
    "getdents64|0, ctypes.create_string_buffer(64), 64",
    "x32_getpid|",
    "landlock_create_ruleset|bytes(8), 8, 0",
    "lsm_get_self_attr|100, 0, 0, 0",
    "mseal|0, 4096, 0",
    "map_shadow_stack|0, 4096, 0",
    "remap_file_pages|0, 4096, 0, 0, 0",
    "mincore|0, 4096, ctypes.create_string_buffer(1)",
    "mlock2|0, 4096, 0",
    "mbind|0, 4096, 0, 0, 0, 0",
    "move_pages|1, 0, 0, 0, 0, 0",
    "migrate_pages|1, 0, 0, 0",
    "process_mrelease|0, 0",
    "futex_waitv|0, 1, 0, 0, 0",
    "msgget|0, 0o1600",
    "semget|0, 1, 0o1600",
    "semtimedop|0, 0, 0, 0",
    "mq_unlink|b'x'",
    "timerfd_create|0, 0",
    "setitimer|0, bytes(32), 0",
    "signalfd4|-1, bytes(8), 8, 0",
    "eventfd2|0, 0",
    "rt_sigtimedwait|bytes(8), 0, bytes(16), 8",
    "ioprio_set|1, 0, 0",
    "getpriority|0, 1",
    "getsid|1",
    "sysinfo|ctypes.create_string_buffer(128)",
    "syslog|3, ctypes.create_string_buffer(64), 64",
    "quotactl|0, 0, 0, 0",
    "acct|0",
    "cachestat|0, 0, 0, 0",
    "statmount|0, 0, 0, 0",
    "modify_ldt|0, ctypes.create_string_buffer(16), 16",
    "arch_prctl|0x1001, 0",
    "iopl|3",
    "request_key|b'user', b'x', 0, -3",
    "splice|0, 0, 1, 0, 1, 0",
    "close_range|3, 0xFFFFFFFF, 0",
    "dup3|0, 20, 0",
    "fcntl|0, 0, 20",
    "fcntl|0, 8, 1",
    "fcntl|0, 10, 9",
    "fcntl|1, 1031, 1 << 20",
    "fcntl|0, 1 << 32 | 8, 1",
    "ioctl|0, 0x5452, ctypes.create_string_buffer(4)",
    "sendmsg|0, bytes(56), 0",
    "recvmsg|0, ctypes.create_string_buffer(56), 0",
    "setsockopt|0, 1, 7, bytes(4), 4",
    "shutdown|0, 2",
)

LONELY = tuple(f"{name}({arguments})" for name, _, arguments in (case.partition("|") for case in _LONELY))
"""System calls that a guest has no business with, as they are tried: refused, or the end of the guest."""


def lonely_source() -> str:
    """A module whose ``main`` tries the one of :data:`LONELY` whose number it is given; whether it was refused."""
    cases = ", ".join(
        f"lambda: raw({name!r}, {arguments})" for name, _, arguments in (case.partition("|") for case in _LONELY)
    )
    return _main("return CASES[input]() < 0", head=f"{raw_head()}\nCASES = [{cases}]\n")


_FRAME = """
import fcntl, os, time


def send(kind, call, body):
    "A frame to the enclave, past the bootstrap: on the pipe that it has for that."
    pipe = to_enclave()
    payload = bytes((kind,)) + call + body
    data = len(payload).to_bytes(4, "little") + payload
    while data:
        data = data[os.write(pipe, data):]


def to_enclave():
    for number in range(3, 32):
        try:
            if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY:
                return number
        except OSError:
            pass


def head(text, rest=b""):
    return len(text).to_bytes(4, "little") + text + rest


def for_ever(kind, call, body):
    while True:
        send(kind, call, body)


def slowly(call):
    pipe = to_enclave()
    for byte in (200).to_bytes(4, "little") + bytes((19,)) + call + bytes(191):
        os.write(pipe, bytes((byte,)))
        time.sleep(0.01)
"""
"""Begins a module that speaks to the enclave itself."""

_REFUSED_RESULT = (Code.RESULT_REFUSED,)
_RESULTS = {
    "not a number": "b'NaN'",
    "beyond a double": "b'[1e999]'",
    "a lone surrogate": "b'\"\\\\ud800\"'",
    "not UTF-8": "b'\"\\xff\"'",
    "a mark of byte order": "b'\\xef\\xbb\\xbf1'",
    "a member twice": 'b\'{"a":1,"a":2}\'',
    "digits without end": "b'9' * 200_000",
    "nesting": "b'[' * 100_000 + b']' * 100_000",
    "brackets that stay open": "b'[' * 200_000",
    "two values": "b'1 2'",
    "nothing": "b''",
}
FRAMES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    **{f"result: {name}": (f"send(19, call, {text})", _REFUSED_RESULT) for name, text in _RESULTS.items()},
    "result: too long": ("send(19, call, b'1' * 300_000)", (Code.OUTPUT_LIMIT,)),
    "result: byte by byte": ("slowly(call)", _TIME),
    "result: of another call": ("send(19, bytes(8), b'1')", _CRASHED),
    "questions without a pause": ("for_ever(20, call, head(b'{\"name\":\"x\"}', b'1'))", _CRASHED),
    "questions about a state that is not there": (
        'for_ever(24, call, head(b\'{"do":"get","key":"k"}\'))',
        _CRASHED,
    ),
    "lines without end": ("for_ever(21, call, b'x')", _CRASHED),
    "a question that makes no sense": ('send(24, call, head(b\'{"do":["get"]}\'))', _CRASHED),
    "a number without end in a head": ("send(18, call, head(b'{\"code\":' + b'1' * 60_000 + b'}'))", _CRASHED),
    "a head without end": ("send(18, call, head(b'[' * 60_000))", _CRASHED),
    "a place before the first line": (
        """send(18, call, head(b'{"code":"guest-error","name":"","message":"","place":{"path":"","line":-1}}'))""",
        _CRASHED,
    ),
    "an error that is not declared": ('send(25, call, head(b\'{"name":"x"}\'))', _THREW),
    "a pause of no stream": ("send(22, call, b'\\0')", _CRASHED),
    "a program": ("send(1, call, b'')", _CRASHED),
}
"""What a guest that has taken its bootstrap apart says to its enclave, as an expression, and the outcomes."""


def frames_source() -> str:
    """A module whose ``main`` says the one of :data:`FRAMES` whose number it is given, and nothing after it."""
    cases = ", ".join(f"lambda call: {code}" for code, _ in FRAMES.values())
    return _main("CASES[input](context._call)\ntime.sleep(60)", head=f"{_FRAME}\nCASES = [{cases}]\n")


_EVERY_FRAME = """
import gc, sys
frame = sys._getframe()
while frame is not None:
    for name, value in list(frame.f_locals.items()):
        if isinstance(value, (dict, list, set, bytearray)) and frame is not sys._getframe():
            value.clear()
    frame = frame.f_back
return 1
"""

SPEAKS = (
    _plain("endless printing", "while True: print('x' * 1000)", (*_TIME, *_CRASHED, *_THREW)),
    _plain(
        "endless writing to standard output",
        "import os\nwhile True: os.write(1, b'x' * 4096)",
        (*_TIME, *_CRASHED, *_THREW),
    ),
    _plain(
        "endless writing to standard error",
        "import os\nwhile True: os.write(2, b'x' * 4096)",
        (*_TIME, *_CRASHED, *_THREW),
    ),
    _raw("endless writing", "while True: _libc.write(2, b'x' * 4096, 4096)", _TIME),
    _plain(
        "junk on all descriptors",
        (
            "import os\n"
            "for number in range(3, 64):\n    try: os.write(number, b'\\x07\\0\\0\\0garbage')\n"
            "    except OSError: pass\nreturn 1"
        ),
        (OK, *_CRASHED),
    ),
    _plain(
        "a long frame on all descriptors",
        (
            "import os\n"
            "for number in range(3, 64):\n"
            "    try: os.write(number, b'\\xff\\xff\\xff\\x7f' + bytes(4096))\n"
            "    except OSError: pass\nreturn 1"
        ),
        (OK, *_CRASHED, *_TIME),
    ),
    _plain(
        "a forged result on all descriptors",
        (
            "import os\n"
            "for number in range(3, 64):\n"
            "    try: os.write(number, b'\\x0a\\0\\0\\0\\x13' + bytes(8) + b'7')\n"
            "    except OSError: pass\nreturn 1"
        ),
        (OK, *_CRASHED),
    ),
    _plain(
        "reading all descriptors",
        (
            "import os\n"
            "for number in range(0, 64):\n    try:\n        os.set_blocking(number, False)\n"
            "        os.read(number, 1 << 20)\n    except OSError: pass\nreturn 1"
        ),
        (OK, *_CRASHED, *_THREW),
    ),
    _plain(
        "descriptors without end",
        ("import os\na = []\nwhile True: a.append(os.dup(1))"),
        (*_THREW, *_CRASHED),
        then=(*_THREW, *_CRASHED, *_TIME),
    ),
    _plain(
        "pairs of sockets without end",
        (
            "import socket\na = []\nwhile True:\n    a += socket.socketpair()\n    a[-1].setblocking(False)\n"
            "    try: a[-1].send(bytes(1 << 20))\n    except BlockingIOError: pass"
        ),
        (*_THREW, *_CRASHED),
        then=(*_THREW, *_CRASHED, *_TIME),
    ),
    _raw(
        "junk on all descriptors",
        "for number in range(3, 64): _libc.write(number, b'\\x07\\0\\0\\0garbage', 11)\nreturn 1",
        (OK, *_CRASHED),
    ),
    _raw(
        "pairs of sockets without end",
        "while raw('socketpair', 1, 1, 0, ctypes.create_string_buffer(8)) == 0: pass\nraise OSError",
        _THREW,
        then=_THREW,
    ),
    _raw(
        "a tracer",
        "ctypes.pythonapi.PyEval_SetTrace(ctypes.cast(_libc.abort, ctypes.c_void_p), None)\nreturn 1",
        _CRASHED,
    ),
    _raw(
        "overwritten objects",
        "import gc\nfor thing in gc.get_objects(): ctypes.memset(id(thing), 255, 16)\nreturn 1",
        _CRASHED,
    ),
    _plain(
        "a patched json",
        ("import json\njson.loads = json.dumps = json.JSONEncoder.encode = lambda *a, **k: 1 / 0\nreturn 1"),
        (OK, *_THREW, *_CRASHED),
        then=(OK, *_THREW, *_CRASHED),
    ),
    _plain(
        "patched builtins",
        (
            "import builtins\nfor name in ('len', 'isinstance', 'print', 'bytes', 'str', 'dict', 'type', 'getattr'):\n"
            "    setattr(builtins, name, None)\nreturn 1"
        ),
        (OK, *_THREW, *_CRASHED),
        then=(OK, *_THREW, *_CRASHED),
    ),
    _plain(
        "a tracer",
        ("import sys\ndef trace(*_): raise SystemExit\nsys.settrace(trace)\nsys.setprofile(trace)\nreturn 1"),
        (OK, *_THREW, *_CRASHED),
        then=(OK, *_THREW, *_CRASHED),
    ),
    _plain("emptied frames", _EVERY_FRAME, (OK, *_THREW, *_CRASHED), then=(OK, *_THREW, *_CRASHED)),
    _plain(
        "emptied objects",
        (
            "import gc\nfor thing in gc.get_objects():\n    if type(thing) in (dict, list) and thing:\n"
            "        thing.clear()\nreturn 1"
        ),
        (OK, *_THREW, *_CRASHED, *_TIME),
    ),
    _plain(
        "a collector's callback",
        ("import gc\ngc.callbacks.append(lambda *_: 1 / 0)\ngc.collect()\nreturn 1"),
        (OK, *_THREW),
        then=(OK, *_THREW),
    ),
    _plain(
        "forgotten modules",
        "import sys\nsys.modules.clear()\nreturn 1",
        (OK, *_THREW, *_CRASHED),
        then=(OK, *_THREW, *_CRASHED),
    ),
    _plain(
        "limits of its own",
        ("import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))\nreturn 1"),
        _THREW,
        then=_THREW,
    ),
)
"""Guests that speak out of turn, or take the bootstrap apart."""

AT_IMPORT = tuple(
    HostileGuest(
        f"{name} while it is loaded", f"{source}\n\n\ndef main(input, context): ...\n", outcomes, fails_to_load=True
    )
    for name, source, outcomes in (
        ("endless loop", "while True: pass", _TIME),
        ("memory", "a = []\nwhile True: a.append(bytearray(1 << 20))", _MEMORY),
        ("recursion", "def f(): f()\nf()", _THREW),
        ("an end", "import os\nos._exit(0)", _CRASHED),
        ("an exception", "1 / 0", _THREW),
        ("a thread", "import threading\nthreading.Thread(target=print).start()", _THREW),
        ("a fork", "import os\nif os.fork() == 0:\n    while True: pass", (*_THREW, *_CRASHED)),
        ("a fork bomb", "import os\nwhile True: os.fork()", (*_THREW, *_CRASHED)),
        ("a fork bomb (raw)", raw_head() + "while True: raw('fork')", (*_TIME, *_CRASHED)),
        (
            "siblings without end (raw)",
            raw_head() + "while True: raw('clone', 0x8000 | 17, 0, 0, 0, 0)",
            (*_TIME, *_CRASHED, *_MEMORY),
        ),
        ("a file", "open('/etc/passwd')", _THREW),
        ("a socket", "import socket\nsocket.socket()", _THREW),
        ("a program", "import os\nos.execv('/bin/true', ['/bin/true'])", (*_THREW, *_CRASHED)),
        ("page tables (raw)", raw_head() + _PAGE_TABLES, (*_MEMORY, *_CRASHED)),
    )
)
"""What the body of a module does, in the process that guests are copies of."""

_IMAGE_PROCESS = """
import os, sys

frame = sys._getframe()
while frame.f_globals["__name__"] != "casemate.zygote.image":
    frame = frame.f_back
image = frame.f_globals
guest = image["live_as_guest"].__globals__


def for_ever(*_, **__):
    while True:
        pass


"""
"""Begins a module that changes the process which loads it, and of which each guest is to be a copy."""

_NO_COPY = (Code.UNAVAILABLE, Code.GUEST_CRASHED)
_LATE = (Code.TIME_LIMIT, Code.UNAVAILABLE)

BEFORE_COPIES = tuple(
    HostileGuest(
        f"{name} when a copy is wanted", f"{head}{source}\n\n\ndef main(input, context):\n    return 1\n", outcomes
    )
    for name, head, source, outcomes in (
        ("no copy", _IMAGE_PROCESS, "image['clone_sibling'] = lambda: False", _NO_COPY),
        ("an end", _IMAGE_PROCESS, "image['clone_sibling'] = lambda: os._exit(0)", _NO_COPY),
        ("no original", _IMAGE_PROCESS, "image['clone_sibling'] = lambda: True", _NO_COPY),
        ("an endless loop", _IMAGE_PROCESS, "image['receive'] = for_ever", _LATE),
        ("no report", _IMAGE_PROCESS, "guest['confine_copy'] = for_ever", _LATE),
        ("a closed socket", _IMAGE_PROCESS, "image['receive'] = lambda s: (s.close(), for_ever())", _NO_COPY),
        (
            "siblings without end (raw)",
            _IMAGE_PROCESS + raw_head(),
            "image['receive'] = lambda _: [raw('clone', 0x8000 | 17, 0, 0, 0, 0) for _ in iter(int, 1)]",
            (*_LATE, *_CRASHED),
        ),
        (
            "copies of a copy (raw)",
            _IMAGE_PROCESS + raw_head(),
            "guest['confine_copy'] = lambda *_, **__: [raw('clone', 0x8000 | 17, 0, 0, 0, 0) for _ in range(3)]",
            (OK, *_NO_COPY, Code.TIME_LIMIT),
        ),
        ("a hook of fork's", "import os\n", "os.register_at_fork(after_in_child=lambda: os._exit(3))", _NO_COPY),
    )
)
"""What a module has done to the process that loads it, once that is asked for copies."""

HOSTILE_PYTHON = (*BEFORE_COPIES, *USES_UP, *ENDS, *ESCAPES, *SPEAKS, *AT_IMPORT)
