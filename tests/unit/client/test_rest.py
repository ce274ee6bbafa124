"""The mapping to HTTP alone, without a socket: whatever a gateway answers is a value or an error of ours."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rigs.gateway.fake_vms import LAUNCH

from casemate.client.errors import NoHostError
from casemate.client.http_exchange import (
    BINARY,
    FIRST_PAUSE,
    JSON,
    MAX_ATTEMPTS,
    PROBLEM,
    HttpAnswer,
    HttpRequest,
    Pause,
)
from casemate.client.rest import ANSWERS, BY_HAND, ROUTES, exchanges
from casemate.client.transport import GetMachine
from casemate.client.vm.sync import Vms
from casemate.images.image import Image
from casemate.link.errors import PeerGoneError
from casemate.wire.encodings.json_text import encode_json
from casemate.wire.encodings.message import encode_message
from casemate.wire.errors import CasemateError, WireError
from casemate.wire.messages import functions, host, machine_log, services
from casemate.wire.messages.request import Request, answer_type
from casemate.wire.messages.vm import host as vms
from casemate.wire.messages.vm.hypervisor import UNLIMITED, Done, ExitReason, MemoryIs, RmpEntry, RmpIs
from casemate.wire.protocol.call import CallBinding, Envelope
from casemate.wire.protocol.lifecycle import State
from casemate.wire.snp.mode import VmMode

A = TypeVar("A")

IMAGE = Image("rig", b"sgxs", bytes(1808))
ENVELOPE = Envelope(CallBinding(bytes(32), 1, 1, "echo"), b"sealed")
REQUESTS: dict[str, Request[Any]] = {
    "launch": host.Launch(IMAGE.name, IMAGE.sgxs, IMAGE.sigstruct),
    "list": host.ListEnclaves(),
    "evidence": host.GetEvidence(1, bytes(32)),
    "call": host.Call(1, ENVELOPE),
    "start": host.StartEnclave(1),
    "stop": host.StopEnclave(1),
    "destroy": host.DestroyEnclave(1),
    "functions": functions.ListFunctions(),
    "function": functions.GetFunction("rig"),
    "switch": functions.SwitchFunction("rig", 2, 1, 30),
    "services": services.ListServices(),
    "service": services.GetService("rig"),
    "start-service": services.StartService("rig"),
    "stop-service": services.StopService("rig", with_users=True),
    "machine": GetMachine(),
    "log": machine_log.ReadLog(7),
    "launch-vm": LAUNCH,
    "list-vms": vms.ListVms(),
    "get-vm": vms.GetVm(1),
    "encrypt-vm": vms.EncryptVm(1, 0x300000, b"page"),
    "finish-vm": vms.FinishVm(1),
    "run-vm": vms.RunVm(1, 0, 5, 1000, 10),
    "pause-vm": vms.PauseVm(1),
    "destroy-vm": vms.DestroyVm(1),
    "console": vms.ReadConsole(1, 0),
    "memory": vms.VmMemory(1, vms.View.GUEST, 0x1000, 16),
    "rmp": vms.VmRmp(1, 0, 2),
    "registers": vms.VmRegisters(1, 0),
    "attest-vm": vms.AttestVm(1, bytes(64)),
    "write": vms.WriteVm(1, vms.AttackPath.DRAM, 0, b"x"),
    "map": vms.MapVm(1, 0, 0x1000),
    "assign": vms.AssignVm(1, 0x1000, None),
    "give": vms.GiveVm(1, b"x"),
}
REPEATED = {"log", "launch", "list", "evidence", "machine", "functions", "function", "services", "service"}
"""Requests that are sent again when their answer is lost."""
REPEATED |= {"launch-vm", "list-vms", "get-vm", "console", "memory", "rmp", "registers"}
ENCLAVE = {
    "id": 2,
    "name": "rig",
    "mr_enclave": "11" * 32,
    "mr_signer": "22" * 32,
    "isv_prod_id": 1,
    "isv_svn": 1,
    "debug": False,
    "state": "running",
    "reason": "",
    "image": "33" * 32,
    "tee": "sgx",
}
ENCLAVE_IS = host.EnclaveIs(
    *(2, "rig", b"\x11" * 32, b"\x22" * 32, 1, 1),
    debug=False,
    state=State.RUNNING,
    reason="",
    image=b"\x33" * 32,
)
FUNCTION = {"name": "rig", "current": ENCLAVE, "previous": None, "deployed": True}
FUNCTION_IS = functions.FunctionIs("rig", ENCLAVE_IS, None, deployed=True)
VM = {
    "id": 1,
    "name": "mine",
    "mode": "sev-snp",
    "state": "launched",
    "reason": "",
    "policy": "0x30000",
    "debug": False,
    "memory_mib": 16,
    "vcpus": 1,
    "digest": "11" * 48,
    "later": "a member of a later version",
}
VM_IS = vms.VmIs(1, "mine", VmMode.SEV_SNP, vms.VmState.LAUNCHED, "", 0x30000, 16, 1, b"\x11" * 48)
ENTRY = {
    "spa": "0x1000",
    "assigned": True,
    "gpa": "0x2000",
    "validated": True,
    "immutable": False,
    "vmsa": False,
    "permissions": [15, 0, 0, 0],
}
LOG_ENTRY = {"number": 8, "at": 1, "source": "console", "enclave": 1, "text": "a line"}
SOUND = [
    b"",
    encode_message(host.Launched(1, bytes(32))),
    encode_json({"enclaves": []}),
    encode_json({"code": "busy", "detail": "later"}),
    encode_json(FUNCTION | {"previous": ENCLAVE}),
    encode_json(FUNCTION | {"current": {}}),
    encode_json({"functions": [FUNCTION, {}]}),
    encode_json({"host": 7, "entries": [LOG_ENTRY]}),
    encode_json({"host": 7, "entries": [LOG_ENTRY | {"source": "nobody"}]}),
    encode_json({"id": 1, "name": "x", "mr_enclave": "00" * 32, "mr_signer": "00" * 32}),
    encode_json({"image": "00" * 32, "root_certificate": "\x00", "platform": 7}),
    encode_json(VM),
    encode_json(VM | {"policy": "x"}),
    encode_json(VM | {"state": "asleep"}),
    encode_json({"vms": [VM, 1]}),
    encode_json({"vm": VM, "reason": "halt", "executed": -1}),
    encode_json({"start": 0, "content": "!", "ended": False}),
    encode_json({"entries": [ENTRY, ENTRY | {"permissions": [1, "x"]}]}),
    encode_json({"entries": [ENTRY]}),
    encode_message(vms.VmEvidenceIs(bytes(1184), b"")),
]
GATEWAY_ANSWERS = st.builds(
    HttpAnswer,
    status=st.sampled_from([100, 200, 201, 204, 301, 400, 401, 403, 404, 409, 418, 429, 500, 503, 999]),
    media_type=st.sampled_from([JSON, BINARY, PROBLEM, "", "text/html"]) | st.text(max_size=20),
    retry_after=st.none() | st.text(max_size=8) | st.integers(-5, 10**9).map(str),
    body=st.binary(max_size=200) | st.sampled_from(SOUND),
)


def driven(
    request: Request[Any], outcomes: Callable[[HttpRequest], HttpAnswer | Exception]
) -> tuple[Any, list[HttpRequest]]:
    """What a request comes to, and all that was sent for it."""
    sent: list[HttpRequest] = []
    steps = exchanges(request, lambda: 60.0)
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


def test_every_request_of_the_table_has_its_http() -> None:
    assert {type(request) for request in REQUESTS.values()} == {*ROUTES, GetMachine}
    for request in ROUTES:
        assert request in BY_HAND or answer_type(request) in ANSWERS


@given(st.sampled_from(sorted(REQUESTS)), st.lists(GATEWAY_ANSWERS, min_size=1, max_size=12))
def test_whatever_a_gateway_answers_is_a_value_or_an_error_of_ours(name: str, answers: list[HttpAnswer]) -> None:
    request = REQUESTS[name]
    left = list(answers)
    value, sent = driven(request, lambda _: left.pop(0) if len(left) > 1 else left[0])
    assert isinstance(value, answer_type(type(request)) | CasemateError)
    assert len(sent) <= 3 * MAX_ATTEMPTS


@given(st.binary(max_size=300))
def test_any_bytes_for_a_sealed_response_are_passed_on_as_they_are(body: bytes) -> None:
    value, _ = driven(REQUESTS["call"], lambda _: HttpAnswer(200, BINARY, None, body))
    assert value == host.Answer(body)


@pytest.mark.parametrize("name", REQUESTS)
def test_what_may_be_sent_twice_is_written_down(name: str) -> None:
    """An answer that is lost: who sends again, and what."""
    _, sent = driven(REQUESTS[name], lambda _: PeerGoneError("lost"))
    assert len(sent) == (MAX_ATTEMPTS if name in REPEATED else 1)
    _, sent = driven(REQUESTS[name], lambda _: NoHostError("nobody there"))
    assert len(sent) == MAX_ATTEMPTS  # nothing was sent, whatever it is


def test_a_launch_keeps_its_key_through_all_attempts_and_has_another_the_next_time() -> None:
    def outcome(request: HttpRequest) -> HttpAnswer | Exception:
        if request.path == "/v1/enclaves":
            return PeerGoneError("lost")
        return HttpAnswer(200, JSON, None, b"{}")

    keys = []
    for _ in range(2):
        _, sent = driven(REQUESTS["launch"], outcome)
        (key,) = {request.idempotency_key for request in sent if request.path == "/v1/enclaves"}
        keys.append(key)
    assert None not in keys
    assert keys[0] != keys[1]


def test_a_gateway_that_keeps_another_image_than_it_was_given_is_refused() -> None:
    def outcome(request: HttpRequest) -> HttpAnswer:
        if request.method == "GET":
            return HttpAnswer(404, PROBLEM, None, encode_json({"code": "unknown-image", "detail": ""}))
        return HttpAnswer(201, JSON, None, encode_json({"image": "00" * 32}))

    value, sent = driven(REQUESTS["launch"], outcome)
    assert "another image" in str(value)
    assert len(sent) == 2


def test_pauses_grow_and_honour_the_gateway() -> None:
    pauses: list[float] = []
    steps = exchanges(REQUESTS["list"], lambda: 60.0)
    outcomes: list[Any] = [PeerGoneError("lost"), HttpAnswer(503, PROBLEM, "3", b""), PeerGoneError("lost")]
    effect = next(steps)
    while outcomes:
        outcome = outcomes.pop(0)
        effect = steps.throw(outcome) if isinstance(outcome, Exception) else steps.send(outcome)
        assert isinstance(effect, Pause)
        pauses.append(effect.seconds)
        effect = steps.send(None)
    assert pauses == [FIRST_PAUSE, 3.0, FIRST_PAUSE * 4]


SAID: list[tuple[str, object, object, tuple[str, str]]] = [
    ("functions", {"functions": [FUNCTION]}, functions.FunctionsAre((FUNCTION_IS,)), ("GET", "/v1/functions")),
    ("function", FUNCTION, FUNCTION_IS, ("GET", "/v1/functions/rig")),
    ("switch", FUNCTION, FUNCTION_IS, ("POST", "/v1/functions/rig/switch")),
    ("launch-vm", VM, VM_IS, ("POST", "/v1/vms")),
    ("list-vms", {"vms": [VM]}, vms.VmsAre((VM_IS,)), ("GET", "/v1/vms")),
    ("get-vm", VM, VM_IS, ("GET", "/v1/vms/1")),
    ("encrypt-vm", VM, VM_IS, ("POST", "/v1/vms/1/encrypt?gpa=0x300000")),
    ("finish-vm", VM, VM_IS, ("POST", "/v1/vms/1/finish")),
    (
        "run-vm",
        {"vm": VM, "reason": "halt", "executed": 5, "exits": 2, "printed": 1, "detail": "d"},
        vms.VmRan(VM_IS, ExitReason.HALT, 5, 2, "d"),
        ("POST", "/v1/vms/1/run"),
    ),
    ("pause-vm", VM, VM_IS, ("POST", "/v1/vms/1/pause")),
    ("destroy-vm", VM, VM_IS, ("DELETE", "/v1/vms/1")),
    (
        "console",
        {"start": 3, "end": 5, "text": "hi", "content": "aGk=", "ended": True},
        vms.ConsoleIs(3, b"hi", ended=True),
        ("GET", "/v1/vms/1/console?start=0"),
    ),
    ("memory", b"m" * 16, MemoryIs(b"m" * 16), ("GET", "/v1/vms/1/memory?address=0x1000&size=16&view=guest")),
    (
        "rmp",
        {"entries": [ENTRY, ENTRY]},
        RmpIs((RmpEntry(0x1000, True, 0x2000, True, False, False, (15, 0, 0, 0)),) * 2),
        ("GET", "/v1/vms/1/rmp?spa=0x0&count=2"),
    ),
    ("registers", bytes(4096), MemoryIs(bytes(4096)), ("GET", "/v1/vms/1/registers?vcpu=0")),
    (
        "attest-vm",
        encode_message(vms.VmEvidenceIs(bytes(1184), b"chain")),
        vms.VmEvidenceIs(bytes(1184), b"chain"),
        ("POST", "/v1/vms/1/attest"),
    ),
    ("write", VM, Done(), ("POST", "/v1/vms/1/write?spa=0x0&door=dram")),
    ("map", VM, Done(), ("POST", "/v1/vms/1/map")),
    ("assign", VM, Done(), ("POST", "/v1/vms/1/assign")),
    ("give", VM, Done(), ("POST", "/v1/vms/1/input")),
]


@pytest.mark.parametrize(("name", "body", "value", "where"), SAID, ids=[row[0] for row in SAID])
def test_what_is_asked_and_what_a_good_answer_means(
    name: str, body: object, value: object, where: tuple[str, str]
) -> None:
    answer = (
        HttpAnswer(200, BINARY, None, body)
        if isinstance(body, bytes)
        else HttpAnswer(200, JSON, None, encode_json(body))
    )
    found, (sent,) = driven(REQUESTS[name], lambda _: answer)
    assert found == value
    assert (sent.method, sent.path) == where


def test_a_budget_goes_as_json_and_an_endless_one_as_null() -> None:
    for instructions, sent_as in ((5, 5), (UNLIMITED, None), (2**60, 2**53 - 1)):
        request = vms.RunVm(1, 2, instructions, 1500, 10)
        _, (sent,) = driven(request, lambda _: HttpAnswer(404, PROBLEM, None, b""))
        assert sent.body == encode_json({"vcpu": 2, "instructions": sent_as, "time_ms": 1500, "console": 10})


def test_a_long_run_is_asked_for_in_pieces_that_have_its_budget_together() -> None:
    request = vms.RunVm(1, 0, 100, 12_000, 50)

    def outcome(_: HttpRequest) -> HttpAnswer:
        ran = {"vm": VM, "reason": "time", "executed": 30, "exits": 2, "printed": 20, "detail": ""}
        return HttpAnswer(200, JSON, None, encode_json(ran))

    found, sent = driven(request, outcome)
    assert found == vms.VmRan(VM_IS, ExitReason.TIME, 90, 6, "")
    assert [each.body for each in sent] == [
        encode_json({"vcpu": 0, "instructions": instructions, "time_ms": time, "console": console})
        for instructions, time, console in ((100, 5000, 50), (70, 5000, 30), (40, 2000, 10))
    ]


def test_a_long_reverse_map_table_comes_in_pieces() -> None:
    def outcome(request: HttpRequest) -> HttpAnswer:
        count = int(request.path.rpartition("=")[2])
        return HttpAnswer(200, JSON, None, encode_json({"entries": [ENTRY] * count}))

    found, sent = driven(vms.VmRmp(1, 0x1000, 5000), outcome)
    assert len(found.entries) == 5000
    assert [each.path for each in sent] == [
        "/v1/vms/1/rmp?spa=0x1000&count=4096",
        "/v1/vms/1/rmp?spa=0x1001000&count=904",
    ]


def test_a_host_that_stops_short_is_not_asked_for_ever() -> None:
    class Short:
        """A transport whose host leaves out what it does not like to say."""

        keeps_order = True

        def answer(self, request: Request[A], timeout: float | None = None) -> A:
            del timeout
            asked: object = request
            match asked:
                case vms.VmMemory():
                    said: object = MemoryIs(b"")
                case vms.VmRmp():
                    said = RmpIs(())
                case _:
                    said = vms.ConsoleIs(3, b"again", ended=False)
            return cast("A", said)

        def close(self) -> None:
            pass

    client = Vms(Short())
    with pytest.raises(WireError, match="0 bytes"):
        client.memory(1, 0, 16)
    with pytest.raises(WireError, match="0 entries"):
        client.rmp(1, 0, 2)
    with pytest.raises(WireError, match="at least 7"):
        client.console(1, 7)
