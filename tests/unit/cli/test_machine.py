"""Commands that talk to a machine, on a whole one: its owner types them one after the other."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.rigs.command_line import Said
from typer.testing import CliRunner

from casemate.cli.app import app
from casemate.client.local import LocalMachine, NoMachineError, local_machine, running_machine, wait_for_end
from casemate.images.functions.starter import write_starter
from casemate.verifier import parse_policy

pytestmark = pytest.mark.machine

SLOW_GUEST = "export function rate() { for (;;) {} }\n"


class Owner:
    """Somebody with a machine, a starter, and the command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "machine"
        self.hello = folder / "hello"
        self.environment = {
            "XDG_CONFIG_HOME": str(folder / "config"),
            "CASEMATE_STATE": str(self.state),
            "COLUMNS": "200",
        }

    def __call__(self, *arguments: object) -> Said:
        done = CliRunner().invoke(app, [str(argument) for argument in arguments], env=self.environment)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Said(done.exit_code, done.stdout, done.stderr)

    def start(self, *arguments: object) -> "subprocess.Popen[str]":
        """The command as a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-c", "from casemate.cli.main import main; main()", *map(str, arguments)],
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def given(self) -> tuple[object, ...]:
        """Arguments that the starter's function takes."""
        return ("--input", self.hello / "input.json")

    @property
    def image(self) -> Path:
        return self.hello / "hello.sgxs"


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Owner]:
    """An owner whose machine runs."""
    owner = _owner(tmp_path_factory.mktemp("owner"))
    with local_machine(owner.state):
        yield owner


@pytest.fixture
def newcomer(tmp_path: Path) -> Owner:
    """An owner without a machine."""
    return _owner(tmp_path)


def _owner(folder: Path) -> Owner:
    owner = Owner(folder)
    write_starter(owner.hello)
    assert owner("build", owner.hello).code == 0
    return owner


@pytest.fixture
def enclave(owner: Owner) -> Iterator[str]:
    """A launched starter."""
    number = str(owner("launch", owner.image, "--json").json["enclave"])
    yield number
    owner("destroy", number)


@pytest.fixture
def policy(owner: Owner) -> Path:
    path = owner.folder / "policy.toml"
    path.write_text(owner("policy", owner.image).out)
    return path


def test_an_enclaves_life(owner: Owner) -> None:
    launched = owner("launch", owner.image, "--name", "first", "--json").json
    number = launched["enclave"]
    assert launched["state"] == "running"
    assert launched["name"] == "first"
    assert launched["mr_enclave"] in owner("ps").out
    for command, state in (("stop", "stopped"), ("start", "running"), ("destroy", "destroyed")):
        assert owner(command, number, "--json").json["state"] == state
    assert number not in [each["enclave"] for each in owner("ps", "--json").json["enclaves"]]
    gone = owner("stop", number, "--json")
    assert gone.code == 4
    assert gone.error["code"] == "unknown-enclave"


def test_a_machine_shows_itself(owner: Owner) -> None:
    said = owner("status", "--json").json
    assert said["state"] == str(owner.state)
    assert Path(said["host_socket"]).is_socket()
    assert said["root_sha256"] in owner("status").out
    assert said["seeded"] is False


def test_a_call_gives_result_and_receipt(owner: Owner, enclave: str, policy: Path) -> None:
    result, receipt = owner.folder / "result.json", owner.folder / "receipt.json"
    files = ("--output", result, "--receipt", receipt)
    said = owner("call", enclave, "rate", *owner.given, "--policy", policy, *files, "--json")
    assert said.code == 0
    assert said.json["result"]["verdict"] == "strong"
    assert said.json["evidence"]["tcb"]["status"] == "UpToDate"
    assert json.loads(result.read_text()) == said.json["result"]
    assert receipt.stat().st_mode & 0o777 == 0o600
    checked = owner("receipt", "verify", receipt, "--policy", policy, "--json")
    assert checked.code == 0
    assert checked.json["output"] == result.read_text()
    assert checked.json["input"] == (owner.hello / "input.json").read_text()


