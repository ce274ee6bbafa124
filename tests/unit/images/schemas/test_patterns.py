import base64
import json
import random
import re
import subprocess
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.images.errors import SchemaMismatchError
from casemate.images.schemas.patterns import (
    CATEGORIES,
    MAX_NESTING,
    PROPERTIES,
    SCRIPTS,
    PatternError,
    translate_pattern,
)
from casemate.images.schemas.schemas import SchemaError, inbound_schema
from casemate.testing.lone_spawner import shared_engine

_SCRIPT = """
const { patterns, texts } = JSON.parse(new TextDecoder().decode(await new Response(Deno.stdin.readable).bytes()));
const found = patterns.map((pattern) => {
  for (const flags of ["u", ""]) {
    try {
      const made = new RegExp(pattern, flags);
      return [flags, texts.map((text) => made.test(text))];
    } catch { /* the other mode, then */ }
  }
  return null;
});
console.log(JSON.stringify(found));
"""


def in_v8(patterns: list[str], texts: list[str]) -> list[Any]:
    """For each pattern the mode in which V8 takes it (``"u"`` or ``""``) and which texts it matches; None for none."""
    script = "data:text/javascript;base64," + base64.b64encode(_SCRIPT.encode()).decode()
    ran = subprocess.run(
        [shared_engine(), "run", "--no-prompt", "--no-remote", "--no-npm", "--no-config", "--no-lock", script],
        input=json.dumps({"patterns": patterns, "texts": texts}).encode(),
        capture_output=True,
        check=True,
        timeout=60,
        env={"DENO_DIR": "/dev/null/none"},
    )
    found: list[Any] = json.loads(ran.stdout)
    return found


@cache
def matched(pattern: str, texts: tuple[str, ...]) -> list[bool] | None:
    """Which texts match here; None where the pattern is refused."""
    try:
        schema = inbound_schema({"pattern": pattern})
    except SchemaError:
        return None
    found = []
    for text in texts:
        try:
            schema.check(text)
        except SchemaMismatchError:
            found.append(False)
        else:
            found.append(True)
    return found


TEXTS = (
    "", "a", "A", "b", "ab", "aab", "foo", "éfoo", "foo é", "a-b", "a&b", "&", "-", "~", "^", "]", "[", "\\", "/",
    "\n", "a\nb", "\r", "\r\n", "\u2028", "\u2029", "\x85", "\t", "\v", "\f", "\0", "\x08", "\x1a", "\x7f", "é", "ñ1",
    "#", "٣", "\uff10", "1", "12", "_", "\u017f", "\u212a", "\u200d", "\ufeff", "\u00a0", "\u180e", "\u3000", "🐲",
    "🐲🐲", "x🐲", "\ud7ff", "\ue000", "\U0010ffff", "\u03b1", "Ж", "漢", "{", "}", "{2}", "aa", "aaa", "aaaa", " ",
    "a b", "b\na", "(", ")", "|", "$",
)  # fmt: skip

TAKEN = (
    "", ".", "^.+$", "^.$", "[^]", "[]", "[^]+$", r"\bfoo\b", r"\Bfoo", r"\Boo\B", r"^\B$", r"\d", r"^\d+$", r"\D",
    r"\w", r"^\w+$", r"\W", r"\s", r"^\s$", r"\S", r"[\d_]", r"[^\d]", r"[\D]", r"[^\D]", r"[\w-]", r"[\s\S]",
    r"[^\S]",
    r"[\b]", r"\0", r"[\0]", r"\cZ", r"[\cz]", r"\t", r"\v", r"[\f\r]", r"\x41", r"\u0041", r"\u{41}", r"\u{000041}",
    r"\u{1F432}", r"\uD83D\uDC32", r"^\uD83D\uDC32+$", r"[\uD83D\uDC32]", r"^[^x]$", r"^.{2}$", r"🐲+", r"[🐲-🐳]",
    r"a{2}", r"^a{2,}$", r"^a{2,3}$", r"^a{2,3}?$", r"a*?b", r"a+?", r"a??", r"(a|b)+", r"(?:a|b){2}", r"(?<x>a)b",
    r"(?<$_1>a)", "a|", "|a", "(|a)", "()", "(?:)", r"[&&b]", r"[a&&b]", r"[+--a]", r"[~~a]", r"[a[]",
    r"[a-]", r"[-a]", r"[^-]", r"[--/]", r"[\]]", r"[\^a]", r"[a^]", r"[#-&]", r"\^", r"\/", r"\$", r"\[\]", r"\{2\}",
    r"\-", r"\@", r"\"", r"\#", r"\<a\>", r"\~", r"\&", r"\ud7ff", r"[\u{d7ff}-\u{e000}]", "^$", "$^", "a$b", "a^b",
    "^a|b$", "(^a)", "(a$)", r"[.]", r"[$]", r"[(]", r"[{]", " ", "#", "a b", "&&", "~~", "--", "<", ">", "\n", "é",
    "\0", r"\p{L}", r"\P{L}", r"^\p{Lu}$", r"\p{gc=Nd}", r"\p{General_Category=Letter}", r"\p{Script=Greek}",
    r"\p{sc=Cyrl}",
    r"\p{Script_Extensions=Han}", r"\p{ASCII}", r"\p{Any}", r"[\p{L}\d]", r"[^\p{L}]", r"[\P{L}]", r"\p{Alphabetic}",
    r"\p{Emoji_Presentation}", r"\p{White_Space}", r"a{0}", r"^a{0}$", r"(a*)*", r"(?:a{2}){2}", r"\u{0}",
)  # fmt: skip


