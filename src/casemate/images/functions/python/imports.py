"""Compares the imports of a Python guest with what will be there, and refuses those that can never succeed.

Nothing is read from a disk inside an enclave: there are the measured files, the standard library without a few modules,
and `cryptography`. An import is let through where the code is prepared for its failure (``try`` with ``except
ImportError``, ``contextlib.suppress``), where it is never run (``TYPE_CHECKING``), and where a version or platform
decides.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from casemate.images.functions.python.bindings import Bindings, bindings_of
from casemate.images.functions.python.sources import BUILDER, PythonModule
from casemate.images.functions.python.standard_library import BROUGHT_ALONG, STUBS, is_absent, is_there

_CAUGHT = frozenset({"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})
_DECIDED_LATER = frozenset({"TYPE_CHECKING", "version_info", "hexversion", "platform", "implementation"})
"""Names in the condition of an ``if`` on which it depends whether an import below it is run."""
_CASEMATE = STUBS.partition(".")[0]
_THERE = f"there are the files under guest/, the standard library and {', '.join(sorted(BROUGHT_ALONG))}"


def check_imports(modules: Iterable[PythonModule]) -> None:
    """Refuses imports that can never succeed.

    Raises:
        SourceError: names file, line and column.
    """
    known = _Known.of(modules)
    for module in known.modules.values():
        for node in _unguarded(module.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    known.check(module, node, alias.name)
            else:
                _check_from(module, node, known)


@dataclass(frozen=True, slots=True)
class _Known:
    """What is there to be imported."""

    modules: Mapping[str, PythonModule]
    folders: frozenset[str]
    """Dotted names of folders with modules in them: packages, with or without an ``__init__.py``."""
    bindings: dict[str, Bindings]
    """Those of modules that somebody imports from."""

    @classmethod
    def of(cls, modules: Iterable[PythonModule]) -> "_Known":
        by_name = {module.name: module for module in modules}
        folders = {name[:at] for name in by_name for at, character in enumerate(name) if character == "."}
        return cls(by_name, frozenset(folders), {})

    def is_measured(self, name: str) -> bool:
        """Whether a name is that of a module or folder under ``guest/``."""
        return name in self.modules or name in self.folders

    def check(self, module: PythonModule, node: ast.AST, name: str) -> None:
        """Refuses a module that is not there."""
        first = name.partition(".")[0]
        if self.is_measured(first):
            if not self.is_measured(name):
                raise module.error(node, f"there is no guest/{name.replace('.', '/')}.py")
        elif first == _CASEMATE:
            if name != STUBS:
                raise module.error(node, f"{name} is not there inside: of Casemate's modules only {STUBS} is")
        elif is_absent(name):
            raise module.error(node, f"{name} is a module of the standard library that is not there inside an enclave")
        elif not is_there(name):
            raise module.error(node, f"there is no module {first} inside: {_THERE}; {BUILDER} knows no other")

    def has(self, name: str, member: str) -> bool:
        """Whether a module or folder under ``guest/`` may have a member of that name."""
        if self.is_measured(f"{name}.{member}"):
            return True
        if name not in self.modules:
            return False
        if name not in self.bindings:
            self.bindings[name] = bindings_of(self.modules[name].tree)
        bound = self.bindings[name]
        return bound.undecided or member in bound.names or (member.startswith("__") and member.endswith("__"))


def _check_from(module: PythonModule, node: ast.ImportFrom, known: _Known) -> None:
    """Checks ``from x import a, b``: that x is there, and has these names where it is a measured file."""
    name = node.module or ""
    if node.level:
        parts = module.package.split(".") if module.package else []
        if node.level > len(parts):
            where = "guest/ itself is no package" if not parts else f"{module.name} lies {len(parts)} folders deep"
            raise module.error(node, f"this relative import leads beyond guest/: {where}; import by the full name")
        base = parts[: len(parts) - node.level + 1]
        name = ".".join([*base, name] if name else base)
    members = [alias.name for alias in node.names]
    if name == _CASEMATE and members == [STUBS.rpartition(".")[2]]:
        return
    known.check(module, node, name)
    for member in members:
        if is_absent(f"{name}.{member}"):
            known.check(module, node, f"{name}.{member}")
    if known.is_measured(name):
        for member in members:
            if member != "*" and not known.has(name, member):
                raise module.error(node, f"{_file(known, name)} has no {member}")


def _file(known: _Known, name: str) -> str:
    return known.modules[name].path if name in known.modules else f"the folder guest/{name.replace('.', '/')}"


def _unguarded(tree: ast.Module) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports, nested ones too, whose failure the code is not prepared for; in the source's order."""
    left: list[ast.AST] = list(reversed(tree.body))
    while left:
        node = left.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
            continue
        inner = list(ast.iter_child_nodes(node))
        if isinstance(node, ast.Try | ast.TryStar) and any(map(_catches, node.handlers)):
            inner = [*node.handlers, *node.orelse, *node.finalbody]
        elif (isinstance(node, ast.If) and _is_decided_later(node.test)) or (
            isinstance(node, ast.With) and any(_suppresses(item.context_expr) for item in node.items)
        ):
            inner = []
        left += reversed(inner)


def _catches(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or bool(_names_in(handler.type) & _CAUGHT)


def _suppresses(expression: ast.expr) -> bool:
    return isinstance(expression, ast.Call) and "suppress" in _names_in(expression.func)


def _is_decided_later(test: ast.expr) -> bool:
    return bool(_names_in(test) & _DECIDED_LATER)


def _names_in(expression: ast.AST) -> set[str]:
    """All names and attributes in an expression."""
    return {
        node.id if isinstance(node, ast.Name) else node.attr
        for node in ast.walk(expression)
        if isinstance(node, ast.Name | ast.Attribute)
    }
