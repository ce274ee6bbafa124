import errno
import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from casemate.gateway.http import tokens as module
from casemate.gateway.http.problems import ProblemError
from casemate.gateway.http.tokens import RUN_TOKEN, TokenStore
from casemate.wire.errors import WireError
from casemate.wire.protocol.access_tokens import (
    RESERVED_NAMES,
    AccessToken,
    AccessTokens,
    Role,
    token_digest,
    token_text,
)

FIRST, SECOND, RUN = (token_text(bytes([number]) * 32) for number in range(3))
CREATED = datetime(2026, 11, 22, tzinfo=UTC)


def entry(name: str, token: str, role: Role = Role.CALL) -> AccessToken:
    return AccessToken(name, role, CREATED, token_digest(token))


def bearing(token: str) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"localhost"), (b"authorization", b"Bearer " + token.encode())]


def write(path: Path, *tokens: AccessToken) -> None:
    """As `casemate token` does: a draft, then a rename."""
    draft = path.with_suffix(".new")
    draft.write_bytes(AccessTokens(tokens).encode())
    draft.replace(path)


def test_admits_the_files_tokens_and_the_runs_own(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    write(path, entry("a", FIRST), entry("b", SECOND, Role.DEPLOY))
    desk = TokenStore(path, token_digest(RUN))
    assert [(desk.admit(bearing(token)).name, desk.admit(bearing(token)).role) for token in (FIRST, SECOND, RUN)] == [
        ("a", Role.CALL),
        ("b", Role.DEPLOY),
        (RUN_TOKEN, Role.ADMIN),
    ]


def test_without_a_file_the_runs_own_token_is_left(tmp_path: Path) -> None:
    desk = TokenStore(tmp_path / "tokens.json", token_digest(RUN))
    assert desk.admit(bearing(RUN)).role is Role.ADMIN
    with pytest.raises(ProblemError, match="does not know that token"):
        desk.admit(bearing(FIRST))


def test_without_any_token_nobody_is_admitted(tmp_path: Path) -> None:
    with pytest.raises(ProblemError, match="does not know that token"):
        TokenStore(tmp_path / "tokens.json", None).admit(bearing(RUN))


def test_a_token_that_is_taken_away_ends_at_once(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    write(path, entry("a", FIRST), entry("b", SECOND))
    desk = TokenStore(path, None)
    assert desk.admit(bearing(FIRST)).name == "a"
    write(path, entry("b", SECOND))
    with pytest.raises(ProblemError, match="does not know that token"):
        desk.admit(bearing(FIRST))
    assert desk.admit(bearing(SECOND)).name == "b"
    path.unlink()
    with pytest.raises(ProblemError, match="does not know that token"):
        desk.admit(bearing(SECOND))
    write(path, entry("a", FIRST))
    assert desk.admit(bearing(FIRST)).name == "a"


@pytest.mark.parametrize("text", [b"", b"{", b'{"version": 2, "tokens": []}', b"x" * 300_000])
def test_a_damaged_file_lets_nobody_in_and_says_so(
    tmp_path: Path, text: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "tokens.json"
    write(path, entry("a", FIRST))
    desk = TokenStore(path, token_digest(RUN))
    assert desk.admit(bearing(FIRST)).name == "a"
    path.write_bytes(text)
    os.utime(path, (time.time() + 5, time.time() + 5))
    with pytest.raises(ProblemError, match="does not know that token"):
        desk.admit(bearing(FIRST))
    assert desk.admit(bearing(RUN)).name == RUN_TOKEN
    assert "are not heeded" in caplog.text
    write(path, entry("a", FIRST))
    assert desk.admit(bearing(FIRST)).name == "a"


def test_a_folder_in_the_files_place_lets_nobody_in(tmp_path: Path) -> None:
    (tmp_path / "tokens.json").mkdir()
    with pytest.raises(ProblemError, match="does not know that token"):
        TokenStore(tmp_path / "tokens.json", None).admit(bearing(FIRST))


def test_a_file_that_could_not_be_read_once_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was noted as read before it had been: after one failure no token was heeded until it changed again."""
    path = tmp_path / "tokens.json"
    write(path, entry("a", FIRST))
    desk = TokenStore(path, None)
    with monkeypatch.context() as patched:
        patched.setattr(module, "open_plain", _no_descriptor_left)
        with pytest.raises(ProblemError, match="does not know that token"):
            desk.admit(bearing(FIRST))
    assert desk.admit(bearing(FIRST)).name == "a"
    write(path, entry("b", SECOND))
    with monkeypatch.context() as patched:
        patched.setattr(module, "open_plain", _no_descriptor_left)
        with pytest.raises(ProblemError, match="does not know that token"):
            desk.admit(bearing(SECOND))
    assert desk.admit(bearing(SECOND)).name == "b"


def _no_descriptor_left(*_: object) -> None:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def test_a_file_that_cannot_be_read_is_told_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "tokens.json"
    write(path, entry("a", FIRST))
    desk = TokenStore(path, None)
    monkeypatch.setattr(module, "open_plain", _no_descriptor_left)
    for _ in range(5):
        with pytest.raises(ProblemError):
            desk.admit(bearing(FIRST))
    assert caplog.text.count("are not heeded") == 1


@pytest.mark.parametrize("name", sorted(RESERVED_NAMES))
def test_tokens_with_reserved_names_are_neither_made_nor_heeded(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(WireError, match=r"token\.name"):
        AccessTokens().with_token(entry(name, FIRST))
    path = tmp_path / "tokens.json"
    write(path, entry(name, FIRST, Role.ADMIN), entry("b", SECOND))
    desk = TokenStore(path, token_digest(RUN))
    with pytest.raises(ProblemError, match="does not know that token"):
        desk.admit(bearing(FIRST))
    assert desk.admit(bearing(SECOND)).name == "b"
    assert desk.admit(bearing(RUN)).name == RUN_TOKEN
    assert f"reserved are not heeded: {name}" in caplog.text
    assert AccessTokens.parse(path.read_bytes()).without(name).tokens == (entry("b", SECOND),)


@pytest.mark.parametrize(
    "name", ["RUN", "Run", "run ", " run", "run\n", "r\u0443n", "\uff52un", "run\0", "ru\u200bn", ""]
)
def test_no_name_looks_like_a_reserved_one(name: str) -> None:
    with pytest.raises(WireError, match=r"token\.name"):
        entry(name, FIRST)


def test_a_token_holds_until_it_is_taken_away_or_may_do_less(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    write(path, entry("a", FIRST, Role.DEPLOY))
    desk = TokenStore(path, token_digest(RUN))
    first, run = desk.admit(bearing(FIRST)), desk.admit(bearing(RUN))
    assert desk.holds(first)
    write(path, entry("a", FIRST, Role.ADMIN))
    assert desk.holds(first)
    write(path, entry("a", FIRST, Role.CALL))
    assert not desk.holds(first)
    write(path, entry("a", SECOND, Role.ADMIN))  # the name is another's now
    assert not desk.holds(first)
    path.unlink()
    assert not desk.holds(first)
    assert desk.holds(run)
