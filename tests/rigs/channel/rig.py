"""An enclave in a thread; chip, spawner and host around it are the test's to play, as honestly as it likes."""

import contextlib
import hashlib
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self, cast

from tests.rigs.channel.guests import Called, Line, Loader, Script, echo, loads, start_guest

from casemate.client.caller_keys import CallerKey
from casemate.client.core import AttestedEnclave, CallSecrets, PendingCall, Result
from casemate.client.proof import Proof
from casemate.enclave.main import run
from casemate.images.layout import lay_out
from casemate.link.channel import Channel
from casemate.link.errors import PeerGoneError
from casemate.link.numbered_frames import NEWS, NUMBER_SIZE, split
from casemate.testing.forge import honest_body
from casemate.verifier.checks import Trail
from casemate.verifier.issue_marks import IssueMarks
from casemate.verifier.sgx.evidence import VerifiedSgxEvidence, VerifiedTcb
from casemate.wire.encodings.json_text import encode_json
from casemate.wire.encodings.message import encode_message, parse_message, tag_of
from casemate.wire.errors import WireError
from casemate.wire.messages.entry import (
    Challenge,
    ChallengeAnswer,
    Enter,
    Left,
    Log,
    Noticed,
    Ocall,
    OcallAnswer,
    OcallRefused,
    PlainLeft,
    Ready,
    Used,
)
from casemate.wire.messages.leaf import (
    AnchorAdvance,
    AnchorIs,
    AnchorRead,
    Boot,
    Booted,
    GetSealingKey,
    KeyIs,
    MakeReport,
    ReportMade,
)
from casemate.wire.messages.service_life import Configured, HealthIs
from casemate.wire.messages.spawner import GuestGiven, GuestGone, GuestRefused, NeedGuest, Unwatch, Watch
from casemate.wire.messages.state import STATE_ANSWERS, StateAppend, StateForget, StateRead
from casemate.wire.protocol.call import Envelope
from casemate.wire.protocol.deployment import NO_DEPLOYMENT
from casemate.wire.protocol.faults import Code, Fault, fault
from casemate.wire.protocol.image_index import LOCK_PATH, MANIFEST_PATH, Link
from casemate.wire.protocol.isolation import Isolation
from casemate.wire.protocol.report_data import ReportDataBinding
from casemate.wire.protocol.runtime_lock import RuntimeLock
from casemate.wire.protocol.sandbox_layers import Layer, LayerName, LayerState
from casemate.wire.protocol.tee import Identity, Tee
from casemate.wire.sgx.collateral import Collateral
from casemate.wire.sgx.tcb_info import TcbStatus

TIMEOUT = 10.0
"""Longer than anything here may take (seconds)."""

ALICE, BOB = CallerKey.generate(), CallerKey.generate()

MANIFEST = f"""
[enclave]
name = "rig"
product_id = 3
security_version = 2
debug = false
engine = "javascript"
main = "guest/main.js"
isolation = "shared"

[limits]
memory_mib = 64
time_ms = 20000
output_kib = 4

[callers]
alice = "{ALICE.manifest_value}"
bob = "{BOB.manifest_value}"

[entry.echo]
input = {{}}
callers = "anyone"
[entry.echo.output]
type = "object"
[entry.echo.output.properties]
entry = {{ type = "string" }}
[entry.echo.output.properties.caller]
type = ["object", "null"]
properties = {{ name = {{ type = ["string", "null"] }}, key = {{ type = "string" }} }}
[entry.echo.output.properties.arguments]
type = ["object", "null"]
properties = {{ secret = {{ type = "string" }}, n = {{ type = "number" }} }}

[entry.private]
input = {{}}
output = {{ type = ["object", "null"], additionalProperties = {{ type = ["string", "null"] }} }}
callers = ["alice"]

[entry.number]
output = {{ type = "number" }}
callers = "anyone"
[entry.number.input]
type = "object"
properties = {{ n = {{ type = "number" }} }}
required = ["n"]
additionalProperties = false

[ocall.now]
input = {{ type = "object", properties = {{ zone = {{ type = "string" }} }} }}
output = {{ type = "integer", minimum = 0 }}
"""


