"""A host that does to the relayed bytes what it likes: refused, or harmless."""

import contextlib
import os
import random
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.rigs.channel.sealed import resealed
from tests.rigs.process_tree import is_alive
from tests.rigs.workshop import ANYTHING, ANYTHING_OUT, PolicyFor, Workshop, exact_policy

from casemate.client import Client, Enclave, EnclaveRefusedError, HostRefusedError, ResponseRefusedError, connect
from casemate.client.caller_keys import CallerKey
from casemate.client.core import CallSecrets
from casemate.client.local import LocalMachine
from casemate.link.channel import Channel
from casemate.link.errors import PeerGoneError, TimedOutError
from casemate.testing.hostile_host import Tampering, ask, hostile_host
from casemate.verifier import RefusedError
from casemate.wire.encodings.json_text import encode_json
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.errors import CasemateError, WireError
from casemate.wire.messages.host import Answer, Call, EvidenceIs, GetEvidence, ListEnclaves
from casemate.wire.protocol.faults import Code, Fault
from casemate.wire.protocol.isolation import Isolation

pytestmark = pytest.mark.machine

SECRET = "the admiral sails at midnight"
DICE = random.Random()
ECHO = "export function main(input) { return {heard: input}; }"


@pytest.fixture
def enclave(workshop: Workshop, client: Client, policy_for: PolicyFor) -> Enclave:
    image = workshop.image(ECHO)
    return client.attest(client.launch(image), policy_for(image))


def sealed(enclave: Enclave, value: object) -> tuple[Call, Callable[[bytes], object]]:
    pending = enclave.attested.seal_call("main", encode_json(value), caller=None, secrets=CallSecrets.fresh())
    return Call(enclave.number, pending.envelope), pending.open


def test_a_replayed_request_is_refused(client: Client, enclave: Enclave) -> None:
    call, open_answer = sealed(enclave, 1)
    open_answer(client.relay(call, 5))
    for _ in range(3):
        with pytest.raises(HostRefusedError) as refused:
            client.relay(call, 5)
        assert refused.value.fault.code is Code.SEQUENCE_USED


def test_a_reordered_request_is_refused(client: Client, enclave: Enclave) -> None:
    first, _ = sealed(enclave, 1)
    second, open_second = sealed(enclave, 2)
    open_second(client.relay(second, 5))
    with pytest.raises(HostRefusedError) as refused:
        client.relay(first, 5)
    assert refused.value.fault.code is Code.SEQUENCE_USED


def test_swapped_answers_do_not_open(client: Client, enclave: Enclave) -> None:
    first, open_first = sealed(enclave, 1)
    first_answer = client.relay(first, 5)
    second, open_second = sealed(enclave, 2)
    second_answer = client.relay(second, 5)
    for opener, answer in ((open_first, second_answer), (open_second, first_answer)):
        with pytest.raises(ResponseRefusedError):
            opener(answer)
    open_first(first_answer)


@pytest.mark.parametrize("change", ["entry", "session", "sequence", "quote_hash"])
def test_a_request_redirected_in_its_envelope_does_not_open(
    client: Client, enclave: Enclave, policy_for: PolicyFor, workshop: Workshop, change: str
) -> None:
    other = client.attest(enclave.number, policy_for(workshop.image(ECHO)))
    call, open_answer = sealed(enclave, 1)
    binding = call.envelope.binding
    changed = replace(
        binding,
        **{
            "entry": {"entry": "other"},
            "session": {"session": other.attested.session},
            "sequence": {"sequence": binding.sequence + 5},
            "quote_hash": {"quote_hash": bytes(32)},
        }[change],  # type: ignore[arg-type] # one field of its own type each
    )
    with pytest.raises(HostRefusedError) as refused:
        client.relay(replace(call, envelope=replace(call.envelope, binding=changed)), 5)
    assert refused.value.fault.code is Code.CANNOT_OPEN
    open_answer(client.relay(call, 5))  # and the number was not burned


def test_a_request_for_another_enclave_does_not_open(
    client: Client, enclave: Enclave, workshop: Workshop, policy_for: PolicyFor
) -> None:
    image = workshop.image(ECHO)
    twin = client.attest(client.launch(image), policy_for(image))
    call, _ = sealed(enclave, 1)
    with pytest.raises(HostRefusedError) as refused:
        client.relay(replace(call, enclave=twin.number), 5)
    assert refused.value.fault.code in {Code.CANNOT_OPEN, Code.SESSION_UNKNOWN}
    client.destroy(twin.number)