def test_what_is_taken_matches_what_it_matches_in_v8() -> None:
    for pattern, said in zip(TAKEN, in_v8(list(TAKEN), list(TEXTS)), strict=True):
        assert said is not None, pattern
        assert matched(pattern, TEXTS) == said[1], (pattern, translate_pattern(pattern))


LINEAR = "no look-around and no back-reference"
REFUSED = {
    "(?=a)b": LINEAR, "(?!a)b": LINEAR, "(?<=a)b": LINEAR, "(?<!a)b": LINEAR, r"(a)\1": LINEAR, r"(?<x>a)\k<x>": LINEAR,
    "(?i)a": "without flags", "(?i:a)": "without flags", "(?-i:a)": "without flags", "(?P<x>a)": "without flags",
    "(?x) a": "without flags", "(?>a)": "without flags", "(?#a)": "without flags", "(?<1>a)": "without flags",
    "(?": "without flags", "(?<x>a)(?<x>b)": "each name once", r"\A": "an escape", r"\z": "an escape",
    r"\Z": "an escape", r"\a": "an escape", r"\h": "an escape", r"\Q": "an escape", r"\e": "an escape",
    r"\é": "an escape", "\\": "an escape", r"\_a\G": "an escape", r"[\B]": "an escape", r"\8": LINEAR,
    "a++": "something before it", "a*+": "something before it", "a?+": "something before it",
    "a**": "something before it", "+": "something before it", "(*)": "something before it",
    "|?": "something before it",
    "a{2}{3}": "escaped", "{2}": "escaped", "a{": "{n,m}", "a{,3}": "{n,m}", "a{x}": "{n,m}", "a{2": "{n,m}",
    "a{3,2}": "smaller number first", "a{99999999999999999999}": "at most 65535", "}": "escaped", "]": "escaped",
    ")": "escaped", "a)": "escaped", "(": "a ')'", "((a)": "a ')'", "[": "closed", "[a": "closed", "[^": "closed",
    r"[\]": "closed", "[a-": "closed", "[b-a]": "two characters in order", "[a--b]": "two characters in order",
    r"[\d-a]": "two characters in order",
    r"[a-\d]": "two characters in order", "^*": "a place between characters", "$?": "a place between characters",
    r"\b+": "a place between characters", r"\B{2}": "a place between characters", r"\x{41}": "2 hexadecimal digits",
    r"\x4": "2 hexadecimal digits", r"\u41": "4 hexadecimal digits", r"\u{}": "up to 10FFFF",
    r"\u{110000}": "lone surrogates", r"\u{41": "up to 10FFFF", r"\uD83D": "lone surrogates",
    r"\uDC32\uD83D": "lone surrogates",
    r"\uD83D\u{DC32}": "lone surrogates", r"[\uD83D]": "lone surrogates", r"\c": "\\cA", r"\c1": "\\cA",
    r"\00": "an escape",
    "[[:alpha:]]": "escaped", r"\01": "an escape", r"\pL": "a category, script", r"\p": "a category, script",
    r"\p{greek}": "a category, script",
    r"\p{Greek}": "a category, script", r"\p{letter}": "a category, script", r"\p{}": "a category, script",
    r"\p{^L}": "a category, script", r"\p{L": "a category, script", r"\p{Script=greek}": "a category, script",
    r"\p{gc=Greek}": "a category, script", r"\p{Block=Latin}": "a category, script", r"\k": LINEAR,
    "(" * (MAX_NESTING + 1) + ")" * (MAX_NESTING + 1): "groups in each other", "(" * 4_000: "groups in each other",
}  # fmt: skip


@pytest.mark.parametrize("pattern", REFUSED, ids=lambda pattern: pattern[:20])
def test_refuses_what_is_not_ecma_262_s_or_not_linear(pattern: str) -> None:
    with pytest.raises(PatternError, match=re.escape(REFUSED[pattern])) as refused:
        translate_pattern(pattern)
    for schema, pointer in (
        ({"pattern": pattern}, "/pattern"),
        ({"properties": {"pattern": {"items": [{"pattern": pattern}]}}}, "/properties/pattern/items/0/pattern"),
        ({"$defs": {"a": {"patternProperties": {pattern: {}}}}}, f"/$defs/a/patternProperties/{pattern}"),
        ({"unknown": {"pattern": pattern}}, "/unknown/pattern"),
    ):
        with pytest.raises(SchemaError) as found:
            inbound_schema(schema)
        assert found.value.pointer == pointer
        assert found.value.got == refused.value.got


