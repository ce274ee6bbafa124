"""The types that authors of Python functions import fit what a guest really gives."""

import inspect
from typing import TypedDict

import pytest

from casemate import guest
from casemate.engines.python.bootstrap.context import CallContext, CallState, KnownCaller
from casemate.engines.python.bootstrap.streams import AsyncPieces, Pieces
from casemate.guest import AsyncChunks, Caller, Chunks, Context, State


def takes(context: Context, state: State, caller: Caller, chunks: Chunks, later: AsyncChunks) -> None:
    """Only mypy looks at the call below."""


def gives(context: CallContext, state: CallState, caller: KnownCaller, pieces: Pieces, later: AsyncPieces) -> None:
    takes(context, state, caller, pieces, later)


class Record(TypedDict):
    names: list[str]


def keeps(context: Context, record: Record, counts: dict[str, int]) -> None:
    """Only mypy looks at this: what can be told as JSON may be kept, and what cannot may not."""
    context.state.put("record", record)
    context.state.put("records", [record])
    context.state.put("counts", counts)
    context.state.put("pair", ("a", 1.5))
    context.finish(record)
    context.state.put("bytes", b"bytes")  # type: ignore[arg-type]
    context.state.put("set", {"a"})  # type: ignore[arg-type]
    context.state.put("range", range(3))  # type: ignore[arg-type]
    context.finish(b"bytes")  # type: ignore[arg-type]


@pytest.mark.parametrize(("promised", "made"), [(Context, CallContext), (State, CallState), (Caller, KnownCaller)])
def test_what_is_promised_is_what_a_guest_gives(promised: type, made: type) -> None:
    def names(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")} - {"count", "index"}

    assert names(promised) == names(made)
    for name in names(promised):
        if inspect.isfunction(wanted := getattr(promised, name)):
            parameters = inspect.signature(wanted).parameters
            assert [*parameters] == [*inspect.signature(getattr(made, name)).parameters]


def test_the_room_imports_nothing_of_ours() -> None:
    assert "casemate" not in inspect.getsource(guest).replace("from casemate.guest import Context", "")
