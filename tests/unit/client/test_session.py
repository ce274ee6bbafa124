"""No client ever seals two texts under one number: not after a failure, from two threads, in a copy or in a fork."""

import asyncio
import contextlib
import copy
import inspect
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.rigs.channel.rig import ALICE, BOB
from tests.rigs.client.desk import Desk, Door
from tests.rigs.client.forks import in_child
from tests.rigs.client.runs import Run, Steps
from tests.rigs.client.web import TOKEN, Gateway, Web

from casemate.client import aio
from casemate.client import session as session_module
from casemate.client.caller_keys import CallerKey
from casemate.client.core import AttestedEnclave, CallSecrets, PendingCall
from casemate.client.errors import AttestAgainError, HostRefusedError, OtherProtocolError, SessionForkedError
from casemate.client.sealing import SessionKeys
from casemate.client.session import ClientSession
from casemate.enclave.keys import EnclaveKeys
from casemate.link.errors import TimedOutError
from casemate.wire.errors import WireError
from casemate.wire.messages import host
from casemate.wire.protocol.call import CallBinding, CallContent, CallRequest, Envelope, SessionBinding
from casemate.wire.protocol.faults import Code, Fault, fault

REQUEST = CallRequest(CallContent(bytes(32), bytes(32), b"{}"), None)
ABOUT = SessionBinding(bytes(32), 7)


def new_session() -> ClientSession:
    return ClientSession(EnclaveKeys().hpke_key, ABOUT)


def number_of(session: ClientSession) -> int:
    return session.seal("main", lambda _: REQUEST)[0].binding.sequence


# The session by itself


def test_nobody_hands_a_session_its_secret() -> None:
    assert list(inspect.signature(ClientSession).parameters) == ["hpke_key", "about"]
    assert list(inspect.signature(AttestedEnclave).parameters) == ["evidence", "binding", "proof", "session"]
    key = EnclaveKeys().hpke_key
    assert ClientSession(key, ABOUT).encapsulation_hash != ClientSession(key, ABOUT).encapsulation_hash


def test_two_threads_never_get_one_number() -> None:
    session, numbers = new_session(), []
    begin = threading.Barrier(4)

    def many() -> None:
        begin.wait()
        numbers.extend([number_of(session) for _ in range(500)])

    often = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=many) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(often)
    assert sorted(numbers) == list(range(1, 2001))


def test_a_thread_waits_for_its_number_while_another_takes_one() -> None:
    """Today's CPython would not switch threads there; that is no promise."""
    session, numbers = new_session(), []
    thread = threading.Thread(target=lambda: numbers.append(number_of(session)))
    with session._lock:
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
        session._last = 41
    thread.join()
    assert numbers == [42]


def test_what_fails_on_the_way_uses_up_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    session = new_session()

    def no_request(_: CallBinding) -> CallRequest:
        raise OSError("the smart card was pulled out")

    with pytest.raises(OSError, match="smart card"):
        session.seal("main", no_request)
    with pytest.raises(WireError):
        session.seal("x" * 300, lambda _: REQUEST)
    with monkeypatch.context() as patch:
        patch.setattr(SessionKeys, "seal", lambda *_: (_ for _ in ()).throw(MemoryError()))
        with pytest.raises(MemoryError):
            number_of(session)
    assert number_of(session) == 4


def test_the_parent_goes_on_and_its_child_does_not() -> None:
    session = new_session()
    envelope, _ = session.seal("main", lambda _: REQUEST)
    forked = "SessionForkedError: this session belongs to the process that attested, "
    assert in_child(lambda: number_of(session)).startswith(forked)
    assert "attest again" in in_child(lambda: number_of(session))
    assert in_child(lambda: session.open(bytes(40), envelope)).startswith(forked)
    assert in_child(lambda: number_of(new_session())) == "1"
    assert number_of(session) == 2


def test_a_grandchild_with_its_grandparents_process_id_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    session, own = new_session(), os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: own)
    assert in_child(lambda: in_child(lambda: number_of(session))).startswith("SessionForkedError")
    assert in_child(lambda: number_of(session)).startswith("SessionForkedError")
    assert number_of(session) == 1


def test_a_fork_behind_pythons_back_is_told_by_the_process_id() -> None:
    session, count = new_session(), session_module._Forks.count

    def as_c_code_forks() -> int:
        session_module._Forks.count = count  # no hook has run
        return number_of(session)

    assert in_child(as_c_code_forks).startswith("SessionForkedError")


def test_a_fork_while_another_thread_takes_a_number_leaves_no_child_waiting() -> None:
    session = new_session()
    with session._lock:
        assert in_child(lambda: number_of(session)).startswith("SessionForkedError")


def test_a_fork_while_a_request_is_made_seals_nothing_in_the_child() -> None:
    """A caller's key that starts a process to sign, carelessly: both processes return from it, with one number."""
    session, child = new_session(), []

    def forks(_: CallBinding) -> CallRequest:
        read_end, write_end = os.pipe()
        child.append((os.fork(), read_end, write_end))
        return REQUEST

    try:
        envelope, _ = session.seal("main", forks)
        said = envelope.sealed.hex()
    except SessionForkedError:
        said = "forked"
    pid, read_end, write_end = child[0]
    if pid == 0:
        os.write(write_end, said.encode())
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(read_end, 4096) == b"forked"
    assert len(said) > 1000


