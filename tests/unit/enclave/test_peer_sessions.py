"""Two enclaves of a real chip prove themselves to each other through a host that is as dishonest as each test says."""

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.rigs.store_lab import SECS, Lab, finish, lab

from casemate.chip.sgx.secs import Secs
from casemate.enclave.capabilities.call import CallCapability
from casemate.enclave.entry.answer import Answer
from casemate.enclave.entry.channel import OpenedRequest, open_request
from casemate.enclave.entry.peer_entries import MAX_GREETED, PeerEntries
from casemate.enclave.entry.peers import OwnProof
from casemate.enclave.entry.receipts import ReceiptBook
from casemate.enclave.entry.sessions import Sessions
from casemate.enclave.guest.call_services import Course
from casemate.enclave.io.loop import Loop
from casemate.enclave.keys import EnclaveKeys, PeerKeys
from casemate.engines.questions.calls import CallOther
from casemate.wire.encodings.json_text import parse_json
from casemate.wire.messages.peers import (
    PeerCall,
    PeerGreeted,
    PeerHello,
    PeerIntroduced,
    PeerOpen,
    PeerOpened,
    PeerProof,
    PeerProve,
    PeerProved,
    PeerRefused,
    PeerReturned,
    PeerWay,
    PeerWelcome,
)
from casemate.wire.protocol.call import CallMetrics
from casemate.wire.protocol.capabilities.uses import (
    EnclaveCaller,
    LayersDemand,
    PeerDemands,
    Same,
    SignerDemand,
    Use,
)
from casemate.wire.protocol.faults import Code, FaultError, fault
from casemate.wire.protocol.inner_receipts import InnerReceipts
from casemate.wire.protocol.isolation import Isolation
from casemate.wire.protocol.peers import MAX_DEPTH, MAX_FAN_OUT, PeerSession
from casemate.wire.protocol.runtime_lock import RuntimeLock
from casemate.wire.protocol.sandbox_layers import Layer, LayerName, LayerState, SandboxLayers
from casemate.wire.protocol.tee import Identity, Tee

CALLED = replace(SECS, mr_enclave=b"b" * 32, isv_prod_id=3)
CALLER = replace(SECS, mr_enclave=b"a" * 32, isv_prod_id=4)
THIRD = replace(SECS, mr_enclave=b"c" * 32, isv_prod_id=4)
LAYERS = SandboxLayers((Layer(LayerName.SECCOMP, LayerState.APPLIED, ""),), ())
BARE = SandboxLayers((), ())
NO_LAYERS = LayersDemand(frozenset(), frozenset())
METRICS = CallMetrics(1, None, None, 1, 0, cold=False)


def by_signer(product_id: int) -> PeerDemands:
    return PeerDemands(SignerDemand(Same.SIGNER, product_id, 2), NO_LAYERS, None, None)


USE = Use("billing", by_signer(3), ("charge", "look"), ("look",))
SHOP = EnclaveCaller("shop", by_signer(4))


def program_of(secs: Secs) -> Any:
    manifest = SimpleNamespace(
        uses=(USE,), enclave_callers=(SHOP,), isolation=Isolation.CALL, receipt_metrics=False, receipt_inner=True
    )
    identity = Identity(Tee.SGX, secs.mr_enclave, secs.mr_signer, secs.isv_prod_id, secs.isv_svn, debug=False)
    return SimpleNamespace(identity=identity, image=SimpleNamespace(manifest=manifest, lock=RuntimeLock()))