def manifest_with(*, isolation: Isolation, concurrent: int | None = None, guests: int | None = None) -> str:
    """The rig's manifest with another isolation, and with those limits that are not None."""
    written = (("concurrent", concurrent), ("guests", guests))
    limits = "".join(f"{name} = {value}\n" for name, value in written if value is not None)
    return MANIFEST.replace('"shared"', f'"{isolation}"').replace("[limits]\n", f"[limits]\n{limits}")


PYTHON_MANIFEST = (
    MANIFEST.replace('engine = "javascript"', 'engine = "python"\npermissions = ["random", "now"]')
    .replace("guest/main.js", "guest/main.py")
    .replace('"shared"', '"caller"')
)
"""The same for an engine whose guests are copies of one that has loaded the program."""

HURRIED = MANIFEST.replace("20000", "500")
"""For tests in which time runs out."""

FILES = {
    MANIFEST_PATH: MANIFEST.encode(),
    LOCK_PATH: RuntimeLock().encode(),
    "guest/main.js": b"export function echo() {}",
    "guest/main.py": b"def echo(input, context): ...",
}

MR_ENCLAVE = b"E" * 32
LAYERS = (Layer(LayerName.SECCOMP, LayerState.APPLIED, "a test's word for it"),)
GUEST_LAYERS = (Layer(LayerName.LANDLOCK, LayerState.APPLIED, ""),)


def pages_of(files: Mapping[str, bytes], links: tuple[Link, ...] = ()) -> bytes:
    """The pages of an image of these files."""
    engine = "python" if b'engine = "python"' in files[MANIFEST_PATH] else "javascript"
    return lay_out(dict(files), links, engine=engine).linear_contents()


_REPLIES = (ChallengeAnswer, Left, PlainLeft, HealthIs, Configured)
_UNASKED = (Fault, Ready, Ocall, Log, StateRead, StateAppend, StateForget)
_ANSWERS = {tag_of(answer) for answer in (OcallAnswer, OcallRefused, *STATE_ANSWERS)}


