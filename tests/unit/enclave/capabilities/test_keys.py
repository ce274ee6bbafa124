"""Keys in an enclave: one purpose each, made once, rotated, retired, as fresh as the state, and never told."""

import base64
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from tests.rigs.store_lab import RULES, Lab, contents, finish, lab, put, run, secs, soon

from casemate.enclave.capabilities import key_algorithms as algorithms
from casemate.enclave.capabilities.key_rings import MAX_VERSIONS, KeyRing
from casemate.enclave.capabilities.keys import KeysCapability
from casemate.enclave.store.store import Store
from casemate.engines.questions import parse_question
from casemate.engines.questions.keys import MAX_BESIDE, MAX_OPENED_TEXT, KeyUse, UseKey
from casemate.wire.errors import WireError
from casemate.wire.protocol.capabilities.keys import ALGORITHMS, Algorithm, KeyRules, Purpose
from casemate.wire.protocol.faults import Code, FaultError
from casemate.wire.protocol.manifest import StateRules
from casemate.wire.sgx.attributes import AttributeFlag, Attributes

MANIFEST = tuple(
    KeyRules(f"{purpose}-{algorithm}", purpose, algorithm) for purpose, able in ALGORITHMS.items() for algorithm in able
)
"""A key of every kind."""
SIGNERS = [f"sign-{algorithm}" for algorithm in ALGORITHMS[Purpose.SIGN]]
AGREERS = [f"agree-{algorithm}" for algorithm in ALGORITHMS[Purpose.AGREE]]
BOX, TAGS, SEEDS = "encrypt-aes-256-gcm", "mac-hmac-sha-256", "derive-hkdf-sha-256"


TENANT = secs(
    config_id=b"d" * 32 + bytes(32),
    attributes=Attributes(AttributeFlag.INIT | AttributeFlag.MODE64BIT | AttributeFlag.KSS, 3),
)
"""The same image in a deployment that has an owner."""


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Lab]:
    with lab(tmp_path) as made:
        yield made


class Keys:
    """``context.keys`` of an enclave."""

    def __init__(self, store: Store) -> None:
        self._capability = KeysCapability(MANIFEST, store)

    def __call__(
        self, use: str, name: str, data: bytes = b"", beside: bytes = b"", *, version: int | None = None,
        length: int | None = None,
    ) -> Any:  # fmt: skip
        question = UseKey(KeyUse(use), name, data, beside, version, length)
        call: Any = SimpleNamespace(check_may_write=lambda: None)
        said = json.loads(finish(self._capability.answer(question, call, soon())))
        if isinstance(said, dict):
            said["spki"] = base64.b64decode(said["spki"])
        return base64.b64decode(said) if isinstance(said, str) else said


@pytest.fixture
def keys(machine: Lab) -> Keys:
    return Keys(machine.launch(machine.host()))


def refused(code: Code, keys: Keys, *question: Any, **more: Any) -> str:
    with pytest.raises(FaultError) as raised:
        keys(*question, **more)
    assert raised.value.fault.code is code
    return raised.value.fault.reason


@pytest.mark.parametrize("name", SIGNERS)
def test_a_signature_is_over_these_data_and_of_this_key(name: str, keys: Keys) -> None:
    signature = keys("sign", name, b"data")
    assert keys("verify", name, b"data", signature) is True
    assert keys("verify", name, b"other", signature) is False
    assert keys("verify", name, b"data", signature[:-1]) is False
    assert keys("verify", name, b"data", b"") is False
    assert keys("verify", name, b"data", bytes(len(signature))) is False
    for other in SIGNERS:
        assert keys("verify", other, b"data", signature) is (other == name)


def test_a_signature_of_secp256k1_has_the_lower_s(keys: Keys) -> None:
    half = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
    for number in range(16):
        _, s = decode_dss_signature(keys("sign", "sign-secp256k1", bytes([number])))
        assert s <= half


def test_a_tag_is_of_its_key_alone(keys: Keys) -> None:
    tag = keys("mac", TAGS, b"data")
    assert len(tag) == 32
    assert keys("verify", TAGS, b"data", tag)
    assert not keys("verify", TAGS, b"data", tag[:-1])
    assert not keys("verify", TAGS, b"other", tag)


@pytest.mark.parametrize("data", [b"", b"x", bytes(100_000)])
def test_a_text_opens_with_what_it_was_made_with(data: bytes, keys: Keys) -> None:
    text = keys("encrypt", BOX, data, b"beside")
    assert len(text) == len(data) + 85
    assert keys("decrypt", BOX, text, b"beside") == data
    refused(Code.CANNOT_OPEN, keys, "decrypt", BOX, text, b"other")
    refused(Code.CANNOT_OPEN, keys, "decrypt", BOX, text)


def test_no_changed_text_opens(keys: Keys) -> None:
    text = keys("encrypt", BOX, b"data")
    for at in range(len(text)):
        changed = bytes((*text[:at], text[at] ^ 1, *text[at + 1 :]))
        refused(Code.CANNOT_OPEN, keys, "decrypt", BOX, changed)
    for size in range(len(text)):
        refused(Code.CANNOT_OPEN, keys, "decrypt", BOX, text[:size])
    refused(Code.CANNOT_OPEN, keys, "decrypt", BOX, text + b"\0")


