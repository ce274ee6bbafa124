"""`casemate dev`: a function that is edited while it runs, without and with a terminal."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.rigs.command_line import casemate_here
from tests.rigs.examples import EXAMPLES, files_of
from tests.rigs.process_tree import descendants, is_alive
from tests.rigs.served_commands import casemate

from casemate.wire.protocol.manifest import Engine

pytestmark = pytest.mark.machine

LONG = 90.0
"""Seconds that a machine may take to start, on a busy computer."""

FUNCTIONS = {
    Engine.JAVASCRIPT: """\
console.log("loaded");
export function rate(input) {
  console.log("asked");
  return { verdict: "weak", guesses_log10: WHICH, advice: [], rated_for: "anyone" };
}
""",
    Engine.PYTHON: """\
print("loaded")
def rate(input, context):
    print("asked")
    return { "verdict": "weak", "guesses_log10": WHICH, "advice": [], "rated_for": "anyone" }
""",
}
MAIN = {Engine.JAVASCRIPT: "guest/main.js", Engine.PYTHON: "guest/main.py"}
ONE_ENGINE = pytest.mark.parametrize("engine", [Engine.JAVASCRIPT])
"""For what does not depend on the language."""
MISTAKE = {Engine.JAVASCRIPT: "input.missing.member", Engine.PYTHON: 'input["missing"]["member"]'}


@pytest.fixture
def folder(tmp_path: Path, engine: Engine, developer_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(developer_home))
    made = tmp_path / "hello"
    assert casemate_here("init", made, "--engine", engine).code == 0
    write(made, engine, "1")
    return made


def write(folder: Path, engine: Engine, which: str) -> None:
    (folder / MAIN[engine]).write_text(FUNCTIONS[engine].replace("WHICH", which))


class Session:
    """A session with ``--json``."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def until(self, *events: str) -> list[dict[str, Any]]:
        """What it says up to one of these events."""
        assert self.process.stdout is not None
        found: list[dict[str, Any]] = []
        while not found or found[-1]["event"] not in events:
            line = self.process.stdout.readline()
            assert line, (self.process.wait(10), self.process.stderr and self.process.stderr.read())
            found.append(json.loads(line))
        return found


@contextmanager
def session(folder: Path, *arguments: object) -> Iterator[Session]:
    with casemate("dev", folder, "--json", *arguments) as process:
        try:
            yield Session(process)
        finally:
            process.kill()


def test_edits_are_built_launched_and_called_and_mistakes_are_shown(folder: Path, engine: Engine) -> None:
    with session(folder) as running:
        first = running.until("watching")
        said = {
            event: [each for each in first if each["event"] == event]
            for event in ("launched", "console", "warning", "result")
        }
        assert len(said["launched"]) == 1, first
        assert [line["text"] for line in said["console"]][:2] == ["loaded", "asked"]
        assert ["only a debug copy may print" in warning["text"] for warning in said["warning"]] == [True]
        assert said["result"][0]["result"]["guesses_log10"] == 1
        assert said["result"][0]["peak_kib"] > 0
        write(folder, engine, "2")
        again = running.until("result", "error")
        assert again[-1]["result"]["guesses_log10"] == 2
        assert "warning" not in [each["event"] for each in again], "it is told once"
        write(folder, engine, "(")
        assert MAIN[engine] in running.until("result", "error")[-1]["error"]["message"]
        write(folder, engine, MISTAKE[engine])
        thrown = running.until("result", "error")[-1]["error"]
        assert (thrown["path"], thrown["line"]) == (MAIN[engine], "4")
        assert MISTAKE[engine] in thrown["excerpt"]
        manifest = (folder / "casemate.toml").read_text()
        (folder / "casemate.toml").write_text("[enclave")
        assert running.until("result", "error")[-1]["error"]["exit_code"] == 5
        (folder / "casemate.toml").write_text(manifest)
        running.until("result", "error")
        write(folder, engine, "3")
        assert running.until("result")[-1]["result"]["guesses_log10"] == 3
        before = files_of(folder)
        running.process.send_signal(signal.SIGINT)
        out, err = running.process.communicate(timeout=LONG)
        assert running.process.returncode == 0, err
        assert {json.loads(line)["event"] for line in out.splitlines()} <= {"console"}  # of a second guest's load
        assert "Traceback" not in err
        assert files_of(folder) == before
        assert not (folder / "casemate.lock").exists()


@ONE_ENGINE
def test_named_callers_need_no_keys(folder: Path) -> None:
    with session(EXAMPLES / "private-scoring") as running:
        assert running.until("result", "error")[-1]["event"] == "result"
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(LONG) == 0
    assert folder.exists()


@ONE_ENGINE
def test_keys_of_a_terminal_call_again_change_the_input_and_end_it(folder: Path) -> None:
    (folder / "input2.json").write_text('{"password": "x"}')
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", "from casemate.cli.main import main; main()", "dev", str(folder)]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    shown = ""

    def until(words: str, count: int) -> None:
        nonlocal shown
        deadline = time.monotonic() + LONG
        while shown.count(words) < count:
            assert select.select([ours], [], [], max(0, deadline - time.monotonic()))[0], shown
            try:
                shown += os.read(ours, 65536).decode(errors="replace")
            except OSError:  # the other end is closed: it has ended
                pytest.fail(shown)

    try:
        until("Changes of the folder are watched", 1)
        until("input.json: ", 1)
        os.write(ours, b"r")
        until("input.json: ", 2)
        os.write(ours, b"?\n")
        until("input.json: ", 3)
        os.write(ours, b"e")
        until("input2.json: ", 1)
        os.write(ours, b"q")
        assert process.wait(LONG) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)


