"""Loads the program: takes its files from the LOAD frame, imports the main module, and finds its functions."""

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from casemate.engines.frames import NO_CALL, FrameKind
from casemate.engines.python.bootstrap import console as consoles
from casemate.engines.python.bootstrap import event_loop
from casemate.engines.python.bootstrap.console import Console
from casemate.engines.python.bootstrap.enclave_link import EnclaveLink
from casemate.engines.python.bootstrap.errors import place_of, told
from casemate.engines.python.bootstrap.importer import Files, module_name, take_over
from casemate.engines.python.bootstrap.limits import BROKEN_FRAME
from casemate.engines.python.bootstrap.line import Line
from casemate.engines.python.bootstrap.program import Grants, Limits, Program
from casemate.wire.protocol.faults import Code


def load(reading: int, writing: int) -> Program:
    """Loads the program that the enclave sends, and says so; where it cannot be loaded, says why and exits.

    From here on this process is the program's: nothing can be imported in it but what the program can import.

    Args:
        reading: the descriptor that the enclave writes to.
        writing: the descriptor that it reads from.
    """
    line = Line(reading, writing)
    line.send(FrameKind.WARM, NO_CALL)
    frame = line.receive()
    if frame.kind != FrameKind.LOAD:
        os._exit(BROKEN_FRAME)
    head, content = frame.opened()
    enclave = EnclaveLink(line)
    enclave.begin()
    console = Console(enclave.print, lambda: enclave.listens)
    program = _program(head, content, enclave, console)
    try:
        _load(head, program)
    except BaseException as thrown:  # also SystemExit: it is the program's
        console.end()
        name, message = told(thrown)
        said = {"code": Code.GUEST_ERROR, "name": name, "message": message, "place": place_of(thrown, program.files)}
        line.send_head(FrameKind.FAILED, NO_CALL, said)
        os._exit(0)
    console.end()
    enclave.over()
    line.send(FrameKind.LOADED, NO_CALL)
    return program


def _program(head: Mapping[str, Any], content: bytes, enclave: EnclaveLink, console: Console) -> Program:
    files, start = {}, 0
    for file in head["files"]:
        files[file["path"]] = content[start : start + file["size"]]
        start += file["size"]
    grants = Grants(frozenset(head["permissions"]), frozenset(head["errors"]))
    console.granted = head["debug"] or "log" in grants.permissions
    return Program(Files(files), {}, Limits.of(head), grants, head["debug"], enclave, console)


def _load(head: Mapping[str, Any], program: Program) -> None:
    os.environ.clear()
    sys.argv[:] = [""]
    consoles.install(program.console)
    event_loop.install(program.report)
    take_over(program.files)
    path = head["files"][-1]["path"]
    main = importlib.import_module(module_name(path))
    functions: dict[str, Callable[..., Any]] = program.functions  # type: ignore[assignment] # filled here, and nowhere else
    for name in head["entries"]:
        function = getattr(main, name, None)
        if not callable(function):
            raise TypeError(f"{path} has no function {name}")
        if name in head["streams"] and not _is_generator(function):
            raise TypeError(f"{name} is a stream, so it must be a generator: a def, or async def, with a yield in it")
        functions[name] = function


def _is_generator(function: Callable[..., Any]) -> bool:
    inner = inspect.unwrap(function)
    return inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner)
