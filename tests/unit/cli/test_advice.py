"""Every advice works when it is followed.

Whatever an error says under ``next:`` that names a command or an option is in one of two tables: a scenario meets the
error, does what is said, and gets further; or there is a reason why that is not done here.
"""

import ast
import functools
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer.main
from tests.rigs.command_line import Casemate, Said
from tests.rigs.verifier.snp import strict

from casemate.cli import file_kinds as kinds
from casemate.cli.app import app
from casemate.cli.errors import FAULTS, REASONS, REPORT_RULES, RULES, errors_table
from casemate.cli.policies import SNP_POLICY_ADVICE
from casemate.client.binding_file import encode_binding
from casemate.testing.forge import honest
from casemate.testing.forge_snp import honest_snp
from casemate.verifier import print_policy, print_snp_policy
from casemate.wire.encodings.pem import encode_chain
from casemate.wire.protocol.report_data import ReportDataBinding
from casemate.wire.snp.report import SigningKey

DOCS = Path(__file__).resolve().parents[3] / "docs"
SOURCES = Path(__file__).resolve().parents[3] / "src" / "casemate"
NOW = datetime.now(UTC).replace(microsecond=0)
_COMMAND = re.compile(r"`casemate ([^`]+)`")
_OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z-]+)")


def all_advice() -> Iterator[tuple[str, str]]:
    """Each by where it stands."""
    for error, meaning in errors_table().items():
        yield error.__name__, meaning.advice
    for rule, text in RULES.items():
        yield f"rule {rule}", text
    for rule, text in REPORT_RULES.items():
        yield f"report {rule}", text
    for code, meaning in FAULTS.items():
        yield f"code {code}", meaning.advice
    for code, words, text in REASONS:
        yield f"code {code}: {words}", text
    for kind, text in kinds._ADVICE.items():
        yield f"kind {kind.name}", text
    yield "SNP_POLICY_ADVICE", SNP_POLICY_ADVICE


ADVICE = dict(all_advice())
TO_FOLLOW = {where for where, text in ADVICE.items() if "`casemate" in text or _OPTION.search(text)}


@functools.cache
def root_command() -> Any:
    """Made once: it takes a tenth of a second."""
    return typer.main.get_command(app)


@functools.cache
def all_options() -> set[str]:
    return {name for command in walk(root_command()) for parameter in command.params for name in parameter.opts}


def command_of(words: list[str]) -> Any:
    """The command that the words start with."""
    found = root_command()
    while words and words[0] in getattr(found, "commands", {}):
        found = found.commands[words.pop(0)]
    return found


@pytest.mark.parametrize("where", ADVICE)
def test_commands_and_options_in_advice_are_there(where: str) -> None:
    text = ADVICE[where].replace("{file}", "FILE")
    for typed in _COMMAND.findall(text):
        words = shlex.split(typed)
        command = command_of(words)
        assert not hasattr(command, "commands") or not words or words[0].startswith("-"), typed
        if command.name == "docs" and words:
            assert (DOCS / f"{words[0]}.md").is_file(), typed
        known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        for option in (word for word in words if word.startswith("--")):
            assert option in known | {"--help"}, (typed, option)
    assert set(_OPTION.findall(text)) <= all_options() | {"--help"}


def walk(command: Any) -> Iterator[Any]:
    yield command
    for inner in getattr(command, "commands", {}).values():
        yield from walk(inner)


@functools.cache
def evidence() -> tuple[dict[str, bytes], str, tuple[bytes, bytes]]:
    """Good evidence of both kinds by file name, the nonce of the quote, and the report's certificates."""
    forgery = honest(NOW)
    forged = forgery.sign()
    bound = forged.evidence.bound
    assert bound is not None
    binding = ReportDataBinding(bound.hpke_key, bound.receipt_key, forgery.nonce, bound.layers)
    report, endorsements, root = honest_snp(NOW).sign()
    certificates = (encode_chain(endorsements.key_certificate), endorsements.chain)
    files = {
        "quote": forged.evidence.quote,
        "collateral": forged.collateral.encode(),
        "binding": encode_binding(binding),
        "policy": print_policy(replace(forged.policy, report_data="FRESH_NONCE")).encode(),
        "root": encode_chain(forged.root),
        "report": report.report,
        "amd": b"".join(certificates),
        "crl": endorsements.revocation_list or b"",
        "snp": print_snp_policy(strict(root)).encode(),
        "fresh-snp": print_snp_policy(strict(root, report_data="FRESH_NONCE")).encode(),
    }
    return files, forgery.nonce.hex(), certificates


