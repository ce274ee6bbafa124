import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.rigs.command_line import Casemate

from casemate.cli.commands import doctor
from casemate.cli.images import RuntimeDigestError
from casemate.client import local
from casemate.process.audit_log import AuditEntry
from casemate.wire.protocol.sandbox_layers import LayerName

ALL = [[str(name), "applied", ""] for name in LayerName]

Try = Callable[[object], None]


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> Try:
    """Sets what the trial of the sandbox finds."""

    def find(layers: object) -> None:
        def run(command: list[str], **_: Any) -> Any:
            if {doctor._ENGINE_PROBE, doctor._LIMITS_PROBE, doctor._VM_PROBE} & set(command):
                return SimpleNamespace(stdout=b'""')
            if isinstance(layers, Exception):
                raise layers
            return SimpleNamespace(stdout=json.dumps(layers).encode() if not isinstance(layers, bytes) else layers)

        monkeypatch.setattr(subprocess, "run", run)

    return find


def _findings(said: Any) -> dict[str, str]:
    return {each["name"]: each["finding"] for each in said["findings"]}


def test_a_computer_with_every_layer_is_healthy(casemate: Casemate, tried: Try) -> None:
    tried(ALL)
    said = casemate("doctor", "--json")
    assert said.code == 0
    assert said.json["healthy"] is True
    assert {f"layer {name}" for name in LayerName} <= _findings(said.json).keys()


def test_a_required_layer_that_is_missing_is_exit_code_1(casemate: Casemate, tried: Try) -> None:
    tried([[name, "unavailable" if name == "seccomp" else "applied", "no library"] for name, _, _ in ALL])
    said = casemate("doctor", "--require", "seccomp", "--json")
    assert said.code == 1
    assert _findings(said.json)["layer seccomp"] == "missing"
    person = casemate("doctor", "--require", "seccomp")
    assert "no library" in person.out
    assert "missing" in person.out


def test_a_layer_that_is_not_required_may_lack(casemate: Casemate, tried: Try) -> None:
    tried([[name, "unavailable" if name == "cgroup" else "applied", "not root"] for name, _, _ in ALL])
    said = casemate("doctor", "--json")
    assert said.code == 0
    assert _findings(said.json)["layer cgroup"] == "lacking"


@pytest.mark.parametrize(
    "outcome",
    [
        subprocess.TimeoutExpired("python", 60),
        subprocess.CalledProcessError(1, "python", stderr=b"Traceback\nUnavailableError: killed by signal 31"),
        b"junk",
        b"[1]",
    ],
)
def test_a_trial_that_fails_is_a_finding(casemate: Casemate, tried: Try, outcome: object) -> None:
    tried(outcome)
    said = casemate("doctor", "--json")
    assert said.code == 1
    assert _findings(said.json)["sandbox"] == "missing"


