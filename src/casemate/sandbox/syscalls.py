"""The system calls that each kind of process may make.

Found by running them: Python with OpenSSL and Rust extensions after everything is imported; Deno with JIT, WebAssembly,
compression, timers and every hostile guest of the tests.
"""

import errno

from casemate.sandbox.rules import (
    ADVICE,
    ASKS_ABOUT_SYSTEM,
    CHANGES_FILES,
    CLOCKS,
    LOOKS_FOR_FILES,
    MEMORY,
    OPENS_FILES,
    OWN_PROCESSORS,
    SELF,
    STREAMS,
    THREADS_FUTEX,
    TIME,
    allow,
    fcntl,
    masked,
    only,
    own_clocks,
    refuse,
)
from casemate.sandbox.seccomp import Compare, Rule, SyscallFilter, When

_PROT_EXEC = 4
_O_ACCMODE, _O_CREAT = 3, 0o100
_AT_EMPTY_PATH = 0x1000
_CLONE_THREAD = 0x0001_0000
_FIONBIO = 0x5421
_AF_UNIX = 1
_SOCK_STREAM, _SOCK_TYPES = 1, 0b1111  # the type shares its argument with flags
_PR_SET_NAME = 15
_CLONE_NEW = tuple(1 << bit for bit in (17, *range(25, 31)))  # linux/sched.h: one for each kind of namespace
_F_DUPFD, _F_GETFD, _F_SETFD, _F_GETFL, _F_SETFL, _F_DUPFD_CLOEXEC = 0, 1, 2, 3, 4, 1030


def _open_to_read(name: str, flags: int) -> tuple[Rule, ...]:
    """Allowed to read; refused, not killed, when it writes or creates: the engine tries that with its caches."""
    return (
        masked(name, flags, _O_ACCMODE | _O_CREAT, 0),
        masked(name, flags, _O_ACCMODE | _O_CREAT, _O_CREAT, errno.EACCES),
        *(masked(name, flags, _O_ACCMODE, mode, errno.EACCES) for mode in (1, 2, 3)),
    )


_COMPUTES = (
    *allow(*MEMORY, "membarrier", *TIME, *SELF, *STREAMS),
    *ADVICE,
    *OWN_PROCESSORS,
    *THREADS_FUTEX,
    *allow("epoll_ctl", "epoll_pwait", "epoll_wait", "pselect6", "select"),
    *allow("getpeername", "getsockname", "getsockopt", "shutdown"),
    *allow("recvfrom", "recvmsg", "sendmsg", "sendto"),
    *only("ioctl", 1, _FIONBIO, errno.EPERM),
    *fcntl(_F_GETFD, _F_SETFD, _F_GETFL, _F_SETFL),
    # Python looks for source lines and modules when an error is raised. It must find none, not die: so EACCES.
    *refuse(errno.EACCES, *LOOKS_FOR_FILES, *OPENS_FILES, *CHANGES_FILES),
    *refuse(errno.EPERM, *ASKS_ABOUT_SYSTEM, "prctl", "prlimit64"),
    *refuse(errno.ENOSYS, "clone3"),
)

ENCLAVE = SyscallFilter(
    (
        *_COMPUTES,
        *allow("clock_gettime"),
        *own_clocks("clock_getres", "clock_nanosleep"),
        masked("mmap", 2, _PROT_EXEC, 0),
        masked("mprotect", 2, _PROT_EXEC, 0),
    )
)
"""An enclave: it computes, and reads and writes the descriptors that it has. It opens no file or socket, starts no
process and maps no new code. It reads its guests' clocks for the metrics of calls, so it could read others'."""

VM = SyscallFilter(
    (*_COMPUTES, *CLOCKS, *allow("mmap", "mprotect", "pwrite64"), masked("clone", 0, _CLONE_THREAD, _CLONE_THREAD))
)
"""A confidential VM's process: as an enclave; also the emulator's new code, a thread that stops it, and writes to
DRAM's file."""

