from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.rigs.channel.rig import ALICE, MR_ENCLAVE
from tests.rigs.channel.sealed import response_text, sealed_response
from tests.rigs.client.desk import NOW, Desk

from casemate.client.core import AttestedEnclave, CallSecrets, PendingCall, appraise_answer, challenge
from casemate.client.errors import EnclaveRefusedError, ReceiptRefusedError, ResponseRefusedError
from casemate.enclave.keys import EnclaveKeys
from casemate.verifier import AnyOfPolicy, PolicyError, RefusedError, Rule
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.errors import WireError
from casemate.wire.protocol.call import CallFailed, CallResult
from casemate.wire.protocol.faults import Code, fault
from casemate.wire.protocol.padding import pad


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    with Desk() as found:
        yield found


@pytest.fixture
def session(desk: Desk) -> AttestedEnclave:
    return desk.attest()


def seal(session: AttestedEnclave, arguments: bytes = b"{}") -> PendingCall:
    return session.seal_call("echo", arguments, caller=None, secrets=CallSecrets.fresh())


def test_challenges_are_fresh() -> None:
    assert len({challenge() for _ in range(100)}) == 100


def test_an_honest_enclave_is_attested(desk: Desk, session: AttestedEnclave) -> None:
    assert session.evidence.measurement == MR_ENCLAVE
    assert session.evidence.binding == session.binding
    assert session.evidence.appraised_at == NOW
    assert desk.policy.accepted is not None


@pytest.mark.parametrize("field", ["hpke_key", "receipt_key"])
def test_keys_that_the_quote_does_not_vouch_for_are_refused(desk: Desk, field: str) -> None:
    """A host that puts its own key into the answer, to read what clients seal."""
    nonce = challenge()
    answer = desk.evidence(nonce)
    exchanged = replace(answer, **{field: EnclaveKeys().hpke_key})  # type: ignore[arg-type] # both are keys
    with pytest.raises(RefusedError):
        appraise_answer(exchanged, nonce, desk.policy, NOW)


def test_sandbox_layers_that_the_quote_does_not_vouch_for_are_refused(desk: Desk) -> None:
    nonce = challenge()
    answer = desk.evidence(nonce)
    with pytest.raises(RefusedError):
        appraise_answer(
            replace(answer, layers=replace(answer.layers, enclave=answer.layers.guest)), nonce, desk.policy, NOW
        )


def test_old_evidence_is_refused(desk: Desk) -> None:
    """A host that answers with what an enclave said to somebody else's challenge."""
    answer = desk.evidence(challenge())
    with pytest.raises(RefusedError):
        appraise_answer(answer, challenge(), desk.policy, NOW)


def test_evidence_is_judged_at_the_given_time(desk: Desk) -> None:
    nonce = challenge()
    with pytest.raises(RefusedError):
        appraise_answer(desk.evidence(nonce), nonce, desk.policy, NOW + timedelta(days=4000))


def test_a_policy_that_does_not_ask_for_freshness_is_refused(desk: Desk) -> None:
    nonce = challenge()
    with pytest.raises(PolicyError):
        appraise_answer(desk.evidence(nonce), nonce, desk.policy.with_nonce(nonce), NOW)


def test_an_enclave_that_one_of_several_policies_accepts_is_attested(desk: Desk) -> None:
    nonce = challenge()
    other = replace(desk.policy, mr_enclave=frozenset({bytes(32)}))
    session = appraise_answer(desk.evidence(nonce), nonce, AnyOfPolicy((other, desk.policy)), NOW)
    assert session.evidence.measurement == MR_ENCLAVE
    with pytest.raises(RefusedError) as refused:
        appraise_answer(desk.evidence(nonce), nonce, AnyOfPolicy((other,)), NOW)
    assert refused.value.rule is Rule.POLICY_ANY_OF


def test_each_of_several_policies_must_ask_for_freshness(desk: Desk) -> None:
    nonce = challenge()
    other = replace(desk.policy, mr_enclave=frozenset({bytes(32)})).with_nonce(nonce)
    with pytest.raises(PolicyError):
        appraise_answer(desk.evidence(nonce), nonce, AnyOfPolicy((desk.policy, other)), NOW)


def test_malformed_collateral_is_refused(desk: Desk) -> None:
    nonce = challenge()
    with pytest.raises(WireError):
        appraise_answer(replace(desk.evidence(nonce), endorsements=b"{}"), nonce, desk.policy, NOW)


def test_sequence_numbers_rise(session: AttestedEnclave) -> None:
    assert [seal(session).envelope.binding.sequence for _ in range(3)] == [1, 2, 3]


