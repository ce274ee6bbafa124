"""The untrusted host's own confinement: it cannot read fuses or keys, nor look into other processes."""

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
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


@contextlib.contextmanager
def telling_of_links(process: str) -> Iterator[None]:
    """Ends the process with a sentence where a file of Python's fails it that :func:`confine_host` put out of reach.

    Args:
        process: what it is, as the subject of the sentence.
    """
    try:
        yield
    except PermissionError as error:
        file = str(error.filename)
        if not any(_is_below(file, folder) for folder in _import_folders()):
            raise
        target = os.path.realpath(file)
        leads = f", which leads to {target}" if target != file else ""
        sys.exit(
            f"{process} cannot read {file}{leads}: its confinement leaves it Python's own folders, and packages that "
            "are linked there whole; install them as files, as pip does (with uv: `--link-mode copy`)"
        )


def confine_host(*, read: Sequence[Path], write: Sequence[Path]) -> tuple[Layer, ...]:
    """Leaves the calling process the system's and Python's own files, and the named paths; the rest is denied.

    A process in such a domain cannot trace, signal or read the memory of one outside it (Landlock's rules for ptrace
    and signals hold for root too), and the calls that would go around it are refused. To be applied before any thread
    is started. Each layer is preferred: where it is missing, the returned layers say so.

    Args:
        read: files, or folders with all below them, that stay readable.
        write: files or folders that stay writable too.
    """
    named = [os.path.realpath(path) for path in (*read, *write)]
    python = {sys.prefix, sys.base_prefix, *_import_folders()}
    linked = {target for target in _link_targets() if not any(_is_below(path, target) for path in named)}
    rules = [
        *(PathRule(path, LOAD) for path in (*_SYSTEM, *sorted(python | linked))),
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


def _import_folders() -> set[str]:
    return {entry for entry in sys.path if entry}


def _link_targets() -> Iterator[str]:
    """What links in the folders of imports lead to: some installers link packages instead of copying them."""
    for folder in _import_folders():
        try:
            with os.scandir(folder) as entries:
                yield from (os.path.realpath(entry.path) for entry in entries if entry.is_symlink())
        except OSError:  # an archive, or not there
            continue


def _is_below(path: str, folder: str) -> bool:
    """Whether a path is a folder, or in it."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