GUEST = SyscallFilter(
    (
        *allow(*MEMORY, "membarrier", *TIME, *SELF, *STREAMS, *LOOKS_FOR_FILES, "getrlimit", "uname"),
        *ADVICE,
        *CLOCKS,
        *THREADS_FUTEX,
        # Each of these takes a pid: of others they tell that they are there, and one moves them to another processor.
        *OWN_PROCESSORS,
        *only("sched_getparam", 0, 0, errno.EPERM),
        *only("sched_getscheduler", 0, 0, errno.EPERM),
        *only("sched_setaffinity", 0, 0, errno.EPERM),
        # It reads limits of its own, and sets none.
        Rule("prlimit64", None, When(0, Compare.EQUALS, 0), When(2, Compare.EQUALS, 0)),
        Rule("prlimit64", errno.EPERM, When(0, Compare.EQUALS, 0), When(2, Compare.DIFFERS, 0)),
        Rule("prlimit64", errno.EPERM, When(0, Compare.DIFFERS, 0)),
        *allow("mmap", "mprotect", "pkey_alloc", "pkey_free", "pkey_mprotect"),
        # To start the engine, by its descriptor. A path can be given with this flag, too: Landlock allows no other file
        # to be executed, nothing but its libraries is in its root, and no_new_privs gives no rights by it.
        *only("execveat", 4, _AT_EMPTY_PATH, errno.EACCES),
        *refuse(errno.EACCES, "execve"),
        *allow("arch_prctl", "set_tid_address"),
        *_open_to_read("open", 1),  # the loader's libraries, which Landlock allows by name
        *_open_to_read("openat", 2),
        *allow("dup3", "epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_wait", "eventfd2", "pipe2"),
        # tokio wakes itself through a pair of stream sockets. A datagram socket could send to any socket with a name.
        Rule(
            "socketpair",
            None,
            When(0, Compare.EQUALS, _AF_UNIX),
            When(1, Compare.MASKED_EQUALS, _SOCK_STREAM, _SOCK_TYPES),
        ),
        *allow("recvfrom", "recvmsg"),
        *only("sendto", 4, 0, errno.EPERM),  # no address
        *only("prctl", 0, _PR_SET_NAME, errno.EPERM),  # names of threads; it must not clear the signal of lifeline.py
        *only("ioctl", 1, _FIONBIO, errno.EPERM),
        masked("clone", 0, _CLONE_THREAD, _CLONE_THREAD),
        *fcntl(_F_DUPFD, _F_GETFD, _F_SETFD, _F_GETFL, _F_SETFL, _F_DUPFD_CLOEXEC),
        *refuse(errno.EACCES, "openat2", *CHANGES_FILES),
        *refuse(errno.EPERM, "kill", "setpriority", "setrlimit", "socket", "sysinfo", "tgkill", "tkill"),
        *refuse(errno.ENOSYS, "clone3", "io_uring_setup", "memfd_create"),
    )
)
"""Deno: threads, executable memory and reading files as far as Landlock lets it; no process, socket or other file."""

HOST = SyscallFilter(
    (
        # Landlock does not hold sockets that have a path. What the host needs it has inherited, and its event loop's
        # pair is of streams, which go to each other alone.
        Rule("socketpair", errno.EPERM, When(0, Compare.DIFFERS, _AF_UNIX)),
        *(masked("socketpair", 1, bit, 0 if bit == _SOCK_STREAM else bit, errno.EPERM) for bit in (1, 2, 4, 8)),
        Rule("sendto", errno.EPERM, When(4, Compare.DIFFERS, 0)),
        Rule("prlimit64", errno.EPERM, When(0, Compare.DIFFERS, 0)),  # of another process
        *(masked("clone", 0, bit, bit, errno.EPERM) for bit in _CLONE_NEW),
        *refuse(errno.ENOSYS, "clone3"),  # filters cannot see its flags, which are in memory; libc falls back to clone
        *refuse(
            errno.EPERM,
            "add_key",
            "bind",
            "bpf",
            "chroot",
            "connect",
            "fanotify_init",
            "finit_module",
            "fsconfig",
            "fsmount",
            "fsopen",
            "fspick",
            "init_module",
            "io_uring_setup",
            "ioperm",
            "iopl",
            "kcmp",
            "kexec_file_load",
            "kexec_load",
            "keyctl",
            "mount",
            "mount_setattr",
            "move_mount",
            "name_to_handle_at",
            "open_by_handle_at",
            "open_tree",
            "perf_event_open",
            "pidfd_getfd",
            "pivot_root",
            "process_madvise",
            "process_vm_readv",
            "process_vm_writev",
            "ptrace",
            "request_key",
            "setns",
            "socket",
            "umount2",
            "unshare",
            "userfaultfd",
        ),
    ),
    others_pass=True,
)
"""The untrusted host: everything except new sockets, and the calls that reach other processes' memory or bypass
Landlock."""
