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

Ask = Callable[[str, bytes], bytes | Awaitable[bytes]]
"""Puts an OCALL, given its name and its argument (JSON), to whoever answers it: the answer (JSON), or an awaitable of
it. Both may raise a :class:`FaultError`."""


def _time(_arguments: Any) -> Any:
    return {"unix_ms": time.time_ns() // 1_000_000}


def _echo(arguments: Any) -> Any:
    return arguments


def _log(arguments: Any) -> Any:
    _logger.info("enclave says: %.1000s", json.dumps(arguments))
    return None


BUILT_IN: Mapping[str, Callable[[Any], Any]] = {"time": _time, "echo": _echo, "log": _log}
"""OCALLs that every Casemate host answers, JSON in and JSON out."""


def answer_built_in(name: str, arguments: bytes) -> bytes:
    """The answer of this host itself, as an :data:`Ask`.

    Raises:
        FaultError: it has no such OCALL, or the arguments are not JSON.
    """
    handler = BUILT_IN.get(name)
    if handler is None:
        raise refuse(
            Code.OCALL_REFUSED,
            f"this host has no OCALL {name!r}, it has {', '.join(sorted(BUILT_IN))}; `casemate up --ocalls FILE` adds "
            "the operator's own",
        )
    try:
        value = parse_json("OCALL arguments", arguments, limit=MAX_OCALL, round_integers=True)
    except WireError:
        raise refuse(Code.MALFORMED, f"arguments of OCALL {name!r} are no JSON") from None
    return json.dumps(handler(value), separators=(",", ":")).encode()
