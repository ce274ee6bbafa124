"""A host that repeats, reorders, swaps, truncates and alters what it relays."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.rigs.channel.guests import Called, echo
from tests.rigs.channel.rig import ALICE, BOB, MR_ENCLAVE, Rig, seal
from tests.rigs.channel.sealed import Sealer, resealed

from casemate.client.core import AttestedEnclave, PendingCall
from casemate.client.errors import EnclaveRefusedError, ReceiptRefusedError, ResponseRefusedError
from casemate.wire.messages.entry import Left
from casemate.wire.protocol.call import CallerProof, Envelope
from casemate.wire.protocol.faults import Code, Fault

SECRET = "nobody between us reads this"


def refused(reply: Any, code: Code) -> bool:
    assert isinstance(reply, Fault), reply
    return reply.code is code


def refused_by_enclave(rig: Rig, pending: PendingCall) -> Code:
    reply = rig.enter(pending.envelope)
    assert isinstance(reply, Left), reply
    with pytest.raises(EnclaveRefusedError) as caught:
        pending.open(reply.sealed)
    return caught.value.fault.code


def test_an_honest_relay_carries_calls_and_receipts() -> None:
    with Rig() as rig:
        session = rig.attest()
        result = rig.call(session, "echo", {"secret": SECRET})
        assert result.value["arguments"] == {"secret": SECRET}
        receipt = result.receipt.receipt
        assert (receipt.session, receipt.sequence, receipt.counter) == (session.session, 1, 1)
        assert receipt.measurement == MR_ENCLAVE
        assert receipt.caller is None


def test_receipts_are_counted_over_all_sessions_without_a_gap() -> None:
    with Rig() as rig:
        one, two = rig.attest(), rig.attest()
        counters = []
        for session in (one, two, one, two):
            pending = seal(session, "absent", None)
            assert refused_by_enclave(rig, pending) is Code.ENTRY_UNKNOWN
            counters.append(rig.call(session, "echo", None).receipt.receipt.counter)
        assert counters == [1, 2, 3, 4]


def test_no_plaintext_in_all_that_is_relayed() -> None:
    with Rig() as rig:
        session = rig.attest()
        rig.call(session, "echo", {"secret": SECRET}, ALICE)
        rig.script = lambda called: called.throws("Error", SECRET)
        assert refused_by_enclave(rig, seal(session, "echo", {"secret": SECRET})) is Code.GUEST_ERROR
        everything = b"".join(rig.relayed)
        assert SECRET.encode() not in everything
        assert b"secret" not in everything
        assert ALICE.public_key not in everything


def test_a_refusal_looks_like_a_result_from_outside() -> None:
    with Rig() as rig:
        session = rig.attest()
        sizes = set()
        for value in ({"secret": ""}, {"secret": "x" * 400}):
            pending = seal(session, "echo", value)
            sizes.add((len(pending.envelope.sealed), len(rig.enter(pending.envelope).sealed)))
        for name in ("echo", "private", "number"):
            rig.script = lambda called: called.throws("Error", "no")
            pending = seal(session, name, {"n": 1})
            sizes.add((len(pending.envelope.sealed), len(rig.enter(pending.envelope).sealed)))
        assert len(sizes) == 1


def test_a_replayed_request_is_refused() -> None:
    with Rig() as rig:
        pending = seal(rig.attest(), "echo", None)
        first = rig.enter(pending.envelope)
        for _ in range(3):
            assert refused(rig.enter(pending.envelope), Code.SEQUENCE_USED)
        assert pending.open(first.sealed).value["entry"] == "echo"


def test_a_request_that_failed_is_not_to_be_had_again() -> None:
    with Rig() as rig:
        pending = seal(rig.attest(), "number", "not an object")
        assert refused_by_enclave(rig, pending) is Code.ARGUMENTS_REFUSED
        assert refused(rig.enter(pending.envelope), Code.SEQUENCE_USED)


def test_reordered_requests_are_refused() -> None:
    with Rig() as rig:
        session = rig.attest()
        first, second = seal(session, "echo", None), seal(session, "echo", None)
        second.open(rig.enter(second.envelope).sealed)
        assert refused(rig.enter(first.envelope), Code.SEQUENCE_USED)


def test_dropped_requests_stop_nobody() -> None:
    with Rig() as rig:
        session = rig.attest()
        for _ in range(5):
            seal(session, "echo", None)
        rig.call(session, "echo", None)


@pytest.mark.parametrize(
    "change",
    [{"entry": "private"}, {"sequence": 2}, {"session": 2}, {"quote_hash": bytes(32)}],
    ids=["entry point", "sequence number", "session", "quote"],
)
def test_a_request_moved_elsewhere_is_refused(change: dict[str, Any]) -> None:
    with Rig() as rig:
        session, _ = rig.attest(), rig.attest()
        pending = seal(session, "echo", None)
        moved = replace(pending.envelope, binding=replace(pending.envelope.binding, **change))
        assert refused(rig.enter(moved), Code.CANNOT_OPEN)
        pending.open(rig.enter(pending.envelope).sealed)  # and the attempt has cost nothing


def test_a_request_for_another_enclave_is_refused() -> None:
    with Rig() as one, Rig() as other:
        session, _ = one.attest(), other.attest()
        assert refused(other.enter(seal(session, "echo", None).envelope), Code.CANNOT_OPEN)


def test_a_request_from_before_a_restart_is_refused() -> None:
    with Rig() as before:
        session = before.attest()
        pending = seal(session, "echo", None)
        before.enter(pending.envelope)
    with Rig() as after:
        after.attest()
        assert refused(after.enter(pending.envelope), Code.CANNOT_OPEN)


def test_sessions_that_were_never_opened_are_refused() -> None:
    with Rig() as rig:
        session = in_session(rig.attest(), 99)
        assert refused(rig.enter(seal(session, "echo", None).envelope), Code.SESSION_UNKNOWN)


def test_eviction_of_sessions_permits_no_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("casemate.enclave.entry.sessions.MAX_USED", 3)
    monkeypatch.setattr("casemate.enclave.entry.sessions.MAX_FRESH", 3)
    with Rig() as rig:
        session = rig.attest()
        pending = seal(session, "echo", None)
        rig.enter(pending.envelope)
        for _ in range(8):
            another = rig.attest()
            assert another.session > session.session
            rig.call(another, "echo", None)
            reply = rig.enter(pending.envelope)
            assert isinstance(reply, Fault)
            assert reply.code in (Code.SEQUENCE_USED, Code.SESSION_UNKNOWN)
        assert refused(rig.enter(seal(session, "echo", None).envelope), Code.SESSION_UNKNOWN)
        rig.call(rig.attest(), "echo", None)  # a new challenge helps


def test_two_clients_in_one_session_get_in_each_others_way_and_no_worse() -> None:
    with Rig() as rig:
        one = rig.attest()
        two = in_session(rig.attest(), one.session)
        assert rig.call(one, "echo", {"secret": "one's"}).value["arguments"] == {"secret": "one's"}
        assert refused(rig.enter(seal(two, "echo", None).envelope), Code.SEQUENCE_USED)
        late = rig.enter(seal(two, "echo", None).envelope)
        assert refused(late, Code.SESSION_UNKNOWN)
        assert "another secret: challenge again" in late.reason
        assert rig.call(one, "echo", None).value["entry"] == "echo"
        rig.call(rig.attest(), "echo", None)  # as the second is told to do


def test_responses_given_to_the_wrong_request_do_not_open() -> None:
    with Rig() as rig:
        session = rig.attest()
        first, second = seal(session, "echo", {"n": 1}), seal(session, "echo", {"n": 2})
        answers = rig.enter(first.envelope).sealed, rig.enter(second.envelope).sealed
        for pending, sealed in ((first, answers[1]), (second, answers[0])):
            with pytest.raises(ResponseRefusedError):
                pending.open(sealed)
        assert first.open(answers[0]).value["arguments"] == {"n": 1}


def test_a_response_under_another_key_does_not_open() -> None:
    with Rig() as rig:
        session = rig.attest()
        pending = seal(session, "echo", None)
        sealed = rig.enter(pending.envelope).sealed
        with pytest.raises(ResponseRefusedError):
            replace(pending, enclave=in_session(session, session.session)).open(sealed)  # of another secret


def test_a_receipt_by_another_launch_does_not_hold() -> None:
    with Rig() as rig, Rig() as other:
        session = rig.attest()
        pending = seal(session, "echo", None)
        sealed = rig.enter(pending.envelope).sealed
        session._binding = replace(session.binding, receipt_key=other.attest().binding.receipt_key)
        with pytest.raises(ReceiptRefusedError, match="receipt signature"):
            pending.open(sealed)


def test_a_signature_is_good_for_its_own_call_alone() -> None:
    """A client that borrows Alice's proof from one of her own requests, which it somehow got to see."""
    with Rig() as rig, Rig() as other:
        alice = rig.attest()
        proof = seal(alice, "private", None, ALICE).request.caller
        assert proof is not None
        elsewhere = other.attest()
        for machine, session, name in (
            (rig, rig.attest(), "private"),
            (rig, alice, "private"),
            (other, elsewhere, "private"),
        ):
            assert refused_by_enclave(machine, forge(session, name, proof)) is Code.CALLER_REFUSED


