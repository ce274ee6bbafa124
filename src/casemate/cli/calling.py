"""One call of an attested enclave, and what is shown and kept of it."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from casemate.cli.files import check_place, read_file, write_file
from casemate.cli.output import Screen, facts, printable
from casemate.wire.encodings.json_text import encode_json

if TYPE_CHECKING:
    from casemate.cli.progress import Progress
    from casemate.cli.streams import Streamed, StreamFiles
    from casemate.client.caller_keys import CallerKey
    from casemate.client.core import Result
    from casemate.client.receipts import ReceiptBundle
    from casemate.client.sync import Client, Enclave
    from casemate.verifier import AnyPolicy


@dataclass(frozen=True, slots=True)
class Question:
    """A call that the user wants to make, and where its result goes."""

    arguments: bytes
    """The JSON text byte for byte as in the user's file, since the receipt commits to these bytes."""
    caller: "CallerKey | None"
    output: Path | None
    receipt: Path | None
    stream: "StreamFiles | None" = None
    """None for a call in one piece."""


@dataclass(frozen=True, slots=True)
class Answered:
    enclave: "Enclave"
    result: "Result"
    streamed: "Streamed | None" = None

    @property
    def text(self) -> str:
        """The result's JSON, exactly as the enclave wrote it; of a stream, written anew."""
        opening = self.result.receipt.output
        if opening is None or self.streamed is not None:
            return encode_json(self.result.value).decode()
        return opening.content


def read_question(
    arguments: Path,
    caller: Path | None,
    output: Path | None,
    receipt: Path | None,
    *,
    stream: "StreamFiles | None" = None,
) -> Question:
    """The question, read from its files; checks that the answer can be written before anything is started for it.

    Raises:
        InputFileError, WireError: the arguments cannot be read, or are no JSON with one meaning.
        CallerKeyError: the caller's file holds no key.
        OutputFileError: result or receipt have no folder to go to.
    """
    from casemate.client.caller_keys import read_caller_key
    from casemate.wire.encodings.json_text import parse_json
    from casemate.wire.errors import WireError
    from casemate.wire.protocol.call import MAX_ARGUMENTS

    text = read_file(arguments, what="input", limit=MAX_ARGUMENTS)
    try:
        parse_json(f"input {arguments}", text, limit=MAX_ARGUMENTS)
    except WireError as error:
        error.advice = "the arguments are JSON, as the entry point's input schema says: correct that file"
        raise
    for what, path in (("result", output), ("receipt", receipt)):
        if path is not None:
            check_place(path, what=what)
    return Question(text, None if caller is None else read_caller_key(caller), output, receipt, stream)


def attest_and_call(
    client: "Client", number: int, demands: "AnyPolicy", question: Question, *, entry: str, progress: "Progress"
) -> Answered:
    """Challenges, appraises, calls and keeps the receipt, each as one step. Sends nothing before the appraisal.

    Where the function refuses the call, its receipt is kept, too.
    """
    from casemate.cli.evidence.verdicts import measurement_name, tcb_text
    from casemate.client.errors import FunctionRefusedError

    with progress.step("challenging and appraising", "attest") as found:
        enclave = client.attest(number, demands)
        evidence = enclave.evidence
        found.append(f"{tcb_text(evidence)}, {measurement_name(evidence)} {evidence.measurement.hex()}")
    try:
        answered = _answered(client, enclave, entry, question, progress)
    except FunctionRefusedError as refusal:
        if question.receipt is not None and refusal.receipt is not None:
            _keep_receipt(refusal.receipt, question.receipt)
        raise
    with progress.step("keeping the receipt", "receipt") as found:
        _keep(answered, question)
        found.append("signed by the attested key, commits to input and output")
    return answered


def _answered(client: "Client", enclave: "Enclave", entry: str, question: Question, progress: "Progress") -> Answered:
    if question.stream is not None:
        return _stream(enclave, entry, question, question.stream, progress)
    with progress.step("calling", "call") as found:
        answered = _call(client, enclave, entry, question)
        sizes = f"{len(question.arguments)} bytes in, {len(answered.text.encode())} bytes out"
        found.append(f"{entry}: {sizes}, both sealed")
    return answered


def _call(client: "Client", enclave: "Enclave", entry: str, question: Question) -> Answered:
    from casemate.client.core import CallSecrets
    from casemate.wire.messages.host import Call
    from casemate.wire.messages.verbs import CALL_TIMEOUT

    secrets = CallSecrets.fresh()
    pending = enclave.attested.seal_call(entry, question.arguments, caller=question.caller, secrets=secrets)
    sealed = client.relay(Call(enclave.number, pending.envelope), CALL_TIMEOUT)
    return Answered(enclave, pending.open(sealed))