ASKS = """\
export async function* echo(input, context, chunks) {
  if (input === "endless") console.log("begun");
  while (input === "endless") yield "";
  for await (const chunk of chunks) yield chunk;
  return `${await context.ocall("rates", "usd")} WHICH`;
}
"""
STREAMS = """
[enclave]
name = "streams"
product_id = 1
security_version = 1
engine = "javascript"
main = "guest/main.js"
[limits]
memory_mib = 64
time_ms = 60000
output_kib = 64
[entry.echo]
input = { type = ["null", "string"] }
output = { type = "string" }
callers = "anyone"
stream = true
[ocall.rates]
input = { type = "string" }
output = { type = "integer" }
"""
HANDLERS = """\
def rates(argument):
    print("asked for", argument)
    return RATE
"""


@pytest.fixture
def streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a function that streams and asks; all that a session makes elsewhere is in tmp_path/made."""
    for name in ("XDG_CONFIG_HOME", "TMPDIR"):
        monkeypatch.setenv(name, str(tmp_path / ("config" if name != "TMPDIR" else "made")))
    (tmp_path / "made").mkdir()
    made = tmp_path / "streams"
    (made / "guest").mkdir(parents=True)
    (made / "casemate.toml").write_text(STREAMS)
    (made / "guest" / "main.js").write_text(ASKS)
    (made / "input.json").write_text("null")
    (made / "input.stream").write_bytes(b"to be\n\xff")
    (made / "handlers.py").write_text(HANDLERS.replace("RATE", "7"))
    return made


def test_streams_handlers_hasty_edits_and_calls_that_never_end(streams: Path, tmp_path: Path) -> None:
    main, handlers = streams / "guest" / "main.js", streams / "handlers.py"
    with session(streams, "--ocalls", handlers) as running:
        result = running.until("result", "error")[-1]
        assert result["result"] == "7 WHICH", result
        assert result["stream"] == {"bytes_in": 7, "bytes_out": 7, "text": "to be\n\\xff"}
        running.until("watching")

        (streams / "input.stream").write_bytes(b"")
        said = running.until("result", "error")
        assert [each["text"] for each in said if each["event"] == "ocalls"] == ["asked for usd"]
        assert said[-1]["stream"] == {"bytes_in": 0, "bytes_out": 0, "text": ""}

        handlers.write_text("def rates(argument:\n")
        assert "line 1" in running.until("result", "error")[-1]["error"]["message"]
        handlers.with_name("new.py").write_text(HANDLERS.replace("RATE", "8"))
        handlers.with_name("new.py").rename(handlers)  # as many editors save
        assert running.until("result")[-1]["result"] == "8 WHICH"

        for at in range(20):
            main.write_text(ASKS.replace("WHICH", f"edit {at}"))
            time.sleep(0.05)  # someone saves twenty times a second
        while running.until("result", "error")[-1].get("result") != "8 edit 19":
            pass

        (streams / "input.json").write_text('"endless"')
        running.until("console")
        (streams / "input.json").write_text("null")
        assert running.until("result", "error")[-1].get("result") == "8 edit 19", "the endless call was not waited for"

        main.unlink()
        assert "guest/main.js" in running.until("result", "error")[-1]["error"]["message"]
        streams.rename(tmp_path / "away")
        running.until("error")
        (tmp_path / "away" / "guest" / "main.js").write_text(ASKS.replace("WHICH", "back"))
        (tmp_path / "away").rename(streams)
        assert running.until("result")[-1]["result"] == "8 back"

        (streams / "input.json").write_text('"endless"')
        running.until("console")
        processes = descendants(running.process.pid)
        assert processes
        for number in (signal.SIGINT, signal.SIGTERM):  # the second one does not interrupt the end
            running.process.send_signal(number)
        _, err = running.process.communicate(timeout=LONG)
        assert (running.process.returncode, "Traceback" in err) == (0, False), err
    assert [name for pid, name in processes.items() if is_alive(pid)] == []
    assert list((tmp_path / "made").iterdir()) == []


def test_a_session_that_is_ended_while_its_machine_starts_leaves_nothing(streams: Path, tmp_path: Path) -> None:
    with session(streams) as running:
        deadline = time.monotonic() + LONG
        while not list((tmp_path / "made").glob("casemate-function-*/state")):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        processes = descendants(running.process.pid)
        running.process.send_signal(signal.SIGHUP)
        _, err = running.process.communicate(timeout=LONG)
        assert (running.process.returncode, "Traceback" in err) == (0, False), err
    assert [name for pid, name in processes.items() if is_alive(pid)] == []
    assert list((tmp_path / "made").iterdir()) == []


def test_handlers_that_cannot_be_loaded_are_refused_as_elsewhere(streams: Path) -> None:
    (streams / "handlers.py").write_text("import not_installed\n")
    with casemate("dev", streams, "--json", "--ocalls", streams / "handlers.py") as process:
        out, _ = process.communicate(timeout=LONG)
    assert process.returncode == 1
    assert "ModuleNotFoundError" in json.loads(out)["error"]["message"]


def test_a_folder_that_is_none_is_refused_before_a_machine_starts(tmp_path: Path) -> None:
    with casemate("dev", tmp_path, "--json") as process:
        out, _ = process.communicate(timeout=LONG)
    assert process.returncode == 5
    assert json.loads(out)["error"]["kind"] == "FolderError"
