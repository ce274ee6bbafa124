"""The one place that says what an error means on a command line: an exit code, and what to do next."""

import json
import shlex
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from casemate.wire.errors import CasemateError, MissingExtraError, WireError, os_error_text
from casemate.wire.protocol.faults import Code, FaultError
from casemate.wire.protocol.lifecycle import WrongStateError


class ExitCode(IntEnum):
    """The exit codes of the command, for programs."""

    OK = 0
    FAILED = 1
    """The machine, this computer or Casemate failed; for `diff`: different; for `doctor`: something is missing."""
    USAGE = 2
    REFUSED = 3
    """Evidence, a response or a receipt is refused."""
    CALL_FAILED = 4
    """A call is refused or failed: there is a typed fault."""
    INPUT = 5
    """A file, manifest, policy or image that the user named is wrong."""
    FUNCTION_REFUSED = 6
    """The function refuses the call with an error of its own."""
    INTERRUPTED = 130


class Meaning(NamedTuple):
    """An error's exit code, and what the user can do about it."""

    exit_code: ExitCode
    advice: str
    """What the user can do next; empty if the message is enough."""


@dataclass(frozen=True, slots=True)
class ExitReport:
    """An error as the command line reports it."""

    exit_code: ExitCode
    kind: str
    """The error's class."""
    message: str
    advice: str
    details: dict[str, object]
    """Rule, code, field, got and want, where the error has them; of a composed policy, those of each member."""

    def document(self) -> dict[str, object]:
        """The document that ``--json`` prints in place of the result."""
        said = {
            "kind": self.kind,
            "message": self.message,
            "next": self.advice,
            "exit_code": int(self.exit_code),
        }
        return {"error": said | self.details}


_DETAILS = ("rule", "field", "key", "path", "line", "column", "excerpt", "got", "want")
"""Attributes of errors that programs are told."""

_SHOWN_DETAILS = 400
"""Characters of the details of a function's refusal that a person is shown; ``--json`` has all of them."""

_DISK_FULL = ("database or disk is full", "No space left on device")
"""Messages about a full disk, of SQLite and of the operating system."""


def exit_report(error: CasemateError | OSError) -> ExitReport:
    """The report of an error: exit code, message, advice and details."""
    details = _details(error)
    meaning = _of_fault(error) if isinstance(error, FaultError) else _of_class(error)
    own = (error.advice if isinstance(error, CasemateError) else _other_place(error)) or _spelling(error)
    message = _message(error)
    if any(words in message for words in _DISK_FULL):  # in any room, and whatever it was doing
        own = "free space where the state directory is (`df -h DIR` shows how much is left), and try again"
    advice = own or RULES.get(str(details.get("rule")), meaning.advice)
    return ExitReport(meaning.exit_code, type(error).__name__, message, advice, details)


def _spelling(error: Exception) -> str:
    """Names the key that the author of a manifest may have meant; empty where no known key resembles it."""
    from casemate.wire.protocol.manifest_table import UnknownKeyError

    if not isinstance(error, UnknownKeyError):
        return ""
    from difflib import get_close_matches

    close = get_close_matches(error.name.lower().replace("-", "_"), error.known, n=1)
    return f"did you mean {close[0]!r}? Correct that key in casemate.toml" if close else ""


def _other_place(error: OSError) -> str:
    """What to do where this user may not do that with a file or folder."""
    if not isinstance(error, PermissionError) or error.filename is None:
        return ""
    return f"name a place that is yours: `ls -ld {shlex.quote(str(error.filename))}` shows whose that one is"


def _of_class(error: Exception) -> Meaning:
    """The first row of the table whose class the error is an instance of."""
    for kind, meaning in errors_table().items():
        if isinstance(error, kind):
            return meaning
    return Meaning(ExitCode.FAILED, "")


