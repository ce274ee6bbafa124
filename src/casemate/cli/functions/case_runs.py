"""Runs the cases of `casemate test`, each in an enclave that has met nobody."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from casemate.cli.files import InputFileError
from casemate.cli.functions.cases import Case, CaseCall
from casemate.cli.functions.copies import Copies, caller_changes, signing_caller
from casemate.cli.functions.copy_calls import EndlessStreamError, call_copy, stream_text
from casemate.cli.functions.debugging import debug_report
from casemate.cli.functions.outcomes import Outcome, difference, is_same, text_difference
from casemate.cli.handlers_log import HandlersLog
from casemate.cli.log_reader import Console
from casemate.client.errors import EnclaveRefusedError, FunctionRefusedError
from casemate.wire.errors import CasemateError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from casemate.client.caller_keys import CallerKey
    from casemate.client.sync import Enclave
    from casemate.wire.protocol.manifest import EntryPoint, Manifest

LONGEST = 60.0
"""Seconds that a stream of a case may take: nobody watches it, unlike that of a call."""

_PRODUCTS = 1 << 16


@dataclass(frozen=True, slots=True)
class CaseRuns:
    """Runs cases of one function."""

    copies: Copies
    manifest: "Manifest"
    """With the callers' keys."""
    keys: "Mapping[str, CallerKey]"
    handlers_log: HandlersLog
    """That of the machine's handlers of OCALLs."""

    def run(self, case: Case, at: int) -> Outcome:
        """The outcome of a case.

        Args:
            case: what to call.
            at: its place among the cases: each is another product, so none meets what another one has sealed.
        """
        begin = time.monotonic()
        console = Console(lambda _: None)
        product = ("enclave", "product_id"), (self.manifest.product_id + at) % _PRODUCTS
        try:
            image = self.copies.build(self.manifest.engine, {**caller_changes(self.keys), product[0]: product[1]})
            with self.copies.running(image, console) as (enclave, _):
                failure, details = self._calls(enclave, case)
        except (CasemateError, OSError) as error:
            failure, details = self._words(error)
        printed = tuple(line.text for line in console.lines)
        ocalls = tuple(line.text for line in self.handlers_log.new())
        return Outcome(case.name, time.monotonic() - begin, failure, details, printed, ocalls)

    def _calls(self, enclave: "Enclave", case: Case) -> tuple[str, str]:
        """The failure of the first call that is not as expected, and what else to show; empty where all are."""
        for number, call in enumerate(case.calls, 1):
            entry = self._entry(case, call)
            failure, details = self._call(enclave, entry, call)
            if failure:
                which = f"call {number}, {entry.name}: " if len(case.calls) > 1 else ""
                return which + failure, details
        return "", ""

    def _call(self, enclave: "Enclave", entry: "EntryPoint", call: CaseCall) -> tuple[str, str]:
        wanted = call.expected
        try:
            with self.ended_after(enclave, LONGEST) if entry.stream else nullcontext():
                gave = call_copy(enclave, entry, call.arguments, call.pieces, self._caller(entry, call))
            got = gave.result.value
        except (FunctionRefusedError, EnclaveRefusedError) as error:
            code = error.code if isinstance(error, FunctionRefusedError) else str(error.fault.code)
            if code == wanted.error:
                return "", ""
            failure, details = self._words(error)
            return (f"{failure}; want error {wanted.error}" if wanted.error else failure), details
        if wanted.error:
            return f"got a result, want error {wanted.error}", json.dumps(got, indent=2, ensure_ascii=False)
        if not (wanted.is_any or is_same(got, wanted.value)):
            return "got another result than wanted", difference(got, wanted.value)
        if wanted.stream is not None and gave.stream is None:
            return f"want a stream, and {entry.name} puts none out", ""
        if wanted.stream is not None and gave.stream is not None and gave.stream != wanted.stream:
            told = text_difference(stream_text(gave.stream), stream_text(wanted.stream))
            return "got another stream than wanted", told or "they differ in their line ends"
        return "", ""

    @contextmanager
    def ended_after(self, enclave: "Enclave", seconds: float) -> Iterator[None]:
        """Ends an enclave whose stream never ends, since each step of it has a time limit and the whole has none."""
        timer = threading.Timer(seconds, self.copies.end, (enclave,))
        timer.start()
        try:
            yield
        except (CasemateError, OSError):
            if timer.finished.is_set():
                raise EndlessStreamError(f"the stream did not end within {seconds:g} s") from None
            raise
        finally:
            timer.cancel()

    def _entry(self, case: Case, call: CaseCall) -> "EntryPoint":
        entries = self.manifest.entries
        name = call.entry if call.entry is not None or len(entries) != 1 else entries[0].name
        entry = None if name is None else self.manifest.entry(name)
        if entry is None:
            said = "no entry point" if name is None else f"the entry point {name!r}"
            known = ", ".join(each.name for each in entries)
            raise InputFileError(f"case {case.name}: got {said}, the manifest has {known}")
        return entry

    def _caller(self, entry: "EntryPoint", call: CaseCall) -> "CallerKey | None":
        """Who signs: whom the case names, else the first whom the entry point admits by name."""
        if call.caller is not None:
            return self.keys[call.caller]
        name = signing_caller(entry)
        return None if name is None else self.keys[name]

    def _words(self, error: CasemateError | OSError) -> tuple[str, str]:
        told = debug_report(error, self.copies.folder, [])
        return told.message, str(told.details.get("excerpt", ""))
