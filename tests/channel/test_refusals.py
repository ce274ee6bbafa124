"""Functions that refuse their callers: sealed, in streams, in the clear; with a receipt, and nothing kept."""

import hashlib

import pytest
from tests.rigs.channel.guests import Called, Script
from tests.rigs.channel.rig import ALICE, Rig, seal
from tests.rigs.channel.state import STATEFUL, Host, counts, get, put
from tests.rigs.channel.steps import Steps

from casemate.client.errors import EnclaveRefusedError, FunctionRefusedError
from casemate.client.receipts import ReceiptBundle
from casemate.client.sealing import check_receipt_signature
from casemate.engines.frames import FrameKind
from casemate.wire.messages.entry import Left, PlainEnter, PlainLeft
from casemate.wire.protocol.call import Refusal, StateMark, StepKind, commitment, refused_text, streamed_text
from casemate.wire.protocol.faults import Code, Fault
from casemate.wire.protocol.padding import FLOOR

REFUSING = (
    STATEFUL
    + """
[errors]
closed = "Nobody is served today."
[errors.budget-spent]
reason = "The budget of this period is used up."
[errors.budget-spent.details]
type = "object"
properties = { until = { type = "integer" } }
required = ["until"]
"""
)


def spent(called: Called) -> None:
    called.refuses("budget-spent", b'{"until":7,"by":"alice"}')


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def refusal(host: Host) -> FunctionRefusedError:
    with pytest.raises(FunctionRefusedError) as caught:
        host.call(host.rig.attest())
    return caught.value


def bundle_of(refused: FunctionRefusedError) -> ReceiptBundle:
    assert refused.receipt is not None
    return refused.receipt


def test_a_refusal_is_told_with_a_receipt_that_names_it() -> None:
    with Rig(manifest=REFUSING, script=spent) as rig:
        refused = refusal(Host(rig))
        assert (refused.code, refused.reason) == ("budget-spent", "The budget of this period is used up.")
        assert refused.details == {"until": 7}
        assert str(refused) == "budget-spent: The budget of this period is used up."
        bundle = bundle_of(refused)
        assert bundle.receipt.error == "budget-spent"
        assert bundle.receipt.counter == 1
        assert bundle.output is not None
        assert bundle.output.content == '{"error":"budget-spent","details":{"until":7}}'
        check_receipt_signature(bundle.binding.receipt_key, bundle.receipt, bundle.signature)
        assert ReceiptBundle.parse(bundle.encode()) == bundle


def test_an_error_without_a_schema_has_no_details() -> None:
    with Rig(manifest=REFUSING, script=lambda called: called.refuses("closed")) as rig:
        refused = refusal(Host(rig))
        assert (refused.code, refused.details) == ("closed", None)


def test_the_guest_that_refused_takes_the_next_call_and_the_counter_goes_on() -> None:
    with Rig(manifest=REFUSING, script=spent) as rig:
        host = Host(rig)
        refusal(host)
        rig.script = lambda called: called.returns(b"7")
        result = host.call(rig.attest())
        assert (result.value, result.receipt.receipt.error, result.receipt.receipt.counter) == (7, None, 2)
        assert rig.guests == 1


@pytest.mark.parametrize(
    ("name", "details", "code"),
    [
        ("secret-word", b"", Code.GUEST_ERROR),
        ("closed", b"1", Code.RESULT_REFUSED),
        ("budget-spent", b'{"until":"secret-word"}', Code.RESULT_REFUSED),
        ("budget-spent", b"", Code.RESULT_REFUSED),
    ],
)
def test_what_the_manifest_does_not_declare_is_the_enclaves_refusal(name: str, details: bytes, code: Code) -> None:
    with Rig(manifest=REFUSING, script=lambda called: called.refuses(name, details)) as rig:
        with pytest.raises(EnclaveRefusedError) as caught:
            Host(rig).call(rig.attest())
        assert caught.value.fault.code is code
        assert "secret-word" not in caught.value.fault.reason
        rig.script = lambda called: called.returns(b"7")
        assert Host(rig).call(rig.attest()).receipt.receipt.counter == 1


def test_a_refused_call_keeps_nothing_and_its_receipt_says_where_the_state_stood() -> None:
    def changes_and_refuses(called: Called) -> None:
        put(called, get(called) + 40)
        called.refuses("closed")

    with Rig(manifest=REFUSING, script=counts) as rig:
        host = Host(rig)
        host.call(rig.attest())
        asked = len(host.asked)
        rig.script = changes_and_refuses
        assert bundle_of(refusal(host)).receipt.state == StateMark(1, 0)
        assert len(host.asked) == asked
        rig.script = counts
        result = host.call(rig.attest())
        assert (result.value, result.receipt.receipt.state) == (2, StateMark(2, 0))
        rig.script = spent
        assert bundle_of(refusal(host)).receipt.state is None


def test_a_stream_ends_with_a_refusal_and_a_receipt_over_what_has_passed() -> None:
    def refuses_at_its_end(called: Called) -> None:
        if called.kind == FrameKind.CHUNK:
            called.pauses(b"out")
        elif called.kind == FrameKind.END:
            called.refuses("closed")
        else:
            called.pauses()

    with Rig(manifest=REFUSING, script=refuses_at_its_end) as rig:
        steps = Steps(lambda envelope: rig.enter(envelope).sealed, rig.attest(), "flow")
        steps.open(None)
        steps.chunk(b"piece")
        said = steps.refused(StepKind.END)
        assert said.refusal == Refusal("closed", "Nobody is served today.", b"null")
        assert said.receipt.error == "closed"
        assert steps.content is not None
        text = streamed_text(refused_text("closed", b"null"), sha256(b"out"), 3)
        assert said.receipt.output_commitment == commitment(steps.content.output_blind, text)
        text = streamed_text(b"null", sha256(b"piece"), 5)
        assert said.receipt.input_commitment == commitment(steps.content.input_blind, text)
        with pytest.raises(EnclaveRefusedError) as caught:
            steps.end()
        assert caught.value.fault.code is Code.STREAM_UNKNOWN


def test_a_plain_call_is_refused_in_the_clear() -> None:
    with Rig(manifest=REFUSING, script=spent) as rig:
        reply = Host(rig).ask(PlainEnter("any", b"null"))
        words = "The budget of this period is used up."
        assert reply == PlainLeft(b"", Refusal("budget-spent", words, b'{"until":7}'))
        rig.script = lambda called: called.refuses("undeclared")
        assert isinstance(Host(rig).ask(PlainEnter("any", b"null")), Fault)


SHORT_ANSWERS: tuple[Script, ...] = (
    spent,
    lambda called: called.returns(b"7"),
    lambda called: called.throws("Error", "no"),
)


def test_a_relay_sees_a_short_refusal_as_it_sees_a_short_result() -> None:
    sizes = set()
    for script in SHORT_ANSWERS:
        with Rig(manifest=REFUSING, script=script) as rig:
            reply = rig.enter(seal(rig.attest(), "any", None, ALICE).envelope)
            assert isinstance(reply, Left)
            sizes.add(len(reply.sealed))
    assert sizes == {FLOOR + 16}