def test_no_two_texts_have_one_key(keys: Keys) -> None:
    texts = [keys("encrypt", BOX, b"data") for _ in range(50)]
    assert len({text[5:37] for text in texts}) == len({text[69:] for text in texts}) == 50


def test_what_is_derived_is_of_the_info_and_the_version(keys: Keys) -> None:
    first = keys("derive", SEEDS, b"a")
    assert len(first) == 32
    assert keys("derive", SEEDS, b"a") == first != keys("derive", SEEDS, b"b")
    assert keys("derive", SEEDS, b"a", length=64)[:32] == first
    assert keys("rotate", SEEDS) == 2
    assert keys("derive", SEEDS, b"a") != first == keys("derive", SEEDS, b"a", version=1)
    for length in (0, 15, 1025):
        assert "want 16 to 1024" in refused(Code.GUEST_ERROR, keys, "derive", SEEDS, b"a", length=length)


@pytest.mark.parametrize("name", AGREERS)
def test_two_enclaves_agree(name: str, machine: Lab) -> None:
    ours = Keys(machine.launch(machine.host()))
    theirs = Keys(machine.launch(machine.host(), secs=secs(mr_signer=b"t" * 32)))
    mine, other = (each("public", name)["spki"] for each in (ours, theirs))
    assert mine != other
    shared = ours("agree", name, other, b"info")
    assert theirs("agree", name, mine, b"info") == shared
    assert theirs("agree", name, mine, b"else") != shared


@pytest.mark.parametrize("name", AGREERS)
def test_a_point_that_keeps_no_secret_is_refused(name: str, keys: Keys) -> None:
    good = keys("public", name)["spki"]
    size = 32 if "25519" in name else 2 * (len(good) - good.index(b"\x00\x04") - 2) // 2
    head = good[: len(good) - size]
    bad = [b"", b"x", good[:-1], good + b"\0", head + bytes(size)]
    bad += [] if "25519" in name else [head + b"\xff" * size]  # every other 32 bytes are a key of X25519 (RFC 7748)
    bad += [keys("public", other)["spki"] for other in (*SIGNERS[:1], *AGREERS) if other != name]
    for peer in bad:
        assert "want a public key" in refused(Code.GUEST_ERROR, keys, "agree", name, peer)


@pytest.mark.parametrize(("name", "use"), [*itertools.product([rules.name for rules in MANIFEST], KeyUse)])
def test_a_key_is_for_one_purpose(name: str, use: KeyUse, keys: Keys) -> None:
    purpose = name.partition("-")[0]
    able = {
        "sign": {"sign", "verify", "public"},
        "mac": {"mac", "verify"},
        "encrypt": {"encrypt", "decrypt"},
        "derive": {"derive"},
        "agree": {"agree", "public"},
    }[purpose] | {"rotate", "retire"}
    if use not in able:
        words = refused(Code.GUEST_ERROR, keys, use, name, b"data", b"beside")
        assert words.startswith(f"key {name!r} is for {purpose!r}")


def test_a_name_that_there_is_not_is_told_with_those_that_are(keys: Keys) -> None:
    assert "sign-ed25519, sign-p256" in refused(Code.GUEST_ERROR, keys, "sign", "other", b"")


@pytest.mark.parametrize("name", ["sign-ed25519", "sign-ml-dsa-65", TAGS])
def test_old_versions_go_on_verifying_until_they_are_retired(name: str, keys: Keys) -> None:
    make = "mac" if name == TAGS else "sign"
    old = keys(make, name, b"data")
    assert keys("rotate", name) == 2
    new = keys(make, name, b"data")
    assert old != new
    assert keys("verify", name, b"data", old)
    assert not keys("verify", name, b"data", old, version=2)
    assert keys("verify", name, b"data", old, version=1)
    assert "newest" in refused(Code.GUEST_ERROR, keys, "retire", name, version=2)
    assert "newest" in refused(Code.GUEST_ERROR, keys, "retire", name)
    assert keys("retire", name, version=1) is True
    assert keys("retire", name, version=1) is False
    assert not keys("verify", name, b"data", old)
    assert not keys("verify", name, b"data", old, version=1)
    assert keys("verify", name, b"data", new)


def test_a_retired_version_opens_nothing_and_is_never_made_again(keys: Keys) -> None:
    text = keys("encrypt", BOX, b"data")
    keys("rotate", BOX)
    assert keys("decrypt", BOX, text) == b"data"
    keys("retire", BOX, version=1)
    refused(Code.CANNOT_OPEN, keys, "decrypt", BOX, text)
    assert keys("rotate", BOX) == 3
    name = "sign-p256"
    keys("rotate", name)
    keys("retire", name, version=1)
    assert keys("public", name)["versions"] == [2]
    assert "it has: 2" in refused(Code.GUEST_ERROR, keys, "public", name, version=1)