def _message(error: CasemateError | OSError) -> str:
    """The error's message; of an OSError the file and the reason; of a function's refusal, with its details."""
    if isinstance(error, OSError):
        return f"{error.filename}: {os_error_text(error)}" if error.filename is not None else os_error_text(error)
    said = str(error) or type(error).__name__
    details = getattr(error, "details", None)
    return said if details is None else f"{said} {json.dumps(details, ensure_ascii=False)[:_SHOWN_DETAILS]}"


def _details(error: Exception) -> dict[str, object]:
    """The error's rule, code, field, got, want and so on, for programs."""
    from casemate.cli.metrics_text import metrics_document
    from casemate.client.errors import EnclaveRefusedError, FunctionRefusedError

    used: dict[str, object] = {}
    if isinstance(error, EnclaveRefusedError | FunctionRefusedError) and error.metrics is not None:
        used["metrics"] = metrics_document(error.metrics)
    if isinstance(error, FaultError):
        return {"code": str(error.fault.code)} | used
    if isinstance(error, FunctionRefusedError):
        return {"code": error.code, "reason": error.reason, "details": error.details} | used
    found = {name: getattr(error, name, None) for name in _DETAILS}
    details: dict[str, object] = {name: str(value) for name, value in found.items() if value is not None}
    refusals = getattr(error, "refusals", ())
    if refusals:
        details["members"] = [{"member": name} | _details(refusal) for name, refusal in refusals]
    return details


