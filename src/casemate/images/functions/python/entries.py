"""Compares the main module with the entry points of the manifest, as far as its source tells."""

import ast

from casemate.images.functions.python.bindings import Bindings, Function, bindings_of, yields
from casemate.images.functions.python.sources import PythonModule
from casemate.wire.protocol.manifest import EntryPoint, Manifest
from casemate.wire.protocol.manifest_table import ManifestError

_ARGUMENTS = ("input", "context")
_STREAM_ARGUMENTS = (*_ARGUMENTS, "chunks")
_NO_FUNCTION = (ast.Constant, ast.Dict, ast.List, ast.Set, ast.Tuple, ast.JoinedStr)
"""Values that nobody can call."""


def check_entries(main: PythonModule, manifest: Manifest) -> None:
    """Refuses a main module that cannot have the functions that the manifest declares.

    What cannot be decided is let through: names that may come from ``import *``, decorated functions, and values whose
    kind only running the code would tell.

    Raises:
        ManifestError: an entry point is not in the module.
        SourceError: it is there and is no function, cannot take its arguments, or is a stream that does not yield or
            the reverse.
    """
    bindings = bindings_of(main.tree)
    for entry in manifest.entries:
        nodes = bindings.names.get(entry.name, ())
        if not nodes and not bindings.undecided:
            functions = _functions(bindings)
            raise ManifestError(
                f"entry.{entry.name}",
                got=f"not a function of {manifest.main}",
                want=f"one of {functions}" if functions else "one of its functions: it has none",
                advice=f"write `def {entry.name}({_called(entry)})` there, or call the table by the name of a function "
                "that is there",
            )
        if nodes and all(isinstance(node, ast.ClassDef) or _is_plain_value(node) for node in nodes):
            reason = f"{entry.name} is an entry point, so it has to be a function: `def {entry.name}({_called(entry)})`"
            raise main.error(nodes[-1], reason)
        if len(nodes) == 1 and isinstance(nodes[0], Function) and not nodes[0].decorator_list:
            _check_function(main, nodes[0], entry)


def _functions(bindings: Bindings) -> list[str]:
    """The module's functions, for an error."""
    return sorted(name for name, nodes in bindings.names.items() if any(isinstance(node, Function) for node in nodes))


def _is_plain_value(node: ast.AST) -> bool:
    return isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, _NO_FUNCTION)


def _called(entry: EntryPoint) -> str:
    return ", ".join(_STREAM_ARGUMENTS if entry.stream else _ARGUMENTS)


def _check_function(main: PythonModule, function: Function, entry: EntryPoint) -> None:
    given = len(_STREAM_ARGUMENTS if entry.stream else _ARGUMENTS)
    arguments = function.args
    positional = len(arguments.posonlyargs) + len(arguments.args)
    least = positional - len(arguments.defaults)
    unnamed = any(default is None for default in arguments.kw_defaults)
    if least > given or unnamed or (positional < given and arguments.vararg is None):
        reason = f"{entry.name} is called with ({_called(entry)}), which its parameters do not take"
        raise main.error(function, reason)
    if entry.stream and not yields(function):
        reason = f"{entry.name} is a stream (stream = true), so it has to yield what goes out"
        raise main.error(function, reason)
    if not entry.stream and yields(function):
        reason = (
            f"{entry.name} yields, so it is a stream: write stream = true in [entry.{entry.name}], or return a list"
        )
        raise main.error(function, reason)