def _stream(enclave: "Enclave", entry: str, question: Question, files: "StreamFiles", progress: "Progress") -> Answered:
    """Streams a file through the enclave; each piece is checked as it passes, and the whole at its end."""
    from casemate.cli.streams import pass_through

    with progress.step("streaming", "stream", spins=False) as found:
        streamed = pass_through(
            enclave, entry, question.arguments, caller=question.caller, files=files, console=progress.console
        )
        found.append(f"{entry}: {streamed.sent} bytes in, {streamed.received} bytes out, all sealed")
    return Answered(enclave, streamed.result, streamed)


def _keep(answered: Answered, question: Question) -> None:
    """Writes the files that the user asked for: the result, and the receipt, which opens both (mode 0600)."""
    if question.output is not None:
        write_file(question.output, answered.text.encode(), what="result")
    if question.receipt is not None:
        _keep_receipt(answered.result.receipt, question.receipt)


def _keep_receipt(bundle: "ReceiptBundle", path: Path) -> None:
    write_file(path, _receipt_file(bundle) + b"\n", what="receipt", private=True)


def _receipt_file(bundle: "ReceiptBundle") -> bytes:
    """The receipt's file, without the openings where they would make it longer than a receipt file may be."""
    from casemate.wire.errors import WireError

    try:
        return bundle.encode()
    except WireError:
        return bundle.without_openings().encode()


def show(
    screen: Screen,
    answered: Answered,
    question: Question,
    progress: "Progress",
    policy: str,
    *,
    console: list[dict[str, object]] | None = None,
    with_metrics: bool = False,
) -> None:
    """Prints the result on standard output and what vouches for it on standard error; with ``--json`` one document.

    That has what the function printed, where it is known: ``console``.
    """
    from casemate.cli.evidence.verdicts import evidence_facts
    from casemate.cli.metrics_text import metrics_document, metrics_facts
    from casemate.cli.receipt_text import state_warning
    from casemate.verifier.claims import evidence_document
    from casemate.wire.protocol.caller_key import caller_key_text

    receipt = answered.result.receipt.receipt
    warning = state_warning(receipt.state)
    if warning is not None:
        screen.say(f"warning: {warning}", style="bold yellow")
    if screen.as_json:
        document: dict[str, object] = {
            "result": answered.result.value,
            "entry": receipt.entry,
            "enclave": answered.enclave.number,
            "evidence": evidence_document(answered.enclave.evidence),
            "policy": policy,
            "receipt": {
                "file": None if question.receipt is None else str(question.receipt),
                "counter": receipt.counter,
                "input_commitment": receipt.input_commitment.hex(),
                "output_commitment": receipt.output_commitment.hex(),
                "caller": None if receipt.caller is None else caller_key_text(receipt.caller),
            },
            "output_file": None if question.output is None else str(question.output),
            "metrics": metrics_document(answered.result.metrics),
            "stream": None if answered.streamed is None else answered.streamed.document(),
            "timings_ms": progress.document(),
        }
        if console is not None:
            document["console"] = console
        screen.show(document, lambda _: None)
        return
    rows = [*evidence_facts(answered.enclave.evidence), ("policy", policy)]
    rows.append(("receipt", _receipt(question, receipt.counter)))
    if question.output is not None:
        rows.append(("result", str(question.output)))
    if answered.streamed is not None:
        rows += answered.streamed.facts()
    if with_metrics:
        rows += metrics_facts(answered.result.metrics)
    facts(progress.console, rows)
    if question.stream is not None and question.stream.takes_stdout:
        if question.output is None:
            facts(screen.stderr, [("result", answered.text)])
    elif question.output is None:
        screen.show({}, lambda stdout: stdout.print(_pretty(answered), soft_wrap=True))


def _receipt(question: Question, counter: int) -> str:
    place = "checked; --receipt FILE keeps it" if question.receipt is None else str(question.receipt)
    return f"number {counter} of this launch, {place}"


def _pretty(answered: Answered) -> str:
    """The result for standard output: indented for a terminal, byte for byte as the enclave wrote it otherwise."""
    if sys.stdout.isatty():
        return printable(json.dumps(answered.result.value, indent=2, ensure_ascii=False))
    return answered.text
