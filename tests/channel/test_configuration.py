"""A service's configuration: its owner's word alone counts, and no version ever falls."""

from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.rigs.channel.guests import Called
from tests.rigs.channel.rig import Rig
from tests.rigs.channel.services import service
from tests.rigs.channel.state import Host, get, put

from casemate.engines.frames import FrameKind
from casemate.wire.encodings.json_text import encode_json
from casemate.wire.encodings.message import encode_message
from casemate.wire.errors import WireError
from casemate.wire.messages.service_life import Configure, Configured, Health, RunHook
from casemate.wire.messages.state import StateAppend, StateRecords, StateStored
from casemate.wire.protocol.capabilities.service import Hook
from casemate.wire.protocol.configuration import MAX_CONFIGURATION, SignedConfiguration, signed_configuration
from casemate.wire.protocol.deployment import deployment_id
from casemate.wire.protocol.faults import Code

OWNER, STRANGER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
NAME = "keeper"
SCHEMA = 'configuration = { type = "object", properties = { n = { type = "integer" } }, required = ["n"] }\n'


def key_of(owner: Ed25519PrivateKey) -> bytes:
    return owner.public_key().public_bytes_raw()


def signed(
    value: Any, version: int = 1, *, owner: Ed25519PrivateKey = OWNER, name: str = NAME, text: bytes | None = None
) -> Configure:
    """The owner's configuration."""
    text = encode_json(value) if text is None else text
    signing = signed_configuration(deployment_id(key_of(owner), name), version, text)
    return Configure(SignedConfiguration(key_of(owner), name, version, text, owner.sign(signing)))


def configurable(hooks: str = "[]") -> str:
    return service(hooks).replace("max_kib = 4", "max_kib = 200") + SCHEMA


def rig_of(script: Any, hooks: str = "[]") -> Rig:
    return Rig(manifest=configurable(hooks), script=script, deployment=deployment_id(key_of(OWNER), NAME))


def returns(called: Called) -> None:
    called.returns(b"1")


@pytest.fixture
def rig() -> Iterator[Rig]:
    with rig_of(returns) as made:
        yield made


def test_calls_are_refused_until_the_owner_has_configured_the_service(rig: Rig) -> None:
    host, session = Host(rig), rig.attest()
    refused = host.refused(session)
    assert refused.code is Code.WRONG_STATE
    assert "casemate service configure" in refused.reason
    assert host.ask(RunHook(Hook.HEALTH)).state is Health.UNCONFIGURED
    assert host.ask(signed({"n": 1})) == Configured(1)
    assert host.call(session).value == 1
    assert host.ask(RunHook(Hook.HEALTH)).state is Health.READY


REFUSED: dict[str, tuple[Configure, Code]] = {
    "another deployment of the owner's": (signed({"n": 1}, name="other"), Code.CALLER_REFUSED),
    "a stranger's": (signed({"n": 1}, owner=STRANGER), Code.CALLER_REFUSED),
    "signed by nobody": (
        Configure(SignedConfiguration(key_of(OWNER), NAME, 1, b'{"n":1}', bytes(64))),
        Code.CALLER_REFUSED,
    ),
    "signed as another version": (
        Configure(SignedConfiguration(key_of(OWNER), NAME, 2, b'{"n":1}', signed({"n": 1}).configuration.signature)),
        Code.CALLER_REFUSED,
    ),
    "not as its schema says": (signed({"n": "secret"}), Code.ARGUMENTS_REFUSED),
    "no JSON": (signed(None, text=b"{"), Code.ARGUMENTS_REFUSED),
    "too high a version": (signed({"n": 1}, 2**53), Code.MALFORMED),
}


@pytest.mark.parametrize("how", REFUSED)
def test_what_is_not_the_owners_word_changes_nothing(rig: Rig, how: str) -> None:
    configure, code = REFUSED[how]
    host = Host(rig)
    assert host.ask(configure).code is code
    assert host.ask(RunHook(Hook.HEALTH)).state is Health.UNCONFIGURED


def test_a_configuration_of_more_than_64_kib_is_no_message() -> None:
    with pytest.raises(WireError, match="text"):
        encode_message(signed(None, text=b" " * (MAX_CONFIGURATION + 1)))


