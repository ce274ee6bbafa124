"""The untrusted host's own confinement: it cannot read fuses or keys, nor look into other processes."""

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from casemate.sandbox.confinement import apply_layer
from casemate.sandbox.errors import UnavailableError
from casemate.sandbox.landlock import CHANGE, LOAD, READ, PathRule, restrict_paths
from casemate.sandbox.privileges import refuse_new_privileges
from casemate.sandbox.seccomp import compile_filter, install_filter
from casemate.sandbox.syscalls import HOST
from casemate.wire.protocol.sandbox_layers import Layer, LayerMode, LayerName

_SYSTEM = ("/bin", "/lib", "/lib64", "/usr")
_SYSTEM_FILES = ("/dev/null", "/dev/urandom", "/etc/ld.so.cache", "/etc/localtime", "/proc/self", "/proc/stat")


def confine_host(*, read: Sequence[Path], write: Sequence[Path]) -> tuple[Layer, ...]:
    """Leaves the calling process the system's and Python's own files, and the named paths; the rest is denied.

    A process in such a domain cannot trace, signal or read the memory of one outside it (Landlock's rules for ptrace
    and signals hold for root too), and the calls that would go around it are refused. To be applied before any thread
    is started. Each layer is preferred: where it is missing, the returned layers say so.

    Args:
        read: files, or folders with all below them, that stay readable.
        write: files or folders that stay writable too.
    """
    python = {sys.prefix, sys.base_prefix, *(entry for entry in sys.path if entry)}
    rules = [
        *(PathRule(path, LOAD) for path in (*_SYSTEM, *sorted(python))),
        *(PathRule(path, READ) for path in _SYSTEM_FILES),
        *(PathRule(os.fspath(path), READ) for path in read),
        *(PathRule(os.fspath(path), CHANGE) for path in write),
    ]
    prefer = LayerMode.PREFER
    with contextlib.suppress(UnavailableError):  # the layer below says so
        compile_filter(HOST)  # its result is kept; it needs a temporary file, which Landlock will not allow
    return (
        apply_layer(LayerName.NO_NEW_PRIVS, prefer, refuse_new_privileges),
        apply_layer(LayerName.LANDLOCK, prefer, lambda: restrict_paths(rules, network=True)),
        apply_layer(LayerName.SECCOMP, prefer, lambda: install_filter(compile_filter(HOST))),
    )
