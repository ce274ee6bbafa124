"""The files of the interpreter that runs this: its binary, its library where it has one, and its standard library.

Other interpreters are measured by the same rules, in processes of their own, for
:mod:`casemate.chip.common_interpreters`: a change of this module makes those digests stale. Nothing here needs an
installed package.
"""

import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from casemate.chip.errors import RuntimeCopyError
from casemate.chip.runtime import LIBRARY_FOLDER, PYTHON

_SKIPPED_FOLDERS = frozenset({
    "__pycache__", "__phello__", "dist-packages", "distutils", "ensurepip", "idlelib", "lib2to3", "pydoc_data",
    "site-packages", "test", "tests", "tkinter", "turtledemo", "venv",
})  # fmt: skip
_SKIPPED_PREFIXES = ("_sysconfigdata", "_test", "_ctypes_test", "_tkinter", "_xxtestfuzz", "config-", "xxlimited")
"""Self-tests, and what only tells how this interpreter was built, which differs where nothing else does."""

_OPENSSL = ("_hashlib.", "_ssl.")
"""Extension modules that would load the host's own OpenSSL, which nobody measures. :mod:`hashlib` has hashes of its
own, and ciphers come from `cryptography`, which brings its OpenSSL along."""

_OWN_HASHES = (("_sha2",), ("_sha256", "_sha512"))
_OTHER_HASHES = ("_blake2", "_md5", "_sha1", "_sha3")

_SKIPPED_FILES = frozenset({"sitecustomize.py", "turtle.py", "usercustomize.py"})
_MADE_BY_TOOLS = (".pyc", ".pyi", ".typed", "~", ".swp", ".orig", ".rej")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of the runtime."""

    path: str
    """The file's path in the copy."""
    source: Path
    """The file's path on this machine."""
    executable: bool = False


def interpreter_files() -> Iterator[SourceFile]:
    """The files of the interpreter that runs this, without those that no enclave needs.

    Raises:
        RuntimeCopyError: this kind of interpreter cannot be copied.
    """
    if sysconfig.get_config_var("PYTHONFRAMEWORK"):
        raise RuntimeCopyError(
            f"{sys.base_prefix} is a macOS framework build, which loads its library from one fixed place: run Casemate "
            "with another build of Python, such as uv's or pyenv's"
        )
    yield SourceFile(PYTHON, _interpreter(), executable=True)
    yield from _libpython()
    yield from _standard_library()


def library_folder() -> str:
    """The standard library's folder in the copy, which holds packages, too."""
    return f"{sys.platlibdir}/{Path(os.__file__).parent.name}"


def _interpreter() -> Path:
    """The real binary, below any virtual environment."""
    return Path(getattr(sys, "_base_executable", None) or sys.executable).resolve()


def _libpython() -> Iterator[SourceFile]:
    library = _mapped_libpython() if sys.platform == "linux" else _configured_libpython()
    if library is not None:
        yield SourceFile(f"{LIBRARY_FOLDER}/{library.name}", library)


def _mapped_libpython() -> Path | None:
    """Libpython of this process; None if the interpreter is linked statically."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        mapped = line.partition("/")
        if os.path.basename(mapped[2]).startswith("libpython"):  # noqa: PTH119 - thousands of lines
            return Path(mapped[1] + mapped[2])
    return None


def _configured_libpython() -> Path | None:
    if not sysconfig.get_config_var("Py_ENABLE_SHARED"):
        return None
    library = Path(sys.base_prefix) / "lib" / str(sysconfig.get_config_var("INSTSONAME"))
    return library if library.is_file() else None


def _standard_library() -> Iterator[SourceFile]:
    """Python sources, and the extension modules beside them."""
    standard, folder = Path(os.__file__).parent, library_folder()
    unwanted = _OPENSSL if _hashes_without_openssl() else ()
    for file in files_below(standard):
        if file.name.startswith(unwanted):
            continue
        if file.suffix == ".py" or file.name.endswith(tuple(EXTENSION_SUFFIXES)):
            yield SourceFile(f"{folder}/{file.relative_to(standard).as_posix()}", file)


def _hashes_without_openssl() -> bool:
    """Whether this interpreter was built with hashes of its own; some distributions leave them out."""

    def has(names: Iterable[str]) -> bool:
        return all(importlib.util.find_spec(name) is not None for name in names)

    return has(_OTHER_HASHES) and any(has(names) for names in _OWN_HASHES)


def files_below(root: Path) -> Iterator[Path]:
    """All files that belong to the runtime, whatever their kind."""
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in _SKIPPED_FOLDERS and _wanted(name)]
        for name in files:
            if name not in _SKIPPED_FILES and _wanted(name) and not name.endswith(_MADE_BY_TOOLS):
                yield Path(folder, name)


def _wanted(name: str) -> bool:
    return not name.startswith((".", *_SKIPPED_PREFIXES))