COPIES: list[Callable[[Any], object]] = [
    copy.copy,
    copy.deepcopy,
    pickle.dumps,
    lambda value: pickle.dumps(value, protocol=0),
    lambda value: copy.deepcopy([value]),
    lambda value: replace(value, session=1),
    lambda value: getattr(copy, "replace", replace)(value, session=1),  # of Python 3.13
]
COPY_NAMES = ["copy", "deepcopy", "pickle", "old pickle", "in a list", "replace", "copy.replace"]


@pytest.mark.parametrize("copies", COPIES, ids=COPY_NAMES)
def test_a_session_is_not_copied(copies: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError):
        copies(new_session())


# The same by both clients, over a socket and over HTTP


class Recording(Desk):
    """A host that remembers all envelopes, and loses or delays answers when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.envelopes: list[Envelope] = []
        self.loses = 0
        self.delay = 0.0
        self.refuses: Fault | None = None
        self.has_come = threading.Event()

    def answer(self, question: object) -> object:
        if not isinstance(question, host.Call):
            return super().answer(question)
        self.envelopes.append(question.envelope)
        self.has_come.set()
        if self.refuses is not None:
            return self.refuses
        time.sleep(self.delay)
        answered = super().answer(question)
        if self.loses:
            self.loses -= 1
            return fault(Code.LOST, "the answer is lost")
        return answered

    @property
    def numbers(self) -> list[int]:
        return [envelope.binding.sequence for envelope in self.envelopes]

    @property
    def carried(self) -> list[bool]:
        """Of each request, whether it carried the session's secret."""
        return [envelope.encapsulation is not None for envelope in self.envelopes]


@pytest.fixture(scope="module")
def one_desk() -> Iterator[Recording]:
    with Recording() as found:
        yield found


@pytest.fixture
def desk(one_desk: Recording) -> Recording:
    one_desk.envelopes, one_desk.loses, one_desk.delay = [], 0, 0.0
    one_desk.refuses = None
    one_desk.has_come.clear()
    return one_desk


Place = tuple[Path | str, dict[str, Any]]


@pytest.fixture(params=["socket", "HTTP"])
def place(request: pytest.FixtureRequest, desk: Desk, tmp_path: Path) -> Iterator[Place]:
    """Where a client connects to, and with what."""
    if request.param == "socket":
        with Door(tmp_path / "host.sock", desk) as door:
            yield door.path, {}
    else:
        with Web(Gateway(desk)) as web:
            yield web.url, {"token": TOKEN}


def sealed_by(attested: AttestedEnclave, caller: CallerKey | None = None) -> PendingCall:
    return attested.seal_call("echo", b"{}", caller=caller, secrets=CallSecrets.fresh())


def test_the_secret_travels_until_an_answer_has_come(run: Run, place: Place, desk: Recording) -> None:
    def journey(client: Any) -> Steps:
        enclave = yield client.attest(1, desk.policy)
        desk.loses = 2
        for _ in range(2):
            with pytest.raises(HostRefusedError):
                yield enclave.call("echo", None)
        yield enclave.call("echo", None)
        yield enclave.call("echo", {"n": 4})
        assert desk.numbers == [1, 2, 3, 4], "what was lost has used up its number"
        assert desk.carried == [True, True, True, False]
        assert len({envelope.encapsulation for envelope in desk.envelopes[:3]}) == 1

    run(place[0], journey, **place[1])


def test_a_refusal_of_the_enclaves_is_an_answer_too(run: Run, place: Place, desk: Recording) -> None:
    def journey(client: Any) -> Steps:
        enclave = yield client.attest(1, desk.policy)
        with contextlib.suppress(Exception):
            yield enclave.call("absent", None)
        yield enclave.call("echo", None)
        assert desk.carried == [True, False]

    run(place[0], journey, **place[1])


def test_a_call_that_timed_out_has_used_up_its_number(run: Run, place: Place, desk: Recording) -> None:
    def journey(client: Any) -> Steps:
        enclave = yield client.attest(1, desk.policy)
        desk.delay = 0.5
        with pytest.raises(TimedOutError):
            yield enclave.call("echo", None, timeout=0.1)
        desk.delay = 0.0
        assert sealed_by(enclave.attested).envelope.binding.sequence == 2

    run(place[0], journey, **place[1])


def test_a_call_that_was_cancelled_has_used_up_its_number(place: Place, desk: Recording) -> None:
    async def journey() -> None:
        async with await aio.connect(place[0], **place[1]) as client:
            enclave = await client.attest(1, desk.policy)
            desk.delay = 0.3
            under_way = asyncio.create_task(enclave.call("echo", None))
            await asyncio.to_thread(desk.has_come.wait, 10)
            under_way.cancel()
            with pytest.raises(asyncio.CancelledError):
                await under_way
            desk.delay = 0.0
            assert (await enclave.call("echo", {"n": 2})).value["arguments"] == {"n": 2}
            assert desk.numbers == [1, 2]

    asyncio.run(journey())