def test_versions_are_bounded(keys: Keys) -> None:
    for _ in range(MAX_VERSIONS - 1):
        keys("rotate", TAGS)
    assert "retire old ones" in refused(Code.STATE_LIMIT, keys, "rotate", TAGS)
    keys("retire", TAGS, version=1)
    assert keys("rotate", TAGS) == MAX_VERSIONS + 1


def test_functions_neither_see_nor_change_what_keys_are_kept_in(machine: Lab) -> None:
    store = machine.launch(machine.host())
    keys = Keys(store)
    keys("sign", "sign-ed25519", b"")
    assert contents(store) == {}
    put(store, a=b"1")
    assert contents(store) == {"a": b"1"}


def test_a_key_is_there_for_the_next_launch_and_for_other_instances(machine: Lab) -> None:
    host = machine.host()
    first, second = Keys(machine.launch(host)), Keys(machine.launch(host))
    signature = first("sign", "sign-ed25519", b"data")
    assert second("verify", "sign-ed25519", b"data", signature)
    second("rotate", "sign-ed25519")
    assert first("public", "sign-ed25519")["version"] == 2
    machine.reboot()
    assert Keys(machine.launch(machine.host()))("verify", "sign-ed25519", b"data", signature)


def test_others_have_other_keys(machine: Lab) -> None:
    host = machine.host()
    signature = Keys(machine.launch(host))("sign", "sign-ed25519", b"data")
    for other in (secs(mr_signer=b"t" * 32), secs(isv_prod_id=8), TENANT):
        assert not Keys(machine.launch(host, secs=other))("verify", "sign-ed25519", b"data", signature)


def test_an_older_disk_gives_no_older_key(machine: Lab) -> None:
    host = machine.host()
    keys = Keys(machine.launch(host))
    keys("sign", "sign-ed25519", b"")
    older = machine.disk.read_bytes()
    keys("rotate", "sign-ed25519")
    host.records.close()
    machine.disk.write_bytes(older)
    for left in machine.folder.glob("records.db-*"):
        left.unlink()
    later = Keys(machine.launch(machine.host()))
    refused(Code.STATE_ROLLED_BACK, later, "sign", "sign-ed25519", b"")


def test_two_calls_at_once_make_one_key(machine: Lab) -> None:
    store = machine.launch(machine.host())
    signatures: list[bytes] = []

    async def sign() -> None:
        call: Any = SimpleNamespace(check_may_write=lambda: None)
        question = UseKey(KeyUse.SIGN, "sign-ed25519", b"data", b"", None, None)
        signatures.append(await KeysCapability(MANIFEST, store).answer(question, call, soon()))

    run(*(sign() for _ in range(6)))
    assert len(set(signatures)) == 1


def test_a_state_that_is_full_has_no_room_for_a_key(machine: Lab) -> None:
    small = StateRules(RULES.binding, RULES.recovery, max_kib=1)
    store = machine.launch(machine.host(), rules=small)
    put(store, a=b'"' + b"x" * 860 + b'"')
    refused(Code.STATE_LIMIT, Keys(store), "sign", "sign-ed25519", b"")


@pytest.mark.parametrize("versions", ["{}", '{"1":"?"}', "[]", '{"x":""}', '{"2":""}', "null"])
def test_other_records_are_no_key(versions: str) -> None:
    with pytest.raises(FaultError) as raised:
        KeyRing.parse(f'{{"newest":1,"versions":{versions}}}'.encode())
    assert raised.value.fault.code is Code.STATE_REFUSED


@pytest.mark.parametrize(
    "head",
    [
        {"use": "export", "key": "k", "size": 0},
        {"use": ["sign"], "key": "k", "size": 0},
        {"use": "sign", "key": 7, "size": 0},
        {"use": "sign", "key": "k" * 257, "size": 0},
        {"use": "sign", "key": "k", "size": 2},
        {"use": "sign", "key": "k", "size": -1},
        {"use": "sign", "key": "k", "size": True},
        {"use": "sign", "key": "k"},
        {"use": "sign", "key": "k", "size": 0, "version": -1},
        {"use": "sign", "key": "k", "size": 0, "version": "1"},
        {"use": "derive", "key": "k", "size": 0, "length": 1 << 32},
    ],
)
def test_a_guest_that_asks_otherwise_is_ended(head: dict[str, object]) -> None:
    with pytest.raises(WireError):
        parse_question({"do": "key", **head}, b"x")


def test_a_guest_that_asks_too_much_is_ended() -> None:
    for size, data in ((MAX_OPENED_TEXT + 1, bytes(MAX_OPENED_TEXT + 1)), (0, bytes(MAX_BESIDE + 1))):
        with pytest.raises(WireError):
            parse_question({"do": "key", "use": "sign", "key": "k", "size": size}, data)


def test_every_algorithm_is_rehearsed() -> None:
    algorithms.rehearse_keys()
    assert {rules.algorithm for rules in MANIFEST} == set(Algorithm)