def test_requests_bind_the_quote(session: AttestedEnclave) -> None:
    assert seal(session).envelope.binding.quote_hash == session.evidence.evidence_hash


@pytest.mark.parametrize("arguments", [b"", b"{", b"\xff", b'{"a":1,"a":2}', b"9007199254740993"])
def test_arguments_that_have_no_one_meaning_are_refused_before_they_are_sent(
    session: AttestedEnclave, arguments: bytes
) -> None:
    with pytest.raises(WireError):
        seal(session, arguments)


def test_secrets_do_not_show(session: AttestedEnclave) -> None:
    secrets = CallSecrets.fresh()
    pending = session.seal_call("echo", b'{"secret":"plaintext"}', caller=ALICE, secrets=secrets)
    shown = repr(secrets) + repr(pending) + repr(ALICE) + repr(session) + repr(session._session)
    assert "plaintext" not in shown
    assert repr(secrets.input_blind) not in shown
    assert session._session._keys.encapsulation.hex() not in shown


def test_a_key_that_keeps_no_secret_is_refused(session: AttestedEnclave) -> None:
    with pytest.raises(ResponseRefusedError, match="keeps no secret"):
        AttestedEnclave(session.evidence, replace(session.binding, hpke_key=bytes(32)), session.proof, 1)


class Accomplice:
    """Has the keys of a session, as nobody but the enclave should: what could it make the client believe?"""

    def __init__(self, desk: Desk, session: AttestedEnclave) -> None:
        self.pending = session.seal_call("echo", b"{}", caller=ALICE, secrets=CallSecrets.fresh())
        sealed = desk.rig.enter(self.pending.envelope).sealed
        self.honest = parse_message(response_text(self.pending, sealed), CallResult)

    def believed(self, text: bytes) -> object:
        return self.pending.open(sealed_response(self.pending, text)).value

    def says(self, result: CallResult) -> object:
        return self.believed(pad(encode_message(result)))


@pytest.fixture
def accomplice(desk: Desk, session: AttestedEnclave) -> Accomplice:
    return Accomplice(desk, session)


def test_an_honest_result_is_believed(accomplice: Accomplice) -> None:
    assert accomplice.says(accomplice.honest) == {
        "entry": "echo",
        "caller": {"name": "alice", "key": ALICE.manifest_value},
        "arguments": {},
    }


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"quote_hash": bytes(32)}, "call that the receipt is about"),
        ({"session": 99}, "call that the receipt is about"),
        ({"sequence": 99}, "call that the receipt is about"),
        ({"entry": "private"}, "call that the receipt is about"),
        ({"measurement": bytes(32)}, "measurement"),
        ({"caller": None}, "caller"),
        ({"caller": bytes(32)}, "caller"),
        ({"input_commitment": bytes(32)}, "commitment to the input"),
        ({"output_commitment": bytes(32)}, "commitment to the output"),
        ({"counter": 99}, "receipt signature"),
    ],
)
def test_a_receipt_about_something_else_is_refused(
    accomplice: Accomplice, change: dict[str, object], rule: str
) -> None:
    receipt = replace(accomplice.honest.receipt, **change)  # type: ignore[arg-type] # typed by the parameters
    with pytest.raises(ReceiptRefusedError) as caught:
        accomplice.says(replace(accomplice.honest, receipt=receipt))
    assert caught.value.rule.startswith(rule)


def test_another_output_than_the_receipt_commits_to_is_refused(accomplice: Accomplice) -> None:
    with pytest.raises(ReceiptRefusedError, match="commitment to the output"):
        accomplice.says(replace(accomplice.honest, output=b"{}"))


def test_an_unsigned_receipt_is_refused(accomplice: Accomplice) -> None:
    with pytest.raises(ReceiptRefusedError, match="receipt signature"):
        accomplice.says(replace(accomplice.honest, signature=bytes(64)))


@pytest.mark.parametrize("text", [b"", b"text", pad(b""), pad(b"text"), pad(b"\x13"), bytes(1024)])
def test_a_response_that_opens_and_is_malformed_is_refused(accomplice: Accomplice, text: bytes) -> None:
    with pytest.raises(ResponseRefusedError):
        accomplice.believed(text)


def test_an_unpadded_response_is_refused(accomplice: Accomplice) -> None:
    with pytest.raises(ResponseRefusedError):
        accomplice.believed(encode_message(accomplice.honest))


def test_the_enclaves_own_refusal_is_told_from_the_hosts(accomplice: Accomplice) -> None:
    refusal = fault(Code.GUEST_ERROR, "it threw")
    with pytest.raises(EnclaveRefusedError) as caught:
        accomplice.believed(pad(encode_message(CallFailed(refusal))))
    assert caught.value.fault == refusal