class Enclave:
    """One launch of an enclave: what it answers, and what it asks of others through ``host``."""

    def __init__(self, machine: Lab, secs: Secs, host: "Host | None" = None) -> None:
        program, leaf = program_of(secs), machine.leaf(secs)
        self.keys, self.sessions = EnclaveKeys(), Sessions()
        own = OwnProof(self.keys, LAYERS)
        self.entries = PeerEntries(program, leaf, own, self.sessions)
        self.receipts = ReceiptBook(self.keys, secs.mr_enclave, program.image.manifest)
        self.opened: list[OpenedRequest] = []
        peers = SimpleNamespace(loop=Loop(), leaf=leaf, host=host)
        self.capability = CallCapability(program, cast("Any", peers), own)

    def greet(self, hello: PeerHello) -> PeerWelcome:
        said = finish(self.entries.answer(PeerGreeted(hello, PeerWay.LOCAL)))
        assert isinstance(said, PeerWelcome)
        return said

    def introduce(self, entry: PeerIntroduced) -> PeerProof:
        said = finish(self.entries.answer(entry))
        assert isinstance(said, PeerProof)
        return said

    def enter(self, asked: PeerCall) -> bytes:
        """The sealed response, which says what the arguments were."""
        opened = open_request(asked.envelope, self.keys, self.sessions)
        self.opened.append(opened)
        arguments = opened.arguments
        answer = Answer(arguments, arguments, arguments, None, METRICS)
        return opened.seal(self.receipts.issue(opened, answer))

    def calls(self, arguments: bytes = b'"x"', operation: str = "charge", *, depth: int = 0, made: int = 0) -> Any:
        call = SimpleNamespace(course=Course(bytes(16), depth, 0.0), calls=made, inner=InnerReceipts())
        question = CallOther("billing", operation, arguments)
        deadline = time.monotonic() + 60
        text = finish(self.capability.answer(question, cast("Any", call), deadline))
        return parse_json("the outcome", text, limit=1000)


def as_it_is(message: Any) -> Any:
    return message


def keeping(kept: list[Any], part: Callable[[Any], Any] = as_it_is) -> Callable[[Any], Any]:
    """Relays a message as it is, and keeps a part of it."""

    def relay(message: Any) -> Any:
        kept.append(part(message))
        return message

    return relay


@dataclass
class Host:
    """Relays. Each function may change what passes, or who gets it; None: it is silent."""

    called: Enclave | None = None
    open: Callable[[PeerOpen], Any] = as_it_is
    opened: Callable[[PeerOpened], Any] = as_it_is
    prove: Callable[[PeerIntroduced], Any] = as_it_is
    proved: Callable[[PeerProved], Any] = as_it_is
    call: Callable[[PeerCall], Any] = as_it_is
    returned: Callable[[PeerReturned], Any] = as_it_is
    passed: list[object] = field(default_factory=list)

    async def ask(self, question: Callable[[int], Any], _deadline: float, *_wanted: type) -> object | None:
        asked = question(len(self.passed) + 1)
        try:
            said: object = self.relay(asked)
        except FaultError as error:
            said = PeerRefused(asked.number, error.fault)
        self.passed.append(said)
        return said

    def relay(self, asked: Any) -> Any:
        assert self.called is not None
        match asked:
            case PeerOpen():
                welcome = self.called.greet(self.open(asked).hello)
                return self.opened(PeerOpened(asked.number, PeerWay.LOCAL, welcome.target_info, welcome))
            case PeerProve():
                entry = PeerIntroduced(
                    *(asked.session, asked.encapsulation, asked.report, b"", asked.receipt_key, asked.layers),
                    target_info=bytes(512),
                )
                proof = self.called.introduce(self.prove(entry))
                return self.proved(PeerProved(asked.number, proof.report, b"", proof.receipt_key, proof.layers))
            case PeerCall():
                return self.returned(PeerReturned(asked.number, self.called.enter(self.call(asked))))
        raise AssertionError(asked)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with lab(tmp_path_factory.mktemp("machine")) as ready:
        yield ready


@pytest.fixture
def host(machine: Lab) -> Host:
    return Host(Enclave(machine, CALLED))


@pytest.fixture
def caller(machine: Lab, host: Host) -> Enclave:
    return Enclave(machine, CALLER, host)


def refused(caller: Enclave, words: str = "", code: Code = Code.PEER_REFUSED, **call: Any) -> None:
    with pytest.raises(FaultError) as refusal:
        caller.calls(**call)
    assert refusal.value.fault.code is code, refusal.value
    assert words in refusal.value.fault.reason


def told_nothing(called: Enclave) -> None:
    assert not called.opened


