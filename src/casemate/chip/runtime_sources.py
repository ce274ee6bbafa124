"""Finds the files that make up the runtime of enclaves, and their places on this machine.

The interpreter, its library where it has one, the standard library without what no enclave needs, the rooms that an
enclave consists of, the packages these import, and the engine's binary. What the C library and the dynamic loader bring
is the host's and stays outside: see the threat model.
"""

import importlib.metadata
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from casemate.chip.errors import RuntimeCopyError
from casemate.chip.runtime import ENGINE, LIBRARY_FOLDER, PYTHON
from casemate.process.extras import engine_binary
from casemate.wire.errors import MissingExtraError

ROOMS = ("enclave", "engines", "images", "link", "process", "sandbox", "spawner", "verifier", "wire")
PACKAGES = {"OpenSSL": "pyopenssl", "cryptography": "cryptography", "h11": "h11", "jsonschema_rs": "jsonschema-rs"}
MODULES = {"_cffi_backend": "cffi", "typing_extensions": "typing-extensions"}
"""Single modules: cryptography's bindings need the first one, pyOpenSSL the second. Each with the distribution that
brings it: all are there wherever the extra "machine" is installed."""

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


def runtime_sources() -> tuple[SourceFile, ...]:
    """The runtime of the interpreter that runs this, in the order of the paths.

    Raises:
        MissingExtraError: a package is not installed.
        RuntimeCopyError: a room is missing, or this kind of interpreter cannot be copied.
    """
    if sysconfig.get_config_var("PYTHONFRAMEWORK"):
        raise RuntimeCopyError(
            f"{sys.base_prefix} is a macOS framework build, which loads its library from one fixed place: run Casemate "
            "with another build of Python, such as uv's or pyenv's"
        )
    standard = Path(os.__file__).parent
    folder = f"{sys.platlibdir}/{standard.name}"
    found = [
        SourceFile(PYTHON, _interpreter(), executable=True),
        SourceFile(ENGINE, engine_binary("the runtime of enclaves"), executable=True),
        *_libpython(),
        *_standard_library(standard, folder),
        *_casemate(f"{folder}/casemate"),
    ]
    for name, distribution in PACKAGES.items():
        found += _package(name, distribution, folder)
    for name, distribution in MODULES.items():
        found += _module(name, distribution, folder)
    return tuple(sorted(found, key=lambda file: file.path.encode()))


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


def _standard_library(standard: Path, folder: str) -> Iterator[SourceFile]:
    """Python sources, and the extension modules beside them."""
    unwanted = _OPENSSL if _hashes_without_openssl() else ()
    for file in _files_below(standard):
        if file.name.startswith(unwanted):
            continue
        if file.suffix == ".py" or file.name.endswith(tuple(EXTENSION_SUFFIXES)):
            yield SourceFile(f"{folder}/{file.relative_to(standard).as_posix()}", file)


def _hashes_without_openssl() -> bool:
    """Whether this interpreter was built with hashes of its own; some distributions leave them out."""

    def has(names: Iterable[str]) -> bool:
        return all(importlib.util.find_spec(name) is not None for name in names)

    return has(_OTHER_HASHES) and any(has(names) for names in _OWN_HASHES)


def _casemate(folder: str) -> Iterator[SourceFile]:
    package = Path(__file__).parent.parent
    yield SourceFile(f"{folder}/__init__.py", package / "__init__.py")
    for room in ROOMS:
        if not (package / room / "__init__.py").is_file():
            raise RuntimeCopyError(f"{package / room} is missing: install Casemate again")
        for file in _files_below(package / room):
            yield SourceFile(f"{folder}/{file.relative_to(package).as_posix()}", file)


def _package(name: str, distribution: str, folder: str) -> Iterator[SourceFile]:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError("machine", "the runtime of enclaves", f"{name} is not installed")
    root = Path(spec.submodule_search_locations[0])
    yield from installed_files(distribution, root, folder)
    # Shared libraries that a wheel brings along lie beside its package.
    yield from installed_files(distribution, root.with_name(f"{name}.libs"), folder)


def _module(name: str, distribution: str, folder: str) -> Iterator[SourceFile]:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise MissingExtraError("machine", "the runtime of enclaves", f"{name} is not installed")
    file = Path(spec.origin)
    yield SourceFile(f"{folder}/{file.name}", file)
    yield from installed_files(distribution, file.with_name("cffi.libs"), folder)


def installed_files(distribution: str, part: Path, folder: str) -> Iterator[SourceFile]:
    """The files of a folder beside other packages that the distribution has put there.

    What another package, or nobody, has put there would make another runtime of the same version. Where the
    distribution kept no record of its files, as system packages do not, it is all that is there.
    """
    packages = part.parent
    found = next(iter(importlib.metadata.Distribution.discover(name=distribution, path=[str(packages)])), None)
    files = None if found is None else found.files
    recorded = None if files is None else {file.as_posix() for file in files}
    for file in _files_below(part):
        path = file.relative_to(packages).as_posix()
        if recorded is None or path in recorded:
            yield SourceFile(f"{folder}/{path}", file)


def _files_below(root: Path) -> Iterator[Path]:
    """All files that belong to the runtime, whatever their kind."""
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in _SKIPPED_FOLDERS and _wanted(name)]
        for name in files:
            if name not in _SKIPPED_FILES and _wanted(name) and not name.endswith(_MADE_BY_TOOLS):
                yield Path(folder, name)


def _wanted(name: str) -> bool:
    return not name.startswith((".", *_SKIPPED_PREFIXES))
