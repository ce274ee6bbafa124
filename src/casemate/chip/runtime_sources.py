"""Finds the files that make up the runtime of enclaves, and their places on this machine.

The interpreter, its library where it has one, the standard library without what no enclave needs, the rooms that an
enclave consists of, the packages these import, and the engine's binary. What the C library and the dynamic loader bring
is the host's and stays outside: see the threat model.
"""

import importlib.metadata
import importlib.util
from collections.abc import Iterator
from pathlib import Path

from casemate.chip.errors import RuntimeCopyError
from casemate.chip.interpreter_files import SourceFile, files_below, interpreter_files, library_folder
from casemate.chip.runtime import ENGINE
from casemate.process.extras import engine_binary
from casemate.wire.errors import MissingExtraError

ROOMS = (
    *("enclave", "engines", "guest", "images", "link", "process", "sandbox"),
    *("spawner", "verifier", "wire", "zygote"),
)
PACKAGES = {"OpenSSL": "pyopenssl", "cryptography": "cryptography", "h11": "h11", "jsonschema_rs": "jsonschema-rs"}
MODULES = {"_cffi_backend": "cffi", "typing_extensions": "typing-extensions"}
"""Single modules: cryptography's bindings need the first one, pyOpenSSL the second. Each with the distribution that
brings it: all are there wherever the extra "machine" is installed."""


def runtime_sources() -> tuple[SourceFile, ...]:
    """The runtime of the interpreter that runs this, in the order of the paths.

    Raises:
        MissingExtraError: a package is not installed.
        RuntimeCopyError: a room is missing, or this kind of interpreter cannot be copied.
    """
    folder = library_folder()
    found = [
        *interpreter_files(),
        SourceFile(ENGINE, engine_binary("the runtime of enclaves"), executable=True),
        *_casemate(f"{folder}/casemate"),
    ]
    for name, distribution in PACKAGES.items():
        found += _package(name, distribution, folder)
    for name, distribution in MODULES.items():
        found += _module(name, distribution, folder)
    return tuple(sorted(found, key=lambda file: file.path.encode()))


def _casemate(folder: str) -> Iterator[SourceFile]:
    package = Path(__file__).parent.parent
    yield SourceFile(f"{folder}/__init__.py", package / "__init__.py")
    for room in ROOMS:
        if not (package / room / "__init__.py").is_file():
            raise RuntimeCopyError(f"{package / room} is missing: install Casemate again")
        for file in files_below(package / room):
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
    for file in files_below(part):
        path = file.relative_to(packages).as_posix()
        if recorded is None or path in recorded:
            yield SourceFile(f"{folder}/{path}", file)