def test_the_result_alone_is_on_standard_output(owner: Owner, enclave: str, policy: Path) -> None:
    said = owner("call", enclave, "rate", *owner.given, "--policy", policy)
    assert json.loads(said.out)["verdict"] == "strong"
    for word in ("MRENCLAVE", "UpToDate", "seccomp", "receipt", "SIMULATED", str(policy)):
        assert word in said.err


def test_a_call_of_an_image_launches_and_destroys_it(owner: Owner) -> None:
    measured = owner("measure", owner.image, "--json").json["mr_enclave"]
    said = owner("call", owner.image, "rate", *owner.given, "--mr-enclave", measured, "--json")
    assert said.code == 0
    assert owner("ps", "--json").json["enclaves"] == []


def test_other_code_is_refused_and_gets_nothing(owner: Owner) -> None:
    said = owner("call", owner.image, "rate", *owner.given, "--mr-enclave", "00" * 32, "--json")
    assert said.code == 3
    assert said.error["rule"] == "enclave.mr-enclave"
    assert owner("ps", "--json").json["enclaves"] == []


@pytest.mark.parametrize(
    ("entry", "given", "code"), [("rate", {"x": 1}, "arguments-refused"), ("nonsense", {}, "entry-unknown")]
)
def test_a_call_that_the_enclave_refuses_is_a_typed_fault(
    owner: Owner, enclave: str, policy: Path, entry: str, given: object, code: str
) -> None:
    path = owner.folder / "given.json"
    path.write_text(json.dumps(given))
    said = owner("call", enclave, entry, "--input", path, "--policy", policy, "--json")
    assert said.code == 4
    assert said.error["kind"] == "EnclaveRefusedError"
    assert said.error["code"] == code


def test_calls_are_signed_by_the_caller_whom_the_manifest_names(owner: Owner) -> None:
    alice, mallory = owner.folder / "alice.pem", owner.folder / "mallory.pem"
    named = owner("keygen", alice, "--json").json["manifest_value"]
    owner("keygen", mallory)
    folder = owner.folder / "named"
    write_starter(folder)
    manifest = folder / "casemate.toml"
    text = manifest.read_text().replace('callers = "anyone"', 'callers = ["alice"]')
    manifest.write_text(text.replace("[callers]\n", f'[callers]\nalice = "{named}"\n'))
    codes = {}
    for who, arguments in {"nobody": (), "mallory": ("--caller", mallory), "alice": ("--caller", alice)}.items():
        codes[who] = owner("run", folder, "--input", owner.hello / "input.json", *arguments, "--json")
    assert codes["alice"].code == 0
    for who in ("nobody", "mallory"):
        assert codes[who].code == 4
        assert codes[who].error["code"] == "caller-refused"


def test_quote_and_verify_go_together(owner: Owner, enclave: str, policy: Path) -> None:
    quote = owner.folder / "quote.bin"
    nonce = "17" * 32
    said = owner("quote", enclave, "-o", quote, "--nonce", nonce, "--json").json
    assert said["nonce"] == nonce
    files = ("--collateral", said["collateral"], "--binding", said["binding"], "--policy", policy)
    assert owner("verify", quote, *files, "--nonce", nonce, "--json").json["accepted"] is True
    assert owner("verify", quote, *files, "--nonce", "18" * 32).code == 3
    assert owner("inspect", quote, "--json").json["kind"] == "quote"
    assert owner("inspect", said["collateral"], "--json").json["kind"] == "collateral"


def test_an_image_can_be_quoted_too(owner: Owner) -> None:
    assert owner("quote", owner.image, "-o", owner.folder / "other.bin").code == 0
    assert owner("ps", "--json").json["enclaves"] == []


def test_a_policy_demands_what_every_linux_has(policy: Path) -> None:
    assert parse_policy(policy.read_text()).weaknesses() == ("SIMULATED_ROOT",)


def test_run_uses_the_machine_that_is_there(owner: Owner) -> None:
    said = owner("run", owner.hello, *owner.given)
    assert said.code == 0
    assert "running already" in said.err
    assert "made for this run" in said.err
    assert owner("ps", "--json").json["enclaves"] == []
    assert "not heeded" in owner("run", owner.hello, *owner.given, "--layer", "cgroup=off").err