class World:
    """What scenarios need: the command, a folder, good evidence in files."""

    def __init__(self, casemate: Casemate, folder: Path, hello: Path) -> None:
        self.casemate, self.folder, self.hello = casemate, folder, hello
        files, self.nonce, self.certificates = evidence()
        for name, content in files.items():
            (folder / name).write_bytes(content)

    def __call__(self, *arguments: object) -> Said:
        """The command; words such as @quote are files of the folder."""
        return self.casemate(
            *(self.folder / word[1:] if isinstance(word, str) and word[0] == "@" else word for word in arguments)
        )

    def good(self, *arguments: object) -> Said:
        said = self(*arguments)
        assert said.code == 0, said
        return said

    def bad(self, *arguments: object) -> str:
        """The advice."""
        said = self(*arguments, "--json")
        assert said.code != 0
        return str(said.error["next"])


QUOTE = ("verify", "@quote", "--collateral", "@collateral", "--policy", "@policy")
REPORT = ("verify", "@report", "--certificates", "@amd", "--revocation-list", "@crl", "--policy", "@snp")


def collateral(world: World) -> str:
    advice = world.bad(*QUOTE[:2], "--binding", "@binding", *QUOTE[4:])
    world.good(*QUOTE, "--binding", "@binding")
    return advice


def nonce(world: World) -> str:
    advice = world.bad(*QUOTE)
    world.good(*QUOTE, "--binding", "@binding")
    return advice


def bound_values(world: World) -> str:
    advice = world.bad(*QUOTE, "--nonce", world.nonce)
    world.good(*QUOTE, "--nonce", world.nonce, "--binding", "@binding")
    return advice


def revocation_list(world: World) -> str:
    advice = world.bad(*REPORT[:4], *REPORT[6:])
    world.good(*REPORT)
    policy = (world.folder / "snp").read_text()
    (world.folder / "snp").write_text(policy.replace("REQUIRE_REVOCATION_LIST", "UNSAFE_NO_REVOCATION_LIST"))
    world.good(*REPORT[:4], *REPORT[6:])
    return advice


def longer_buffer(world: World) -> str:
    """Azure's, in which other things follow."""
    report = world.folder / "report"
    report.write_bytes(report.read_bytes() + b"more" * 5)
    advice = world.bad(*REPORT)
    command = re.findall(r"`(head .+?)`", advice)[0].replace("FILE", str(report)).replace("REPORT", f"{report}.cut")
    subprocess.run(command, shell=True, check=True)  # noqa: S602 - the command of the advice
    world.good("verify", world.folder / "report.cut", *REPORT[2:])
    return advice


def challenge(world: World) -> str:
    asked = (*REPORT[:-1], "@fresh-snp")
    advice = world.bad(*asked)
    world.good(*asked, "--report-data", "07" * 64)
    return advice


def path(world: World) -> str:
    key, _ = world.certificates
    of_a_provider = honest_snp(NOW, kind=SigningKey.VLEK).sign()[1]
    (world.folder / "amd").write_bytes(key + of_a_provider.chain)
    advice = world.bad(*REPORT)
    (world.folder / "amd").write_bytes(b"".join(reversed(world.certificates)))
    world.good(*REPORT)
    return advice


def whole_policy(world: World) -> str:
    world.good("build", world.hello)
    (world.folder / "policy").write_text('root = "INTEL_SGX_ROOT"\nmr_enclave = "ANY"\n')
    advice = world.bad(*QUOTE)
    text = world.good("policy", world.hello, "--root", "@root").out
    (world.folder / "policy").write_text(text)
    said = world(*QUOTE, "--binding", "@binding", "--json")
    assert said.error["rule"] == "enclave.mr-enclave"  # a whole policy, of this image
    return advice


def other_image(world: World) -> str:
    world.good("build", world.hello)
    (world.folder / "policy").write_text(world.good("policy", world.hello, "--root", "@root").out)
    advice = world.bad(*QUOTE, "--binding", "@binding")
    world.good("diff", world.hello, world.hello)
    return advice


