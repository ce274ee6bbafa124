"""What a call used: counted by the enclave, told with its answer, and in the receipt where the manifest says so."""

import time

import pytest
from tests.rigs.channel.guests import Called
from tests.rigs.channel.rig import MANIFEST, Rig, seal
from tests.rigs.channel.state import STATEFUL
from tests.rigs.channel.steps import Steps

from casemate.client.errors import EnclaveRefusedError, FunctionRefusedError
from casemate.enclave.entry import usage
from casemate.engines.frames import FrameKind
from casemate.wire.encodings.message import encode_message
from casemate.wire.messages.entry import Enter, Left, Ocall, OcallAnswer, PlainEnter, PlainLeft
from casemate.wire.protocol.call import StepKind, StreamEnded
from casemate.wire.protocol.faults import Fault

REFUSING = f'{STATEFUL}\n[errors]\nclosed = "Nobody is served."\n'


def test_time_output_and_whether_the_guest_was_new() -> None:
    def slow(called: Called) -> None:
        time.sleep(0.05)
        called.returns(b'{"n": 7}')

    with Rig(manifest=MANIFEST, script=slow) as rig:
        session = rig.attest()
        first = rig.call(session, "echo", None)
        second = rig.call(session, "echo", None)
        assert first.metrics.cold
        assert not second.metrics.cold
        for result in (first, second):
            assert 50_000 <= result.metrics.wall_us < 5_000_000
            assert result.metrics.bytes_out == len(b"{}")  # the schema lets nothing else out
            assert result.metrics.ocalls == 0
            assert (result.metrics.cpu_us, result.metrics.peak_kib) == (None, None)  # this spawner names no process
            assert result.receipt.receipt.metrics is None


def test_ocalls_are_counted_whatever_becomes_of_them() -> None:
    def asks(called: Called) -> None:
        answers = [called.asks("now", b"{}"), called.asks("undeclared", b"{}")]
        assert answers == [b"7", None]
        called.returns(b"7")

    with Rig(manifest=MANIFEST, script=asks) as rig:
        pending = seal(rig.attest(), "number", {"n": 1})
        rig.send(encode_message(Enter(pending.envelope)))
        question = rig.receive()
        assert isinstance(question, Ocall)
        rig.send(encode_message(OcallAnswer(question.number, b"7")))
        reply = rig.receive()
        assert isinstance(reply, Left)
        assert pending.open(reply.sealed).metrics.ocalls == 2


def test_a_stream_adds_up_its_steps() -> None:
    def flows(called: Called) -> None:
        time.sleep(0.02)
        if called.kind == FrameKind.CHUNK:
            called.pauses(b"four")
        elif called.kind == FrameKind.END:
            called.ends(b"7", b"bye")
        else:
            called.pauses()

    with Rig(manifest=STATEFUL, script=flows) as rig:
        steps = Steps(lambda envelope: rig.enter(envelope).sealed, rig.attest(), "flow")
        steps.open(None)
        steps.chunk(b"piece")
        time.sleep(0.2)  # between steps: nobody works
        ended = steps.end()
        assert isinstance(ended, StreamEnded)
        metrics = ended.result.metrics
        assert metrics.cold
        assert metrics.bytes_out == len(b"four") + len(b"bye") + len(b"7")
        assert 60_000 <= metrics.wall_us < 200_000 + 60_000


def test_a_refusal_has_metrics_too() -> None:
    with Rig(manifest=REFUSING, script=lambda called: called.refuses("closed")) as rig:
        with pytest.raises(FunctionRefusedError) as caught:
            rig.call(rig.attest(), "any", None)
        assert caught.value.metrics is not None
        assert (caught.value.metrics.cold, caught.value.metrics.bytes_out) == (True, len(b"null"))


def test_a_call_that_fails_has_metrics_where_a_guest_was_given_it() -> None:
    def fails(called: Called) -> None:
        time.sleep(0.05)
        called.throws("Error", "no")

    with Rig(manifest=REFUSING, script=fails) as rig:
        session = rig.attest()
        with pytest.raises(EnclaveRefusedError, match="guest-error") as thrown:
            rig.call(session, "any", None)
        assert thrown.value.metrics is not None
        assert thrown.value.metrics.cold
        assert thrown.value.metrics.wall_us >= 50_000
        assert thrown.value.metrics.bytes_out == 0
        rig.script = lambda called: called.returns(b"no JSON")
        with pytest.raises(EnclaveRefusedError, match="result-refused") as refused:
            rig.call(session, "any", None)
        assert refused.value.metrics is not None
        with pytest.raises(EnclaveRefusedError, match="entry-unknown") as unknown:
            rig.call(session, "none", None)
        assert unknown.value.metrics is None


def test_a_stream_that_fails_tells_what_all_its_steps_used() -> None:
    def flows(called: Called) -> None:
        time.sleep(0.02)
        if called.kind == FrameKind.CHUNK:
            called.throws("Error", "no")
        else:
            called.pauses(b"four")

    with Rig(manifest=STATEFUL, script=flows) as rig:
        steps = Steps(lambda envelope: rig.enter(envelope).sealed, rig.attest(), "flow")
        steps.open(None)
        with pytest.raises(EnclaveRefusedError, match="guest-error") as failed:
            steps.chunk(b"piece")
        assert failed.value.metrics is not None
        assert failed.value.metrics.wall_us >= 40_000
        assert failed.value.metrics.bytes_out == len(b"four")
        with pytest.raises(EnclaveRefusedError, match="stream-unknown") as gone:
            steps.chunk(b"piece")
        assert gone.value.metrics is None


def test_receipts_have_them_where_the_manifest_says_so() -> None:
    manifest = f"{REFUSING}\n[receipt]\nmetrics = true\n"
    with Rig(manifest=manifest, script=lambda called: called.returns(b"7")) as rig:
        result = rig.call(rig.attest(), "any", None)
        assert result.receipt.receipt.metrics == result.metrics
        rig.script = lambda called: called.refuses("closed")
        with pytest.raises(FunctionRefusedError) as caught:
            rig.call(rig.attest(), "any", None)
        assert caught.value.receipt is not None
        receipt = caught.value.receipt.receipt
        assert (receipt.error, receipt.metrics) == ("closed", caught.value.metrics)
        steps = Steps(lambda envelope: rig.enter(envelope).sealed, rig.attest(), "flow")
        rig.script = lambda called: called.ends(b"7")
        ended = steps.step(StepKind.OPEN, b"null", stream=0)
        assert isinstance(ended, StreamEnded)
        assert ended.result.receipt.metrics == ended.result.metrics


def test_the_host_is_told_rounded_sums_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "INTERVAL", 0.3)
    with Rig(manifest=REFUSING, script=lambda called: called.returns(b"7")) as rig:
        session = rig.attest()
        for _ in range(3):
            rig.call(session, "any", None)
        rig.script = lambda called: called.refuses("closed")
        with pytest.raises(FunctionRefusedError):
            rig.call(session, "any", None)
        assert isinstance(rig.ask(PlainEnter("any", b"null")), PlainLeft)
        rig.script = lambda called: called.throws("Error", "no")
        assert isinstance(rig.ask(PlainEnter("any", b"null")), Fault)
        time.sleep(0.5)
        rig.attest()
        (told,) = rig.used
        (of_any,) = told.entries
        assert (of_any.entry, of_any.calls, of_any.cold, of_any.ocalls) == ("any", 6, 1, 0)  # failed ones, too
        assert (of_any.cpu_ms, of_any.peak_mib) == (0, 0)
        time.sleep(0.5)
        rig.attest()
        assert len(rig.used) == 1  # nothing is told where nothing was called
