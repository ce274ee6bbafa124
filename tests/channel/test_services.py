"""An enclave that is a service: its queries change nothing, and its calls know where they belong."""

from collections.abc import Callable

import pytest
from tests.rigs.channel.guests import Called, GuestEndedError
from tests.rigs.channel.rig import Rig
from tests.rigs.channel.services import service
from tests.rigs.channel.state import Host, get, put

from casemate.enclave import service_life as module
from casemate.engines.conversation import MAX_PRINTED
from casemate.engines.frames import FrameKind
from casemate.wire.encodings.json_text import encode_json
from casemate.wire.messages.service_life import MAX_REASON, Health, HealthIs, RunHook
from casemate.wire.protocol.capabilities.service import Hook
from casemate.wire.protocol.faults import Code

WRITES = (
    ({"do": "put", "key": "k"}, b"1"),
    ({"do": "delete", "key": "k"}, b""),
    ({"do": "compare-and-set", "key": "k", "expected": None, "value": 1}, b"1"),
)
READS = (({"do": "get", "key": "k"}, b""), ({"do": "list", "prefix": "", "after": None, "limit": 9}, b""))


def tries(called: Called) -> None:
    """Counts what of the state's questions is refused."""
    kinds = [called.wants(head, text)[0] for head, text in (*WRITES, *READS)]
    called.returns(encode_json(kinds.count(FrameKind.REFUSAL)))


def test_a_query_reads_and_does_not_write_however_often_it_tries() -> None:
    with Rig(manifest=service(kind="query"), script=tries) as rig:
        host, session = Host(rig), rig.attest()
        result = host.call(session)
        assert result.value == len(WRITES)
        assert result.receipt.receipt.state is not None
        assert result.receipt.receipt.state.epoch == 0


def test_a_query_is_told_to_become_a_command() -> None:
    words: list[bytes] = []

    def writes(called: Called) -> None:
        words.append(called.wants(*WRITES[0])[1])
        called.returns(b"1")

    with Rig(manifest=service(kind="query"), script=writes) as rig:
        assert Host(rig).call(rig.attest()).value == 1
    assert b'kind = \\"command\\"' in words[0]


def test_a_command_may_write() -> None:
    with Rig(manifest=service(), script=tries) as rig:
        assert Host(rig).call(rig.attest()).value == 0


def test_initialize_runs_in_each_new_guest_once_before_its_first_call() -> None:
    lived: list[str] = []

    def serves(called: Called) -> None:
        lived.append(called.entry)
        called.returns(b"1")

    with Rig(manifest=service(hooks='["initialize"]'), script=serves) as rig:
        host = Host(rig)
        one, other = rig.attest(), rig.attest()
        for session in (one, one, other):
            assert host.call(session).value == 1
    assert lived == ["initialize", "any", "any", "initialize", "any"]


def flood(called: Called) -> None:
    for _ in range(MAX_PRINTED + 1):
        called.prints("x")


def end_guest() -> None:
    raise GuestEndedError


FAILS: dict[str, tuple[Callable[[Called], object], Code, str]] = {
    "throws": (lambda called: called.throws("Error", "secret"), Code.GUEST_ERROR, "threw"),
    "refuses": (lambda called: called.refuses("no"), Code.GUEST_ERROR, "refuses"),
    "dies": (lambda _: end_guest(), Code.GUEST_CRASHED, "killed"),
    "breaks its protocol": (lambda called: called.line.raw(b"garbage garbage garbage"), Code.GUEST_CRASHED, "protocol"),
    "floods": (flood, Code.GUEST_CRASHED, "protocol"),
    "says nothing": (lambda _: None, Code.TIME_LIMIT, "did not return"),
}


@pytest.mark.parametrize("how", FAILS)
@pytest.mark.parametrize("hook", ["initialize", "start"])
def test_a_hook_that_fails_is_a_typed_error_and_the_next_try_is_fresh(
    hook: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "START_AGAIN", 0.0)
    if how == "says nothing":
        monkeypatch.setattr(module, "INITIALIZE_TIME", 0.3)
        monkeypatch.setattr(module, "HOOK_TIME", {Hook.START: 0.3})
    fails, code, words = FAILS[how]
    broken = [True]

    def serves(called: Called) -> None:
        if called.entry == hook and broken:
            broken.clear()
            fails(called)
        else:
            called.returns(b"1")

    with Rig(manifest=service(hooks=f'["{hook}"]'), script=serves) as rig:
        host, session = Host(rig), rig.attest()
        refused = host.refused(session)
        assert refused.code is code
        assert refused.reason.startswith(f"the service's hook {hook} has failed: ")
        assert words in refused.reason
        assert "secret" not in refused.reason
        monkeypatch.undo()
        assert host.call(session).value == 1


