"""What newcomers once gave up on is done again with the real command; the advice is typed, and leads on.

Each friction that somebody met, and what holds it mended:

| met | now |
| --- | --- |
| a lock that no colleague's computer accepts | tests/e2e/test_team.py; advice: tests/unit/cli/test_advice.py |
| PEM with comments | tests/unit/cli/evidence/test_verify_snp.py |
| words of a policy that are nowhere | here, and tests/unit/cli/test_docs.py |
| the wrong file for `verify` | here, and tests/unit/cli/test_file_kinds.py for each kind at each argument |
| an OCALL that nobody answers | tests/e2e/test_ocall_handlers.py |
| "the function threw" | tests/e2e/test_debug_runs.py, test_dev.py, and test_journeys.py for each mistake |
| names where numbers are wanted | here |
| an old Python, no network | tests/packaging/test_setup.py |
| forged evidence that no page named | docs/client.md, whose code tests/docs runs |
| the printed URL | here |
| hints that mislead | here, test_journeys.py, tests/unit/cli/test_advice.py |
| digests of an older guest | tests/docs/test_documents.py |
| errors, tests and templates of one's own | test_refusals.py, test_function_tests.py, test_starters.py |
| types for editors | tests/unit/images/functions/javascript/test_author_files.py |
"""

import base64
import json
import re
import shlex
import socket
from pathlib import Path
from urllib.request import urlopen

import pytest
from tests.rigs.newcomer import TIME, Newcomer, Told, machine_of

from casemate.cli.errors import ExitCode

pytestmark = pytest.mark.machine

_TYPED = re.compile(r"`casemate ([^`]+)`")


@pytest.fixture(scope="module")
def hello(newcomer: Newcomer) -> Path:
    """The starter, built; with a policy for its enclave, which runs, and a receipt of a call."""
    ann, folder = newcomer, newcomer.home / "hello"
    ann.does("init", folder)
    ann.does("build", folder)
    number = json.loads(ann.does("launch", folder / "hello.sgxs", "--json").out)["enclave"]
    ann.writes(folder, {"policy.toml": ann.does("policy", folder / "hello.sgxs").out, "number": str(number)})
    call = ("call", number, "rate", "--input", folder / "input.json", "--policy", folder / "policy.toml")
    ann.does(*call, "--receipt", folder / "receipt.json")
    return folder


def typed(told: Told, **names: object) -> list[list[str]]:
    """The commands of an advice; words in capitals are what the reader fills in."""
    assert told.code != 0
    return [
        [str(names.get(word, word)) for word in shlex.split(command)]
        for command in _TYPED.findall(told.next or told.err)
    ]


def options(told: Told) -> list[str]:
    """The options that an advice names."""
    assert told.code != 0
    return re.findall(r"--[a-z-]+", told.next)


def test_another_file_than_verify_wants_is_met_by_the_command_for_it(newcomer: Newcomer, hello: Path) -> None:
    ann, policy = newcomer, hello / "policy.toml"
    told = ann.casemate("verify", hello / "receipt.json", "--policy", policy)
    assert told.code == ExitCode.INPUT
    (command,) = typed(told, FILE=policy)
    assert command[0] == "receipt"
    ann.does(*command)
    told = ann.casemate("verify", hello / "hello.sgxs", "--policy", policy)
    measure, launch, quote = typed(told, FILE=hello / "made.bin")
    assert json.loads(ann.does(*measure, "--json").out)["mr_enclave"] in policy.read_text()
    ann.does("destroy", json.loads(ann.does(*launch, "--json").out)["enclave"])
    ann.does(*quote)
    ann.writes(hello, {"quote.b64": base64.encodebytes((hello / "made.bin").read_bytes()).decode()})
    verify = ["verify", hello / "quote.b64", "--policy", policy]
    assert options(ann.casemate(*verify)) == ["--collateral"]
    verify += ["--collateral", hello / "made.bin.collateral.json"]
    assert options(ann.casemate(*verify)) == ["--binding"]
    ann.does(*verify, "--binding", hello / "made.bin.binding.json")


def test_a_report_is_appraised_by_following_each_error(newcomer: Newcomer, hello: Path) -> None:
    ann, report, policy = newcomer, hello / "guest.bin", hello / "snp.toml"
    number = json.loads(ann.does("launch", "--tee", "snp", hello / "hello.sgxs", "--json").out)["enclave"]
    ann.does("quote", number, "-o", report)
    ann.does("destroy", number)
    ann.writes(hello, {policy.name: ann.does("policy", "--tee", "snp", hello / "hello.sgxs").out})
    beside = {"--certificates": f"{report}.pem", "--revocation-list": f"{report}.crl"}
    beside["--binding"] = f"{report}.binding.json"

    (command,) = typed(ann.casemate("verify", report, "--policy", policy), FILE="FILE")
    command = ["verify", str(report), "--policy", str(policy), "--certificates", beside["--certificates"]]
    while (told := ann.casemate(*command)).code != 0:
        option = next(option for option in options(told) if option in beside)
        assert option not in command, told
        command += [option, beside[option]]
    assert {"--certificates", "--revocation-list", "--binding"} <= set(command)

    at = command.index("--revocation-list")
    without = command[:at] + command[at + 2 :]
    ann.writes(hello, {policy.name: policy.read_text().replace("REQUIRE_REVOCATION_LIST", "ANY")})
    told = ann.casemate(*without)
    assert told.code == ExitCode.INPUT
    words = re.findall(r"[A-Z]+(?:_[A-Z]+)+", told.err)
    assert "UNSAFE_NO_REVOCATION_LIST" in words
    ann.writes(hello, {policy.name: policy.read_text().replace('"ANY"', '"UNSAFE_NO_REVOCATION_LIST"', 1)})
    ann.does(*without)


