"""The system calls of the three kinds of processes that Python guests come from; each is a part of the one before.

``BASE`` holds trusted code alone. ``IMAGE`` holds a program whose modules have run, so it is what a hostile program
has; a copy of it that never installs ``PYTHON_GUEST`` has no more. ``PYTHON_GUEST`` is what an honest copy leaves
itself.

Filters of one process add up, and the strictest answer counts: a call that the base's filter kills is killed in a
guest. So each of the three names all calls that a library may try without harm, and gives them an errno.
"""

import errno
import signal
from collections.abc import Iterator

from casemate.sandbox.rules import (
    ADVICE,
    ASKS_ABOUT_SYSTEM,
    CHANGES_FILES,
    CLOCKS,
    LOOKS_FOR_FILES,
    MEMORY,
    OPENS_FILES,
    OWN_FUTEX,
    OWN_PROCESSORS,
    SELF,
    TIME,
    allow,
    fcntl,
    masked,
    only,
    others,
    refuse,
)
from casemate.sandbox.seccomp import Compare, Rule, SyscallFilter, When

COPY = 0x8000 | signal.SIGCHLD
"""Flags of the one clone that an image process may make: CLONE_PARENT, so that the spawner is the child's parent."""

_PROT_EXEC = 4
_MAP_SHARED = 1  # a bit of MAP_SHARED and MAP_SHARED_VALIDATE, and not of MAP_PRIVATE
_FIONBIO = 0x5421
_AF_UNIX = 1
_SOCK_STREAM, _SOCK_TYPES = 1, 0b1111
_FCNTL = (1, 2, 3, 4)  # F_GETFD, F_SETFD, F_GETFL, F_SETFL
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP = 1, 22

_SENDS_SIGNALS = ("kill", "pidfd_send_signal", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "tgkill", "tkill")
_SOCKETS = (
    *("accept", "accept4", "bind", "connect", "getpeername", "getsockopt", "listen", "recvmmsg", "sendmmsg", "sendmsg"),
    *("setsockopt", "shutdown", "socket"),
)
_PROCESSES = (
    *("execve", "execveat", "fork", "getpgid", "getpgrp", "getsid", "pidfd_getfd", "pidfd_open", "process_madvise"),
    *("process_mrelease", "process_vm_readv", "process_vm_writev", "ptrace", "setns", "setpgid", "unshare", "vfork"),
    *("wait4", "waitid"),
)
_RIGHTS = (
    *("add_key", "arch_prctl", "bpf", "capget", "chroot", "keyctl", "landlock_add_rule", "landlock_create_ruleset"),
    *("landlock_restrict_self", "mount", "name_to_handle_at", "open_by_handle_at", "perf_event_open", "personality"),
    *("pivot_root", "request_key", "seccomp", "set_tid_address", "setfsgid", "setfsuid", "setgid", "setregid"),
    *("setreuid", "setuid", "umask", "umount2", "userfaultfd"),
)
_OTHER_OBJECTS = (
    *("alarm", "dup", "eventfd", "eventfd2", "getitimer", "getpriority", "inotify_init1", "mq_open", "msgget", "pipe"),
    *("pipe2", "sched_setaffinity", "semget", "sendfile", "setitimer", "setpriority", "shmget", "signalfd4", "splice"),
    *("tee", "timer_create", "timerfd_create", "vmsplice"),
)
_MORE_FILES = (
    *("chown", "copy_file_range", "creat", "fadvise64", "fallocate", "fchdir", "fchmodat", "fchownat", "fdatasync"),
    *("fgetxattr", "flistxattr", "fremovexattr", "fsetxattr", "getdents", "getxattr", "lchown", "lgetxattr", "linkat"),
    *("listxattr", "llistxattr", "lremovexattr", "lsetxattr", "mknod", "mknodat", "preadv", "preadv2", "pwrite64"),
    *("pwritev", "pwritev2", "removexattr", "setxattr", "sync", "syncfs", "truncate", "utime", "utimes"),
)
_SYSTEM = (
    *("adjtimex", "clock_adjtime", "clock_settime", "membarrier", "mincore", "mlock", "mlock2", "mlockall", "msync"),
    *("munlock", "munlockall", "pause", "rt_sigpending", "rt_sigsuspend", "rt_sigtimedwait", "sched_get_priority_max"),
    *("sched_get_priority_min", "sched_getattr", "sched_rr_get_interval", "sched_setattr", "sched_setparam"),
    *("sched_setscheduler", "setdomainname", "sethostname", "settimeofday", "syslog"),
)
_BASE_ALONE = ("capset", "getgroups", "getresgid", "getresuid", "setgroups", "setresgid", "setresuid", "setsid")
_IMAGE_TOO = ("close_range", "dup2", "dup3", "recvmsg")