def test_a_signed_request_that_is_sealed_once_more_for_another_enclave_is_refused() -> None:
    """By whoever has its plaintext: the owner of a machine, or of an image, that Alice called on purpose."""
    with Rig() as rig, Rig() as bank:
        called, owned = bank.attest(), rig.attest()  # of each enclave the first session
        signed = seal(owned, "private", {"pay": "bob"}, ALICE)
        assert called.session == owned.session, "nothing here tells them apart"
        binding = signed.envelope.binding
        bank_key, own_key = called.binding.hpke_key, owned.binding.hpke_key
        misnamed = Sealer(bank_key, binding.of_session, named=own_key).request(binding, signed.request)
        assert refused(bank.enter(misnamed), Code.CANNOT_OPEN)
        assert refused_by_enclave(bank, resealed(called, "private", signed.request)) is Code.CALLER_REFUSED


def in_session(found: AttestedEnclave, number: int) -> AttestedEnclave:
    """A client that was told another session's number, and has a secret of its own."""
    return AttestedEnclave(found.evidence, found.binding, found.proof, number)


def forge(session: AttestedEnclave, name: str, proof: CallerProof) -> PendingCall:
    """A call with somebody else's proof in it."""
    request = seal(session, name, None, BOB).request
    return resealed(session, name, replace(request, caller=proof))