def errors_table() -> dict[type[Exception], Meaning]:
    """Exit code and advice for each error class, special ones first.

    Built on demand: commands that succeed import none of these classes.
    """
    from casemate.cli.deploying import NoEarlierVersionError, StateLeftError, UncertainSwitchError
    from casemate.cli.endpoints import TokenElsewhereError
    from casemate.cli.files import InputFileError, NoDocumentsError, OutputFileError
    from casemate.cli.functions.copy_calls import EndlessStreamError
    from casemate.cli.gateway_health import UnhealthyError
    from casemate.cli.images import RuntimeDigestError, StaleLockError
    from casemate.cli.inspection.dispatch import UnknownFileError
    from casemate.cli.own_machine import MachineGoneError, MachineStaysError
    from casemate.cli.policies import TimeTextError
    from casemate.cli.service_sources import ServiceSourceError
    from casemate.client import errors as client
    from casemate.client.local import MachineRunsError, NoMachineError, NotStartedError, WrongMachineError
    from casemate.client.release_lists import ReleaseListRefusedError, SeenVersionsError
    from casemate.images import errors as images
    from casemate.images.vm.assemble import AssemblyError
    from casemate.images.vm.builtin import UnknownGuestError
    from casemate.link.errors import PeerGoneError, TimedOutError
    from casemate.link.server_tls import CertificateFileError
    from casemate.process.ownership import PlaceError
    from casemate.verifier import PolicyError, RefusedError
    from casemate.wire.protocol.image_index import OtherImageVersionError
    from casemate.wire.protocol.manifest_table import ManifestError
    from casemate.wire.protocol.runtime_lock import RuntimeLockError
    from casemate.wire.sgx.sigstruct_signature import SigstructSignatureError

    failed, refused, wrong = ExitCode.FAILED, ExitCode.REFUSED, ExitCode.INPUT
    return {
        RefusedError: Meaning(
            refused, "`casemate verify ... --explain` shows every check; `casemate docs cli` explains policies"
        ),
        ReleaseListRefusedError: Meaning(
            refused, "ask the function's owner for the newest list, by a way that you trust"
        ),
        SeenVersionsError: Meaning(failed, ""),
        client.ReceiptRefusedError: Meaning(refused, "do not believe it: it was changed, or is about something else"),
        client.ResponseRefusedError: Meaning(
            refused, "do not use the answer: whoever relayed it altered or exchanged it"
        ),
        client.FunctionRefusedError: Meaning(
            ExitCode.FUNCTION_REFUSED, "the function says that itself, and kept nothing of the call"
        ),
        client.SessionForkedError: Meaning(ExitCode.CALL_FAILED, "attest the enclave again in this process"),
        client.StreamBrokenError: Meaning(ExitCode.CALL_FAILED, "open another stream; this one's output is not whole"),
        ManifestError: Meaning(wrong, "correct that key in casemate.toml"),
        images.SourceError: Meaning(wrong, "correct that line"),
        images.FolderError: Meaning(wrong, "correct the folder; `casemate init DIR` writes one that works"),
        images.KeyFileError: Meaning(wrong, "name another key with --key, or none to use your own"),
        images.ImageFileError: Meaning(wrong, "`casemate build DIR` writes NAME.sgxs and NAME.sigstruct"),
        AssemblyError: Meaning(wrong, "correct that line"),
        UnknownGuestError: Meaning(wrong, "`casemate vm guests` lists them; or name a firmware image's file"),
        images.BuildTimeError: Meaning(wrong, "set SOURCE_DATE_EPOCH to seconds since 1970, or unset it"),
        OtherImageVersionError: Meaning(wrong, "build it anew from its folder: `casemate build --relock DIR`"),
        RuntimeLockError: Meaning(wrong, "`casemate build --relock DIR` writes it anew; MRENCLAVE changes with it"),
        StaleLockError: Meaning(
            wrong,
            "`casemate lock add DIR` accepts this runtime, too, and `casemate build --relock DIR` it alone; MRENCLAVE "
            "changes with either: build again, and give out the policies that name it anew",
        ),
        client.CallerKeyError: Meaning(wrong, "`casemate keygen NEW_FILE` makes a caller's key"),
        PolicyError: Meaning(wrong, "`casemate policy IMAGE` prints a whole policy to edit"),
        UnknownFileError: Meaning(wrong, "say what it is with --as, where its bytes do not tell"),
        InputFileError: Meaning(wrong, ""),
        EndlessStreamError: Meaning(ExitCode.CALL_FAILED, "have the function return: its example has a short input"),
        MissingExtraError: Meaning(failed, ""),
        TimeTextError: Meaning(wrong, ""),
        NoDocumentsError: Meaning(wrong, "`casemate docs` lists the pages"),
        SigstructSignatureError: Meaning(wrong, "sign it again: `casemate build DIR`"),
        ServiceSourceError: Meaning(wrong, "`casemate service new DIR` writes a service that works"),
        StateLeftError: Meaning(ExitCode.CALL_FAILED, ""),
        NoEarlierVersionError: Meaning(ExitCode.CALL_FAILED, ""),
        UncertainSwitchError: Meaning(failed, ""),
        WireError: Meaning(wrong, ""),
        WrongStateError: Meaning(ExitCode.CALL_FAILED, "`casemate ps` shows each enclave's state"),
        OutputFileError: Meaning(failed, "name a folder that exists and that you may write to"),
        RuntimeDigestError: Meaning(failed, "`casemate doctor` says what this computer lacks"),
        MachineStaysError: Meaning(failed, "`casemate down --now` does not wait for calls under way"),
        MachineGoneError: Meaning(failed, "or `casemate up --dev` makes another"),
        UnhealthyError: Meaning(failed, ""),
        CertificateFileError: Meaning(wrong, "`--tls-cert` and `--tls-key` want PEM files that belong together"),
        MachineRunsError: Meaning(failed, "use it, or name another state directory with --state"),
        NotStartedError: Meaning(failed, ""),
        NoMachineError: Meaning(failed, ""),
        WrongMachineError: Meaning(
            failed, "give the seed that it was made with (--seed), or none if it has none; or `casemate down` ends it"
        ),
        PlaceError: Meaning(failed, "name another state directory with --state, in folders that are yours or root's"),
        client.TokenRefusedError: Meaning(failed, "give the token by CASEMATE_TOKEN or --token-file; `up` prints one"),
        client.RoleRefusedError: Meaning(failed, "ask the operator for a token with that role"),
        client.GatewayBusyError: Meaning(ExitCode.CALL_FAILED, "try again in a moment"),
        client.GatewayRefusedError: Meaning(failed, "the gateway's log tells more under that request's number"),
        client.AddressError: Meaning(
            wrong, "such as --url https://machine.example:8443, with its token in a file: --token-file FILE"
        ),
        TokenElsewhereError: Meaning(
            wrong, "give that gateway's own token with --token-file FILE; or export CASEMATE_URL with CASEMATE_TOKEN"
        ),
        client.TlsRefusedError: Meaning(
            failed, "name the CA that signed it with --ca FILE; there is no way to skip that"
        ),
        client.NotOfferedError: Meaning(failed, "ask a gateway, with --url"),
        client.NoHostError: Meaning(failed, "is it up there? `casemate up` starts one here and prints its URL"),
        TimedOutError: Meaning(failed, "try again; machine.log in the state directory tells more"),
        PeerGoneError: Meaning(failed, "try again; machine.log in the state directory tells more"),
    }


