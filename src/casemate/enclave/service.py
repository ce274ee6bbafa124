"""What an enclave does all its life: answers one entry after another, for a host that it does not trust."""

import itertools
import time
from dataclasses import dataclass

from casemate.enclave.attest import answer_challenge
from casemate.enclave.boot import Program
from casemate.enclave.callers import admit_caller
from casemate.enclave.channel import OpenedRequest, open_request
from casemate.enclave.console import Console
from casemate.enclave.ecall import check_arguments, check_result, declared_entry
from casemate.enclave.guest import Guest
from casemate.enclave.keys import EnclaveKeys
from casemate.enclave.leaf import Leaf
from casemate.enclave.ocall import answer_to, check_answer, declared_ocall, question
from casemate.enclave.peers import SocketPeer
from casemate.enclave.pump import Pump
from casemate.enclave.receipt import ReceiptBook
from casemate.enclave.sessions import Sessions
from casemate.link.errors import PeerGoneError, TimedOutError
from casemate.wire.call import CallFailed, CallResult, Envelope
from casemate.wire.errors import WireError
from casemate.wire.faults import Code, Fault, FaultError, fault, refuse
from casemate.wire.message import encode_message, parse_message
from casemate.wire.messages.entry import Challenge, ChallengeAnswer, Enter, Left, OcallAnswer, OcallRefused
from casemate.wire.sandbox import SandboxLayers

_DEFECT = fault(Code.INTERNAL, "a defect of the enclave's; nothing more is told")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """All that an enclave can talk to."""

    pump: Pump
    leaf: Leaf
    host: SocketPeer
    guest: Guest
    console: Console


class Service:
    """Entries in, replies out.

    Who learns what: until a request is opened, the host is told why it is refused; from then on its caller alone, by a
    sealed response that shows the host nothing but a padded size. What goes wrong in here is told to nobody.
    """

    def __init__(self, program: Program, layers: SandboxLayers, around: Surroundings) -> None:
        self._manifest = program.image.manifest
        self._layers = layers
        self._around = around
        self._keys = EnclaveKeys()
        self._sessions = Sessions()
        self._receipts = ReceiptBook(self._keys, program.mr_enclave)
        self._ocall_numbers = itertools.count(1)

    def run(self) -> None:
        """Answers entries until a peer is gone, which :class:`PeerGoneError` says."""
        around = self._around
        while True:
            ready = bool(around.host.incoming) and not around.host.backlog  # nothing on credit for who does not read
            around.pump.turn(0.0 if ready else around.guest.deadline)
            around.guest.attend()
            reply = self._reply(around.host.incoming.popleft()) if ready else None
            if reply is not None:
                around.console.flush()
                around.host.send(encode_message(reply))
                if isinstance(reply, Left):
                    around.guest.fetch()  # the caller has its answer: now a guest that the call has cost is replaced

    def _reply(self, frame: bytes | None) -> ChallengeAnswer | Left | Fault | None:
        """The reply to one frame, whatever it holds; None to what the host says about an OCALL that is over."""
        try:
            if frame is None:
                return fault(Code.MALFORMED, "the frame is longer than any entry")
            return self._do(parse_message(frame, Enter, Challenge, OcallAnswer, OcallRefused))
        except FaultError as error:
            return error.fault
        except WireError as error:
            return fault(Code.MALFORMED, str(error))
        except (PeerGoneError, TimedOutError):
            raise
        except Exception:  # the last resort: an enclave that dies loses everybody's sessions
            return _DEFECT

    def _do(self, entry: object) -> ChallengeAnswer | Left | Fault | None:
        match entry:
            case Challenge():
                return answer_challenge(entry, self._around.leaf, self._keys, self._layers, self._sessions)
            case Enter(envelope):
                return self._enter(envelope)
            case OcallAnswer() | OcallRefused():
                return None  # its call ended first: a reply would be taken for the next entry's
        return _DEFECT

    def _enter(self, envelope: Envelope) -> Left:
        deadline = time.monotonic() + self._manifest.limits.time_ms / 1000
        opened = open_request(envelope, self._keys, self._sessions)
        try:
            response: CallResult | CallFailed = self._call(opened, deadline)
        except FaultError as error:
            response = CallFailed(error.fault)
        except (PeerGoneError, TimedOutError):
            raise
        except Exception:  # as above; the caller must not take silence for a lost call
            response = CallFailed(_DEFECT)
        return Left(opened.seal(response))

    def _call(self, opened: OpenedRequest, deadline: float) -> CallResult:
        """One call, in the order in which its rules are checked."""
        manifest = self._manifest
        entry = declared_entry(manifest, opened.binding.entry)
        caller = admit_caller(opened, entry, manifest, self._keys.hpke_key)
        arguments = check_arguments(entry, opened.arguments)
        returned = self._around.guest.call(
            entry.name,
            arguments,
            caller,
            ask=lambda name, asked: self._ask_host(name, asked, deadline),
            deadline=deadline,
        )
        output = check_result(entry, returned, output_kib=manifest.limits.output_kib)
        return self._receipts.issue(opened, output)

    def _ask_host(self, name: str, arguments: bytes, deadline: float) -> bytes:
        """An OCALL: JSON in, checked JSON out."""
        around = self._around
        ocall = declared_ocall(self._manifest, name)
        number = next(self._ocall_numbers)
        asked = question(ocall, number, arguments)
        around.console.flush()
        around.host.send(asked)
        said = self._await_answer(number, deadline)
        if said is None:
            raise refuse(Code.OCALL_REFUSED, f"the host did not answer OCALL {name!r} while the call lasted")
        return check_answer(ocall, said)

    def _await_answer(self, number: int, deadline: float) -> OcallAnswer | OcallRefused | None:
        """What the host says about the OCALL of that number while the call lasts. All else that it says is dropped."""
        pump, incoming, guest = self._around.pump, self._around.host.incoming, self._around.guest
        while time.monotonic() < deadline and pump.until(lambda: bool(incoming) or guest.is_gone(), deadline):
            if not incoming:
                break
            said = answer_to(number, incoming.popleft())
            if said is not None:
                return said
        return None