def test_a_signed_request_that_is_sealed_once_more_for_another_enclave_is_refused(
    workshop: Workshop, client: Client, policy_for: PolicyFor
) -> None:
    """The owner of one enclave, who may well read what Alice sends it, passes her call on to another as hers."""
    alice = CallerKey.generate()
    entries = {"main": {"input": ANYTHING, "output": ANYTHING_OUT, "callers": ["alice"]}}
    image = workshop.image(ECHO, entries=entries, callers={"alice": alice.manifest_value})
    owned, bank = (client.attest(client.launch(image), policy_for(image)) for _ in range(2))
    signed = owned.attested.seal_call("main", b'{"pay": "bob"}', caller=alice, secrets=CallSecrets.fresh())
    again = resealed(bank.attested, "main", signed.request)
    assert again.envelope.binding.session == signed.envelope.binding.session
    assert again.envelope.binding.sequence == signed.envelope.binding.sequence
    answer = client.relay(Call(bank.number, again.envelope), 5)
    with pytest.raises(EnclaveRefusedError) as refused:
        again.open(answer)
    assert refused.value.fault.code is Code.CALLER_REFUSED
    signed.open(client.relay(Call(owned.number, signed.envelope), 5))  # and where Alice sent it, it is good
    for enclave in (owned, bank):
        client.destroy(enclave.number)


def flip_a_bit(message: bytes) -> bytes:
    at = DICE.randrange(8, len(message))
    return message[:at] + bytes((message[at] ^ (1 << DICE.randrange(8)),)) + message[at + 1 :]


def test_a_flipped_bit_in_any_answer_is_noticed(
    machine: LocalMachine, workshop: Workshop, policy_for: PolicyFor
) -> None:
    image = workshop.image(ECHO)
    DICE.seed(7)
    noticed = 0
    with connect(machine.host_socket) as honest:
        number = honest.launch(image)
        for _ in range(60):
            tampering = Tampering()
            with hostile_host(machine.host_socket, tampering) as door, connect(door) as client:
                try:
                    session = client.attest(number, policy_for(image))
                    tampering.on_answer = flip_a_bit
                    assert session.call("main", 5).value == {"heard": 5}
                except (ResponseRefusedError, EnclaveRefusedError, HostRefusedError, WireError, PeerGoneError):
                    noticed += 1
        honest.destroy(number)
    assert noticed == 60


def test_changed_evidence_is_refused(machine: LocalMachine, workshop: Workshop, policy_for: PolicyFor) -> None:
    image = workshop.image(ECHO)
    DICE.seed(8)
    with connect(machine.host_socket) as honest:
        number = honest.launch(image)

    def change_quote(message: bytes) -> bytes:
        answer = parse_message(message, EvidenceIs)
        return encode_message(replace(answer, evidence=flip_a_bit(answer.evidence)))

    def change_keys(message: bytes) -> bytes:
        return encode_message(replace(parse_message(message, EvidenceIs), hpke_key=os.urandom(32)))

    def change_layers(message: bytes) -> bytes:
        answer = parse_message(message, EvidenceIs)
        return encode_message(replace(answer, layers=replace(answer.layers, guest=())))

    for change in (change_keys, change_layers, *[change_quote] * 40):
        with (
            hostile_host(machine.host_socket, Tampering(on_answer=change)) as door,
            connect(door) as client,
            pytest.raises((RefusedError, WireError)),
        ):
            client.attest(number, policy_for(image))


def test_old_evidence_is_refused(machine: LocalMachine, workshop: Workshop, policy_for: PolicyFor) -> None:
    image = workshop.image(ECHO)
    kept: list[bytes] = []

    def always_the_first(message: bytes) -> bytes:
        kept.append(message)
        return kept[0]

    with connect(machine.host_socket) as honest:
        number = honest.launch(image)
    with hostile_host(machine.host_socket, Tampering(on_answer=always_the_first)) as door, connect(door) as client:
        client.attest(number, policy_for(image))
        with pytest.raises(RefusedError, match="report-data"):
            client.attest(number, policy_for(image))


@pytest.mark.parametrize("keep", [0, 1, 3, 10, 100])
def test_truncated_answers_are_typed_errors(
    machine: LocalMachine, workshop: Workshop, policy_for: PolicyFor, keep: int
) -> None:
    image = workshop.image(ECHO)
    tampering = Tampering()
    with hostile_host(machine.host_socket, tampering) as door, connect(door) as client:
        session = client.attest(client.launch(image), policy_for(image))
        tampering.on_answer = lambda message: message[:keep]
        with pytest.raises((WireError, ResponseRefusedError)):
            session.call("main", 1)


