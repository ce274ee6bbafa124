"""Refusals: what a caller is told where a call cannot be done. The message of any other error stays in the enclave."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from casemate.guest import Context

Entry = Callable[[dict[str, Any], Context], dict[str, Any]]


class RefusedError(Exception):
    """The call cannot be done.

    Args:
        code: why, for programs.
        message: the same for people.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.answer = {"refused": {"code": code, "message": message}}


def answering(entry: Entry) -> Entry:
    """An entry point that answers with ``{"refused": {code, message}}`` where the given one raises RefusedError.

    To the enclave that is a call that went well, so what was changed before is kept: refuse first, write last.
    """

    @wraps(entry)
    def answered(asked: dict[str, Any], context: Context) -> dict[str, Any]:
        try:
            return entry(asked, context)
        except RefusedError as refused:
            return refused.answer

    return answered