def test_an_enclave_is_called_by_the_name_number_and_entry_point_that_the_errors_name(
    newcomer: Newcomer, hello: Path
) -> None:
    ann, given = newcomer, ("--input", hello / "input.json", "--policy", hello / "policy.toml")
    told = ann.casemate("stop", "hullo")
    assert told.code == ExitCode.CALL_FAILED
    assert "`casemate ps`" in told.err
    named = re.search(r"no function 'hullo' here, there are: (\w+)", told.err)
    assert named
    ann.does("call", named[1], "rate", *given)
    shown = {entry["name"]: entry["enclave"] for entry in json.loads(ann.does("ps", "--json").out)["enclaves"]}
    told = ann.casemate("call", shown["hello"], "main", *given)
    assert told.code == ExitCode.CALL_FAILED
    found = re.search(r"the manifest declares (\w+)", told.err)
    assert found
    ann.does("call", shown["hello"], found[1], *given)
    ann.writes(hello, {"bad.json": '{"passphrase": "x",}'})
    told = ann.casemate(
        "call", shown["hello"], "rate", "--input", hello / "bad.json", "--policy", hello / "policy.toml"
    )
    assert told.code == ExitCode.INPUT
    assert "correct that file" in told.next
    assert "inspect" not in told.next


def test_an_enclave_s_image_is_no_vm_s_firmware_and_is_launched_as_a_guest(newcomer: Newcomer, hello: Path) -> None:
    ann = newcomer
    told = ann.casemate("vm", "launch", hello / "hello.sgxs")
    assert told.code == ExitCode.INPUT
    launch = next(command for command in typed(told, FILE="x") if command[0] == "launch")
    (option,) = re.findall(r"`(--tee snp)`", told.next)
    ann.does("destroy", json.loads(ann.does(*launch, *option.split(), "--json").out)["enclave"])


def test_assembly_is_no_firmware_and_a_page_says_how_it_becomes_one(newcomer: Newcomer, hello: Path) -> None:
    newcomer.writes(hello, {"mine.s": "main: hlt\n"})
    told = newcomer.casemate("vm", "launch", hello / "mine.s")
    assert told.code == ExitCode.INPUT
    (command,) = typed(told)
    assert "build_firmware" in newcomer.does(*command).out


def test_a_machine_without_a_seed_is_used_without_one(newcomer: Newcomer, hello: Path) -> None:
    run = ("run", hello, "--input", hello / "input.json", "-q")
    told = newcomer.casemate(*run, "--seed", "x")
    assert told.code == ExitCode.FAILED
    assert "an unseeded machine runs on" in told.err
    assert "(--seed), or none if it has none" in told.next
    newcomer.does(*run)


def test_a_pattern_that_looks_around_is_refused_by_that_name(newcomer: Newcomer) -> None:
    ann, folder = newcomer, newcomer.home / "pattern"
    ann.does("init", folder)
    schema = json.loads((folder / "schemas" / "rate.input.json").read_text())
    schema["properties"]["code"] = {"type": "string", "pattern": "^(?=.*[0-9])[a-z0-9]+$"}
    ann.writes(folder, {"schemas/rate.input.json": json.dumps(schema)})
    told = ann.casemate("build", folder)
    assert told.code == ExitCode.INPUT
    assert "look-around '(?='" in told.err
    assert "no look-around and no back-reference" in told.err
    schema["properties"]["code"]["pattern"] = "^[a-z0-9]*[0-9][a-z0-9]*$"
    ann.writes(folder, {"schemas/rate.input.json": json.dumps(schema)})
    ann.does("build", folder)


def test_the_printed_address_opens_without_a_token(newcomer: Newcomer) -> None:
    url = json.loads(newcomer.does("status", "--json").out)["url"]
    with urlopen(url, timeout=TIME) as page:  # noqa: S310 - this machine's own gateway
        assert page.status == 200
        assert page.url == f"{url}/docs"
        assert "text/html" in page.headers["Content-Type"]


def test_a_machine_starts_where_the_errors_say(newcomer: Newcomer) -> None:
    ann = newcomer
    taken = json.loads(ann.does("status", "--json").out)["url"].rpartition(":")[2]
    state = ann.home / "another"
    own = ("--state", state)
    told = ann.casemate("up", "--state", "/root/mine")
    assert told.code == ExitCode.FAILED
    assert "name a state directory with --state" in told.err or "name a place that is yours" in told.next
    told = ann.casemate("up", *own, "--port", taken)
    assert told.code == ExitCode.FAILED
    assert "somebody listens there already: name another with --port" in told.err
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    told = ann.casemate("up", *own, "--bind", f"127.0.0.1:{port}")
    assert told.code == ExitCode.USAGE
    said = " ".join(told.err.replace("│", " ").split())
    found = re.search(r"give them as (--bind \S+ --port \d+)", said)
    assert found, said
    with machine_of(ann, *found[1].split(), state=state):
        assert json.loads(ann.does("status", *own, "--json").out)["url"] == f"http://127.0.0.1:{port}"
