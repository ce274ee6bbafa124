"""The secret manager on a machine: owners, readers, an operator with the machine's files, restarts."""

import json
import secrets
import shutil
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.rigs.examples import EPOCH, EXAMPLES, Built, BuiltExample, files_of
from tests.rigs.workshop import SEED, PolicyFor, exact_policy

from casemate.cli.developer_key_file import load_or_create_key
from casemate.client import CallerKey, Client, EnclaveRefusedError, TokenRefusedError, connect
from casemate.client.local import LocalMachine, running_machine, start_supervisor
from casemate.client.sync import Enclave
from casemate.images.functions.build import build
from casemate.images.image import Image
from casemate.images.keys import DeveloperKey
from casemate.wire.protocol.access_tokens import token_digest, token_text
from casemate.wire.protocol.faults import Code

pytestmark = pytest.mark.machine

EXAMPLE = EXAMPLES / "secret-manager"
PUT: dict[str, Any] = json.loads((EXAMPLE / "input.json").read_bytes())
EXPECTED: dict[str, Any] = json.loads((EXAMPLE / "expected.json").read_bytes())
NAMED = {"owner": "alice", "name": PUT["name"]}


class Vault:
    """The example's callers before one enclave."""

    def __init__(self, built: Built, enclave: Enclave) -> None:
        self.keys = built.callers
        self.enclave = enclave

    def call(self, who: str | CallerKey | None, entry: str, value: Any) -> Any:
        key = self.keys[who] if isinstance(who, str) else who
        return self.enclave.call(entry, value, caller=key).value

    def refusal(self, who: str | CallerKey | None, entry: str, value: Any) -> Any:
        return self.call(who, entry, value)["refused"]["code"]


def test_owners_put_named_callers_read_and_the_owner_sees_who(
    example: BuiltExample, client: Client, policy_for: PolicyFor
) -> None:
    built = example("secret-manager")
    vault = Vault(built, client.attest(client.launch(built.image), policy_for(built.image)))
    assert vault.call("alice", "put", PUT) == {"name": PUT["name"], "version": 1}
    assert vault.call("deployer", "read", NAMED) == EXPECTED
    assert vault.call("alice", "rotate", {"name": PUT["name"], "value": "new"})["version"] == 2
    assert vault.call("deployer", "read", NAMED)["value"] == "new"
    assert vault.call("deployer", "read", NAMED | {"version": 1}) == EXPECTED
    assert vault.call("deployer", "list", None) == {
        "own": [],
        "shared": [{"owner": "alice", "name": PUT["name"], "version": 2}],
    }
    entries = vault.call("alice", "audit", {})["entries"]
    assert [(entry["who"], entry["action"], entry["version"]) for entry in entries] == [
        ("alice", "put", 1),
        ("deployer", "read", 1),
        ("alice", "rotated", 2),
        ("deployer", "read", 2),
        ("deployer", "read", 1),
    ]
    assert vault.call("alice", "remove", {"name": PUT["name"]})["version"] == 2
    assert vault.refusal("deployer", "read", NAMED) == "unknown-secret"
    client.destroy(vault.enclave.number)


def test_nobody_else_reads_or_changes_anything_or_learns_a_name(
    example: BuiltExample, client: Client, policy_for: PolicyFor
) -> None:
    built = example("secret-manager")
    stranger = CallerKey.generate()
    vault = Vault(built, client.attest(client.launch(built.image), policy_for(built.image)))
    vault.call("alice", "put", PUT)
    for who in ("bob", stranger, None):
        assert vault.refusal(who, "read", NAMED) == "unknown-secret"
        assert vault.call(who, "list", None) == {"own": [], "shared": []}
    for entry, more in (("rotate", {"value": "x"}), ("share", {"readers": ["bob"]}), ("remove", {})):
        assert vault.refusal("bob", entry, {"name": PUT["name"], **more}) == "unknown-secret"
    assert vault.call("bob", "audit", {}) == {"entries": [], "last": 0}
    for who in (built.callers["deployer"], stranger, None):
        for entry, value in (("put", PUT), ("remove", {"name": PUT["name"]}), ("audit", {})):
            with pytest.raises(EnclaveRefusedError) as refused:
                vault.enclave.call(entry, value, caller=who)
            assert refused.value.fault.code is Code.CALLER_REFUSED
    assert vault.call("deployer", "read", NAMED) == EXPECTED
    client.destroy(vault.enclave.number)


def test_a_reader_may_be_a_key_that_the_manifest_does_not_name(
    example: BuiltExample, client: Client, policy_for: PolicyFor
) -> None:
    built = example("secret-manager")
    temporary = CallerKey.generate()
    vault = Vault(built, client.attest(client.launch(built.image), policy_for(built.image)))
    vault.call("alice", "put", PUT | {"readers": [temporary.manifest_value]})
    assert vault.call(temporary, "read", NAMED) == EXPECTED
    assert vault.refusal("deployer", "read", NAMED) == "unknown-secret"
    vault.call("alice", "share", {"name": PUT["name"], "readers": []})
    assert vault.refusal(temporary, "read", NAMED) == "unknown-secret"
    assert vault.call("alice", "audit", {"after": 1, "limit": 1})["entries"][0]["who"] == temporary.manifest_value
    client.destroy(vault.enclave.number)


