"""The behaviour monitor inside an enclave: what it counts, and what becomes of further calls."""

import time

import pytest
from tests.rigs.channel.guests import Called
from tests.rigs.channel.rig import ALICE, BOB, Rig
from tests.rigs.channel.state import STATEFUL, Host
from tests.rigs.channel.steps import Steps

from casemate.client.errors import EnclaveRefusedError
from casemate.enclave.guest.monitor import SLOW_WAIT
from casemate.wire.encodings.message import encode_message
from casemate.wire.messages.entry import Noticed, PlainEnter
from casemate.wire.protocol.faults import Code, Fault
from casemate.wire.protocol.manifest import Monitored, Reaction


def watched(subject: Monitored, most: int, then: Reaction) -> str:
    return f'{STATEFUL}\n[monitor.{subject}]\nmost = {most}\nthen = "{then}"\n'


def dies(called: Called) -> None:
    called.line.raw(b"garbage garbage garbage")


def seven(called: Called) -> None:
    called.returns(b"7")


def asks(called: Called) -> None:
    for _ in range(3):
        called.asks("undeclared", b"{}")
    called.returns(b"7")


def test_a_warning_changes_no_call() -> None:
    with Rig(manifest=watched(Monitored.OCALLS, 4, Reaction.WARN), script=asks) as rig:
        host, session = Host(rig), rig.attest()
        host.call(session)
        assert rig.noticed == []
        for _ in range(3):
            host.call(session)
        rig.attest()
        assert rig.noticed == [Noticed(Monitored.OCALLS, 5, 4, Reaction.WARN)]


def test_slow_calls_wait_and_then_take_place() -> None:
    with Rig(manifest=watched(Monitored.OCALLS, 2, Reaction.SLOW), script=asks) as rig:
        host, session = Host(rig), rig.attest()
        host.call(session)
        rig.script = seven
        began = time.monotonic()
        result = host.call(session)
        assert SLOW_WAIT <= time.monotonic() - began < SLOW_WAIT + 5
        assert result.value == 7
        assert result.metrics.wall_us < SLOW_WAIT * 1e6  # the wait is no part of the call
        assert [found.then for found in rig.noticed] == [Reaction.SLOW]


def test_slow_calls_do_not_wait_for_one_another() -> None:
    with Rig(manifest=watched(Monitored.OCALLS, 2, Reaction.SLOW), script=asks) as rig:
        Host(rig).call(rig.attest())
        rig.script = seven
        began = time.monotonic()
        for _ in range(8):
            rig.send(encode_message(PlainEnter("any", b"null")))
        for _ in range(8):
            rig.receive()
        assert time.monotonic() - began < 6 * SLOW_WAIT


def test_after_a_stop_all_further_calls_and_steps_are_refused() -> None:
    with Rig(manifest=watched(Monitored.DEATHS, 1, Reaction.STOP), script=lambda called: called.pauses()) as rig:
        host = Host(rig)
        for _ in range(2):
            rig.script = dies
            assert host.refused(rig.attest()).code is Code.GUEST_CRASHED
            rig.script = seven
            if not rig.noticed:
                host.call(rig.attest())
        for caller in (ALICE, BOB, None):
            with pytest.raises(EnclaveRefusedError) as caught:
                rig.call(rig.attest(), "any", None, caller)
            assert caught.value.fault.code is Code.STOPPED_BY_MONITOR
        reply = host.ask(PlainEnter("any", b"null"))
        assert isinstance(reply, Fault)
        assert reply.code is Code.STOPPED_BY_MONITOR
        steps = Steps(lambda envelope: rig.enter(envelope).sealed, rig.attest(), "flow")
        with pytest.raises(EnclaveRefusedError) as caught:
            steps.open(None)
        assert caught.value.fault.code is Code.STOPPED_BY_MONITOR
        assert rig.noticed == [Noticed(Monitored.DEATHS, 2, 1, Reaction.STOP)]


def test_the_time_of_a_guest_whose_clock_nobody_tells_is_what_it_took() -> None:
    def slow(called: Called) -> None:
        time.sleep(0.1)
        called.returns(b"7")

    with Rig(manifest=watched(Monitored.CPU_MS, 150, Reaction.WARN), script=slow) as rig:
        host, session = Host(rig), rig.attest()
        for _ in range(2):
            host.call(session)
        rig.attest()
        (found,) = rig.noticed
        assert found.count >= 200