RULES: dict[str, str] = {
    "enclave.mr-enclave": "other code than the policy names; `casemate diff A B` says why two measurements differ",
    "enclave.debug": "whoever runs a debug enclave reads along; build it with debug = false in casemate.toml",
    "tcb.status": "have the platform updated, or name that status and its advisories in the policy",
    "chain.simulated": "the evidence is simulated; a policy must name the simulated maker's root",
    "chain.seeded": "the machine was made with --seed; a policy must say UNSAFE_PUBLIC_SEED",
    "binding.nonce": "give --binding FILE, which `casemate quote` writes beside the quote; of an enclave that is not "
    "Casemate's, the policy names the value: report_data = { equals = ... }",
    "binding.values": "give what REPORTDATA vouches for, which `casemate quote` writes, with --binding",
    "revoked.pck": "the maker revoked this machine; of simulated ones, `casemate up --state DIR` makes another",
    "chain.validity": "is this computer's clock right? If so, `casemate machine renew` renews a simulated machine's",
    "collateral.present": "give the maker's word with --collateral",
    "policy.any-of": "correct what one of the members says; of evidence that none is for, add a member",
    "policy.all-of": "each member wants a piece of evidence of its own: correct what the refusing members say",
    "policy.one-code": "the evidence is of two codes, or of one that the policy does not name: `casemate policy IMAGE "
    "--all-of` names that of an image",
    "sandbox.enclave": "`casemate doctor` says which layers a computer has; the policy says which it must have",
    "sandbox.guest": "`casemate doctor` says which layers a computer has; the policy says which it must have",
}
"""Advice for the rules that refuse honest users most often; a test compares the names with the verifier's."""

REPORT_RULES: dict[str, str] = {
    "binding.nonce": "give the challenge with --report-data HEX; of an attested function, with --binding FILE what "
    "`casemate quote` has written",
    "binding.values": "give the file that `casemate quote` writes beside a function's report with --binding FILE",
    "snp.report-format": "where the file is a longer buffer, `head -c 1184 FILE > REPORT` takes the report off it",
    "crl.format": "give the root's revocation list with --revocation-list FILE; or have the policy say "
    'revocation = "UNSAFE_NO_REVOCATION_LIST"',
    "chain.path": "--certificates wants those of the report's own key, of its issuer and of the root, in any order",
    "snp.measurement": "another guest than the policy names; `casemate measure --tee snp` measures one",
    "snp.platform-info": "`casemate docs snp` names the bits; unknown_bits in the policy's platform_info takes others",
    "snp.guest-policy": "unknown_bits in the policy's guest_policy takes bits without a name: see `casemate docs snp`",
    "snp.debug": "the host of a guest that may be debugged reads along; a guest without that bit is launched anew",
}
"""Advice by rule where `casemate verify` judges an SEV-SNP report."""


def _call(advice: str) -> Meaning:
    return Meaning(ExitCode.CALL_FAILED, advice)


