"""The OCALLs that this host answers: its clock, an echo, a line in its log. Enclaves must not trust the answers."""

import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from casemate.wire.encodings.json_text import parse_json
from casemate.wire.errors import WireError
from casemate.wire.messages.entry import MAX_OCALL
from casemate.wire.protocol.faults import Code, refuse

_logger = logging.getLogger(__name__)

Handler = Callable[[Any], Any | Awaitable[Any]]
"""JSON arguments in, JSON answer out; a coroutine function where the answer takes time."""


def _time(_arguments: Any) -> Any:
    return {"unix_ms": time.time_ns() // 1_000_000}


def _echo(arguments: Any) -> Any:
    return arguments


def _log(arguments: Any) -> Any:
    _logger.info("enclave says: %.1000s", json.dumps(arguments))
    return None


BUILT_IN: Mapping[str, Handler] = {"time": _time, "echo": _echo, "log": _log}
"""OCALLs that every Casemate host answers."""


def ask(handlers: Mapping[str, Handler], name: str, arguments: bytes) -> Any | Awaitable[Any]:
    """What the handler of an OCALL returns: the answer, or an awaitable of it.

    Raises:
        FaultError: there is no such handler, or the arguments are not JSON.
    """
    handler = handlers.get(name)
    if handler is None:
        raise refuse(Code.OCALL_REFUSED, f"this host has no OCALL {name!r}, it has {', '.join(sorted(handlers))}")
    try:
        value = parse_json("OCALL arguments", arguments, limit=MAX_OCALL, round_integers=True)
    except WireError:
        raise refuse(Code.MALFORMED, f"arguments of OCALL {name!r} are no JSON") from None
    return handler(value)


def encode_answer(said: Any) -> bytes:
    """The JSON of an answer."""
    return json.dumps(said, separators=(",", ":")).encode()
