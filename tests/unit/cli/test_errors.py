import errno
import importlib
import pkgutil
from pathlib import Path

import pytest

from casemate.cli.errors import FAULTS, RULES, ExitCode, errors_table, exit_report
from casemate.client.errors import EnclaveRefusedError, HostRefusedError
from casemate.images.errors import SchemaMismatchError, SourceError
from casemate.images.schemas.costs import SchemaCostError
from casemate.images.schemas.patterns import PatternError
from casemate.images.schemas.schemas import SchemaError
from casemate.verifier import RefusedError, Rule
from casemate.wire.errors import CasemateError
from casemate.wire.protocol.faults import Code, Fault, FaultError, fault
from casemate.wire.protocol.manifest_table import ManifestError

ROOMS = ("cli", "client", "images", "verifier", "wire", "link")
ELSEWHERE = {
    PatternError,  # the schema's compiler makes a SchemaError of it
    SchemaCostError,  # the same
    SchemaMismatchError,  # raised inside enclaves, which answer with a fault
    SchemaError,  # the manifest's parser makes a ManifestError of it
}


def _known_errors() -> set[type[CasemateError]]:
    for room in ROOMS:
        package = importlib.import_module(f"casemate.{room}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    found: set[type[CasemateError]] = set()
    waiting: list[type[CasemateError]] = [CasemateError]
    while waiting:
        for kind in waiting.pop().__subclasses__():
            waiting.append(kind)
            if kind.__module__.split(".")[1] in ROOMS:
                found.add(kind)
    return found - ELSEWHERE


def test_every_error_that_a_command_can_meet_has_a_meaning() -> None:
    known = (*errors_table(), FaultError)
    without = {kind for kind in _known_errors() if not issubclass(kind, known)}
    assert without == set()


def test_every_code_has_a_meaning() -> None:
    assert set(FAULTS) == set(Code)


def test_advice_is_about_rules_that_there_are() -> None:
    assert set(RULES) <= set(Rule)
    refused = exit_report(RefusedError(Rule.CHAIN_SIMULATED, got="one", want="another"))
    assert refused.advice == RULES["chain.simulated"]


def test_the_advice_of_whoever_refuses_goes_before_the_tables() -> None:
    refused = exit_report(RefusedError(Rule.CHAIN_SIMULATED, got="one", want="another", advice="do this"))
    assert refused.advice == "do this"


@pytest.mark.parametrize(
    ("code", "words", "advice"),
    [
        (Code.TIME_LIMIT, "the code was not loaded in time", "10 seconds"),
        (Code.TIME_LIMIT, "the function did not return within the manifest's time limit", "a loop without an end"),
        (Code.TIME_LIMIT, "the function did not return within the manifest's time limit", "raise time_ms"),
        (Code.STATE_REFUSED, "this function keeps no state: add [state] with", "build it anew"),
        (Code.OCALL_REFUSED, "the host refuses OCALL 'now'", "--ocalls FILE"),
        (Code.OCALL_REFUSED, "the manifest declares no such OCALL", "[ocall.NAME]"),
        (Code.GUEST_ERROR, "the function threw an exception; a debug enclave would tell which", "casemate run --debug"),
        (Code.GUEST_ERROR, "the code cannot be loaded: a promise", "top level"),
    ],
)
def test_what_a_function_s_developer_meets_is_answered_with_what_helps(code: Code, words: str, advice: str) -> None:
    package = Path(exit_report.__code__.co_filename).parents[1]
    sources = [source.read_text() for room in ("enclave", "spawner") for source in (package / room).rglob("*.py")]
    assert any(words.partition("'")[0] in source for source in sources), "nobody says that"
    assert advice in exit_report(FaultError(fault(code, words))).advice


def test_a_debug_enclave_s_words_are_not_answered_with_debug() -> None:
    said = exit_report(FaultError(fault(Code.GUEST_ERROR, "TypeError: no at guest/main.js:1:2")))
    assert "debug" not in said.advice
    assert "line" in said.advice


def test_special_errors_stand_before_general_ones() -> None:
    seen: list[type[Exception]] = []
    for kind in errors_table():
        assert not any(issubclass(kind, before) for before in seen)
        seen.append(kind)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RefusedError(Rule.TCB_STATUS, got="OutOfDate", want="UpToDate"), ExitCode.REFUSED),
        (EnclaveRefusedError(Fault(Code.TIME_LIMIT, "2000 ms")), ExitCode.CALL_FAILED),
        (HostRefusedError(Fault(Code.LAUNCH_REFUSED, "runtime digest")), ExitCode.INPUT),
        (HostRefusedError(Fault(Code.UNAVAILABLE, "landlock")), ExitCode.FAILED),
        (ManifestError("limits.time_ms", got="not there", want="an integer"), ExitCode.INPUT),
        (CasemateError("of no kind"), ExitCode.FAILED),
        (PermissionError(13, "Permission denied", "/root/x"), ExitCode.FAILED),
    ],
)
def test_exit_codes_are_the_documented_ones(error: CasemateError | OSError, code: ExitCode) -> None:
    assert exit_report(error).exit_code is code


def test_programs_get_the_parts_of_the_message() -> None:
    refused = exit_report(RefusedError(Rule.TCB_STATUS, got="OutOfDate", want="UpToDate"))
    assert refused.details == {"rule": "tcb.status", "got": "OutOfDate", "want": "UpToDate"}
    assert exit_report(EnclaveRefusedError(Fault(Code.TIME_LIMIT, "2000 ms"))).details == {"code": "time-limit"}
    assert exit_report(SourceError("guest/main.js", 3, 5, "dynamic import")).details["line"] == "3"


def test_an_operating_system_error_names_the_file() -> None:
    assert exit_report(PermissionError(13, "Permission denied", "/root/x")).message == "/root/x: Permission denied"
    assert "`ls -ld /root/x`" in exit_report(PermissionError(13, "Permission denied", "/root/x")).advice


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        FaultError(fault(Code.UNAVAILABLE, "the host's catalogue: /s/host/catalogue.db: database or disk is full")),
        FaultError(fault(Code.UNAVAILABLE, "records.db: database or disk is full")),
    ],
)
def test_a_full_disk_is_answered_with_advice_on_disks(error: CasemateError | OSError) -> None:
    assert exit_report(error).advice.startswith("free space where the state directory is")