def test_a_runtime_that_cannot_be_copied_is_a_finding(
    casemate: Casemate, tried: Try, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise RuntimeDigestError("no room on the disk")

    monkeypatch.setattr("casemate.cli.images.runtime", fail)
    tried(ALL)
    said = casemate("doctor", "--json")
    assert said.code == 1
    assert _findings(said.json)["runtime copy"] == "missing"


@pytest.mark.parametrize(("mode", "finding"), [(0o700, "good"), (0o755, "missing")])
def test_a_state_directory_that_others_can_look_into_is_a_finding(
    casemate: Casemate, tried: Try, tmp_path: Path, mode: int, finding: str
) -> None:
    tried(ALL)
    place = tmp_path / "machine"
    place.mkdir()
    place.chmod(mode)
    assert _findings(casemate("doctor", "--state", place, "--json").json)["state"] == finding


def test_a_state_directory_that_is_a_file_is_a_finding(casemate: Casemate, tried: Try, tmp_path: Path) -> None:
    tried(ALL)
    (tmp_path / "file").touch()
    assert _findings(casemate("doctor", "--state", tmp_path / "file", "--json").json)["state"] == "missing"


def test_an_unknown_layer_is_wrong_usage(casemate: Casemate) -> None:
    assert casemate("doctor", "--require", "magic").code == 2


def test_says_what_not_being_root_means(casemate: Casemate, tried: Try, monkeypatch: pytest.MonkeyPatch) -> None:
    tried(ALL)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert "every other process of yours" in casemate("doctor").out


def test_packages_for_vms_that_are_there_but_do_not_load_are_a_finding(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert doctor._vm("this test").finding is doctor.Finding.GOOD
    (tmp_path / "keystone.py").write_text("print('noise'); raise ImportError('no such library')")
    damaged = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{doctor._VM_PROBE}"
    monkeypatch.setattr(doctor, "_VM_PROBE", damaged)
    found = doctor._vm("this test")
    assert found.finding is doctor.Finding.LACKING
    assert found.detail == (
        'this test needs the extra "vm", of which a package does not load (no such library): '
        "pip install --force-reinstall 'casemate[vm]'"
    )


def test_an_engine_that_does_not_start_is_a_finding_with_its_words_and_the_limit() -> None:
    limited = "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30)); "
    limited += "from casemate.cli.commands.doctor import _start_engine; "
    limited += "from casemate.process.extras import engine_binary; "
    said = subprocess.run(
        [sys.executable, "-I", "-c", f"{limited}_start_engine(engine_binary('x'))"], capture_output=True, check=False
    )
    assert said.returncode == 1
    last = said.stderr.splitlines()[-1]
    assert b"deno does not start: Fatal process out of memory: " in last
    assert b"RLIMIT_AS is 4294967296, want " in last


@pytest.mark.parametrize(
    ("limit", "value", "word"),
    [("RLIMIT_DATA", 1 << 28, "ulimit -d"), ("RLIMIT_NOFILE", 64, "ulimit -n"), ("RLIMIT_FSIZE", 1 << 20, "ulimit -f")],
)
def test_limits_that_are_too_low_for_a_machine_are_named(limit: str, value: int, word: str) -> None:
    limited = f"import resource, sys; resource.setrlimit(resource.{limit}, ({value}, {value})); "
    limited += "from casemate.cli.commands.doctor import _limits; print(_limits())"
    said = subprocess.run([sys.executable, "-I", "-c", limited], capture_output=True, check=False)
    assert said.returncode == 1
    assert f"{limit} is {value}, want ".encode() in said.stderr.splitlines()[-1]
    assert word.encode() in said.stderr.splitlines()[-1]


def test_required_layers_are_layers() -> None:
    assert {*doctor.LINUX_LAYERS, *doctor.OTHER_LAYERS} <= set(LayerName)


def test_the_trial_itself_works_here() -> None:
    said = subprocess.run([sys.executable, "-I", "-c", doctor._PROBE], capture_output=True, check=True)
    assert {name for name, _, _ in json.loads(said.stdout)} == set(LayerName)


def test_a_clock_that_cannot_be_right_is_a_finding(casemate: Casemate, tried: Try, tmp_path: Path) -> None:
    tried(ALL)
    state = tmp_path / "machine"
    state.mkdir(mode=0o700)
    assert _findings(casemate("doctor", "--state", state, "--json").json)["clock"] == "good"
    (state / "audit.jsonl").write_bytes(AuditEntry(datetime(2099, 1, 1, tzinfo=UTC), 0, "up", "").encode())
    said = casemate("doctor", "--state", state, "--json").json
    assert _findings(said)["clock"] == "lacking"
    assert "before the last entry of this machine's audit log (2099-01-01" in str(said["findings"])


@pytest.mark.parametrize(("pid", "finding", "words"), [(7, "good", ""), (0, "lacking", "ocalls.log tells why")])
def test_handlers_of_ocalls_are_shown_where_a_machine_runs_with_some(
    casemate: Casemate, tried: Try, monkeypatch: pytest.MonkeyPatch, pid: int, finding: str, words: str
) -> None:
    tried(ALL)
    assert "ocalls" not in _findings(casemate("doctor", "--json").json)  # no machine runs
    status = SimpleNamespace(ocalls_module="/etc/rates.py", ocalls=("rates", "time"), pid=lambda _name: pid)
    monkeypatch.setattr(local, "running_machine", lambda _state: SimpleNamespace(status=status))
    said = casemate("doctor", "--json").json
    assert _findings(said)["ocalls"] == finding
    (detail,) = (each["detail"] for each in said["findings"] if each["name"] == "ocalls")
    assert detail.startswith("/etc/rates.py answers rates, time")
    assert words in detail