def test_a_version_never_falls_and_says_one_thing(rig: Rig) -> None:
    host = Host(rig)
    for version in (3, 3):
        assert host.ask(signed({"n": 3}, version)) == Configured(3)
    for late in (signed({"n": 2}, 2), signed({"n": 4}, 3)):
        refused = host.ask(late)
        assert refused.code is Code.WRONG_STATE
        assert "version" in refused.reason
    assert host.ask(signed({"n": 4}, 4)) == Configured(4)


def test_hooks_see_the_new_configuration_and_change_the_state_with_it() -> None:
    lived: list[tuple[str, bytes]] = []
    fails = [False]

    def serves(called: Called) -> None:
        lived.append((called.entry, called.arguments))
        if called.entry in ("start", "reconfigure"):
            assert put(called, len(lived)) == FrameKind.ANSWER
            if fails[0]:
                called.throws("Error", "no")
            else:
                called.returns(b"null")
        else:
            called.returns(encode_json(get(called)))

    with rig_of(serves, '["start", "reconfigure"]') as rig:
        host, session = Host(rig), rig.attest()
        host.ask(signed({"n": 1}))
        assert host.call(session).value == 1
        fails[0] = True
        assert host.ask(signed({"n": 2}, 2)).code is Code.GUEST_ERROR
        assert host.call(session).value == 1
        fails[0] = False
        assert host.ask(signed({"n": 5}, 2)) == Configured(2)
        assert host.call(session).value == len(lived) - 1
    hooks = [(name, text) for name, text in lived if name != "any"]
    assert hooks == [("start", b'{"n":1}'), ("reconfigure", b'{"n":2}'), ("reconfigure", b'{"n":5}')]


def test_guests_of_the_old_configuration_end() -> None:
    lived: list[str] = []

    def serves(called: Called) -> None:
        lived.append(f"{called.entry} {called.arguments.decode()}")
        called.returns(b"1")

    with rig_of(serves, '["initialize"]') as rig:
        host, session = Host(rig), rig.attest()
        host.ask(signed({"n": 1}))
        host.call(session)
        host.ask(signed({"n": 2}, 2))
        host.call(session)
    assert lived == ['initialize {"n":1}', "any null", 'initialize {"n":2}', "any null"]


def test_a_deployment_without_an_owner_has_no_configuration() -> None:
    with Rig(manifest=configurable(), script=returns) as rig:
        refused = Host(rig).ask(signed({"n": 1}))
        assert refused.code is Code.WRONG_STATE
        assert "--owner" in refused.reason


def test_what_has_no_schema_for_it_has_no_configuration() -> None:
    with Rig(manifest=service(), script=returns) as rig:
        assert Host(rig).ask(signed({"n": 1})).code is Code.WRONG_STATE


def test_the_next_launch_has_the_newest_configuration_and_takes_none_before_it() -> None:
    kept: list[Any] = []

    def keeps(question: Any) -> Any:
        if isinstance(question, StateAppend):
            kept.insert(0, question.record)
            return StateStored(question.number)
        return StateRecords(question.number, tuple(kept))

    lived: list[str] = []

    def serves(called: Called) -> None:
        lived.append(f"{called.entry} {called.arguments.decode()}")
        called.returns(b"1")

    with rig_of(serves) as first:
        host = Host(first, keeps)
        for version in (1, 2):
            assert host.ask(signed({"n": version}, version)) == Configured(version)
        anchor = first.anchor
    with rig_of(serves, '["start"]') as second:
        second.anchor = anchor
        host, session = Host(second, keeps), second.attest()
        assert host.call(session).value == 1
        assert lived == ['start {"n":2}', "any null"]
        assert host.ask(signed({"n": 1}, 1)).code is Code.WRONG_STATE
    before = kept[1:]
    with rig_of(serves) as third:
        third.anchor = anchor
        host = Host(third, lambda question: StateRecords(question.number, tuple(before)))
        assert host.ask(signed({"n": 1}, 1)).code is Code.STATE_ROLLED_BACK
