"""The codes of refusals, and the message that carries one."""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from casemate.wire.encodings.message import U32, Limit, encode_message, message
from casemate.wire.errors import CasemateError, WireError


class Code(StrEnum):
    """What went wrong, for programs; the text beside it is for people."""

    MALFORMED = "malformed"  # the peer's bytes are not in the format
    LAUNCH_REFUSED = "launch-refused"  # the chip refused the image: the message names the rule
    UNKNOWN_ENCLAVE = "unknown-enclave"
    UNKNOWN_IMAGE = "unknown-image"
    WRONG_STATE = "wrong-state"  # the lifecycle has no such step from here
    LOST = "lost"  # the enclave or its chip died
    BUSY = "busy"
    TIMED_OUT = "timed-out"  # a peer did not answer in time
    CANNOT_OPEN = "cannot-open"  # HPKE refused: not sealed for this enclave, quote, session, number or entry point
    SESSION_UNKNOWN = "session-unknown"
    SEQUENCE_USED = "sequence-used"  # replayed or reordered
    ENTRY_UNKNOWN = "entry-unknown"
    CALLER_REFUSED = "caller-refused"
    ARGUMENTS_REFUSED = "arguments-refused"  # not as the entry point's input schema says
    RESULT_REFUSED = "result-refused"  # not as the entry point's output schema says
    GUEST_ERROR = "guest-error"  # the guest's code threw
    FUNCTION_REFUSED = "function-refused"  # the guest's code refuses with an error that its manifest declares
    GUEST_CRASHED = "guest-crashed"
    TIME_LIMIT = "time-limit"
    MEMORY_LIMIT = "memory-limit"
    OUTPUT_LIMIT = "output-limit"
    PEER_REFUSED = "peer-refused"  # another enclave is not what the manifest demands, or its answer is none of its own
    CALL_CYCLE = "call-cycle"  # the call has led back to an enclave that it has come through
    CALL_DEPTH = "call-depth"  # too many enclaves call each other in a row, or too many calls come of one
    OCALL_REFUSED = "ocall-refused"  # not declared, or the host's answer broke its schema
    REPORT_REFUSED = "report-refused"  # EREPORT, EGETKEY or the quoting enclave refused
    INTERNAL = "internal"  # a defect of ours: the log of that room has the trace
    STATE_ROLLED_BACK = "state-rolled-back"  # the host's records end before the anchor, or belong to another history
    STATE_REFUSED = "state-refused"  # sealed for another identity, or by a higher security version
    STATE_CONFLICT = "state-conflict"  # another instance committed first: nothing of this call was kept, call again
    STATE_LIMIT = (
        "state-limit"  # a key, a value or the whole state is larger than allowed, or there are too many states
    )
    STOPPED_BY_MONITOR = "stopped-by-monitor"  # the manifest's [monitor] ended all calls until the next launch
    STREAM_UNKNOWN = "stream-unknown"  # no such stream, or one that was given up
    UNKNOWN_VM = "unknown-vm"
    FIRMWARE_REFUSED = "firmware-refused"  # a command of SEV-SNP firmware: the message begins with the status
    RMP_FAULT = "rmp-fault"  # a store of the host's CPU into a page that is a guest's
    UNAVAILABLE = "unavailable"  # this machine lacks something that policy requires


@message(0x01)
@dataclass(frozen=True, slots=True)
class Fault:
    """A refusal on any link: the code, and words that hold no secret."""

    code: Code
    reason: Annotated[str, Limit(4096)]
    retry_ms: U32 = 0
    """When to try again (milliseconds from now); 0 where nobody can say."""


def fault(code: Code, reason: str, *, retry_after: float = 0.0) -> Fault:
    """A fault whose text is cut to the length that the format allows; ``retry_after`` is in seconds."""
    return Fault(
        code, reason.encode("utf-8", "replace")[:4096].decode("utf-8", "ignore"), math.ceil(retry_after * 1000)
    )


def encode_reply(message: object, *, prefix: bytes = b"") -> bytes:
    """The bytes of an answer, after ``prefix``.

    Where it cannot be encoded, those of a fault, so that the peer does not wait for ever.
    """
    try:
        return encode_message(message, prefix=prefix)
    except WireError as error:
        return encode_message(fault(Code.INTERNAL, f"the answer cannot be encoded: {error}"), prefix=prefix)


class FaultError(CasemateError):
    """A refusal, by a peer or of a peer, with its fault."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(f"{fault.code}: {fault.reason}")
        self.fault = fault


def refuse(code: Code, reason: str, *, retry_after: float = 0.0) -> FaultError:
    """The error that refuses a peer, to be raised; ``retry_after`` is in seconds."""
    return FaultError(fault(code, reason, retry_after=retry_after))