def test_both_know_each_other_and_one_session_does_for_all_calls(caller: Enclave, host: Host) -> None:
    assert [caller.calls(b"%d" % number)["result"] for number in range(5)] == [*range(5)]
    assert host.called
    first = host.called.opened[0]
    assert first.session.peer is not None
    assert (first.session.peer.name, first.session.peer.identity.measurement) == ("shop", b"a" * 32)
    assert {opened.session for opened in host.called.opened} == {first.session}
    assert [opened.binding.sequence for opened in host.called.opened] == [1, 2, 3, 4, 5]
    course = first.course
    assert course is not None
    assert course.depth == 1
    assert 59_000 < course.time_ms < 60_000


def test_another_instance_of_the_same_image_cannot_answer_for_the_first(
    caller: Enclave, host: Host, machine: Lab
) -> None:
    first, second = host.called, Enclave(machine, CALLED)
    assert first is not None

    def turn_to_second(opened: PeerOpened) -> PeerOpened:
        host.called = second
        second.greet(PeerHello(bytes(32), bytes(32)))  # so that it, too, waits for a proof under this number
        return opened

    host.opened = turn_to_second
    refused(caller, "was not sealed for this enclave", Code.UNAVAILABLE)
    told_nothing(second)


def test_a_proof_of_another_instance_does_not_stand_for_the_one_with_the_key(
    caller: Enclave, host: Host, machine: Lab
) -> None:
    """The second instance does prove itself to the caller: in a session of its own."""
    other = Host(Enclave(machine, CALLED))
    again = Enclave(machine, CALLER, other)
    again.calls()
    theirs = next(said for said in other.passed if isinstance(said, PeerProved))
    host.proved = lambda proved: replace(theirs, number=proved.number)
    refused(caller, "report.binding")
    assert host.called
    told_nothing(host.called)


def test_a_callers_own_proof_is_not_the_called_ones(machine: Lab) -> None:
    """An enclave that may call its like: the REPORT is one for it, by it, of this session, and of the wrong side."""
    like = replace(CALLED, isv_prod_id=3)
    host = Host(Enclave(machine, like))
    caller = Enclave(machine, like, host)
    shown: list[PeerIntroduced] = []

    def keep(entry: PeerIntroduced) -> PeerIntroduced:
        shown.append(entry)
        return entry

    host.prove = keep
    host.proved = lambda proved: PeerProved(
        proved.number, shown[-1].evidence, b"", shown[-1].receipt_key, shown[-1].layers
    )
    refused(caller, "report.binding")


def test_proof_of_one_enclave_is_not_that_of_another(caller: Enclave, host: Host, machine: Lab) -> None:
    """C has the right signer and product; the host shows C's proof for B's session."""
    other = Host(Enclave(machine, replace(CALLED, mr_enclave=b"d" * 32)))
    Enclave(machine, CALLER, other).calls()
    theirs = next(said for said in other.passed if isinstance(said, PeerProved))
    host.proved = lambda proved: replace(proved, evidence=theirs.evidence)
    refused(caller, "report.binding")


def test_a_report_of_an_earlier_launch_proves_nothing(caller: Enclave, host: Host, machine: Lab) -> None:
    earlier = Host(host.called)
    Enclave(machine, CALLER, earlier).calls()
    old = next(said for said in earlier.passed if isinstance(said, PeerProved))
    host.called = Enclave(machine, CALLED)
    host.proved = lambda proved: replace(old, number=proved.number)
    refused(caller, "report.binding")


def test_a_callers_report_of_an_earlier_session_proves_nothing(caller: Enclave, host: Host, machine: Lab) -> None:
    shown: list[PeerIntroduced] = []
    earlier = Host(host.called, prove=keeping(shown))
    Enclave(machine, CALLER, earlier).calls()
    host.prove = lambda entry: replace(entry, evidence=shown[0].evidence)
    refused(caller, "report.binding")
    assert host.called
    assert len(host.called.opened) == 1  # the call of the earlier session


def test_with_another_key_the_right_evidence_proves_nothing(caller: Enclave, host: Host) -> None:
    """The host puts itself between the two: it can open the secret then, and has no REPORT over its own key."""
    own = EnclaveKeys()
    host.opened = lambda opened: replace(opened, welcome=replace(opened.welcome, hpke_key=own.hpke_key))
    refused(caller, "was not sealed for this enclave", Code.UNAVAILABLE)