def test_callers_are_told_apart() -> None:
    with Rig() as rig:
        session = rig.attest()
        assert refused_by_enclave(rig, seal(session, "private", None)) is Code.CALLER_REFUSED
        assert refused_by_enclave(rig, seal(session, "private", None, BOB)) is Code.CALLER_REFUSED
        rig.script = lambda called: called.returns(b"null" if called.caller is None else b'{"who":"somebody"}')
        result = rig.call(session, "private", None, ALICE)
        assert result.value == {"who": "somebody"}
        assert result.receipt.receipt.caller == ALICE.public_key


def test_the_guest_sees_who_called() -> None:
    with Rig() as rig:
        session = rig.attest()
        seen = [rig.call(session, "echo", None, who).value["caller"] for who in (None, ALICE)]
        assert seen == [None, {"name": "alice", "key": ALICE.manifest_value}]


class Shared:
    """One enclave for many examples."""

    rig: Rig
    session: AttestedEnclave


@pytest.fixture(scope="module")
def shared() -> Any:
    with Rig() as rig:
        found = Shared()
        found.rig, found.session = rig, rig.attest()
        yield found


@given(st.data())
def test_no_altered_request_has_an_effect_or_a_victim(shared: Shared, data: st.DataObject) -> None:
    pending = seal(shared.session, "echo", {"secret": SECRET})
    altered = alter(data, pending.envelope.sealed)
    assert refused(shared.rig.enter(replace(pending.envelope, sealed=altered)), Code.CANNOT_OPEN)
    pending.open(shared.rig.enter(pending.envelope).sealed)


@given(st.data())
def test_no_altered_response_is_believed(shared: Shared, data: st.DataObject) -> None:
    pending = seal(shared.session, "echo", {"secret": SECRET})
    sealed = shared.rig.enter(pending.envelope).sealed
    with pytest.raises(ResponseRefusedError):
        pending.open(alter(data, sealed))
    pending.open(sealed)


@given(st.binary(max_size=2000))
def test_no_invented_request_has_an_effect(shared: Shared, sealed: bytes) -> None:
    pending = seal(shared.session, "echo", None)
    assert refused(shared.rig.enter(Envelope(pending.envelope.binding, sealed)), Code.CANNOT_OPEN)
    pending.open(shared.rig.enter(pending.envelope).sealed)


@settings(max_examples=30)
@given(st.permutations(range(5)), st.lists(st.integers(0, 4), max_size=5))
def test_whatever_order_a_host_chooses_each_call_happens_at_most_once_and_in_order(
    shared: Shared, order: list[int], again: list[int]
) -> None:
    happened: list[int] = []

    def script(called: Called) -> None:
        happened.append(int(called.arguments))
        called.returns(b"{}")

    shared.rig.script = script
    calls = [seal(shared.session, "echo", number) for number in range(5)]
    for number in itertools.chain(order, again):
        shared.rig.enter(calls[number].envelope)
    assert happened == sorted(set(happened))
    assert happened == [number for place, number in enumerate(order) if number == max(order[: place + 1])]
    shared.rig.script = echo


def alter(data: st.DataObject, sealed: bytes) -> bytes:
    """Bytes with a bit flipped, cut off, or with something behind them."""
    how = data.draw(st.sampled_from(["flip", "cut", "append"]))
    if how == "cut":
        return sealed[: data.draw(st.integers(0, len(sealed) - 1))]
    if how == "append":
        return sealed + data.draw(st.binary(min_size=1, max_size=20))
    altered = bytearray(sealed)
    altered[data.draw(st.integers(0, len(sealed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    return bytes(altered)