def test_a_call_that_failed_as_it_was_sealed_has_used_up_its_number(
    run: Run, place: Place, desk: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> bytes:
        raise WireError("memory", got="none left", want="some")

    def journey(client: Any) -> Steps:
        enclave = yield client.attest(1, desk.policy)
        with monkeypatch.context() as patch:
            patch.setattr(SessionKeys, "seal", fails)
            with pytest.raises(WireError, match="none left"):
                yield enclave.call("echo", None)
        with monkeypatch.context() as patch:
            patch.setattr(CallerKey, "sign", fails)
            with pytest.raises(WireError, match="none left"):
                yield enclave.call("echo", None, caller=ALICE)
        yield enclave.call("echo", None)
        assert desk.numbers == [3]

    run(place[0], journey, **place[1])


def test_a_session_is_dead_in_a_child_and_lives_on_in_its_parent(run: Run, place: Place, desk: Recording) -> None:
    def journey(client: Any) -> Steps:
        enclave = yield client.attest(1, desk.policy)
        yield enclave.call("echo", None)
        for _ in range(2):
            assert "attest again" in in_child(lambda: enclave.call("echo", {"n": 2}))
        assert desk.numbers == [1], "the child has sent nothing"
        assert (yield enclave.call("echo", {"n": 3})).value["arguments"] == {"n": 3}
        assert desk.numbers == [1, 2]

    run(place[0], journey, **place[1])


def test_threads_that_share_a_session_never_share_a_number(run: Run, place: Place, desk: Recording) -> None:
    shared: list[Any] = []

    def attests(client: Any) -> Steps:
        shared.append((yield client.attest(1, desk.policy)))

    def calls(client: Any) -> Steps:
        enclave = type(shared[0])(client, 1, shared[0].attested)
        for _ in range(10):
            try:
                yield enclave.call("echo", None, caller=BOB)
            except HostRefusedError as error:  # another thread's call has overtaken it
                assert error.fault.code is Code.SEQUENCE_USED  # noqa: PT017 - a refusal may come, and no other

    run(place[0], attests, **place[1])
    threads = [threading.Thread(target=run, args=(place[0], calls), kwargs=place[1]) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(desk.numbers) == list(range(1, 31))


@pytest.mark.parametrize("copies", COPIES, ids=COPY_NAMES)
def test_an_attested_enclave_is_not_copied(
    run: Run, place: Place, desk: Recording, copies: Callable[[Any], object]
) -> None:
    def journey(client: Any) -> Steps:
        enclave = yield client.attest(1, desk.policy)
        with pytest.raises(TypeError):
            copies(enclave.attested)
        yield enclave.call("echo", None)

    run(place[0], journey, **place[1])


def test_what_may_be_copied_shares_its_numbers(run: Run, place: Place, desk: Recording) -> None:
    def journey(client: Any) -> Steps:
        enclave = yield client.attest(1, desk.policy)
        for each in (enclave, copy.copy(enclave), enclave):
            yield each.call("echo", None)
        assert desk.numbers == [1, 2, 3]
        with pytest.raises(TypeError):
            copy.deepcopy(enclave.attested)

    run(place[0], journey, **place[1])


@pytest.mark.parametrize("by_streaming", [False, True])
def test_a_host_that_cannot_read_calls_speaks_another_protocol(
    run: Run, place: Place, desk: Recording, by_streaming: bool
) -> None:
    def journey(client: Any) -> Steps:
        enclave = yield client.attest(1, desk.policy)
        desk.refuses = fault(Code.MALFORMED, "message.tag is 0x18, the format wants Envelope")
        with pytest.raises(OtherProtocolError, match="0x18") as refused:
            yield (enclave.stream("echo", None)._step(None) if by_streaming else enclave.call("echo", None))
        assert "speaks protocol 2" in refused.value.advice
        desk.refuses = fault(Code.BUSY, "too many")
        with pytest.raises(HostRefusedError) as busy:
            yield enclave.call("echo", None)
        assert not isinstance(busy.value, OtherProtocolError)

    run(place[0], journey, **place[1])


def test_a_second_client_of_one_session_number_is_told_to_attest_again(run: Run, place: Place, desk: Recording) -> None:
    """A host that gives two clients one number, before either has called."""

    def journey(client: Any) -> Steps:
        first = yield client.attest(1, desk.policy)
        second = yield client.attest(1, desk.policy)
        found = second.attested
        second._attested = AttestedEnclave(found.evidence, found.binding, found.proof, first.attested.session)
        yield first.call("echo", None)
        sealed_by(second.attested)  # a number that is used already
        with pytest.raises(AttestAgainError, match="another secret: challenge again"):
            yield second.call("echo", None)
        yield first.call("echo", None)
        again = yield client.attest(1, desk.policy)
        yield again.call("echo", None)

    run(place[0], journey, **place[1])