def no_image(world: World) -> str:
    lock_is_missing = world.bad("measure", world.hello)
    assert lock_is_missing == "build the folder first, on each platform once"
    empty = world.folder / "empty-folder"
    empty.mkdir()
    advice = world.bad("measure", empty)
    world.good("build", world.hello)
    world.good("measure", world.hello)
    return advice


def stale_lock(world: World) -> str:
    world.good("build", world.hello)
    lock = world.hello / "casemate.lock"
    digest = bytes(range(32)).hex()
    assert digest in lock.read_text()
    lock.write_text(lock.read_text().replace(digest, "00" * 32))
    advice = world.bad("build", world.hello)
    before = lock.read_text()
    world.good("lock", "add", world.hello)
    world.good("build", world.hello)
    lock.write_text(before)
    world.good("build", world.hello, "--relock")
    return advice


def broken_lock(world: World) -> str:
    world.good("build", world.hello)
    (world.hello / "casemate.lock").write_text("no lock\n")
    advice = world.bad("build", world.hello)
    world.good("build", world.hello, "--relock")
    return advice


def caller_key(world: World) -> str:
    world.good("build", world.hello)
    asked = ("call", "1", "rate", "--mr-enclave", "00" * 32, "--input", world.hello / "input.json", "--caller")
    advice = world.bad(*asked, "@quote")
    world.good("keygen", world.folder / "new.pem")
    assert "caller" not in world(*asked, world.folder / "new.pem", "--json").error["message"]
    return advice


def developer_key(world: World) -> str:
    advice = world.bad("build", world.hello, "--key", "@quote")
    world.good("build", world.hello)
    return advice


def starter(world: World) -> str:
    (world.hello / "casemate.toml").unlink()
    advice = world.bad("build", world.hello)
    world.good("init", world.folder / "another")
    world.good("build", world.folder / "another")
    return advice


def guests(world: World) -> str:
    advice = world.bad("vm", "firmware", "nobody", "-o", world.folder / "x.fd")
    name = next(iter(world.good("vm", "guests", "--json").json["guests"]))
    world.good("vm", "firmware", name, "-o", world.folder / "x.fd")
    return advice


def unknown_file(world: World) -> str:
    (world.folder / "bytes").write_bytes(bytes(17))
    advice = world.bad("inspect", "@bytes")
    request = world.folder / "request"
    request.write_bytes(bytes(512))
    world.good("inspect", request, "--as", "targetinfo")
    return advice


def documents(world: World) -> str:
    advice = world.bad("docs", "nothing-of-that-name")
    world.good("docs")
    return advice


SCENARIOS: dict[str, Callable[[World], str]] = {
    "report snp.report-format": longer_buffer,
    "rule collateral.present": collateral,
    "rule binding.nonce": nonce,
    "rule binding.values": bound_values,
    "rule enclave.mr-enclave": other_image,
    "report crl.format": revocation_list,
    "report binding.nonce": challenge,
    "report chain.path": path,
    "PolicyError": whole_policy,
    "ImageFileError": no_image,
    "StaleLockError": stale_lock,
    "RuntimeLockError": broken_lock,
    "CallerKeyError": caller_key,
    "KeyFileError": developer_key,
    "FolderError": starter,
    "UnknownGuestError": guests,
    "UnknownFileError": unknown_file,
    "NoDocumentsError": documents,
}