def _other_socket_types() -> Iterator[Rule]:
    """Refuses pairs of AF_UNIX of any type but SOCK_STREAM: each rule covers the types that differ from it first there.

    Bits above the type are flags (SOCK_CLOEXEC, SOCK_NONBLOCK), and are not looked at.
    """
    unix = When(0, Compare.EQUALS, _AF_UNIX)
    for place in range(_SOCK_TYPES.bit_length()):
        bit = 1 << place
        below = _SOCK_STREAM & (bit - 1)
        kind = below | (bit & ~_SOCK_STREAM)
        yield Rule("socketpair", errno.EPERM, unix, When(1, Compare.MASKED_EQUALS, kind, 2 * bit - 1))


_COMPUTES = (
    *allow(*MEMORY, *TIME, *SELF),
    *ADVICE,
    *CLOCKS,
    *OWN_FUTEX,
    *OWN_PROCESSORS,
    *allow("close", "lseek", "poll", "ppoll", "pread64", "read", "readv", "write", "writev"),
    # No new code; and no memory that copies of one process would share, for they serve callers who must not meet.
    masked("mmap", 2, _PROT_EXEC, _PROT_EXEC, errno.EPERM),
    Rule(
        "mmap",
        errno.EPERM,
        When(2, Compare.MASKED_EQUALS, 0, _PROT_EXEC),
        When(3, Compare.MASKED_EQUALS, _MAP_SHARED, _MAP_SHARED),
    ),
    Rule(
        "mmap",
        None,
        When(2, Compare.MASKED_EQUALS, 0, _PROT_EXEC),
        When(3, Compare.MASKED_EQUALS, 0, _MAP_SHARED),
    ),
    masked("mprotect", 2, _PROT_EXEC, 0),
    masked("mprotect", 2, _PROT_EXEC, _PROT_EXEC, errno.EPERM),
    # asyncio's event loop
    *allow("epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_wait", "getsockname", "pselect6", "recvfrom", "select"),
    *only("sendto", 4, 0, errno.EPERM),  # no address
    *only("ioctl", 1, _FIONBIO, errno.EPERM),
    *fcntl(*_FCNTL),
    *others("fcntl", 1, frozenset(_FCNTL), errno.EPERM),
    Rule(
        "socketpair",
        None,
        When(0, Compare.EQUALS, _AF_UNIX),
        When(1, Compare.MASKED_EQUALS, _SOCK_STREAM, _SOCK_TYPES),
    ),
    *_other_socket_types(),
    Rule("socketpair", errno.EPERM, When(0, Compare.DIFFERS, _AF_UNIX)),
    # What libraries try, and do without.
    *refuse(errno.EACCES, *LOOKS_FOR_FILES, *OPENS_FILES, *CHANGES_FILES, *_MORE_FILES, "fstat"),
    *refuse(errno.EPERM, *ASKS_ABOUT_SYSTEM, *_SYSTEM, *_SENDS_SIGNALS, *_SOCKETS, *_PROCESSES, *_RIGHTS),
    *refuse(errno.EPERM, *_OTHER_OBJECTS),
    *refuse(errno.ENOSYS, "clone3", "io_uring_setup", "memfd_create", "memfd_secret"),
)


_IMAGES_PRCTL = (
    # Dying with the spawner can be asked for and not be taken back.
    Rule("prctl", None, When(0, Compare.EQUALS, _PR_SET_PDEATHSIG), When(1, Compare.EQUALS, signal.SIGKILL)),
    Rule("prctl", errno.EPERM, When(0, Compare.EQUALS, _PR_SET_PDEATHSIG), When(1, Compare.DIFFERS, signal.SIGKILL)),
    Rule("prctl", None, When(0, Compare.EQUALS, _PR_SET_SECCOMP)),
    *others("prctl", 0, frozenset({_PR_SET_PDEATHSIG, _PR_SET_SECCOMP}), errno.EPERM),
)

BASE = SyscallFilter(
    (
        *_COMPUTES,
        *allow(*_IMAGE_TOO, *_BASE_ALONE, "prctl"),
        *only("clone", 0, COPY, errno.EPERM),
        *only("prlimit64", 0, 0, errno.EPERM),  # of itself
        *allow("setrlimit"),
    )
)
"""The base: copies itself, and gives the copy a user id and limits of its own."""

IMAGE = SyscallFilter(
    (
        *_COMPUTES,
        *allow(*_IMAGE_TOO),
        *only("clone", 0, COPY, errno.EPERM),
        *_IMAGES_PRCTL,
        *refuse(errno.EPERM, *_BASE_ALONE, "prlimit64", "setrlimit"),
    )
)
"""An image process: computes, copies itself, and gives the copy descriptors that it was sent and one more filter."""

PYTHON_GUEST = SyscallFilter(
    (*_COMPUTES, *refuse(errno.EPERM, *_IMAGE_TOO, "clone", "prctl", *_BASE_ALONE, "prlimit64", "setrlimit")),
)
"""A guest: computes, and reads and writes the descriptors that it has."""
