"""Groups of system calls, and rules of filters written short."""

import errno
from collections.abc import Iterator

from casemate.sandbox.seccomp import Compare, Rule, When

INT_BITS = 32
"""Width of an int. A register has 64 bits, of which the kernel looks at the lower ones: so do rules for an int."""
_INT = (1 << INT_BITS) - 1

MEMORY = ("brk", "munmap", "mremap")
TIME = (
    "nanosleep",
    "gettimeofday",
    "time",
    "times",
    "getrusage",
    "restart_syscall",
)
SELF = (
    "exit",
    "exit_group",
    "getcpu",
    "getegid",
    "geteuid",
    "getgid",
    "getpid",
    "getppid",
    "getrandom",
    "gettid",
    "getuid",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_yield",
    "set_robust_list",
    "sigaltstack",
)
STREAMS = (
    "close",
    "dup",
    "fstat",
    "lseek",
    "poll",
    "ppoll",
    "pread64",
    "read",
    "readv",
    "write",
    "writev",
)
LOOKS_FOR_FILES = (
    "access",
    "faccessat",
    "faccessat2",
    "getcwd",
    "lstat",
    "newfstatat",
    "readlink",
    "readlinkat",
    "stat",
    "statx",
)
OPENS_FILES = ("open", "openat", "openat2")
CHANGES_FILES = (
    "chdir",
    "chmod",
    "fchmod",
    "fchown",
    "flock",
    "fstatfs",
    "fsync",
    "ftruncate",
    "getdents64",
    "link",
    "mkdir",
    "mkdirat",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "statfs",
    "symlink",
    "symlinkat",
    "unlink",
    "unlinkat",
    "utimensat",
)
ASKS_ABOUT_SYSTEM = ("getrlimit", "sched_getparam", "sched_getscheduler", "sysinfo", "uname")


def allow(*names: str) -> tuple[Rule, ...]:
    """Allowed, whatever their arguments."""
    return tuple(Rule(name) for name in names)


def refuse(number: int, *names: str) -> tuple[Rule, ...]:
    """Refused with an errno."""
    return tuple(Rule(name, number) for name in names)


def masked(name: str, argument: int, mask: int, value: int, refuse: int | None = None) -> Rule:
    """One rule for the calls in which the bits ``mask`` of an argument are ``value``."""
    return Rule(name, refuse, When(argument, Compare.MASKED_EQUALS, value, mask))


def only(name: str, argument: int, value: int, refuse: int) -> tuple[Rule, ...]:
    """Allowed with that one value of an argument, refused with any other."""
    return (
        Rule(name, None, When(argument, Compare.EQUALS, value)),
        Rule(name, refuse, When(argument, Compare.DIFFERS, value)),
    )


def others(name: str, argument: int, allowed: frozenset[int], refuse: int) -> Iterator[Rule]:
    """Refuses a call with other values of an int; a rule covers those that begin with bits no allowed one has."""
    for length in range(1, INT_BITS + 1):
        rest = INT_BITS - length
        heads = {value >> rest for value in allowed}
        for parent in {value >> (rest + 1) for value in allowed}:
            for head in {2 * parent, 2 * parent + 1} - heads:
                yield masked(name, argument, ((1 << length) - 1) << rest, head << rest, refuse)


def one_of(name: str, argument: int, allowed: frozenset[int], refuse: int) -> tuple[Rule, ...]:
    """Allowed with these values of an int, refused with any other."""
    return (*(masked(name, argument, _INT, value) for value in allowed), *others(name, argument, allowed, refuse))


def fcntl(*commands: int) -> tuple[Rule, ...]:
    """fcntl, with these commands alone."""
    return tuple(Rule("fcntl", None, When(1, Compare.EQUALS, command)) for command in commands)


_KEEPS_TO_ITSELF = frozenset({0, 1, 2, 3, 4, 8, 14, 15, 16, 17})
"""MADV_NORMAL, RANDOM, SEQUENTIAL, WILLNEED, DONTNEED, FREE, HUGEPAGE, NOHUGEPAGE, DONTDUMP and DODUMP of madvise(2).

Not MERGEABLE: the kernel then gives pages of several processes that are equal one place, and a write to one takes
longer, which tells a process what others have in their memory.
"""

ADVICE = one_of("madvise", 2, _KEEPS_TO_ITSELF, errno.EINVAL)
"""madvise, with what concerns nobody else. Libraries take a kernel that does not know an advice."""

_OTHERS_CLOCK = 1 << (INT_BITS - 1)


def own_clocks(*names: str) -> tuple[Rule, ...]:
    """Allows system calls of clocks for the system's and a process's own."""
    return tuple(
        rule
        for name in names
        for rule in (masked(name, 0, _OTHERS_CLOCK, 0), masked(name, 0, _OTHERS_CLOCK, _OTHERS_CLOCK, errno.EINVAL))
    )


CLOCKS = own_clocks("clock_getres", "clock_gettime", "clock_nanosleep")
"""The system's clocks and a process's own. A negative number is the clock of any process by its pid: it would tell a
guest which processes there are, and to the nanosecond how long each has computed (clock_getcpuclockid(3))."""

OWN_PROCESSORS = only("sched_getaffinity", 0, 0, errno.ENOSYS)
"""sched_getaffinity of the caller: of others it tells that they are there. C libraries take ENOSYS for "not known"."""

_PRIVATE_FUTEX, _CLOCK_REALTIME = 128, 256
_WAIT, _WAIT_BITSET, _LAST_FUTEX = 0, 9, 13  # linux/futex.h
_PRIVATE = frozenset(
    operation | _PRIVATE_FUTEX | clock for operation in range(_LAST_FUTEX + 1) for clock in (0, _CLOCK_REALTIME)
)
_THREAD_ENDS = frozenset(operation | clock for operation in (_WAIT, _WAIT_BITSET) for clock in (0, _CLOCK_REALTIME))

OWN_FUTEX = one_of("futex", 1, _PRIVATE, errno.EPERM)
"""futex between threads of one process. Without that flag the kernel takes an address in a library for a place in its
file, which is the same one for all processes that have it mapped: they could wait for each other there."""

THREADS_FUTEX = one_of("futex", 1, _PRIVATE | _THREAD_ENDS, errno.EPERM)
"""The same where there are threads, whose end is waited for without that flag. The kernel wakes who waits; no process
can wake one of another's."""