_MACHINE = "met by a running machine alone: tests/e2e and tests/docs run these commands"
_GATEWAY = "met by a gateway alone: tests/unit/cli/test_elsewhere.py gives these options"
_DEBUG = "tests/e2e/test_debug_runs.py runs that command"
_LOOK = "only shows more: the command is tested by itself"
_KIND = "tests/unit/cli/test_file_kinds.py gives every kind of file to every argument, and the right ones work"
EXEMPT: dict[str, str] = {
    "RefusedError": _LOOK,
    "SigstructSignatureError": "a chip says it, of images that nobody signed: built again in tests/unit/images",
    "WrongStateError": _MACHINE,
    "RuntimeDigestError": _LOOK,
    "MachineStaysError": _MACHINE,
    "WrongMachineError": "tests/e2e/test_frictions.py gives none",
    "MachineRunsError": _MACHINE,
    "PlaceError": _MACHINE,
    "TokenRefusedError": _GATEWAY,
    "AddressError": _GATEWAY,
    "TokenElsewhereError": _GATEWAY,
    "TlsRefusedError": _GATEWAY,
    "NotOfferedError": _GATEWAY,
    "NoHostError": _GATEWAY,
    "rule chain.validity": _LOOK,
    "rule chain.seeded": "tells how the machine was made",
    "rule revoked.pck": _MACHINE,
    "rule policy.one-code": _MACHINE,
    "rule sandbox.enclave": _LOOK,
    "rule sandbox.guest": _LOOK,
    "report binding.values": "the file is what the same rule wants of a quote",
    "report snp.measurement": _LOOK,
    "report snp.platform-info": _LOOK,
    "report snp.guest-policy": _LOOK,
    "code launch-refused": _LOOK,
    "code launch-refused: runtime-lock": "as StaleLockError: the same command",
    "code busy: VMs are there already": "tests/e2e/test_vms_elsewhere.py follows it",
    "code busy: enclaves are there already": _MACHINE,
    "code guest-error: a debug enclave would tell which": _DEBUG,
    "code result-refused: the value breaks the schema at": _DEBUG,
    "code ocall-refused: the value breaks the schema at": _DEBUG,
    "code ocall-refused: the host refuses OCALL": "tests/e2e/test_ocall_handlers.py follows it, with `run`",
    "code unavailable": _LOOK,
    "code unknown-vm": _LOOK,
    "code rmp-fault": _LOOK,
    "code state-refused: this function keeps no state": _LOOK,
    "OtherImageVersionError": "as StaleLockError: the same command",
    "MachineGoneError": _MACHINE,
    "ServiceSourceError": "tests/e2e/test_services.py installs what that command writes",
    "CertificateFileError": "tests/e2e/test_https.py gives both options",
    "code unknown-enclave": _LOOK,
    "code wrong-state": _LOOK,
    "code lost": _LOOK,
    "code caller-refused": "tests/e2e/test_journey.py signs with --caller",
    "code peer-refused": "tests/e2e/test_calls_between_enclaves.py binds a NAME to others",
    "code state-rolled-back": "tests/e2e/test_sealed_state.py follows it",
    "code stopped-by-monitor": "tests/e2e/test_monitor.py stops and starts it",
    "code state-limit": "tests/e2e/test_sealed_state.py gives an anchor up",
    **{f"kind {kind.name}": _KIND for kind in kinds.FileKind},
    "SNP_POLICY_ADVICE": "tests/docs prints both policies on a machine",
}


@pytest.mark.parametrize("where", SCENARIOS)
def test_advice_that_is_followed_leads_further(where: str, casemate: Casemate, tmp_path: Path, hello: Path) -> None:
    assert SCENARIOS[where](World(casemate, tmp_path, hello)) == ADVICE[where]


def test_every_advice_is_followed_or_exempt_with_a_reason() -> None:
    assert TO_FOLLOW - set(SCENARIOS) - set(EXEMPT) == set(), "name it in one of the two tables"
    assert not set(SCENARIOS) & set(EXEMPT)
    assert set(SCENARIOS) <= set(ADVICE)
    assert {where for where in EXEMPT if not where.startswith("kind ")} <= set(ADVICE)


def test_reasons_are_words_that_somebody_says() -> None:
    texts = [path.read_text() for path in SOURCES.rglob("*.py") if "cli" not in path.parts]
    for _, words, _ in REASONS:
        assert any(words in text for text in texts), words


def test_no_message_has_the_repr_of_a_flag_an_enumeration_or_none() -> None:
    """``f"{flag!r}"`` is ``<AttributeFlag.PROVISIONKEY: 16>``: a ``!r`` belongs to text alone."""
    named = re.compile(r"flag|attribute|policy|state|status|mode|controlled|error|exception", re.IGNORECASE)
    found = []
    for room in ("chip", "cli", "client", "host", "images", "verifier", "makers", "vm", "gateway", "supervisor"):
        for path in (SOURCES / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.FormattedValue) and node.conversion == ord("r"):
                    text = ast.unparse(node.value)
                    if named.search(text.split("[")[0]):
                        found.append(f"{path.relative_to(SOURCES)}:{node.lineno}: {text}")
    assert found == []
