# ruff: noqa: PT028 - a command, whose parameters have defaults
"""`casemate test`: a function's unit tests, and its cases in a real enclave."""

import tempfile
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from casemate.cli.interruption import interrupted_by_signals
from casemate.cli.options import DeveloperKey, Json, Ocalls, Quiet
from casemate.cli.output import Screen, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from casemate.cli.functions.case_runs import CaseRuns
    from casemate.cli.functions.cases import Case
    from casemate.cli.functions.outcomes import Outcome
    from casemate.client.caller_keys import CallerKey
    from casemate.images.keys import DeveloperKey as Key
    from casemate.wire.protocol.manifest import Manifest

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A folder with casemate.toml.")]
Junit = Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="Put the outcomes there as JUnit's XML.")]


def test(
    folder: Folder,
    *,
    junit: Junit = None,
    ocalls: Ocalls = None,
    key: DeveloperKey = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Run a function's unit tests, and its cases in a real enclave.

    The unit tests in DIR/tests run without an enclave: with Deno, or for
    Python with pytest where it is installed, else unittest.

    Then each case calls a debug copy of the function in an enclave of its own,
    on a machine of its own, and compares results. A case is DIR/input.json
    with DIR/expected.json, or a folder DIR/tests/cases/NAME with input.json
    and expected.json, or with case.toml, which lists calls, callers and errors.
    Callers get keys for the test alone. Nothing in DIR is changed. With
    --ocalls, your handlers answer what the function asks.

    Exit code 0: all passed. 1: not all.

    Example:
        casemate test hello
        casemate test hello --junit outcomes.xml
        casemate test hello --ocalls hello/handlers.py
    """
    from casemate.cli.files import check_place, write_file
    from casemate.cli.functions import unit_tests
    from casemate.cli.functions.cases import cases_of
    from casemate.cli.functions.copies import caller_changes, manifest_of, manifest_table
    from casemate.cli.functions.outcomes import junit as junit_text
    from casemate.cli.images import MANIFEST, developer_key, is_source
    from casemate.images.errors import FolderError
    from casemate.images.functions.folder import measured_files

    screen = Screen(as_json=as_json, quiet=quiet)
    if not is_source(folder):
        raise FolderError(f"{folder} holds no {MANIFEST}: it is no enclave's folder")
    if junit is not None:
        check_place(junit, what="outcomes")
    files = measured_files(folder)
    cases = cases_of(folder, entries=len(manifest_table(files[MANIFEST], "entry")))
    keys = _keys(files[MANIFEST], cases)
    manifest = manifest_of(files, caller_changes(keys))
    command = unit_tests.command(folder, manifest.engine)
    if command is None and not cases:
        raise _nothing(folder)
    outcomes: list[Outcome] = []
    began = datetime.now().astimezone()
    developer = developer_key(key, screen)
    with interrupted_by_signals(), ExitStack() as stack:
        units = None if command is None else stack.enter_context(unit_tests.running(folder, command))
        runs = stack.enter_context(_case_runs(folder, developer, manifest, keys, ocalls)) if cases else None
        if units is not None:
            outcomes.append(_told(screen, units()))
        for at, case in enumerate(cases if runs is not None else ()):
            if runs is not None:
                outcomes.append(_told(screen, runs.run(case, at)))
    if junit is not None:
        write_file(junit, junit_text(manifest.name, outcomes, began), what="outcomes")
    failed = sum(not outcome.passed for outcome in outcomes)
    document = {
        "passed": len(outcomes) - failed,
        "failed": failed,
        "tests": [outcome.document() for outcome in outcomes],
    }
    screen.show(document, lambda console: console.print(f"{len(outcomes) - failed} passed, {failed} failed"))
    if failed:
        raise typer.Exit(1)


def _nothing(folder: Path) -> Exception:
    from casemate.cli.files import InputFileError

    error = InputFileError(f"{folder} has neither unit tests in tests/ nor cases")
    error.advice = "write tests/cases/NAME/input.json and expected.json; `casemate docs writing-functions` has more"
    return error


def _keys(text: bytes, cases: "tuple[Case, ...]") -> "dict[str, CallerKey]":
    """New keys for all callers whom the manifest or a case names."""
    from casemate.cli.functions.copies import named_callers
    from casemate.client.caller_keys import CallerKey

    named = [*named_callers(text), *sorted(name for case in cases for name in case.callers)]
    return {name: CallerKey.generate() for name in dict.fromkeys(named)}


@contextmanager
def _case_runs(
    folder: Path, developer: "Key", manifest: "Manifest", keys: "dict[str, CallerKey]", ocalls: Path | None
) -> "Iterator[CaseRuns]":
    """What runs cases, on a machine that has met nobody."""
    from casemate.cli.functions.case_runs import CaseRuns
    from casemate.cli.functions.copies import Copies
    from casemate.cli.handlers_log import HandlersLog
    from casemate.client.local import local_machine

    with tempfile.TemporaryDirectory(prefix="casemate-test-") as place:
        state = Path(place, "state")
        with local_machine(state, ocalls=ocalls) as machine, closing(HandlersLog(state)) as log:
            yield CaseRuns(Copies(folder, machine, developer), manifest, keys, log)


def _told(screen: Screen, outcome: "Outcome") -> "Outcome":
    """Shows an outcome on standard error as soon as it is there."""
    if screen.quiet and outcome.passed:
        return outcome
    stderr = screen.stderr
    mark, style = ("+", "bold green") if outcome.passed else ("x", "bold red")
    stderr.print(mark, style=style, end=" ")
    stderr.print(f"{printable(outcome.name)}  {outcome.seconds:.1f} s", soft_wrap=True)
    if outcome.passed:
        return outcome
    stderr.print(f"    {printable(outcome.failure)}", style="bold", soft_wrap=True)
    for line in outcome.details.splitlines():
        colour = {"+": "red", "-": "green"}.get(line[:1])
        stderr.print(f"    {printable(line)}", style=colour, soft_wrap=True)
    for line in outcome.console:
        screen.console_line(line)
    for line in outcome.ocalls:
        screen.console_line(line, of="ocalls")
    return outcome
