import hashlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.wire.errors import WireError
from casemate.wire.protocol.access_tokens import (
    MAX_FILE,
    MAX_TOKENS,
    AccessToken,
    AccessTokens,
    Role,
    token_digest,
    token_text,
)

CREATED = datetime(2026, 11, 22, 10, 0, 0, tzinfo=UTC)
SECRETS = st.binary(min_size=32, max_size=32)
NAMES = st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?", fullmatch=True)
TOKENS = st.builds(
    AccessToken,
    name=NAMES,
    role=st.sampled_from(Role),
    created=st.datetimes().map(lambda moment: moment.replace(microsecond=0, tzinfo=UTC)),
    digest=st.binary(min_size=32, max_size=32),
)
FILES = st.lists(TOKENS, max_size=8, unique_by=(lambda token: token.name, lambda token: token.digest))


def token(number: int, role: Role = Role.CALL) -> AccessToken:
    return AccessToken(f"t{number}", role, CREATED, hashlib.sha256(bytes([number])).digest())


def test_a_role_allows_itself_and_those_below() -> None:
    allowed = {(role.value, needed.value) for role in Role for needed in Role if role.allows(needed)}
    assert allowed == {
        ("admin", "admin"), ("admin", "deploy"), ("admin", "call"),
        ("deploy", "deploy"), ("deploy", "call"),
        ("call", "call"),
    }  # fmt: skip


def test_a_token_is_its_prefix_and_base64url_and_its_digest_is_of_the_text() -> None:
    text = token_text(bytes(range(32)))
    assert text == "casemate_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
    assert token_digest(text) == hashlib.sha256(text.encode()).digest()


@given(SECRETS, SECRETS)
def test_two_secrets_make_two_tokens(one: bytes, other: bytes) -> None:
    assert (token_digest(token_text(one)) == token_digest(token_text(other))) == (one == other)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_refuses_a_secret_of_another_size(size: int) -> None:
    with pytest.raises(WireError, match="want"):
        token_text(bytes(size))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "casemate_",
        "casemate_" + "A" * 42,
        "casemate_" + "A" * 44,
        "casemate_" + "A" * 42 + "B",  # the two bits to spare are not zero: another spelling of the same bytes
        "casemate_" + "A" * 42 + "=",
        "casemate_" + "A" * 43 + "\n",
        "Casemate_" + "A" * 43,
        "A" * 52,
        "casemate_" + "é" * 43,
    ],
)
def test_refuses_what_is_no_token_without_repeating_it(text: str) -> None:
    with pytest.raises(WireError, match="token") as refused:
        token_digest(text)
    assert "AAAA" not in str(refused.value)


@given(st.text(max_size=80) | st.from_regex(r"casemate_[\w-]{43}", fullmatch=True))
def test_a_text_is_a_token_in_its_one_spelling_or_a_wire_error(text: str) -> None:
    try:
        digest = token_digest(text)
    except WireError:
        return
    assert digest == hashlib.sha256(text.encode()).digest()


@given(FILES)
def test_a_file_comes_back_as_it_was(tokens: list[AccessToken]) -> None:
    kept = AccessTokens(tuple(tokens))
    assert AccessTokens.parse(kept.encode()) == kept
    assert AccessTokens.parse(kept.encode()).encode() == kept.encode()


@given(FILES, st.binary(min_size=32, max_size=32))
def test_finds_each_token_by_its_digest_and_no_other(tokens: list[AccessToken], digest: bytes) -> None:
    kept = AccessTokens(tuple(tokens))
    assert [kept.find(one.digest) for one in tokens] == tokens
    assert kept.find(digest) == next((one for one in tokens if one.digest == digest), None)
    assert kept.find(digest[:31]) is None


def test_tokens_come_and_go_by_name() -> None:
    kept = AccessTokens().with_token(token(1)).with_token(token(2, Role.ADMIN))
    assert kept.without("t1") == AccessTokens((token(2, Role.ADMIN),))
    with pytest.raises(WireError, match=r"t1, t2.*one named 't3'"):
        kept.without("t3")
    with pytest.raises(WireError, match="no tokens"):
        AccessTokens().without("t3")


def test_refuses_a_name_or_a_digest_twice_and_too_many() -> None:
    kept = AccessTokens((token(1),))
    with pytest.raises(WireError, match="one name twice"):
        kept.with_token(AccessToken("t1", Role.CALL, CREATED, bytes(32)))
    with pytest.raises(WireError, match="one digest twice"):
        kept.with_token(AccessToken("t2", Role.CALL, CREATED, token(1).digest))
    full = AccessTokens(
        tuple(AccessToken(f"t{n}", Role.CALL, CREATED, n.to_bytes(32, "big")) for n in range(MAX_TOKENS))
    )
    assert AccessTokens.parse(full.encode()) == full
    with pytest.raises(WireError, match=f"at most {MAX_TOKENS}"):
        full.with_token(token(1))


@pytest.mark.parametrize("name", ["", "A", "-a", "a-", "a b", "a/b", "é", "a" * 65, "a\n"])
def test_refuses_a_name_that_could_not_be_read_back(name: str) -> None:
    with pytest.raises(WireError, match=r"token\.name"):
        AccessToken(name, Role.CALL, CREATED, bytes(32))


GOOD = '{"name": "a", "role": "call", "created": "2026-11-22T10:00:00Z", "digest": "' + "00" * 32 + '"}'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"version": 1}',
        '{"version": 2, "tokens": []}',
        '{"version": true, "tokens": []}',
        '{"version": 1, "tokens": {}}',
        '{"version": 1, "tokens": [], "more": 1}',
        '{"version": 1, "tokens": [1]}',
        f'{{"version": 1, "tokens": [{GOOD}, {GOOD}]}}',
        f'{{"version": 1, "tokens": [{GOOD.replace("call", "root")}]}}',
        f'{{"version": 1, "tokens": [{GOOD.replace("call", "CALL")}]}}',
        f'{{"version": 1, "tokens": [{GOOD.replace("00Z", "00+00:00")}]}}',
        f'{{"version": 1, "tokens": [{GOOD.replace("11-22", "02-30")}]}}',
        f'{{"version": 1, "tokens": [{GOOD.replace("00" * 32, "00" * 31)}]}}',
        f'{{"version": 1, "tokens": [{GOOD.replace("00" * 32, "zz" * 32)}]}}',
        f'{{"version": 1, "tokens": [{GOOD[:-1]}, "secret": "x"}}]}}',
        '{"version": 1, "tokens": []}' + " " * MAX_FILE,
    ],
)
def test_refuses_what_is_no_file_of_tokens(text: str) -> None:
    with pytest.raises(WireError, match="token"):
        AccessTokens.parse(text.encode())


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_random_bytes_are_a_file_or_a_wire_error(data: bytes) -> None:
    for text in (data, b'{"version": 1, "tokens": [' + data + b"]}"):
        try:
            kept = AccessTokens.parse(text)
        except WireError:
            continue
        assert AccessTokens.parse(kept.encode()) == kept
