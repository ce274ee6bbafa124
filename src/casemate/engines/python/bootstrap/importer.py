"""Imports the program's modules from memory: ``guest/words/index.py`` is the module ``words.index``.

Python's own machinery does the work, by a finder for the folders of the image, so that packages, relative imports,
circles, :mod:`pkgutil`, :mod:`importlib.resources` and tracebacks are as everywhere. Nothing is read from a disk.
"""

import importlib.abc
import importlib.util
import io
import posixpath
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.machinery import BuiltinImporter, ModuleSpec, PathFinder
from importlib.resources.abc import Traversable, TraversableResources
from types import ModuleType
from typing import Any

from casemate.engines.python.bootstrap.standard import missing_words

ROOT = "guest"
"""The folder of the image that modules are looked for in."""

_KEPT = ("casemate", "casemate.guest")
"""Of our own modules, those that a program can import."""


class Files:
    """The files of a program, by their paths in the image."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = dict(files)
        self._folders = {"/".join(path.split("/")[:depth]) for path in files for depth in range(1, path.count("/") + 1)}

    def __contains__(self, path: object) -> bool:
        return path in self._files

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def is_folder(self, path: str) -> bool:
        """Whether a file lies below that path."""
        return path in self._folders

    def read(self, path: str) -> bytes:
        """A file's bytes, or :class:`FileNotFoundError`."""
        try:
            return self._files[posixpath.normpath(path)]
        except KeyError:
            raise FileNotFoundError(f"the image has no file {path}") from None

    def below(self, folder: str) -> list[str]:
        """The names in a folder, sorted."""
        start = f"{folder}/"
        return sorted({path[len(start) :].partition("/")[0] for path in self._files if path.startswith(start)})


def take_over(files: Files) -> None:
    """Has all imports from here on find the program's files and what is loaded already, and nothing else.

    Raises:
        ImportError: a file has the name of a module that is there.
    """
    for path in files:
        name = path.split("/")[1].removesuffix(".py") if path.startswith(f"{ROOT}/") and path.endswith(".py") else ""
        if name in sys.modules or name in sys.builtin_module_names:
            raise ImportError(f"{path} has the name of Python's or Casemate's own module {name}: call it otherwise")
    for name in [name for name in sys.modules if name.partition(".")[0] == "casemate" and name not in _KEPT]:
        del sys.modules[name]  # they are no part of what a program can rely on; who uses them has them
    sys.path[:] = [ROOT]
    sys.path_hooks[:] = [lambda path: _FolderFinder(files, path)]
    sys.path_importer_cache.clear()
    sys.meta_path[:] = [BuiltinImporter, PathFinder, _Missing()]


def module_name(path: str) -> str:
    """The name of the module in a file."""
    return path.removeprefix(f"{ROOT}/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")


class _Missing(importlib.abc.MetaPathFinder):
    """Comes last, and says why nothing was found."""

    def find_spec(self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None, /) -> None:
        asks = sys._getframe(2).f_globals.get("__name__")  # noqa: SLF001 - `find_spec(name) is None` is a question, too
        if asks == importlib.util.__name__:
            return
        raise ModuleNotFoundError(missing_words(fullname), name=fullname)


class _FolderFinder(importlib.abc.PathEntryFinder):
    """Finds modules in one folder of the image."""

    def __init__(self, files: Files, folder: str) -> None:
        if not files.is_folder(folder):
            raise ImportError(f"the image has no folder {folder}")
        self._files = files
        self._folder = folder

    def find_spec(self, fullname: str, _target: ModuleType | None = None, /) -> ModuleSpec | None:
        base = f"{self._folder}/{fullname.rpartition('.')[2]}"
        if (path := f"{base}/__init__.py") in self._files:
            return _spec(fullname, _Loader(self._files, path), path, base)
        if (path := f"{base}.py") in self._files:
            return _spec(fullname, _Loader(self._files, path), path, None)
        if self._files.is_folder(base):
            return _spec(fullname, _Loader(self._files, None), None, base)
        return None

    def iter_modules(self, prefix: str = "") -> Iterator[tuple[str, bool]]:
        """For :func:`pkgutil.iter_modules`."""
        for name in self._files.below(self._folder):
            if name.endswith(".py") and name != "__init__.py":
                yield prefix + name.removesuffix(".py"), False
            elif f"{self._folder}/{name}/__init__.py" in self._files:
                yield prefix + name, True


def _spec(name: str, loader: "_Loader", path: str | None, folder: str | None) -> ModuleSpec:
    # Not spec_from_file_location, which would ask for the working directory.
    spec = ModuleSpec(name, loader, origin=path, is_package=folder is not None)
    spec.has_location = path is not None
    if folder is not None:
        spec.submodule_search_locations = [folder]
    return spec


class _Loader(importlib.abc.ExecutionLoader):
    """Loads one module, or a folder without ``__init__.py``, which has no path."""

    def __init__(self, files: Files, path: str | None) -> None:
        self._files = files
        self._path = path

    def get_filename(self, fullname: str) -> str:
        if self._path is None:
            raise ImportError(f"{fullname} is a folder", name=fullname)
        return self._path

    def is_package(self, _fullname: str, /) -> bool:
        return self._path is None or self._path.endswith("/__init__.py")

    def get_source(self, _fullname: str, /) -> str:
        return "" if self._path is None else importlib.util.decode_source(self._files.read(self._path))

    def get_code(self, fullname: str) -> Any:
        if self._path is None:
            return compile("", fullname, "exec")
        return compile(self._files.read(self._path), self._path, "exec", dont_inherit=True)

    def get_data(self, path: str) -> bytes:
        """For :func:`pkgutil.get_data`."""
        return self._files.read(path)

    def get_resource_reader(self, fullname: str) -> TraversableResources:
        """For :mod:`importlib.resources`."""
        folder = posixpath.dirname(self._path) if self._path else f"{ROOT}/{fullname.replace('.', '/')}"
        return _Resources(_Entry(self._files, folder))


class _Resources(TraversableResources):
    def __init__(self, folder: "_Entry") -> None:
        self._folder = folder

    def files(self) -> Traversable:
        return self._folder


class _Entry(Traversable):
    """A file or folder of the image, which need not be there."""

    def __init__(self, files: Files, path: str) -> None:
        self._files = files
        self._path = path

    @property
    def name(self) -> str:
        return posixpath.basename(self._path)

    def __str__(self) -> str:
        return self._path

    def is_dir(self) -> bool:
        return self._files.is_folder(self._path)

    def is_file(self) -> bool:
        return self._path in self._files

    def iterdir(self) -> Iterator["_Entry"]:
        return (_Entry(self._files, f"{self._path}/{name}") for name in self._files.below(self._path))

    def joinpath(self, *descendants: Any) -> "_Entry":
        return _Entry(self._files, posixpath.normpath(posixpath.join(self._path, *map(str, descendants))))

    __truediv__ = joinpath

    def read_bytes(self) -> bytes:
        return self._files.read(self._path)

    def read_text(self, encoding: str | None = None, errors: str | None = None) -> str:
        return self.read_bytes().decode(encoding or "utf-8", errors or "strict")

    def open(self, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        content = io.BytesIO(self.read_bytes())
        return content if "b" in mode else io.TextIOWrapper(content, *args, **{"encoding": "utf-8", **kwargs})