class Rig:
    """A running enclave. Leaving the ``with`` block hangs up and waits for it to end."""

    def __init__(
        self,
        *,
        script: Script = echo,
        loader: Loader = loads,
        manifest: str = MANIFEST,
        debug: bool = False,
        pages: bytes | None = None,
        deployment: bytes = NO_DEPLOYMENT,
    ) -> None:
        self.script = script
        self.loader = loader
        self.guest_layers = GUEST_LAYERS
        self.spawner_refuses: Fault | None = None
        self.chip_refuses: Fault | None = None
        self.anchor = AnchorIs(0, bytes(32), 0, 0, is_forgiven=False)
        self.guests = 0
        self.number = 0
        """The enclave's number for the guest that it asked for last."""
        self.needs: list[NeedGuest] = []
        """The guests that it has asked for, and has been answered."""
        self.watches: list[int | None] = []
        """Milliseconds of each Watch, None for each Unwatch."""
        self.entries = 0
        """Number of the last entry."""
        self.answered = 0
        """Number of the entry that the enclave answered last; 0 where it spoke of none."""
        self.used: list[Used] = []
        """What it has told of the calls' use; no other message's turn is changed by that."""
        self.noticed: list[Noticed] = []
        """What its monitor has found; the same goes for that."""
        self.relayed: list[bytes] = []
        """All that went through the host, in both directions."""
        self._chip, chip_end = socket.socketpair()
        self._host, host_end = socket.socketpair()
        self._spawner, spawner_end = socket.socketpair()
        self.chip, self.host, self.spawner = Channel(self._chip), Channel(self._host), Channel(self._spawner)
        boot = Boot(
            identity=Identity(Tee.SGX, MR_ENCLAVE, b"S" * 32, 3, 2, debug=debug, deployment=deployment),
            tcb=bytes(16),
            pages=pages_of(FILES | {MANIFEST_PATH: manifest.encode()}) if pages is None else pages,
        )
        ends = tuple(end.detach() for end in (chip_end, host_end, spawner_end))
        self.raised: BaseException | None = None
        self._enclave = threading.Thread(target=self._live, args=ends, daemon=True)
        self._enclave.start()
        threading.Thread(target=self._serve_guests, daemon=True).start()
        self.chip.send(encode_message(boot), timeout=TIMEOUT)
        self.booted: object = parse_message(self.chip.receive(timeout=TIMEOUT).payload, Booted, Fault)
        if isinstance(self.booted, Booted):
            self.ready = self.receive()
            assert isinstance(self.ready, Ready), self.ready
        threading.Thread(target=self._serve_leaf_functions, daemon=True).start()

    def __enter__(self) -> Self:
        assert isinstance(self.booted, Booted), self.booted
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hang_up()
        assert self.ended()
        self.close()

    def close(self) -> None:
        """Closes the sockets."""
        for sock in (self._chip, self._host, self._spawner):
            _shut(sock)
            sock.close()

    def hang_up(self) -> None:
        """The host goes away."""
        _shut(self._host)

    def chip_dies(self) -> None:
        """The chip goes away."""
        _shut(self._chip)

    def spawner_dies(self) -> None:
        """The spawner goes away."""
        _shut(self._spawner)

    def ended(self, seconds: float = TIMEOUT) -> bool:
        """Whether the enclave's process has ended, and not by a crash."""
        self._enclave.join(seconds)
        assert self.raised is None, self.raised
        return not self._enclave.is_alive()

    def end_guest(self, guest: int) -> None:
        """The spawner ends a guest as it was told to, and says that it is gone, as it does in any case."""
        self.tell_gone(Code.GUEST_CRASHED, "the guest killed by SIGKILL", guest=guest)

    def tell_gone(self, code: str, reason: str = "", *, guest: int | None = None) -> None:
        """The spawner says that a guest is gone; the last one, if no number is given."""
        number = self.number if guest is None else guest
        self.spawner.send(encode_message(GuestGone(number, code, reason)), timeout=TIMEOUT)

    def watches_when(self, told: Callable[[list[int | None]], bool]) -> list[int | None]:
        """What the spawner has been told of guests' times, once that is so.

        It listens in a thread of its own, which may run later than whatever else shows that the enclave has spoken.
        """
        deadline = time.monotonic() + TIMEOUT
        while not told(self.watches):
            assert time.monotonic() < deadline, self.watches
            time.sleep(0.001)
        return self.watches

    # The host's part

    def send(self, message: bytes) -> int:
        """Sends the enclave any message at all, under the number of a new entry, or under 0 where it is an answer."""
        if message[:1] not in _ANSWERS:
            return self.send_entry(message)
        self.send_frame(NEWS.to_bytes(NUMBER_SIZE, "little") + message)
        return NEWS

    def send_entry(self, message: bytes) -> int:
        """Sends the enclave any message at all under the number of a new entry; that number."""
        self.entries += 1
        self.send_frame(self.entries.to_bytes(NUMBER_SIZE, "little") + message)
        return self.entries

    def send_frame(self, frame: bytes) -> None:
        """Sends the enclave any frame at all."""
        self.relayed.append(frame)
        self.host.send(frame, timeout=TIMEOUT)

    def receive(self) -> Any:
        """What the enclave says next. The entry that it answers is in :attr:`answered`."""
        frame = self.host.receive(timeout=TIMEOUT).payload
        self.relayed.append(frame)
        number, message = split(frame)
        if bytes(message[:1]) == tag_of(Used):
            self.used.append(parse_message(message, Used))
            return self.receive()
        if bytes(message[:1]) == tag_of(Noticed):
            self.noticed.append(parse_message(message, Noticed))
            return self.receive()
        self.answered = number
        reply: object = parse_message(message, *_REPLIES, *_UNASKED)
        assert isinstance(reply, Fault) or (self.answered != NEWS) is isinstance(reply, _REPLIES), reply
        return reply

    def ask(self, message: object) -> Any:
        """The reply to a message."""
        self.send(encode_message(message))
        return self.receive()

    def enter(self, envelope: Envelope) -> Any:
        """The reply to a sealed call, if it asks nothing in between."""
        return self.ask(Enter(envelope))

    # The client's part

    def attest(self, quote: bytes = b"a quote") -> AttestedEnclave:
        """A session, with an appraisal that only tests can have so cheaply."""
        nonce = os.urandom(32)
        answer = self.ask(Challenge(nonce, bytes(512)))
        assert isinstance(answer, ChallengeAnswer), answer
        binding = ReportDataBinding(answer.hpke_key, answer.receipt_key, nonce, answer.layers)
        assert answer.report[320:384] == binding.report_data()
        now = datetime(2026, 11, 1, tzinfo=UTC)
        status = TcbStatus.UP_TO_DATE
        body = replace(honest_body(), mr_enclave=MR_ENCLAVE, report_data=binding.report_data())
        evidence = VerifiedSgxEvidence(
            quote_hash=hashlib.sha256(quote).digest(),
            report=body,
            platform=cast("Any", None),
            chain=cast("Any", None),
            binding=binding,
            tcb=VerifiedTcb(status, status, status, (), now, 1),
            root="a test",
            simulated=True,
            seeded=True,
            appraised_at=now,
            expires_at=now,
            marks=IssueMarks(bytes(32), now, (), 1),
            passed=Trail(thorough=False).passed(),
        )
        return AttestedEnclave(evidence, binding, Proof(Tee.SGX, quote, COLLATERAL), answer.session)

    def call(self, session: AttestedEnclave, name: str, value: Any, caller: CallerKey | None = None) -> Result:
        """A call that an honest host relays; OCALLs are none of its business here."""
        pending = seal(session, name, value, caller)
        reply = self.enter(pending.envelope)
        assert isinstance(reply, Left), reply
        return pending.open(reply.sealed)

    # Chip and spawner

    def _live(self, chip: int, host: int, spawner: int) -> None:
        try:
            run(chip, host, spawner, LAYERS)
        except BaseException as error:  # whatever it is, the test must hear of it
            self.raised = error

    def _serve_leaf_functions(self) -> None:
        try:
            while True:
                frame = self.chip.receive().payload
                question: object = parse_message(frame, MakeReport, GetSealingKey, AnchorRead, AnchorAdvance)
                self.chip.send(encode_message(self.chip_refuses or self._leaf_function(question)))
        except (PeerGoneError, WireError):
            return

    def _leaf_function(self, question: object) -> object:
        match question:
            case MakeReport(_, report_data):
                return ReportMade((bytes(320) + report_data).ljust(432, b"\x00"))
            case GetSealingKey():
                return KeyIs(hashlib.sha256(encode_message(question)).digest()[:16])
            case AnchorAdvance(_, epoch, head):
                if epoch != self.anchor.epoch:
                    return fault(Code.STATE_CONFLICT, "another was faster")
                self.anchor = AnchorIs(epoch + 1, head, 2, 0, is_forgiven=False)
        return self.anchor

    def _serve_guests(self) -> None:
        try:
            while True:
                frame = self.spawner.receive().payload
                asked: object = parse_message(frame, NeedGuest, Watch, Unwatch)
                match asked:
                    case Watch(guest, milliseconds):
                        self.watches.append(milliseconds)
                        if milliseconds == 0:
                            self.end_guest(guest)
                    case Unwatch():
                        self.watches.append(None)
                    case NeedGuest(number):
                        assert number > self.number
                        self.number = number
                        self._give_guest(asked)
                        self.needs.append(asked)
                    case _:
                        raise AssertionError(asked)
        except PeerGoneError:
            return

    def _give_guest(self, need: NeedGuest) -> None:
        if self.spawner_refuses is not None:
            self.spawner.send(encode_message(GuestRefused(self.number, self.spawner_refuses)))
            return
        self.guests += 1
        (guest_reads, enclave_writes), (enclave_reads, guest_writes) = os.pipe(), os.pipe()
        start_guest(guest_reads, guest_writes, self._play, self._load, is_copy=need.copy_of != 0)
        given = GuestGiven(self.number, 0, self.guest_layers)
        self.spawner.send(encode_message(given), (enclave_writes, enclave_reads))
        os.close(enclave_writes)
        os.close(enclave_reads)

    def _play(self, called: Called) -> None:
        self.script(called)

    def _load(self, line: Line) -> None:
        self.loader(line)


COLLATERAL = Collateral(
    pck_crl_issuer_chain=b"",
    root_ca_crl=b"",
    pck_crl=b"",
    tcb_info_issuer_chain=b"",
    tcb_info=b"{}",
    tcb_info_signature=bytes(64),
    qe_identity_issuer_chain=b"",
    qe_identity=b"{}",
    qe_identity_signature=bytes(64),
    pck_certificate_chain=None,
)


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def seal(session: AttestedEnclave, name: str, value: Any, caller: CallerKey | None = None) -> PendingCall:
    """A sealed call."""
    return session.seal_call(name, encode_json(value), caller=caller, secrets=CallSecrets.fresh())