def test_initialize_may_ask_for_nothing() -> None:
    said: list[bytes] = []

    def serves(called: Called) -> None:
        if called.entry == "initialize":
            said.append(called.wants(*WRITES[0])[1])
        called.returns(b"1")

    with Rig(manifest=service(hooks='["initialize"]'), script=serves) as rig:
        host = Host(rig)
        assert host.call(rig.attest()).value == 1
        assert not host.asked
    assert b"may ask the enclave nothing" in said[0]


def test_start_runs_once_before_the_first_call_though_the_host_never_asks_for_it() -> None:
    lived: list[str] = []

    def serves(called: Called) -> None:
        lived.append(called.entry)
        if called.entry == "start":
            assert put(called, 7) == FrameKind.ANSWER
            called.returns(b"null")
        else:
            called.returns(encode_json(get(called)))

    with Rig(manifest=service(hooks='["start"]'), script=serves) as rig:
        host, session = Host(rig), rig.attest()
        assert [host.call(session).value for _ in range(2)] == [7, 7]
        assert host.ask(RunHook(Hook.START)) == HealthIs(Health.READY, "")
    assert lived == ["start", "any", "any"]


def test_a_start_that_has_failed_is_not_tried_again_at_once() -> None:
    lived: list[str] = []

    def fails(called: Called) -> None:
        lived.append(called.entry)
        called.throws("Error", "no")

    with Rig(manifest=service(hooks='["start"]'), script=fails) as rig:
        host, session = Host(rig), rig.attest()
        assert {host.refused(session).code for _ in range(5)} == {Code.GUEST_ERROR}
        state = host.ask(RunHook(Hook.HEALTH))
        assert state.state is Health.BROKEN
    assert lived == ["start"]


HEALTHS: dict[str, tuple[bytes, Health]] = {
    "ready": (b'{"status":"ready"}', Health.READY),
    "degraded": (b'{"status":"degraded","reason":"slow"}', Health.DEGRADED),
    "another word": (b'{"status":"fine"}', Health.BROKEN),
    "the enclave's own word": (b'{"status":"unconfigured"}', Health.BROKEN),
    "more than health": (b'{"status":"ready","secret":1}', Health.BROKEN),
    "a long reason": (encode_json({"status": "ready", "reason": "x" * 257}), Health.BROKEN),
    "ten KiB": (encode_json({"status": "ready", "reason": "x" * 10_000}), Health.BROKEN),
    "two lines": (encode_json({"status": "ready", "reason": "a\nb"}), Health.BROKEN),
    "no object": (b"[]", Health.BROKEN),
    "no JSON": (b"{", Health.BROKEN),
}


@pytest.mark.parametrize("how", HEALTHS)
def test_of_health_one_word_and_a_short_line_leave_the_enclave(how: str) -> None:
    said, state = HEALTHS[how]
    with Rig(manifest=service(hooks='["health"]'), script=lambda called: called.returns(said)) as rig:
        assert rig.ready.hooks == (Hook.HEALTH,)
        told = Host(rig).ask(RunHook(Hook.HEALTH))
        assert isinstance(told, HealthIs)
        assert told.state is state
        assert len(told.reason) <= MAX_REASON
        assert "xxx" not in told.reason


def test_a_host_runs_no_hook_that_is_not_its_own() -> None:
    with Rig(manifest=service(hooks='["initialize"]')) as rig:
        assert Host(rig).ask(RunHook(Hook.INITIALIZE)).code is Code.MALFORMED


def test_a_shutdown_does_not_start_what_has_not_started() -> None:
    lived: list[str] = []

    def serves(called: Called) -> None:
        lived.append(called.entry)
        called.returns(b"null")

    with Rig(manifest=service(hooks='["start", "shutdown"]'), script=serves) as rig:
        host = Host(rig)
        host.ask(RunHook(Hook.SHUTDOWN))
        assert lived == []
        host.call(rig.attest())
        host.ask(RunHook(Hook.SHUTDOWN))
    assert lived == ["start", "any", "shutdown"]
