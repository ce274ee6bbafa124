import copy
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rigs.channel.sealed import Sealer

from casemate.enclave.entry.channel import OpenedRequest, open_request
from casemate.enclave.entry.sessions import Sessions
from casemate.enclave.keys import EnclaveKeys
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.protocol.call import ENCAPSULATION_SIZE, CallBinding, CallContent, CallFailed, CallRequest, Envelope
from casemate.wire.protocol.faults import Code, FaultError, fault
from casemate.wire.protocol.padding import pad

CONTENT = CallContent(b"i" * 32, b"o" * 32, b'{"secret":"plaintext"}')
REQUEST = CallRequest(CONTENT, None)
PADDED = pad(encode_message(REQUEST))


class Rig:
    """An enclave's end, and a client of its first session."""

    def __init__(self) -> None:
        self.keys = EnclaveKeys()
        self.sessions = Sessions()
        self.binding = CallBinding(b"q" * 32, self.sessions.issue(), 1, "search")
        self.client = self.another_client()

    def another_client(self, binding: CallBinding | None = None) -> Sealer:
        return Sealer(self.keys.hpke_key, (binding or self.binding).of_session)

    def seal(self, text: bytes = PADDED, *, carries_secret: bool = True, sequence: int = 1) -> Envelope:
        binding = replace(self.binding, sequence=sequence)
        return self.client.envelope(binding, text, carries_secret=carries_secret)

    def open(self, envelope: Envelope) -> OpenedRequest:
        return open_request(envelope, self.keys, self.sessions)

    def refused(self, envelope: Envelope) -> FaultError:
        with pytest.raises(FaultError) as caught:
            self.open(envelope)
        return caught.value

    def refusal(self, envelope: Envelope) -> Code:
        return self.refused(envelope).fault.code


@pytest.fixture
def rig() -> Rig:
    """A session that is fresh."""
    return Rig()


@pytest.fixture
def open_rig(rig: Rig) -> Rig:
    """A session in which number 1 is used."""
    rig.open(rig.seal())
    return rig


def test_opens_what_was_sealed_for_it(rig: Rig) -> None:
    opened = rig.open(rig.seal())
    assert opened.request == REQUEST
    assert opened.binding == rig.binding
    assert b"plaintext" not in repr(opened).encode()


def test_all_requests_of_a_session_have_one_session_object_with_and_without_the_secret(rig: Rig) -> None:
    first = rig.open(rig.seal()).session
    assert rig.open(rig.seal(sequence=2)).session is first
    assert rig.open(rig.seal(sequence=3, carries_secret=False)).session is first
    other = replace(rig.binding, session=rig.sessions.issue())
    assert rig.open(rig.another_client(other).request(other, REQUEST)).session is not first


def test_refuses_the_same_request_twice(rig: Rig) -> None:
    envelope = rig.seal()
    rig.open(envelope)
    assert rig.refusal(envelope) is Code.SEQUENCE_USED


def test_refuses_requests_out_of_order(rig: Rig) -> None:
    rig.open(rig.seal(sequence=2))
    assert rig.refusal(rig.seal()) is Code.SEQUENCE_USED


CHANGES = [{"quote_hash": b"x" * 32}, {"session": 2}, {"sequence": 3}, {"entry": "other"}]


@pytest.mark.parametrize("change", CHANGES, ids=["quote", "session", "sequence", "entry"])
def test_refuses_a_request_under_another_binding(rig: Rig, change: dict[str, object]) -> None:
    rig.sessions.issue()  # session 2 is good, only not the one that this was sealed for
    envelope = replace(rig.seal(), binding=replace(rig.binding, **change))  # type: ignore[arg-type] # typed by the ids
    assert rig.refusal(envelope) is Code.CANNOT_OPEN
    rig.open(rig.seal())


@pytest.mark.parametrize("carries_secret", [True, False])
@pytest.mark.parametrize("change", [CHANGES[0], CHANGES[2], CHANGES[3]], ids=["quote", "sequence", "entry"])
def test_refuses_a_later_request_under_another_binding(
    open_rig: Rig, change: dict[str, object], carries_secret: bool
) -> None:
    envelope = open_rig.seal(sequence=2, carries_secret=carries_secret)
    moved = replace(envelope, binding=replace(envelope.binding, **change))  # type: ignore[arg-type] # typed by the ids
    assert open_rig.refusal(moved) is Code.CANNOT_OPEN
    open_rig.open(envelope)


def test_refuses_another_quote_although_all_else_is_sealed_for_it(open_rig: Rig) -> None:
    """Whoever has the session's secret may not exchange the evidence that receipts will name."""
    binding = replace(open_rig.binding, sequence=2, quote_hash=b"x" * 32)
    refused = open_rig.refused(open_rig.client.envelope(binding, PADDED))
    assert refused.fault.code is Code.CANNOT_OPEN
    assert "opened for another quote" in refused.fault.reason


def test_refuses_a_request_for_another_launch(rig: Rig) -> None:
    assert rig.refusal(Rig().seal()) is Code.CANNOT_OPEN


