"""A bootstrap of Python guests without promises: calls of one module's functions, for tests of what is around it."""

import json
import os
from typing import Any, NoReturn

from casemate.engines.frames import NO_CALL, FrameKind, frame, head_and_text
from casemate.wire.encodings.json_text import encode_json


def prepare() -> None:
    import asyncio  # noqa: F401
    import ctypes  # noqa: F401
    import gc  # noqa: F401
    import mmap  # noqa: F401
    import random  # noqa: F401
    import signal  # noqa: F401
    import socket  # noqa: F401
    import subprocess  # noqa: F401
    import threading  # noqa: F401
    import time  # noqa: F401


def load(reading: int, writing: int) -> object:
    _say(writing, frame(FrameKind.WARM, NO_CALL))
    payload = _hear(reading)
    size = int.from_bytes(payload[9:13], "little")
    head: Any = json.loads(payload[13 : 13 + size])
    source = payload[13 + size :]
    assert sum(file["size"] for file in head["files"]) == len(source)
    program: dict[str, Any] = {}
    try:
        exec(compile(source, "main.py", "exec"), program)  # noqa: S102 - what a bootstrap is for
    except BaseException as error:
        _say(writing, _failed(NO_CALL, error))
        os._exit(0)
    _say(writing, frame(FrameKind.LOADED, NO_CALL))
    return program


def serve(program: dict[str, Any], reading: int, writing: int) -> NoReturn:
    _say(writing, frame(FrameKind.LOADED, NO_CALL))
    while True:
        payload = _hear(reading)
        call, size = payload[1:9], int.from_bytes(payload[9:13], "little")
        head: Any = json.loads(payload[13 : 13 + size])
        try:
            result = program[head["entry"]](json.loads(payload[13 + size :]))
            _say(writing, frame(FrameKind.RETURNED, call, encode_json(result)))
        except BaseException as error:
            _say(writing, _failed(call, error))


def _failed(call: bytes, error: BaseException) -> bytes:
    head = {"code": "guest-error", "name": type(error).__name__, "message": str(error)}
    return frame(FrameKind.FAILED, call, head_and_text(head, b""))


def _say(writing: int, payload: bytes) -> None:
    view = memoryview(len(payload).to_bytes(4, "little") + payload)
    while view:
        view = view[os.write(writing, view) :]


def _hear(reading: int) -> bytes:
    return _exactly(reading, int.from_bytes(_exactly(reading, 4), "little"))


def _exactly(reading: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = os.read(reading, size - len(data))
        if not piece:
            os._exit(0)
        data += piece
    return data
