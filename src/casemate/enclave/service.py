"""What an enclave does all its life: answers one entry after another, for a host that it does not trust."""

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
from casemate.enclave.ocall import check_answer, declared_ocall, question
from casemate.enclave.peers import SocketPeer
from casemate.enclave.pump import Pump
from casemate.enclave.receipt import ReceiptBook
from casemate.enclave.sessions import Sessions
from casemate.link.errors import PeerGoneError, TimedOutError
from casemate.wire.call import CallFailed, CallResult, Envelope
from casemate.wire.errors import WireError
from casemate.wire.faults import Code, Fault, FaultError, fault, refuse
from casemate.wire.message import encode_message, parse_message
from casemate.wire.messages.entry import Challenge, ChallengeAnswer, Enter, Left
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

    def run(self) -> None:
        """Answers entries until a peer is gone, which :class:`PeerGoneError` says."""
        around = self._around
        while True:
            ready = bool(around.host.incoming) and not around.host.backlog  # nothing on credit for who does not read
            around.pump.turn(0.0 if ready else around.guest.deadline)
            around.guest.attend()
            if ready:
                reply = self._reply(around.host.incoming.popleft())
                around.console.flush()
                around.host.send(encode_message(reply))
                if isinstance(reply, Left):
                    around.guest.fetch()  # the caller has its answer: now a guest that the call has cost is replaced

    def _reply(self, frame: bytes | None) -> ChallengeAnswer | Left | Fault:
        """The reply to one frame, whatever it holds."""
        try:
            if frame is None:
                return fault(Code.MALFORMED, "the frame is longer than any entry")
            entry: object = parse_message(frame, Enter, Challenge)
            if isinstance(entry, Challenge):
                return answer_challenge(entry, self._around.leaf, self._keys, self._layers, self._sessions)
            return self._enter(entry.envelope) if isinstance(entry, Enter) else _DEFECT
        except FaultError as error:
            return error.fault
        except WireError as error:
            return fault(Code.MALFORMED, str(error))
        except (PeerGoneError, TimedOutError):
            raise
        except Exception:  # the last resort: an enclave that dies loses everybody's sessions
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
        caller = admit_caller(opened, entry, manifest)
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
        asked = question(ocall, arguments)
        around.console.flush()
        around.host.send(asked)
        around.pump.until(lambda: bool(around.host.incoming) or around.guest.is_gone(), deadline)
        if not around.host.incoming:
            raise refuse(Code.OCALL_REFUSED, f"the host did not answer OCALL {name!r} while the call lasted")
        return check_answer(ocall, around.host.incoming.popleft())
