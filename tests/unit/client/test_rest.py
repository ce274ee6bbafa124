"""The mapping to HTTP alone, without a socket: whatever a gateway answers is a value or an error of ours."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.client.desk import QUESTIONS

from casemate.client import asking
from casemate.client.asking import Ask, GetMachine
from casemate.client.errors import NoHostError
from casemate.client.rest import (
    BINARY,
    FIRST_PAUSE,
    JSON,
    MAX_ATTEMPTS,
    PROBLEM,
    WRITTEN,
    HttpAnswer,
    HttpRequest,
    Pause,
    exchanges,
)
from casemate.images.image import Image
from casemate.link.errors import PeerGoneError
from casemate.wire.call import CallBinding, Envelope
from casemate.wire.errors import CasemateError
from casemate.wire.json_text import encode_json
from casemate.wire.message import encode_message
from casemate.wire.messages import host

IMAGE = Image("rig", b"sgxs", bytes(1808))
ENVELOPE = Envelope(CallBinding(bytes(32), 1, 1, "echo"), b"sealed")
ASKS: dict[str, Ask[Any]] = {
    "launch": Ask(host.Launch(IMAGE.name, IMAGE.sgxs, IMAGE.sigstruct), host.Launched, 1.0),
    "list": Ask(host.ListEnclaves(), host.EnclavesAre, 1.0),
    "evidence": asking.evidence(1, bytes(32), 1.0),
    "call": asking.relay(host.Call(1, ENVELOPE), 1.0),
    "start": asking.start(1),
    "stop": asking.stop(1),
    "destroy": asking.destroy(1),
    "machine": asking.machine(),
}
SOUND = [
    b"",
    encode_message(host.Launched(1, bytes(32))),
    encode_json({"enclaves": []}),
    encode_json({"code": "busy", "detail": "later"}),
    encode_json({"id": 1, "name": "x", "mr_enclave": "00" * 32, "mr_signer": "00" * 32}),
    encode_json({"image": "00" * 32, "root_certificate": "\x00", "platform": 7}),
]
ANSWERS = st.builds(
    HttpAnswer,
    status=st.sampled_from([100, 200, 201, 204, 301, 400, 401, 403, 404, 409, 418, 429, 500, 503, 999]),
    media_type=st.sampled_from([JSON, BINARY, PROBLEM, "", "text/html"]) | st.text(max_size=20),
    retry_after=st.none() | st.text(max_size=8) | st.integers(-5, 10**9).map(str),
    body=st.binary(max_size=200) | st.sampled_from(SOUND),
)


def driven(ask: Ask[Any], outcomes: Callable[[HttpRequest], HttpAnswer | Exception]) -> tuple[Any, list[HttpRequest]]:
    """What a question comes to, and all that was sent for it."""
    sent: list[HttpRequest] = []
    steps = exchanges(ask, lambda: 60.0)
    answer: HttpAnswer | None = None
    error: Exception | None = None
    try:
        while True:
            effect = steps.throw(error) if error is not None else steps.send(answer)
            answer, error = None, None
            if isinstance(effect, Pause):
                assert 0 < effect.seconds <= 60
                continue
            sent.append(effect)
            outcome = outcomes(effect)
            if isinstance(outcome, Exception):
                error = outcome
            else:
                answer = outcome
    except StopIteration as done:
        return done.value, sent
    except CasemateError as refused:
        return refused, sent


def test_every_question_is_written() -> None:
    assert set(WRITTEN) == {*QUESTIONS, GetMachine}


@given(st.sampled_from(sorted(ASKS)), st.lists(ANSWERS, min_size=1, max_size=12))
def test_whatever_a_gateway_answers_is_a_value_or_an_error_of_ours(name: str, answers: list[HttpAnswer]) -> None:
    ask = ASKS[name]
    left = list(answers)
    value, sent = driven(ask, lambda _: left.pop(0) if len(left) > 1 else left[0])
    assert isinstance(value, ask.wanted | CasemateError)
    assert len(sent) <= 3 * MAX_ATTEMPTS


@given(st.binary(max_size=300))
def test_any_bytes_for_a_sealed_response_are_passed_on_as_they_are(body: bytes) -> None:
    value, _ = driven(ASKS["call"], lambda _: HttpAnswer(200, BINARY, None, body))
    assert value == host.Answer(body)


@pytest.mark.parametrize("name", ASKS)
def test_what_may_be_sent_twice_is_written_down(name: str) -> None:
    """An answer that is lost: who sends again, and what."""
    _, sent = driven(ASKS[name], lambda _: PeerGoneError("lost"))
    assert len(sent) == (MAX_ATTEMPTS if name in {"launch", "list", "evidence", "machine"} else 1)
    _, sent = driven(ASKS[name], lambda _: NoHostError("nobody there"))
    assert len(sent) == MAX_ATTEMPTS  # nothing was sent, whatever it is


def test_a_launch_keeps_its_key_through_all_attempts_and_has_another_the_next_time() -> None:
    def outcome(request: HttpRequest) -> HttpAnswer | Exception:
        if request.path == "/v1/enclaves":
            return PeerGoneError("lost")
        return HttpAnswer(200, JSON, None, b"{}")

    keys = []
    for _ in range(2):
        _, sent = driven(ASKS["launch"], outcome)
        (key,) = {request.idempotency_key for request in sent if request.path == "/v1/enclaves"}
        keys.append(key)
    assert None not in keys
    assert keys[0] != keys[1]


def test_a_gateway_that_keeps_another_image_than_it_was_given_is_refused() -> None:
    def outcome(request: HttpRequest) -> HttpAnswer:
        if request.method == "GET":
            return HttpAnswer(404, PROBLEM, None, encode_json({"code": "unknown-image", "detail": ""}))
        return HttpAnswer(201, JSON, None, encode_json({"image": "00" * 32}))

    value, sent = driven(ASKS["launch"], outcome)
    assert "another image" in str(value)
    assert len(sent) == 2


def test_pauses_grow_and_honour_the_gateway() -> None:
    pauses: list[float] = []
    steps = exchanges(ASKS["list"], lambda: 60.0)
    outcomes: list[Any] = [PeerGoneError("lost"), HttpAnswer(503, PROBLEM, "3", b""), PeerGoneError("lost")]
    effect = next(steps)
    while outcomes:
        outcome = outcomes.pop(0)
        effect = steps.throw(outcome) if isinstance(outcome, Exception) else steps.send(outcome)
        assert isinstance(effect, Pause)
        pauses.append(effect.seconds)
        effect = steps.send(None)
    assert pauses == [FIRST_PAUSE, 3.0, FIRST_PAUSE * 4]
