"""Groups of system calls, and rules of filters written short."""

from casemate.sandbox.seccomp import Compare, Rule, When

MEMORY = ("brk", "munmap", "mremap", "madvise", "membarrier")
TIME = (
    "clock_gettime",
    "clock_getres",
    "clock_nanosleep",
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
    "futex",
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
    "sched_getaffinity",
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


def fcntl(*commands: int) -> tuple[Rule, ...]:
    """fcntl, with these commands alone."""
    return tuple(Rule("fcntl", None, When(1, Compare.EQUALS, command)) for command in commands)
