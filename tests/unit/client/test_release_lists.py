"""Policies that name a list of releases: whose it is, that it never goes back, and what else may be wrong with it."""

import json
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.rigs.verifier.sgx import policy as sgx_policy
from tests.rigs.verifier.snp import strict

from casemate.client.caller_keys import CallerKey
from casemate.client.release_lists import (
    ReleaseListRefusedError,
    SeenVersionsError,
    check_signature,
    read_policy,
    sign_list,
)
from casemate.verifier import AMD_MILAN_ROOT, AllOfPolicy, AnyOfPolicy, PolicyError, SgxPolicy, SnpPolicy
from casemate.verifier.policy_text import PolicyFormat, print_policy_text
from casemate.wire.protocol.release_list import Release

OWNER, OTHER = CallerKey.generate(), CallerKey.generate()
ONE, TWO = (Release(bytes([number]) * 32, bytes([number]) * 48) for number in (1, 2))


class Place:
    """A caller's folder: a policy, and a list beside it."""

    def __init__(self, folder: Path) -> None:
        self.policy, self.list = folder / "policy.json", folder / "hello.json"
        self.seen = folder / "policy.json.seen"

    def publish(self, version: int, *releases: Release, name: str = "hello", key: CallerKey = OWNER) -> None:
        self.list.write_bytes(sign_list(name, version, releases, key).encode())

    def demand(self, of: str = "sgx", **more: Any) -> dict[str, Any]:
        """A policy's members, with a list in the place of measurements."""
        policy, member = {"sgx": (sgx_policy(), "mr_enclave"), "snp": (strict(AMD_MILAN_ROOT), "measurement")}[of]
        members: dict[str, Any] = json.loads(print_policy_text(policy, PolicyFormat.JSON))
        table = {"releases": self.list.name, "owner": OWNER.manifest_value, "name": "hello"} | more
        return members | {member: {name: value for name, value in table.items() if value is not None}}

    def read(self, members: dict[str, Any] | None = None, **more: Any) -> Any:
        self.policy.write_text(json.dumps(members or self.demand(**more)))
        return read_policy(self.policy)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def refused(rule: str, place: Place, **more: Any) -> ReleaseListRefusedError:
    with pytest.raises(ReleaseListRefusedError) as refusal:
        place.read(**more)
    assert refusal.value.rule == rule
    return refusal.value


def test_a_policy_accepts_what_the_list_names(place: Place) -> None:
    place.publish(1, ONE, TWO)
    enclaves, guests = place.read(), place.read(of="snp")
    assert isinstance(enclaves, SgxPolicy)
    assert isinstance(guests, SnpPolicy)
    assert enclaves.mr_enclave == frozenset({ONE.mr_enclave, TWO.mr_enclave})
    assert guests.measurement == frozenset({ONE.launch_digest, TWO.launch_digest})
    assert replace(enclaves, mr_enclave=sgx_policy().mr_enclave) == sgx_policy()


def test_a_list_may_stand_in_members_of_composed_policies_and_in_toml(place: Place) -> None:
    place.publish(4, ONE)
    either = place.read({"any_of": [place.demand(), place.demand(of="snp")]})
    assert isinstance(either, AnyOfPolicy)
    both = place.read({"code": "ANY_CODE", "all_of": [place.demand(), place.demand(of="snp")]})
    assert isinstance(both, AllOfPolicy)
    text = print_policy_text(sgx_policy(), PolicyFormat.TOML)
    line = next(each for each in text.splitlines() if each.startswith("mr_enclave"))
    table = f'mr_enclave = {{ releases = "hello.json", owner = "{OWNER.manifest_value}", name = "hello" }}'
    place.policy.write_text(text.replace(line, table))
    assert read_policy(place.policy) == replace(sgx_policy(), mr_enclave=frozenset({ONE.mr_enclave}))


def test_a_policy_without_a_list_is_read_as_it_is_and_keeps_nothing(place: Place) -> None:
    place.policy.write_text(print_policy_text(sgx_policy(), PolicyFormat.TOML))
    assert read_policy(place.policy) == sgx_policy()
    assert not place.seen.exists()


