"""The end of one guest: what it has said before is not lost, whoever is the first to tell of its end."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from tests.rigs.channel.guests import Line
from tests.rigs.engine import Module

from casemate.enclave.guest.gauge import UNKNOWN
from casemate.enclave.guest.guest import Guest, GuestState
from casemate.enclave.io.loop import Loop
from casemate.engines.command import GuestProgram
from casemate.engines.frames import NO_CALL, FrameKind, head_and_text
from casemate.engines.registry import JAVASCRIPT
from casemate.wire.protocol.faults import Code, fault

ENDED = fault(Code.GUEST_CRASHED, "the guest ended with status 0")
NO_FUNCTION = {"code": "guest-error", "name": "TypeError", "message": "it exports no function main", "place": None}


class FakeSpawner:
    """Takes note of what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def need(self, _asking: object, _engine: str, _memory_mib: int, *, copy_of: int = 0) -> int:
        assert copy_of == 0
        return 1

    def tell(self, message: object) -> None:
        self.told.append(message)

    def forget(self, number: int) -> None:
        self.told.append(number)


@pytest.fixture
def loading() -> Iterator[tuple[Guest, Line]]:
    """A guest that was given and is told its program, and the other end of its pipes."""
    spawner: Any = FakeSpawner()
    guest = Guest(
        Loop(),
        spawner,
        engine=JAVASCRIPT,
        memory_mib=64,
        program=GuestProgram((Module("guest/main.js", b""),), ("main",), 1024, 1024),
        on_print=lambda _: None,
        admit=lambda _: True,
        tell_errors=False,
    )
    (reading, to_guest), (from_guest, writing) = os.pipe(), os.pipe()
    for descriptor in (to_guest, from_guest):
        os.set_blocking(descriptor, False)
    guest.given((), (to_guest, from_guest), UNKNOWN)
    line = Line(reading, writing)
    assert line.receive()[0] == FrameKind.LOAD
    yield guest, line
    guest.close()
    os.close(reading)
    os.close(writing)


def test_why_its_code_cannot_be_loaded_is_heard_though_the_spawner_told_of_its_end_before(
    loading: tuple[Guest, Line],
) -> None:
    guest, line = loading
    line.say(FrameKind.FAILED, NO_CALL, head_and_text(NO_FUNCTION, b""))
    assert guest.state is GuestState.LOADING  # nothing was read yet
    guest.gone(ENDED)
    assert guest.is_gone
    assert guest.failure.code is Code.GUEST_ERROR
    assert "it exports no function main" in guest.failure.reason
    assert not guest.died  # another one would fail in the same way


def test_one_that_has_said_nothing_ended_as_the_spawner_says(loading: tuple[Guest, Line]) -> None:
    guest, _ = loading
    guest.gone(ENDED)
    assert (guest.failure, guest.died) == (ENDED, True)


def test_one_that_was_loaded_and_ended_at_rest_may_be_replaced(loading: tuple[Guest, Line]) -> None:
    guest, line = loading
    line.say(FrameKind.LOADED, NO_CALL)
    guest.gone(ENDED)
    assert (guest.failure, guest.died) == (ENDED, True)
