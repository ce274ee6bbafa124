import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from casemate.gateway.problems import ProblemError
from casemate.gateway.tokens import RUN_TOKEN, TokenDesk
from casemate.wire.access_tokens import AccessToken, AccessTokens, Role, token_digest, token_text

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
    desk = TokenDesk(path, token_digest(RUN))
    assert [(desk.admit(bearing(token)).name, desk.admit(bearing(token)).role) for token in (FIRST, SECOND, RUN)] == [
        ("a", Role.CALL),
        ("b", Role.DEPLOY),
        (RUN_TOKEN, Role.ADMIN),
    ]


def test_without_a_file_the_runs_own_token_is_left(tmp_path: Path) -> None:
    desk = TokenDesk(tmp_path / "tokens.json", token_digest(RUN))
    assert desk.admit(bearing(RUN)).role is Role.ADMIN
    with pytest.raises(ProblemError, match="does not know that token"):
        desk.admit(bearing(FIRST))


def test_without_any_token_nobody_is_admitted(tmp_path: Path) -> None:
    with pytest.raises(ProblemError, match="does not know that token"):
        TokenDesk(tmp_path / "tokens.json", None).admit(bearing(RUN))


def test_a_token_that_is_taken_away_ends_at_once(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    write(path, entry("a", FIRST), entry("b", SECOND))
    desk = TokenDesk(path, None)
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
    desk = TokenDesk(path, token_digest(RUN))
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
        TokenDesk(tmp_path / "tokens.json", None).admit(bearing(FIRST))