def test_an_older_list_is_refused_and_a_newer_one_is_remembered(place: Place) -> None:
    place.publish(3, ONE)
    place.read()
    place.publish(5, TWO)
    assert place.read().mr_enclave == {TWO.mr_enclave}
    place.publish(4, ONE)
    assert "got 4, want 5 or above" in str(refused("releases.version", place))
    place.publish(5, TWO)
    place.read()
    assert json.loads(place.seen.read_text()) == {"seen": {f"{OWNER.manifest_value} hello": 5}}


def test_a_list_that_takes_everything_back_is_refused_and_remembered(place: Place) -> None:
    place.publish(1, ONE)
    place.read()
    place.publish(2)
    refused("releases.none", place)
    place.publish(1, ONE)
    refused("releases.version", place)


def test_each_owner_and_function_has_a_version_of_its_own(place: Place) -> None:
    place.publish(9, ONE)
    place.read()
    place.publish(1, ONE, name="other")
    place.read(name="other")
    place.publish(1, ONE, key=OTHER)
    place.read(owner=OTHER.manifest_value)
    assert sorted(json.loads(place.seen.read_text())["seen"].values()) == [9]


@pytest.mark.parametrize("what", ["version", "name", "releases", "signature", "key", "function", "least"])
def test_a_list_that_is_not_the_owners_or_of_something_else_is_refused(place: Place, what: str) -> None:
    place.publish(3, ONE, key=OTHER if what == "key" else OWNER, name="other" if what == "function" else "hello")
    document = json.loads(place.list.read_bytes())
    changes: dict[str, Any] = {
        "version": 4,
        "name": "hallo",
        "releases": [{"mr_enclave": "07" * 32, "launch_digest": "07" * 48}],
        "signature": "A" * 86 + "==",
    }
    if what in changes:
        place.list.write_text(json.dumps(document | {what: changes[what]}))
    rules = {"function": "releases.name", "least": "releases.version"}
    refused(rules.get(what, "releases.signature"), place, **({"minimum_version": 4} if what == "least" else {}))
    assert not place.seen.exists()


def test_a_key_for_which_anybody_can_sign_is_no_owners() -> None:
    with pytest.raises(ReleaseListRefusedError, match=r"releases\.owner"):
        check_signature(sign_list("hello", 1, (ONE,), OWNER), bytes(32))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"releases": "nowhere.json"}, "No such file"),
        ({"releases": "."}, "no plain file"),
        ({"releases": "x\0y"}, "release list"),
        ({"releases": 7}, "a string"),
        ({"owner": "ed25519:AAAA"}, "base64 of an Ed25519 public key"),
        ({"owner": None}, "a member of this name"),
        ({"name": None}, "a member of this name"),
        ({"minimum_version": -1}, "an integer from 0"),
        ({"more": 1}, "only releases, owner, name, minimum_version"),
    ],
)
def test_a_demand_that_cannot_be_followed_is_a_fault_of_the_policy(
    place: Place, more: dict[str, Any], words: str
) -> None:
    place.publish(1, ONE)
    with pytest.raises(PolicyError, match=words):
        place.read(**more)


def test_a_list_that_is_a_pipe_or_too_long_is_refused_at_once(place: Place) -> None:
    os.mkfifo(place.list)
    with pytest.raises(PolicyError, match="no plain file"):
        place.read()
    place.list.unlink()
    place.list.write_bytes(b" " * 300_000)
    with pytest.raises(PolicyError, match="release list"):
        place.read()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"seen": {"x": -1}}', "\0"])
def test_a_record_that_cannot_be_read_is_not_taken_for_none(place: Place, text: str) -> None:
    place.publish(1, ONE)
    place.seen.write_text(text)
    with pytest.raises(SeenVersionsError) as failed:
        place.read()
    assert "restore it" in failed.value.advice


def test_a_version_that_cannot_be_kept_is_not_relied_on_unless_the_policy_demands_it(place: Place) -> None:
    place.publish(7, ONE)
    place.seen.mkdir()  # a folder, which even root cannot write to as a file
    with pytest.raises(SeenVersionsError):
        place.read()
    place.seen.rmdir()
    place.read(minimum_version=7)
    assert not place.seen.exists()  # nothing to keep: the policy says it


def test_of_many_readers_at_once_none_lowers_what_another_has_seen(place: Place) -> None:
    place.policy.write_text(json.dumps(place.demand()))
    for version in range(1, 20):
        place.publish(version, ONE)
        threads = [threading.Thread(target=read_policy, args=(place.policy,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(json.loads(place.seen.read_text())["seen"].values() if version > 1 else [1]) == {version}