REASONS: tuple[tuple[Code, str, str], ...] = (
    (
        Code.LAUNCH_REFUSED,
        "runtime-lock",
        "`casemate lock add DIR` accepts it, too, and `casemate build DIR` builds it again; MRENCLAVE changes with it",
    ),
    (Code.LAUNCH_REFUSED, "controlled-attributes", "those keys are for the chip maker's own enclaves: sign it without"),
    (Code.LAUNCH_REFUSED, "secs-attributes", "this chip has no such attributes: sign the image with others"),
    (Code.BUSY, "VMs are there already", "`casemate vm ps` lists them, `casemate vm destroy N` makes room"),
    (Code.BUSY, "enclaves are there already", "`casemate ps` lists them, `casemate destroy N` makes room"),
    (
        Code.TIME_LIMIT,
        "the code was not loaded in time",
        "what runs at the modules' top level has 10 seconds, whatever the manifest says: move work into a function",
    ),
    (
        Code.GUEST_ERROR,
        "a debug enclave would tell which",
        "`casemate run --debug DIR` of its folder shows the exception, its line, and what the function prints",
    ),
    (
        Code.RESULT_REFUSED,
        "the value breaks the schema at",
        "`casemate run --debug DIR` of its folder names the member, and what the output schema wants of it",
    ),
    (
        Code.OCALL_REFUSED,
        "the value breaks the schema at",
        "`casemate run --debug DIR` of its folder names the member, and what the [ocall.NAME] table wants of it",
    ),
    (
        Code.TIME_LIMIT,
        "the function did not return",
        "if it has a loop without an end, give it one; if not, raise time_ms in the manifest's [limits], or send less",
    ),
    (
        Code.TIME_LIMIT,
        "the guest was still",
        "do less at the modules' top level, or raise time_ms in the manifest's [limits]; of a busy machine: call again",
    ),
    (
        Code.RESULT_REFUSED,
        "the result is not JSON",
        "return what JSON has: objects, arrays, texts, finite numbers, booleans, null; a debug run names the member",
    ),
    (
        Code.RESULT_REFUSED,
        "the manifest has no schema for them",
        "write NAME = { reason = ..., details = SCHEMA } in the manifest's [errors], or refuse without details",
    ),
    (
        Code.OCALL_REFUSED,
        "the manifest declares no such OCALL",
        "add a table [ocall.NAME] with input and output to casemate.toml; the host must answer that name, too",
    ),
    (
        Code.GUEST_ERROR,
        "nothing is left to run",
        "it awaits what nobody will ever settle: settle it, or return without it",
    ),
    (Code.GUEST_ERROR, "the code cannot be loaded", "correct the modules' top level, and build the image anew"),
    (
        Code.OCALL_REFUSED,
        "the host refuses OCALL",
        "`--ocalls FILE` of `casemate up`, `run`, `dev` and `test` adds answers; `casemate logs` shows their errors",
    ),
    (
        Code.STATE_REFUSED,
        "this function keeps no state",
        "build it anew with that table; MRENCLAVE changes with it (`casemate docs writing-functions` has the keys)",
    ),
)
"""What to do where a code alone does not say: by code, and words of the reason; a test holds the words against the code
that says them."""


def _of_fault(error: FaultError) -> Meaning:
    """Exit code and advice by words of the fault's reason, else by its code."""
    meaning = FAULTS.get(error.fault.code, Meaning(ExitCode.CALL_FAILED, ""))
    said = (advice for code, words, advice in REASONS if error.fault.code is code and words in error.fault.reason)
    return meaning._replace(advice=next(said, meaning.advice))