MALFORMED: list[tuple[str, Any]] = [
    ("put", {"name": "", "value": "v"}),
    ("put", {"name": "n"}),
    ("put", {"name": "n", "value": 5}),
    ("put", {"name": "n", "value": "v" * 8193}),
    ("put", {"name": "n", "value": "v", "readers": ["no such name!"]}),
    ("put", {"name": "n", "value": "v", "readers": ["ed25519:AAAA"]}),
    ("put", {"name": "n", "value": "v", "readers": ["bob", "bob"]}),
    ("put", {"name": "n", "value": "v", "not_before": "tomorrow"}),
    ("put", {"name": "n", "value": "v", "owner": "bob"}),
    ("audit", {"after": -1}),
    ("audit", None),
]


def test_malformed_arguments_do_not_reach_the_function(
    example: BuiltExample, client: Client, policy_for: PolicyFor
) -> None:
    built = example("secret-manager")
    vault = Vault(built, client.attest(client.launch(built.image), policy_for(built.image)))
    for entry, value in MALFORMED:
        with pytest.raises(EnclaveRefusedError) as refused:
            vault.call("alice", entry, value)
        assert refused.value.fault.code is Code.ARGUMENTS_REFUSED, value
    for bad in (" n", "n\u200b", "é" * 81):
        assert vault.refusal("alice", "put", {"name": bad, "value": "v"}) == "bad-name"
    assert vault.call("alice", "list", None)["own"] == []
    client.destroy(vault.enclave.number)


def test_windows_of_time_are_kept_by_the_hosts_clock(
    example: BuiltExample, client: Client, policy_for: PolicyFor
) -> None:
    built = example("secret-manager")
    vault = Vault(built, client.attest(client.launch(built.image), policy_for(built.image)))
    vault.call("alice", "put", {**PUT, "name": "early", "not_before": "9000-01-01T00:00:00Z"})
    vault.call("alice", "put", {**PUT, "name": "late", "not_after": "2001-01-01T00:00:00Z"})
    assert vault.refusal("deployer", "read", {"owner": "alice", "name": "early"}) == "too-early"
    assert vault.refusal("deployer", "read", {"owner": "alice", "name": "late"}) == "too-late"
    assert vault.call("alice", "read", {"owner": "alice", "name": "late"})["value"] == PUT["value"]
    client.destroy(vault.enclave.number)


def test_secrets_outlive_the_enclave_and_are_in_none_of_the_machines_files(
    example: BuiltExample, client: Client, policy_for: PolicyFor, machine: LocalMachine
) -> None:
    built = example("secret-manager")
    policy = policy_for(built.image)
    vault = Vault(built, client.attest(client.launch(built.image), policy))
    name, value = "a-name-in-no-other-test", "a value in no other test, 密码"
    vault.call("alice", "put", {"name": name, "value": value, "readers": ["deployer"]})
    client.stop(vault.enclave.number)
    client.start(vault.enclave.number)
    vault = Vault(built, client.attest(vault.enclave.number, policy))
    assert vault.call("deployer", "read", {"owner": "alice", "name": name})["value"] == value
    kept = files_of(machine.state)
    assert any(path.name.startswith("records.db") and content for path, content in kept.items())
    for path, content in kept.items():
        for secret in (name, value):
            assert secret.encode() not in content, path
    client.destroy(vault.enclave.number)


def test_the_operators_token_opens_the_gateway_and_no_secret(example: BuiltExample, tmp_path: Path) -> None:
    built = example("secret-manager")
    state, token = tmp_path / "machine", token_text(secrets.token_bytes(32))
    supervisor = start_supervisor(["--state", str(state), "--seed", SEED, "--token-digest", token_digest(token).hex()])
    try:
        machine = running_machine(state)
        policy = exact_policy(machine, built.image)
        with connect(machine.status.url, token=token) as operator:
            number = operator.launch(built.image)
            vault = Vault(built, operator.attest(number, policy))
            vault.call("alice", "put", PUT)
            for who in (None, CallerKey.generate()):
                assert vault.refusal(who, "read", NAMED) == "unknown-secret"
                assert vault.call(who, "list", None) == {"own": [], "shared": []}
                with pytest.raises(EnclaveRefusedError) as refused:
                    vault.call(who, "audit", {})
                assert refused.value.fault.code is Code.CALLER_REFUSED
            with connect(machine.status.url, token=token_text(bytes(32))) as nobody, pytest.raises(TokenRefusedError):
                nobody.enclaves()
            operators = load_or_create_key(tmp_path / "operator.pem")
            for key, seen in ((operators, []), (built.key, [PUT["name"]])):  # who is trusted is the developer
                greedy = opened_up(built, tmp_path / key.mr_signer().hex(), key)
                enclave = operator.attest(operator.launch(greedy), exact_policy(machine, greedy))
                assert [secret["name"] for secret in enclave.call("list", None).value["own"]] == seen
            for path in ("machine", "images", "enclaves", f"enclaves/{number}", "collateral"):
                answer = httpx.get(f"{machine.status.url}/v1/{path}", headers={"Authorization": f"Bearer {token}"})
                assert answer.status_code == HTTPStatus.OK, path
                assert PUT["value"] not in answer.text
                assert PUT["name"] not in answer.text
            assert vault.call("deployer", "read", NAMED) == EXPECTED
    finally:
        supervisor.end()


def opened_up(built: Built, folder: Path, key: DeveloperKey) -> Image:
    """The example as an operator would rather have it: it lists Alice's secrets to everybody."""
    shutil.copytree(built.folder, folder)
    main = folder / "guest" / "main.js"
    source = main.read_text()
    assert "caller?.name ?? null" in source
    main.write_text(source.replace("caller?.name ?? null", '"alice"').replace("caller.name, name)", '"alice", name)'))
    return build(folder, key, epoch=EPOCH)
