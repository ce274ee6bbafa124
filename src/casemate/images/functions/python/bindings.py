"""The names that a module's top level binds, and what can be said of each without running it."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_DYNAMIC = frozenset({"exec", "eval", "globals", "locals", "setattr", "vars"})
"""Functions by which code can bind names that do not stand in the source."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Bindings:
    """A module's names."""

    names: Mapping[str, tuple[ast.AST, ...]]
    """For each name the nodes that bind it, in the source's order."""
    undecided: bool
    """Whether there may be more, as with ``from x import *``."""


def bindings_of(tree: ast.Module) -> Bindings:
    """The names that are bound at the top level, in branches and loops there, and by ``global`` in functions."""
    names: dict[str, list[ast.AST]] = {}
    undecided = False
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            for name in node.names:
                names.setdefault(name, []).append(node)
        if isinstance(node, ast.Name) and node.id in _DYNAMIC:
            undecided = True
    for name, node in _bound(tree.body):
        if name in ("*", "__getattr__"):
            undecided = True
        names.setdefault(name, []).append(node)
    return Bindings({name: tuple(nodes) for name, nodes in names.items()}, undecided)


def _bound(body: list[ast.stmt]) -> Iterator[tuple[str, ast.AST]]:
    """Each name that statements bind in their own scope, with the node that binds it."""
    left: list[ast.AST] = list(reversed(body))
    while left:
        node = left.pop()
        yield from ((name, node) for name in _names_of(node))
        left += reversed(_of_one_scope(node))


def _names_of(node: ast.AST) -> list[str]:
    """The names that a node itself binds."""
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Import(names=aliases):
            return [alias.asname or alias.name.partition(".")[0] for alias in aliases]
        case ast.ImportFrom(names=aliases):
            return [alias.asname or alias.name for alias in aliases]
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr()):
            return [name]
        case ast.Name(id=name, ctx=ast.Store()) | ast.MatchMapping(rest=str(name)):
            return [name]
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            return [name]
        case _:
            return []


def _of_one_scope(node: ast.AST) -> list[ast.AST]:
    """The nodes inside a node that may bind names in the scope around it."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return []
        case ast.Lambda() | ast.GeneratorExp() | ast.ListComp() | ast.SetComp() | ast.DictComp():
            return [inner.target for inner in ast.walk(node) if isinstance(inner, ast.NamedExpr)]
        case ast.Assign(targets=[ast.Name()]) | ast.AnnAssign(target=ast.Name()):
            return [node.value] if node.value is not None else []
        case _:
            return list(ast.iter_child_nodes(node))


def yields(function: Function) -> bool:
    """Whether a function is a generator: it yields in its own scope."""
    left: list[ast.AST] = list(function.body)
    while left:
        node = left.pop()
        if isinstance(node, ast.Yield | ast.YieldFrom):
            return True
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            left += ast.iter_child_nodes(node)
    return False