def test_refuses_a_request_that_names_another_enclaves_key(rig: Rig) -> None:
    named = Sealer(rig.keys.hpke_key, rig.binding.of_session, named=Rig().keys.hpke_key)
    assert rig.refusal(named.request(rig.binding, REQUEST)) is Code.CANNOT_OPEN


def test_refuses_keys_that_were_derived_for_another_enclave_from_a_secret_sealed_for_this_one(rig: Rig) -> None:
    """Each half is good by itself: the secret opens here, and the request opens under the keys it was sealed with."""
    right = rig.client
    wrong = Sealer(rig.keys.hpke_key, rig.binding.of_session, named=Rig().keys.hpke_key, secret=right.secret)
    mixed = replace(wrong.request(rig.binding, REQUEST), encapsulation=right.encapsulation)
    assert rig.refusal(mixed) is Code.CANNOT_OPEN


def test_a_fresh_session_is_opened_by_nothing_but_a_secret(rig: Rig) -> None:
    refused = rig.refused(rig.seal(carries_secret=False))
    assert refused.fault.code is Code.SESSION_UNKNOWN
    assert "no secret yet" in refused.fault.reason
    rig.open(rig.seal())


def test_whoever_comes_second_with_another_secret_is_told_to_challenge_again_and_the_first_goes_on(rig: Rig) -> None:
    second = rig.another_client()
    rig.open(rig.seal())
    refused = rig.refused(second.request(replace(rig.binding, sequence=2), REQUEST))
    assert refused.fault.code is Code.SESSION_UNKNOWN
    assert "another secret: challenge again" in refused.fault.reason
    without = second.envelope(replace(rig.binding, sequence=2), PADDED, carries_secret=False)
    assert rig.refusal(without) is Code.CANNOT_OPEN
    rig.open(rig.seal(sequence=2))


def test_a_second_client_who_appraised_another_quote_hears_of_the_secret_first(open_rig: Rig) -> None:
    """Two clients whom a host gives one session number have different quotes: their nonces differ."""
    binding = replace(open_rig.binding, sequence=2, quote_hash=b"x" * 32)
    refused = open_rig.refused(open_rig.another_client(binding).request(binding, REQUEST))
    assert refused.fault.code is Code.SESSION_UNKNOWN


def test_a_secret_whose_request_does_not_open_does_not_take_the_session(rig: Rig) -> None:
    """A host has seen the first client's secret, sealed, and sends it along with inventions."""
    stolen = replace(rig.another_client().request(rig.binding, REQUEST), encapsulation=rig.client.encapsulation)
    assert rig.refusal(stolen) is Code.CANNOT_OPEN
    rig.open(rig.another_client().request(rig.binding, REQUEST))  # fresh still: anybody's


def test_a_secret_is_good_for_its_own_session_alone(rig: Rig) -> None:
    other = replace(rig.binding, session=rig.sessions.issue())
    stranger = rig.another_client(other)
    first, second = rig.seal(), stranger.request(other, REQUEST)
    for envelope, sealed_for_another in ((first, second), (second, first)):
        swapped = replace(envelope, encapsulation=sealed_for_another.encapsulation)
        assert rig.refusal(swapped) is Code.CANNOT_OPEN
    rig.open(first)
    rig.open(second)
    swapped = replace(rig.seal(sequence=2), encapsulation=stranger.encapsulation)
    assert rig.refusal(swapped) is Code.SESSION_UNKNOWN


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_secret_of_another_size_is_refused(rig: Rig, size: int) -> None:
    client = Sealer(rig.keys.hpke_key, rig.binding.of_session, secret=bytes(size))
    refused = rig.refused(client.request(rig.binding, REQUEST))
    assert refused.fault.code is Code.CANNOT_OPEN


def test_a_later_secret_is_compared_and_not_opened_again(open_rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EnclaveKeys, "open_session", None)
    open_rig.open(open_rig.seal(sequence=2))


@given(st.data())
def test_refuses_every_truncated_or_altered_request_and_burns_nothing(data: st.DataObject) -> None:
    rig = Rig()
    if data.draw(st.booleans()):
        rig.open(rig.seal())
    envelope = rig.seal(sequence=2, carries_secret=not rig.sessions._used or data.draw(st.booleans()))
    sealed = bytearray(envelope.sealed)
    if data.draw(st.booleans()):
        sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del sealed[data.draw(st.integers(0, len(sealed) - 1)) :]
    assert rig.refusal(replace(envelope, sealed=bytes(sealed))) is Code.CANNOT_OPEN
    rig.open(envelope)


