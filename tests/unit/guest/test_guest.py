"""The types that authors of Python functions import fit what a guest really gives."""

import inspect

import pytest

from casemate import guest
from casemate.engines.python.bootstrap.context import CallContext, CallState, KnownCaller
from casemate.engines.python.bootstrap.streams import AsyncPieces, Pieces
from casemate.guest import AsyncChunks, Caller, Chunks, Context, State


def takes(context: Context, state: State, caller: Caller, chunks: Chunks, later: AsyncChunks) -> None:
    """Only mypy looks at the call below."""


def gives(context: CallContext, state: CallState, caller: KnownCaller, pieces: Pieces, later: AsyncPieces) -> None:
    takes(context, state, caller, pieces, later)


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
