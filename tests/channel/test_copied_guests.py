"""Guests that are copies of one that has loaded the program: it loads once, takes no call, and may end at any time."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.rigs.channel.guests import Called, GuestEndedError, Line, echo, loads
from tests.rigs.channel.rig import ALICE, BOB, PYTHON_MANIFEST, Rig, seal

from casemate.client.errors import EnclaveRefusedError
from casemate.engines.frames import NO_CALL, FrameKind, head_and_text
from casemate.wire.messages.entry import Left
from casemate.wire.protocol.faults import Code, Fault, fault
from casemate.wire.protocol.sandbox_layers import Layer, LayerName, LayerState


class CopyRig(Rig):
    """Its engine copies guests. It notes which guest met which call."""

    def __init__(self, *, manifest: str = PYTHON_MANIFEST, **rest: Any) -> None:
        self.loaded = 0
        super().__init__(manifest=manifest, **rest)

    def _load(self, line: Line) -> None:
        self.loaded += 1
        super()._load(line)

    def copies_of(self) -> list[int]:
        """The guest that each guest was to be a copy of, in the order in which they were asked for."""
        return [need.copy_of for need in self.needs]

    def needs_when(self, told: Callable[[list[int]], bool]) -> list[int]:
        """The same, once that is so."""
        deadline = time.monotonic() + 10
        while not told(self.copies_of()):
            assert time.monotonic() < deadline, self.copies_of()
            time.sleep(0.001)
        return self.copies_of()


def refused(rig: Rig, name: str = "echo") -> Fault:
    pending = seal(rig.attest(), name, None)
    reply = rig.enter(pending.envelope)
    assert isinstance(reply, Left), reply
    with pytest.raises(EnclaveRefusedError) as caught:
        pending.open(reply.sealed)
    return caught.value.fault


def test_the_program_is_loaded_once_and_each_caller_gets_a_copy() -> None:
    with CopyRig() as rig:
        for caller in (ALICE, BOB, None):
            assert rig.call(rig.attest(), "echo", {"n": 1}, caller).value["arguments"] == {"n": 1}
        assert rig.loaded == 1
        needs = rig.needs_when(lambda needs: len(needs) == 5)  # one more stands in readiness
        assert needs == [0, 1, 1, 1, 1]
        assert {need.engine for need in rig.needs} == {"python"}


def test_a_code_that_cannot_be_loaded_refuses_the_launch_with_the_engines_words() -> None:
    def broken(line: Line) -> None:
        head = {"code": "guest-error", "name": "SyntaxError", "message": "unexpected", "place": None}
        line.say(FrameKind.FAILED, NO_CALL, head_and_text(head, b""))

    rig = CopyRig(loader=broken)
    assert isinstance(rig.booted, Fault)
    assert rig.booted.code is Code.GUEST_ERROR
    assert "SyntaxError: unexpected" in rig.booted.reason
    assert rig.copies_of() == [0]
    rig.hang_up()
    assert rig.ended()
    rig.close()


def test_a_template_that_dies_is_made_anew_and_its_copies_live_on() -> None:
    with CopyRig() as rig:
        alice = rig.attest()
        rig.call(alice, "echo", None, ALICE)
        rig.needs_when(lambda needs: len(needs) == 3)
        rig.tell_gone("guest-crashed", "killed", guest=1)
        rig.call(alice, "echo", None, ALICE)  # by the guest that it has
        rig.call(rig.attest(), "echo", None, BOB)  # by the one in readiness
        assert rig.needs_when(lambda needs: len(needs) == 5) == [0, 1, 1, 0, 4]
        assert rig.loaded == 2
        assert rig.call(rig.attest(), "echo", {"n": 2}).value["arguments"] == {"n": 2}


def test_a_template_that_hangs_at_the_second_start_fails_calls_in_time() -> None:
    stalled = threading.Event()

    def stall(_: Line) -> None:
        stalled.wait(20)

    with CopyRig(manifest=PYTHON_MANIFEST.replace("20000", "500")) as rig:
        rig.needs_when(lambda needs: len(needs) == 2)
        rig.loader = stall
        for guest in (1, 2):
            rig.tell_gone("guest-crashed", "killed", guest=guest)
        started = time.monotonic()
        assert refused(rig).code is Code.TIME_LIMIT
        assert time.monotonic() - started < 1.0
        stalled.set()


def test_copies_that_cannot_be_had_are_asked_for_again() -> None:
    def die(_: Called) -> None:
        raise GuestEndedError

    with CopyRig(script=die) as rig:
        rig.needs_when(lambda needs: len(needs) == 2)
        rig.spawner_refuses = fault(Code.UNAVAILABLE, "no copy today")
        assert refused(rig).code is Code.GUEST_CRASHED
        assert refused(rig).code is Code.UNAVAILABLE
        rig.spawner_refuses, rig.script = None, echo
        assert rig.call(rig.attest(), "echo", {"n": 3}).value["arguments"] == {"n": 3}


def test_a_template_that_speaks_after_it_has_loaded_is_ended() -> None:
    booted, said = threading.Event(), threading.Event()

    def talks(line: Line) -> None:
        loads(line)
        booted.wait(5)
        line.say(FrameKind.LOADED, NO_CALL)
        said.set()

    with CopyRig(loader=talks) as rig:
        rig.loader = loads
        booted.set()
        assert said.wait(5)
        assert rig.call(rig.attest(), "echo", {"n": 4}).value["arguments"] == {"n": 4}
        assert 0 in rig.watches_when(lambda told: 0 in told)


def test_a_copy_under_fewer_layers_than_were_reported_is_refused() -> None:
    def die(_: Called) -> None:
        raise GuestEndedError

    with CopyRig(script=die) as rig:
        rig.needs_when(lambda needs: len(needs) == 2)
        rig.guest_layers = (Layer(LayerName.LANDLOCK, LayerState.UNAVAILABLE, ""),)
        assert refused(rig).code is Code.GUEST_CRASHED
        assert refused(rig).code is Code.UNAVAILABLE