@given(st.booleans(), st.integers(0, ENCAPSULATION_SIZE * 8 - 1))
def test_refuses_every_altered_secret_and_burns_nothing(is_open: bool, bit: int) -> None:
    rig = Rig()
    if is_open:
        rig.open(rig.seal())
    envelope = rig.seal(sequence=2)
    altered = bytearray(rig.client.encapsulation)
    altered[bit // 8] ^= 1 << bit % 8
    wanted = {Code.SESSION_UNKNOWN} if is_open else {Code.CANNOT_OPEN}
    if not is_open and bit == 255:
        wanted = {Code.CANNOT_OPEN}  # X25519 ignores this bit of a point (RFC 7748, section 5); HPKE hashes it in
    assert rig.refusal(replace(envelope, encapsulation=bytes(altered))) in wanted
    rig.open(envelope)


@given(st.binary(max_size=300), st.binary(min_size=ENCAPSULATION_SIZE, max_size=ENCAPSULATION_SIZE) | st.none())
def test_refuses_inventions_and_burns_nothing(sealed: bytes, encapsulation: bytes | None) -> None:
    rig = Rig()
    invented = Envelope(replace(rig.binding, sequence=2**64 - 1), sealed, encapsulation)
    assert rig.refusal(invented) is (Code.SESSION_UNKNOWN if encapsulation is None else Code.CANNOT_OPEN)
    assert rig.refusal(replace(invented, encapsulation=rig.client.encapsulation)) is Code.CANNOT_OPEN
    rig.open(rig.seal())
    assert rig.refusal(replace(invented, encapsulation=None)) is Code.CANNOT_OPEN
    rig.open(rig.seal(sequence=2))


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 5), st.booleans(), st.sampled_from(["", "quote", "text"]))))
def test_a_session_goes_by_its_rules_whatever_two_clients_and_a_host_do(
    steps: list[tuple[int, int, bool, str]],
) -> None:
    """Each step is a client, a number, whether the secret goes along, and what the host changes."""
    rig = Rig()
    clients = rig.client, rig.another_client()
    owner, last = None, 0
    for who, sequence, carries_secret, change in steps:
        binding = replace(rig.binding, sequence=sequence)
        envelope = clients[who].envelope(binding, PADDED, carries_secret=carries_secret)
        if change == "quote":
            envelope = replace(envelope, binding=replace(binding, quote_hash=b"x" * 32))
        elif change == "text":
            envelope = replace(envelope, sealed=envelope.sealed[:-1] + bytes((envelope.sealed[-1] ^ 1,)))
        if sequence <= last:
            wanted = Code.SEQUENCE_USED
        elif (owner is None and not carries_secret) or (carries_secret and owner not in (None, who)):
            wanted = Code.SESSION_UNKNOWN
        elif change or owner not in (None, who):
            wanted = Code.CANNOT_OPEN
        else:
            assert rig.open(envelope).binding == binding
            owner, last = who, sequence
            continue
        assert rig.refusal(envelope) is wanted


@pytest.mark.parametrize("text", [b"", b"plaintext", pad(b"plaintext"), encode_message(REQUEST)])
def test_what_opens_and_is_no_request_is_refused_without_a_word_of_it_and_used_up(rig: Rig, text: bytes) -> None:
    refused = rig.refused(rig.seal(text))
    assert refused.fault.code is Code.MALFORMED
    assert "plain" not in str(refused)
    assert refused.__cause__ is None
    assert rig.refusal(rig.seal()) is Code.SEQUENCE_USED
    rig.open(rig.seal(sequence=2, carries_secret=False))  # and the session is its client's


REFUSAL = CallFailed(fault(Code.GUEST_ERROR, "it threw"))


def test_a_response_opens_for_its_request_alone(rig: Rig) -> None:
    first, second = rig.seal(), rig.seal(sequence=2)
    answers = [rig.open(envelope).seal(REFUSAL) for envelope in (first, second)]
    assert parse_message(rig.client.opened(answers[0], first), CallFailed) == REFUSAL
    same_number = rig.client.envelope(rig.binding, pad(b"another text under the number"))
    elsewhere = replace(first, binding=replace(rig.binding, entry="other"))
    for envelope in (second, same_number, elsewhere):
        with pytest.raises(Exception, match=r"^$") as caught:
            rig.client.opened(answers[0], envelope)
        assert type(caught.value).__name__ == "InvalidTag"


def test_a_request_is_answered_once(rig: Rig) -> None:
    """Two texts under one number would give the session's key away, so not even a defect of ours may seal them."""
    opened = rig.open(rig.seal())
    opened.seal(REFUSAL)
    with pytest.raises(RuntimeError, match="one response"):
        opened.seal(REFUSAL)


def test_refusals_and_short_results_have_one_size(rig: Rig) -> None:
    sizes = {
        len(rig.open(rig.seal(sequence=1 + size)).seal(CallFailed(fault(Code.GUEST_ERROR, "x" * size))))
        for size in (0, 10, 900)
    }
    assert len(sizes) == 1


def test_keys_are_fresh_and_do_not_show(rig: Rig) -> None:
    first, second = EnclaveKeys(), EnclaveKeys()
    assert first.hpke_key != second.hpke_key
    assert first.receipt_key != second.receipt_key
    assert first._hpke.private_bytes_raw().hex() not in repr(first)
    session = rig.open(rig.seal()).session
    assert repr(session) == "Session(number=1, last=1)"
    assert session != copy.copy(session)