def test_run_by_a_policy_of_ones_own(owner: Owner, policy: Path) -> None:
    assert owner("run", owner.image, *owner.given, "--policy", policy).code == 0
    manifest = owner.hello / "casemate.toml"
    before = manifest.read_text()
    try:
        manifest.write_text(before.replace("security_version = 1", "security_version = 2"))
        said = owner("run", owner.hello, *owner.given, "--policy", policy, "--json")
    finally:
        manifest.write_text(before)
    assert said.code == 3
    assert said.error["rule"] == "enclave.mr-enclave"


def test_a_machine_of_another_kind_is_not_taken(owner: Owner) -> None:
    said = owner("run", owner.hello, *owner.given, "--seed", "tests", "--json")
    assert said.code == 1
    assert said.error["kind"] == "WrongMachineError"


def test_a_second_machine_does_not_start_on_the_same_state(owner: Owner) -> None:
    said = owner("up", "--json")
    assert said.code == 1
    assert said.error["kind"] == "MachineRunsError"


def test_run_starts_and_ends_a_machine_of_its_own(newcomer: Owner) -> None:
    said = newcomer("run", newcomer.hello, *newcomer.given, "--seed", "tests", "--json")
    assert said.code == 0
    assert said.json["evidence"]["seeded"] is True
    assert "UNSAFE_PUBLIC_SEED" in said.json["policy"]
    assert set(said.json["timings_ms"]) == {"build", "machine", "launch", "attest", "call", "receipt"}
    with pytest.raises(NoMachineError):
        running_machine(newcomer.state)


def test_an_image_for_another_runtime_is_refused_by_the_chip(owner: Owner) -> None:
    folder = owner.folder / "stale"
    write_starter(folder)
    lock = (owner.hello / "casemate.lock").read_text()
    (folder / "casemate.lock").write_text(re.sub("[0-9a-f]{64}", "0" * 64, lock))
    said = owner("launch", folder, "--json")
    assert said.code == 5
    assert said.error["code"] == "launch-refused"
    assert "`casemate lock add DIR`" in said.error["next"]


def test_an_outdated_and_a_revoked_platform_are_refused(newcomer: Owner) -> None:
    with local_machine(newcomer.state):
        policy = newcomer.folder / "policy.toml"
        policy.write_text(newcomer("policy", newcomer.image).out)
        call = ("call", newcomer.image, "rate", *newcomer.given, "--policy", policy, "--json")
        assert newcomer(*call).code == 0
        assert newcomer("machine", "recover-tcb", "--advisory", "INTEL-SA-99001").code == 0
        outdated = newcomer(*call)
        assert outdated.code == 3
        assert outdated.error["rule"] == "tcb.status"
        assert "INTEL-SA-99001" in outdated.error["got"]
        assert newcomer("machine", "update-microcode").code == 0
        assert newcomer(*call).code == 0
        assert newcomer("machine", "revoke").code == 0
        assert newcomer(*call).error["rule"] == "revoked.pck"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_runs_until_it_is_told_to_end(newcomer: Owner, number: signal.Signals) -> None:
    with newcomer.start("up", "--no-gateway", "--json") as process:
        said = _first_document(process)
        assert said["state"] == str(newcomer.state)
        assert running_machine(newcomer.state).status.supervisor_pid == said["pids"]["supervisor"]
        process.send_signal(number)
        assert process.wait(30) == 0
    with pytest.raises(NoMachineError):
        running_machine(newcomer.state)


def test_what_up_prints_is_the_environment_for_a_shell(newcomer: Owner) -> None:
    out = _detached(newcomer)
    try:
        lines = [line for line in out.splitlines() if line.startswith("export ")]
        script = "\n".join([*lines, 'printf "%s\\n" "$CASEMATE_STATE" "$CASEMATE_URL" "$CASEMATE_TOKEN"'])
        shell = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True, env={})
        state, url, token = shell.stdout.split()
        assert state == str(newcomer.state)
        assert url == running_machine(newcomer.state).status.url
        elsewhere = {"CASEMATE_URL": url, "CASEMATE_TOKEN": token}
        assert CliRunner().invoke(app, ["ps", "--json"], env=elsewhere).exit_code == 0
    finally:
        newcomer("down", "--now")


