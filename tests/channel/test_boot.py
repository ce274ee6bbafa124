"""Enclaves that must not come up, and the words with which the chip hears of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rigs.channel.guests import GuestEndedError, Line
from tests.rigs.channel.rig import FILES, MANIFEST, Rig, manifest_with, pages_of

from casemate.engines.frames import NO_CALL, FrameKind, head_and_text
from casemate.wire.messages.leaf import Booted
from casemate.wire.messages.spawner import NeedGuest
from casemate.wire.protocol.faults import Code, Fault, fault
from casemate.wire.protocol.image_index import LOCK_PATH, MANIFEST_PATH
from casemate.wire.protocol.isolation import Isolation


def refusal(rig: Rig) -> Fault:
    """Why the chip was told that it cannot boot; it has ended then."""
    assert isinstance(rig.booted, Fault), rig.booted
    assert rig.ended()
    rig.close()
    return rig.booted


@pytest.mark.parametrize(
    "pages",
    [
        b"",
        bytes(4096),
        b"\xff" * 8192,
        pages_of(FILES)[:-4096],
        pages_of(FILES) + bytes(4096),
        pages_of({path: content for path, content in FILES.items() if path != LOCK_PATH}),
        pages_of({path: content for path, content in FILES.items() if path != "guest/main.js"}),
        pages_of(FILES | {MANIFEST_PATH: b"["}),
        pages_of(FILES | {MANIFEST_PATH: MANIFEST.replace('"anyone"', '"everyone"').encode()}),
    ],
)
def test_pages_that_are_no_image_do_not_boot(pages: bytes) -> None:
    assert refusal(Rig(pages=pages)).code is Code.LAUNCH_REFUSED


@pytest.mark.parametrize("key", ["product_id = 3", "security_version = 2", "debug = false"])
def test_a_manifest_that_is_not_the_signed_identity_does_not_boot(key: str) -> None:
    changed = key.replace("false", "true").replace("3", "4").replace("2", "5")
    refused = refusal(Rig(manifest=MANIFEST.replace(key, changed)))
    assert refused.code is Code.LAUNCH_REFUSED
    assert "the manifest says" in refused.reason


@pytest.mark.parametrize("isolation", Isolation)
def test_an_enclave_of_every_isolation_boots_and_answers(isolation: Isolation) -> None:
    with Rig(manifest=manifest_with(isolation=isolation)) as rig:
        assert rig.call(rig.attest(), "echo", {"n": 1}).value["arguments"] == {"n": 1}


@pytest.mark.parametrize("limits", [{"concurrent": 2}, {"guests": 2}])
def test_a_shared_guest_beside_others_does_not_boot(limits: dict[str, int]) -> None:
    refused = refusal(Rig(manifest=manifest_with(isolation=Isolation.SHARED, **limits)))
    assert refused.code is Code.LAUNCH_REFUSED
    assert 'with isolation = "shared" one guest serves one call at a time' in refused.reason


def test_code_that_cannot_be_loaded_does_not_boot() -> None:
    def broken(line: Line) -> None:
        head = {"code": "guest-error", "name": "SyntaxError", "message": "Unexpected token in guest/main.js"}
        line.say(FrameKind.FAILED, NO_CALL, head_and_text(head, b""))

    refused = refusal(Rig(loader=broken))
    assert refused.code is Code.GUEST_ERROR
    assert "SyntaxError: Unexpected token in guest/main.js" in refused.reason


def test_code_that_loads_for_ever_does_not_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("casemate.enclave.guest.guest.LOAD_TIME", 0.2)
    assert refusal(Rig(loader=lambda _: None)).code is Code.TIME_LIMIT


def test_code_that_ends_its_process_while_loading_does_not_boot() -> None:
    def dies(_: Line) -> None:
        raise GuestEndedError

    assert refusal(Rig(loader=dies)).code is Code.GUEST_CRASHED


def test_an_enclave_without_a_guest_does_not_boot() -> None:
    class Guestless(Rig):
        def _give_guest(self, need: NeedGuest) -> None:
            self.spawner_refuses = fault(Code.UNAVAILABLE, "landlock is required and not there")
            super()._give_guest(need)

    assert refusal(Guestless()).reason == "landlock is required and not there"


def test_defects_while_booting_are_told_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("a secret")

    monkeypatch.setattr("casemate.enclave.main.read_program", broken)
    refused = refusal(Rig())
    assert refused.code is Code.INTERNAL
    assert "secret" not in refused.reason


@given(st.binary(max_size=9000), st.booleans())
def test_no_pages_crash_it(pages: bytes, after_magic: bool) -> None:
    pages = pages_of(FILES)[:14] + pages if after_magic else pages
    assert refusal(Rig(pages=pages)).code is Code.LAUNCH_REFUSED


def test_an_honest_image_boots() -> None:
    with Rig() as rig:
        assert isinstance(rig.booted, Booted)