def test_a_secret_of_the_hosts_own_is_no_session(caller: Enclave, host: Host) -> None:
    """It seals one of its own to the called enclave, beside the caller's REPORT, which names another."""
    assert host.called
    called = host.called

    def exchange(entry: PeerIntroduced) -> PeerIntroduced:
        opened = next(said for said in host.passed if isinstance(said, PeerOpened))
        hello = asked[-1].hello
        about = PeerSession(hello.nonce, opened.welcome.nonce, hello.hpke_key, called.keys.hpke_key, entry.session)
        return replace(entry, encapsulation=PeerKeys(called.keys.hpke_key, about).encapsulation)

    asked: list[PeerOpen] = []
    host.open = keeping(asked)
    host.prove = exchange
    refused(caller, "report.binding")
    told_nothing(called)


@pytest.mark.parametrize("key", [bytes(32), b"\x01" + bytes(31)], ids=["zero", "one"])
def test_a_key_that_keeps_no_secret_is_refused(caller: Enclave, host: Host, key: bytes) -> None:
    host.opened = lambda opened: replace(opened, welcome=replace(opened.welcome, hpke_key=key))
    refused(caller, "a point that keeps no secret")


CHANGES: dict[str, Callable[[Host], None]] = {
    "caller's nonce": lambda host: setattr(
        host, "open", lambda asked: replace(asked, hello=replace(asked.hello, nonce=bytes(32)))
    ),
    "caller's key": lambda host: setattr(
        host, "open", lambda asked: replace(asked, hello=replace(asked.hello, hpke_key=bytes(32)))
    ),
    "called one's nonce": lambda host: setattr(
        host, "opened", lambda opened: replace(opened, welcome=replace(opened.welcome, nonce=bytes(32)))
    ),
    "caller's receipt key": lambda host: setattr(host, "prove", lambda entry: replace(entry, receipt_key=bytes(32))),
    "caller's layers": lambda host: setattr(host, "prove", lambda entry: replace(entry, layers=BARE)),
    "caller's report": lambda host: setattr(
        host, "prove", lambda entry: replace(entry, evidence=entry.evidence[:-1] + bytes(1))
    ),
    "no report": lambda host: setattr(host, "prove", lambda entry: replace(entry, evidence=b"")),
    "called one's receipt key": lambda host: setattr(
        host, "proved", lambda proved: replace(proved, receipt_key=bytes(32))
    ),
    "called one's layers": lambda host: setattr(host, "proved", lambda proved: replace(proved, layers=BARE)),
    "called one's report": lambda host: setattr(host, "proved", lambda proved: replace(proved, evidence=bytes(432))),
    "way": lambda host: setattr(host, "opened", lambda opened: replace(opened, way=PeerWay.EVIDENCE)),
    "target": lambda host: setattr(
        host, "opened", lambda opened: replace(opened, target_info=CALLER.target_info().encode())
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_the_host_changes_on_the_way_ends_the_handshake(caller: Enclave, host: Host, change: str) -> None:
    CHANGES[change](host)
    with pytest.raises(FaultError) as refusal:
        caller.calls()
    assert refusal.value.fault.code in (Code.PEER_REFUSED, Code.UNAVAILABLE)
    assert host.called
    told_nothing(host.called)
    host.__init__(host.called)  # type: ignore[misc]
    assert caller.calls(b"1")["result"] == 1  # what has failed is begun anew by the next call


def test_an_answer_of_an_earlier_call_or_session_is_none_to_this_one(caller: Enclave, host: Host) -> None:
    kept: list[bytes] = []
    host.returned = keeping(kept, lambda said: said.sealed)
    caller.calls(b"1")
    host.returned = lambda said: replace(said, sealed=kept[0])
    refused(caller, "none of the other enclave's to this request")
    caller.capability._others["billing"].session = None
    refused(caller, "none of the other enclave's to this request")


def test_an_answer_to_one_caller_is_none_to_another(caller: Enclave, host: Host, machine: Lab) -> None:
    kept: list[bytes] = []
    others = Host(host.called, returned=keeping(kept, lambda said: said.sealed))
    third = Enclave(machine, THIRD, others)
    third.calls(b"1")
    host.returned = lambda said: replace(said, sealed=kept[0])
    refused(caller, "none of the other enclave's to this request", arguments=b"1")


def test_a_request_is_carried_out_once(caller: Enclave, host: Host) -> None:
    sent: list[PeerCall] = []
    host.call = keeping(sent)
    caller.calls(b"1")
    assert host.called
    with pytest.raises(FaultError) as refusal:
        host.called.enter(sent[0])
    assert refusal.value.fault.code is Code.SEQUENCE_USED


@pytest.mark.parametrize("step", ["opened", "proved", "returned"])
def test_a_silent_host_costs_the_calls_time_alone(caller: Enclave, host: Host, step: str) -> None:
    setattr(host, step, lambda _: None)
    refused(caller, "had not", Code.TIME_LIMIT)
    setattr(host, step, as_it_is)
    assert caller.calls(b"2")["result"] == 2


def test_an_enclave_that_is_below_the_version_is_told_nothing(host: Host, machine: Lab) -> None:
    host.called = Enclave(machine, replace(CALLED, isv_svn=1))
    refused(Enclave(machine, CALLER, host), "enclave.svn: got 1, want 2 or above")
    told_nothing(host.called)


def test_an_older_caller_is_a_stranger(host: Host, machine: Lab) -> None:
    Enclave(machine, replace(CALLER, isv_svn=1), host).calls()
    assert host.called
    peer = host.called.opened[0].session.peer
    assert peer is not None
    assert peer.name is None
    assert peer.identity.security_version == 1


def test_an_enclave_of_another_chip_cannot_prove_itself_locally(
    host: Host, tmp_path_factory: Any, machine: Lab
) -> None:
    other = Lab(tmp_path_factory.mktemp("other"), machine.loop, seed="another machine")
    try:
        host.called = Enclave(other, CALLED)
        refused(Enclave(machine, CALLER, host), "report.")
        told_nothing(host.called)
    finally:
        other.anchors.close()


def test_chains_and_crowds_of_calls_have_an_end(caller: Enclave) -> None:
    caller.calls(depth=MAX_DEPTH - 1)
    refused(caller, "in a row", Code.CALL_DEPTH, depth=MAX_DEPTH)
    caller.calls(made=MAX_FAN_OUT - 1)
    refused(caller, "times", Code.CALL_DEPTH, made=MAX_FAN_OUT)


def gone(_: Any) -> Any:
    raise FaultError(fault(Code.SESSION_UNKNOWN, "session 1 is not known here"))


def test_only_what_may_be_repeated_is_made_again_where_a_session_is_gone(caller: Enclave, host: Host) -> None:
    caller.calls()
    host.call = gone
    refused(caller, "nobody can tell", Code.UNAVAILABLE)
    host.call = as_it_is
    caller.calls()
    lost: list[PeerCall] = []

    def lose_the_first(asked: PeerCall) -> PeerCall:
        lost.append(asked)
        return asked if len(lost) > 1 else gone(asked)

    host.call = lose_the_first
    assert caller.calls(b"3", "look")["result"] == 3
    assert len(lost) == 2


def test_greetings_without_a_proof_take_bounded_memory(host: Host) -> None:
    assert host.called
    first = host.called.greet(PeerHello(secrets.token_bytes(32), bytes(32)))
    for _ in range(MAX_GREETED):
        host.called.greet(PeerHello(secrets.token_bytes(32), bytes(32)))
    entry = PeerIntroduced(first.session, bytes(80), b"", b"", bytes(32), BARE, bytes(512))
    with pytest.raises(FaultError) as refusal:
        host.called.introduce(entry)
    assert refusal.value.fault.code is Code.SESSION_UNKNOWN


def test_a_greeting_is_good_for_one_proof(caller: Enclave, host: Host) -> None:
    shown: list[PeerIntroduced] = []
    host.prove = keeping(shown)
    caller.calls()
    assert host.called
    with pytest.raises(FaultError) as refusal:
        host.called.introduce(shown[0])
    assert refusal.value.fault.code is Code.SESSION_UNKNOWN