def test_a_host_that_delays_is_given_up_in_time(
    machine: LocalMachine, workshop: Workshop, policy_for: PolicyFor
) -> None:
    image = workshop.image(ECHO)
    tampering = Tampering()
    with hostile_host(machine.host_socket, tampering) as door, connect(door) as client:
        session = client.attest(client.launch(image), policy_for(image))
        tampering.delay = 3
        began = time.monotonic()
        with pytest.raises(TimedOutError):
            session.call("main", 1, timeout=0.3)
        assert time.monotonic() - began < 1


def test_neither_relayed_bytes_nor_files_hold_plaintext(own_machine: LocalMachine, workshop: Workshop) -> None:
    image = workshop.image("export function main(input) { console.log(input); return [...input].reverse().join(''); }")
    tampering = Tampering()
    with hostile_host(own_machine.host_socket, tampering) as door, connect(door) as client:
        session = client.attest(client.launch(image), exact_policy(own_machine, image))
        assert session.call("main", SECRET).value == SECRET[::-1]
        with pytest.raises(EnclaveRefusedError):
            session.call("main", {SECRET: SECRET})
    relayed = b"".join(tampering.seen)
    files = b"".join(path.read_bytes() for path in own_machine.state.rglob("*") if path.is_file())
    for text in (SECRET, SECRET[::-1], SECRET[5:15], SECRET[::-1][5:15]):
        assert text.encode() not in relayed
        assert text.encode() not in files


@pytest.mark.parametrize("seed", range(6))
def test_the_host_answers_junk_with_faults_and_lives(machine: LocalMachine, seed: int) -> None:
    dice = random.Random(seed)
    good = [encode_message(ListEnclaves()), encode_message(GetEvidence(1, bytes(32)))]
    for number in range(1, 60):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(machine.host_socket))
        channel = Channel(sock)
        message = dice.choice(good) if dice.random() < 0.5 else b""
        junk = message[: dice.randrange(len(message) + 1)] + dice.randbytes(dice.randrange(64))
        try:
            answer = ask(channel, number, junk)
            parse_message(answer, Fault, EvidenceIs, Answer)
        except CasemateError:
            assert junk in good
        finally:
            channel.close()
    assert is_alive(machine.status.host_pid)
    with connect(machine.host_socket) as client:
        client.enclaves()


def test_ocalls_answered_with_lies_are_refused_inside(
    workshop: Workshop, client: Client, policy_for: PolicyFor
) -> None:
    """This host's `echo` says what it is told to, so the guest plays the liar's part for it."""
    image = workshop.image(
        "export async function main(input, context) { return {said: await context.ocall('echo', input)}; }",
        ocalls={"echo": {"input": ANYTHING_OUT, "output": {"type": "object", "required": ["n"]}}},
    )
    session = client.attest(client.launch(image), policy_for(image))
    assert session.call("main", {"n": 1}).value == {"said": {"n": 1}}
    for lie in ("text", {"m": 1}, [1], None):
        with pytest.raises(EnclaveRefusedError) as refused:
            session.call("main", lie)
        assert refused.value.fault.code is Code.OCALL_REFUSED
    client.destroy(session.number)


def test_an_ocall_that_is_answered_too_late_costs_nobody_else_anything(
    workshop: Workshop, client: Client, machine: LocalMachine, policy_for: PolicyFor
) -> None:
    """One caller has the guest ask right before its time is up, at moments all around that, with a long question."""
    limit = 1000  # a guest that takes another one's place is started in it, on a busy computer, too
    image = workshop.image(
        """
        export function main(input, context) {
            const began = performance.now();
            while (performance.now() - began < input) {}
            if (input > 0) context.ocall("echo", {x: "y".repeat(900000)});
            return "done";
        }
        """,
        ocalls={"echo": {"input": {"type": "object", "properties": {"x": {"type": "string"}}}, "output": ANYTHING}},
        time_ms=limit,
        isolation=Isolation.SHARED,
    )
    attacker = client.attest(client.launch(image), policy_for(image))
    with connect(machine.host_socket) as other:
        victim = other.attest(attacker.number, policy_for(image))
        for early in range(0, 40, 4):
            with contextlib.suppress(EnclaveRefusedError):
                attacker.call("main", limit - early)
            assert victim.call("main", 0).value == "done"
        other.attest(attacker.number, policy_for(image))
    client.destroy(attacker.number)


def test_the_state_directory_belongs_to_its_owner_alone(machine: LocalMachine) -> None:
    for path in (machine.state, *machine.state.rglob("*")):
        assert path.lstat().st_mode & 0o077 == 0 or path.parent == machine.state / "host", path
    fuses = [path for path in (machine.state / "chip").iterdir() if "fuse" in path.name]
    assert fuses
    assert all(Path(path).stat().st_mode & 0o777 == 0o600 for path in fuses)
