"""Loads the operator's module, and finds the handlers in it."""

import inspect
import re
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from casemate.ocalls.errors import HandlersError
from casemate.ocalls.module_file import read_module
from casemate.wire.messages.ocalls import MAX_HANDLERS

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}", re.ASCII)
"""Names of OCALLs, as manifests may have them."""

ASKED = "asked"
"""The second parameter's name, for handlers that have a default for it."""

_MAX_TRACE = 3000
"""Bytes of a traceback that are told, the last ones: a fault has room for 4,096."""


@dataclass(frozen=True, slots=True)
class Handler:
    """One function of the operator's."""

    name: str
    """The OCALL that it answers."""
    function: Callable[..., Any]
    is_async: bool
    takes_asked: bool
    """It wants to know who asks."""


def load_handlers(path: Path) -> Mapping[str, Handler]:
    """Runs the module at ``path``; its handlers by the names of their OCALLs.

    Raises:
        HandlersError: says in which line the module failed, or which of its functions cannot be a handler.
    """
    source = read_module(path)
    name = path.stem
    if not name.isidentifier() or name in sys.modules or name in sys.stdlib_module_names:
        raise HandlersError(f"{path.name}: Python has a module {name!r} already, or cannot have one: rename the file")
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module
    sys.path.append(str(path.parent))
    try:
        exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - the operator's own code, asked for
    except BaseException as error:  # SystemExit, too
        raise HandlersError(f"{path} cannot be loaded:\n{trace_of(error, path)}") from None
    handlers = {each.name: each for each in _found(module, path)}
    if not handlers:
        raise HandlersError(
            f"{path} defines no handler: want a function for each OCALL, such as `def rates(argument):`"
        )
    if len(handlers) > MAX_HANDLERS:
        raise HandlersError(f"{path} defines {len(handlers)} handlers, want at most {MAX_HANDLERS}")
    return handlers


def trace_of(error: BaseException, path: Path) -> str:
    """The traceback of what the operator's code raised, from its first line there on; the last characters of it."""
    trace: TracebackType | None = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != str(path):
        trace = trace.tb_next
    text = "".join(traceback.format_exception(type(error), error, trace)).rstrip()
    told = text.encode("utf-8", "backslashreplace")
    return text if len(told) <= _MAX_TRACE else "..." + told[-_MAX_TRACE:].decode("utf-8", "ignore")


def _found(module: ModuleType, path: Path) -> list[Handler]:
    listed = getattr(module, "__all__", None)
    if listed is None:
        names = [name for name, value in vars(module).items() if _is_own(module, name, value)]
    else:
        names = [str(name) for name in listed]
    return [_handler(path, name, getattr(module, name, None)) for name in names]


def _is_own(module: ModuleType, name: str, value: object) -> bool:
    return not name.startswith("_") and inspect.isfunction(value) and value.__module__ == module.__name__


def _handler(path: Path, name: str, function: Any) -> Handler:
    mend = "begin its name with _ if it is not a handler, or list the handlers in __all__"
    if not callable(function):
        raise HandlersError(f"{path}: __all__ names {name!r}, which is not a function of the module")
    if not _NAME.fullmatch(name):
        raise HandlersError(
            f"{path}: no OCALL can be called like the function {name!r}, want letters, digits and _, at most 64; {mend}"
        )
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise HandlersError(f"{path}: {name} is a generator, want a function that returns its answer; {mend}")
    takes_asked = _takes_asked(function)
    if takes_asked is None:
        raise HandlersError(
            f"{path}: {name} takes other arguments, want {name}(argument) or {name}(argument, asked); {mend}"
        )
    return Handler(name, function, inspect.iscoroutinefunction(function), takes_asked)


def _takes_asked(function: Callable[..., Any]) -> bool | None:
    """Whether a handler wants to know who asks: it needs a second argument, or has one of that name.

    None if it takes neither one nor two.
    """
    signature = inspect.signature(function)
    if _fits(signature, 2) and (ASKED in signature.parameters or not _fits(signature, 1)):
        return True
    return False if _fits(signature, 1) else None


def _fits(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True