FAULTS: dict[Code, Meaning] = {
    Code.LAUNCH_REFUSED: Meaning(
        ExitCode.INPUT, "the chip takes no such image: `casemate inspect` shows what its .sgxs and .sigstruct hold"
    ),
    Code.UNAVAILABLE: Meaning(ExitCode.FAILED, "`casemate doctor` says what this computer lacks"),
    Code.INTERNAL: Meaning(ExitCode.FAILED, "a defect of ours: machine.log in the state directory has the trace"),
    Code.MALFORMED: _call("one of the two ends is of another version, or somebody altered the bytes on their way"),
    Code.UNKNOWN_VM: _call("`casemate vm ps` lists the VMs"),
    Code.FIRMWARE_REFUSED: _call("the words before the colon are the firmware's status (AMD 56860)"),
    Code.RMP_FAULT: _call(
        "the page is a guest's, so the host's CPU may not write it; `casemate docs vm-attacks` names the other ways"
    ),
    Code.UNKNOWN_ENCLAVE: _call("`casemate ps` lists the enclaves"),
    Code.UNKNOWN_IMAGE: _call("the host keeps no such image: upload it again"),
    Code.WRONG_STATE: _call("`casemate ps` shows each enclave's state, `casemate vm ps` each VM's"),
    Code.LOST: _call("`casemate ps` and `casemate vm ps` show what is left; launch it again"),
    Code.BUSY: _call("try again in a moment"),
    Code.TIMED_OUT: _call("try again; machine.log in the state directory tells more"),
    Code.CANNOT_OPEN: _call("somebody altered the request on its way, or the enclave was started anew: call again"),
    Code.SESSION_UNKNOWN: _call("the enclave was started anew: call again, which challenges it anew"),
    Code.SEQUENCE_USED: _call("somebody replayed or reordered a request: call again"),
    Code.ENTRY_UNKNOWN: _call("the manifest's [entry.NAME] tables are all there is"),
    Code.CALLER_REFUSED: _call("sign with --caller KEY.pem; the manifest must name that key for this entry point"),
    Code.ARGUMENTS_REFUSED: _call("the input must be as the entry point's input schema says"),
    Code.RESULT_REFUSED: _call("the function's result must be as the entry point's output schema says"),
    Code.GUEST_ERROR: _call("correct the function; where its words end with a place, that is the line that threw"),
    Code.FUNCTION_REFUSED: Meaning(
        ExitCode.FUNCTION_REFUSED, "the [errors] table of the function's manifest has its words"
    ),
    Code.GUEST_CRASHED: _call("the function's process died; the enclave lives on"),
    Code.TIME_LIMIT: _call("raise time_ms in the manifest's [limits], or send less"),
    Code.MEMORY_LIMIT: _call("raise memory_mib in the manifest's [limits], or send less"),
    Code.OUTPUT_LIMIT: _call("raise output_kib in the manifest's [limits], or return less"),
    Code.PEER_REFUSED: _call(
        "the manifest's [uses.NAME] tables say what another enclave must prove, `casemate bind` whom a NAME means"
    ),
    Code.CALL_CYCLE: _call("an enclave is called by what it calls: let one of them do without the other"),
    Code.CALL_DEPTH: _call("have fewer enclaves call each other in a row, and each call fewer of them"),
    Code.OCALL_REFUSED: _call("the manifest's [ocall.NAME] tables are all that may go out and come in"),
    Code.STATE_ROLLED_BACK: Meaning(
        ExitCode.REFUSED,
        "the host's records are older than the chip's anchor: restore the newest host/records.db, or see "
        "`casemate state accept-rollback --help`",
    ),
    Code.STATE_REFUSED: _call("the state is another identity's, or a newer version's: launch that version"),
    Code.STATE_CONFLICT: _call("another instance committed first and nothing of this call was kept: call again"),
    Code.STATE_LIMIT: _call(
        "keep less, or raise max_kib in the manifest's [state]; too many states: `casemate state give-up --help`"
    ),
    Code.STOPPED_BY_MONITOR: _call("the operator can launch it again: `casemate stop N`, `casemate start N`"),
    Code.STREAM_UNKNOWN: _call("the enclave has given the stream up: open another"),
    Code.REPORT_REFUSED: _call("the chip refuses a report or key to this enclave; machine.log tells more"),
}
"""Exit code and advice for every fault code; a test compares the table with the codes."""