def test_what_looks_like_a_pattern_and_is_data_stays_as_it_is() -> None:
    data = {"pattern": "(?=a)", "patternProperties": {"(": 1}}
    schema = inbound_schema({"enum": [data], "const": data, "default": data, "properties": {"pattern": {}}})
    schema.check(data)


def test_a_mistake_is_told_with_the_pattern_as_it_was_written() -> None:
    with pytest.raises(SchemaMismatchError, match=re.escape(r'does not match "^.\b\d$"')):
        inbound_schema({"pattern": r"^.\b\d$"}).check("nothing of the kind")


def test_names_of_members_match_as_in_v8() -> None:
    schema = inbound_schema({"patternProperties": {"^.$": {"type": "null"}}, "additionalProperties": False})
    schema.check({"a": None})
    for value in ({"\r": None}, {"a": 1}):
        with pytest.raises(SchemaMismatchError):
            schema.check(value)


@pytest.mark.parametrize("pattern", ["^[a-z]+$", "^(yes|no)$", "a{2,3}", "^#x&y~z$", "é+", "^[A-Za-z0-9]{1,64}$"])
def test_what_both_read_alike_stays_as_it_is(pattern: str) -> None:
    assert translate_pattern(pattern) == pattern


def test_every_property_means_in_the_engine_what_it_means_in_v8() -> None:
    texts = [chr(code) for code in range(0x20, 0x3100, 7) if not 0xD800 <= code < 0xE000]
    names = [
        *(rf"\p{{{name}}}" for name in sorted(CATEGORIES | PROPERTIES)),
        *(rf"\p{{{kind}={name}}}" for name in sorted(SCRIPTS) for kind in ("Script", "scx")),
    ]
    differ = {}
    for pattern, said in zip(names, in_v8(names, ["".join(texts), *texts]), strict=True):
        assert said is not None, pattern
        assert said[0] == "u", pattern
        found = matched(pattern, ("".join(texts), *texts))
        assert found is not None, pattern
        count = sum(a != b for a, b in zip(found, said[1], strict=True))
        if count > 6:  # the two may know editions of Unicode that differ in a few characters
            differ[pattern] = count
    assert differ == {}


PIECES = [
    *(*r"ab-][()|.^$*+?{}\1&~é🐲/#,", "(?:", "(?<n>", "[^", "&&", "--", "a-b", "{2}", "{1,}", "{0,2}", "\n", "\u2028"),
    *(r"\d", r"\D", r"\w", r"\W", r"\s", r"\S", r"\b", r"\B", r"\0", r"\n", r"\r", r"\t", r"\cA", r"\x41", r"\u0062"),
    *(r"\u{61}", r"\uD83D\uDC32", r"\uD83D", r"\]", r"\-", r"\[", r"\^", r"\\", r"\p{L}", r"\P{Lu}", r"\p{Nd}",
    r"\/"),
    *(r"\@", r"\1", r"\k", r"\A", r"\z", "(?i)", "(?=", "(?!", r"\e"),
]  # fmt: skip


UNICODE_ONLY = re.compile(r"\\[pPu]\{?|[^\0-\uffff]").search
"""What V8 reads otherwise where a backslash before a punctuation mark takes it out of its Unicode mode."""


def test_generated_patterns_match_what_they_match_in_v8() -> None:
    chance = random.Random(262)
    patterns = sorted({"".join(chance.choices(PIECES, k=chance.randint(1, 7))) for _ in range(3000)})
    taken = {pattern: made for pattern in patterns if (made := matched(pattern, TEXTS)) is not None}
    said = dict(zip(patterns, in_v8(patterns, list(TEXTS)), strict=True))
    differ = {
        pattern: made
        for pattern, made in taken.items()
        if said[pattern] is None
        or (said[pattern][1] != made and not (said[pattern][0] == "" and UNICODE_ONLY(pattern)))
    }
    assert differ == {}
    only_v8 = [pattern for pattern in patterns if pattern not in taken and (said[pattern] or [""])[0] == "u"]
    unexplained = [p for p in only_v8 if not re.search(r"\(\?[=!i]|\\[1k]|\\uD83D(?!\\uDC32)|\(\?<n>.*\(\?<n>", p)]
    assert unexplained == []
    assert len(taken) > len(patterns) // 10


@given(st.text("ab\\()[]{}?*+.|^$-dwsbpux0123456789LD8<>=!:,&~\n", max_size=24) | st.text(max_size=12))
def test_any_text_is_a_pattern_or_refused(pattern: str) -> None:
    try:
        translated = translate_pattern(pattern)
    except PatternError:
        return
    assert inbound_schema({"pattern": pattern}).document == {"pattern": pattern}
    assert isinstance(translated, str)