def test_a_supervisor_that_was_killed_is_reported_by_the_next_one(newcomer: Owner) -> None:
    _detached(newcomer, "--no-gateway")
    os.kill(running_machine(newcomer.state).status.supervisor_pid, signal.SIGKILL)
    wait_for_end(newcomer.state, 10)
    gone = newcomer("ps", "--json")
    assert f"no machine runs on {newcomer.state}" in gone.error["message"]
    _detached(newcomer, "--no-gateway")
    supervisor = newcomer("status", "--json").json["processes"][0]
    assert "ended without a word" in supervisor["last_death"]
    assert "ended without a word" in (newcomer.state / "machine.log").read_text()
    assert newcomer("down").code == 0
    _detached(newcomer, "--no-gateway")
    assert newcomer("status", "--json").json["processes"][0]["last_death"] is None
    assert newcomer("down").code == 0


def test_an_enclave_that_was_killed_is_in_the_hosts_log(owner: Owner, enclave: str) -> None:
    running = [each["pid"] for each in owner("status", "--json").json["processes"] if each["name"] == "enclave"]
    os.kill(max(running, key=_started_at), signal.SIGKILL)  # other tests' enclaves may run, too
    log = owner.state / "host" / "host.log"
    words = f"enclave {enclave} (hello) died: "
    for _ in range(200):
        if words in log.read_text():
            return
        time.sleep(0.05)
    pytest.fail(log.read_text())


def _started_at(pid: int) -> int:
    """When a process was started, in ticks (proc(5), field 22 of stat)."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def test_up_says_that_its_machine_has_given_up(newcomer: Owner) -> None:
    with newcomer.start("up", "--no-gateway", "--json") as process:
        said = _first_document(process)
        killed = 0
        for _ in range(5):
            killed = _next_pid(newcomer.state, "host_pid", killed)
            os.kill(killed, signal.SIGKILL)
        assert process.wait(30) == 1
        assert process.stderr is not None
        complaint = process.stderr.read()
    assert "5 deaths within 60 s, the last one: the host was killed by SIGKILL" in complaint
    assert "machine.log" in complaint
    assert not Path(f"/proc/{said['pids']['chip']}").exists()


def _next_pid(state: Path, which: str, before: int) -> int:
    """The process's id once it is another one than ``before``."""
    for _ in range(400):
        with contextlib.suppress(NoMachineError):
            now: int = getattr(running_machine(state).status, which)
            if now not in {0, before}:
                return now
        time.sleep(0.05)
    pytest.fail(f"{which} is still {before}")


def test_ctrl_c_ends_a_run_and_all_that_it_started(newcomer: Owner) -> None:
    main, manifest = newcomer.hello / "guest" / "main.js", newcomer.hello / "casemate.toml"
    main.write_text(SLOW_GUEST)
    manifest.write_text(re.sub(r"time_ms = \d+", "time_ms = 60000", manifest.read_text()))
    with newcomer.start("run", newcomer.hello, *newcomer.given) as process:
        assert process.stderr is not None
        said = ""
        while "attest" not in said and (line := process.stderr.readline()):
            said += line
        time.sleep(0.5)  # the call is under way: nothing tells when
        process.send_signal(signal.SIGINT)
        said += process.stderr.read()
        assert process.wait(30) == 130, said
        assert "Traceback" not in said
    with pytest.raises(NoMachineError):
        running_machine(newcomer.state)


def _detached(owner: Owner, *arguments: str) -> str:
    """What `casemate up --detach` prints."""
    with owner.start("up", "--detach", *arguments) as process:
        out, complaint = process.communicate(timeout=60)
        assert process.returncode == 0, complaint
    return out


def _first_document(process: "subprocess.Popen[str]") -> Any:
    """The JSON document that a command prints before it goes on."""
    assert process.stdout is not None
    text = ""
    for line in process.stdout:
        text += line
        if line == "}\n":
            break
    return json.loads(text)


def test_the_machine_is_the_owners(owner: Owner) -> None:
    assert isinstance(running_machine(owner.state), LocalMachine)
    assert owner("doctor", "--state", owner.state, "--json").json["healthy"] in {True, False}
