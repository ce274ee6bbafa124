r"""Patterns of JSON Schemas: ECMA-262's, in Unicode mode (draft 2020-12, Core, 6.4), for an engine of other rules.

The engine (Rust's ``regex``) takes linear time, and means other things by some of the same characters: its ``.``
matches a CR, its ``\b`` knows letters of all languages, its ``(?i)``, ``\A``, ``\z``, ``\x{41}``, ``a++`` and
``[a&&b]`` mean something where ECMA-262 has another meaning or none. So a pattern is parsed by ECMA-262's grammar
(22.2.1) and written anew; what the grammar does not have is refused, and so is what no linear engine can do.

One thing is taken that Unicode mode refuses: a backslash before any ASCII punctuation, which stands for that character
in every dialect. Of ``\p{...}`` there are general categories, and the scripts and properties in the tables here.
"""

import re
from typing import Final, NoReturn

from casemate.wire.errors import CasemateError

MAX_NESTING: Final = 64
"""Deepest groups in groups."""

MAX_REPEAT: Final = 65_535
"""Largest count in braces: more makes a program that the engine refuses for its size."""

_LAST = 0x10FFFF
_SURROGATES = range(0xD800, 0xE000)
_LEADS, _TRAILS = range(0xD800, 0xDC00), range(0xDC00, 0xE000)

_SPACES = (
    *((0x09, 0x0D), (0x20, 0x20), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029)),
    *((0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000), (0xFEFF, 0xFEFF)),
)
_RANGES: Final = {
    "d": ((0x30, 0x39),),
    "w": ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)),
    "s": _SPACES,
}
"""First and last characters of ``\\d``, ``\\w`` and ``\\s`` (22.2.2.9; 12.2 and 12.3 for white space and line ends)."""


def _written(ranges: tuple[tuple[int, int], ...]) -> str:
    return "".join(f"\\x{{{first:x}}}-\\x{{{last:x}}}" for first, last in ranges)


def _all_but(ranges: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    starts = (0, *(last + 1 for _, last in ranges))
    ends = (*(first - 1 for first, _ in ranges), _LAST)
    return tuple(zip(starts, ends, strict=True))


_CLASSES: Final = {
    **{letter: _written(ranges) for letter, ranges in _RANGES.items()},
    **{letter.upper(): _written(_all_but(ranges)) for letter, ranges in _RANGES.items()},
}
"""The ranges as members of a class: the library takes a class inside a class for text."""
_CONTROLS: Final = {"t": 0x09, "n": 0x0A, "v": 0x0B, "f": 0x0C, "r": 0x0D}
_ANY_BUT_LINE_ENDS: Final = r"[^\n\r\x{2028}\x{2029}]"
_NOTHING, _ANYTHING = r"[^\x{0}-\x{10ffff}]", r"[\x{0}-\x{10ffff}]"
_WORD_EDGE: Final = {"b": r"(?-u:\b)", "B": r"(?-u:\B)"}

_LINEAR: Final = "no look-around and no back-reference, so that matching takes linear time"

_SYNTAX = frozenset("^$\\.*+?()[]{}|")
_PUNCTUATION = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
_HEX = re.compile(r"[0-9A-Fa-f]+", re.ASCII)
_COUNT = re.compile(r"\{(?P<least>[0-9]+)(?P<more>,(?P<most>[0-9]*))?\}", re.ASCII)
_GROUP_NAME = re.compile(r"\?<(?P<name>[A-Za-z_$][A-Za-z0-9_$]*)>", re.ASCII)
_PROPERTY = re.compile(r"\{(?:(?P<kind>[A-Za-z_]+)=)?(?P<value>[A-Za-z0-9_]+)\}", re.ASCII)

CATEGORIES: Final = frozenset(
    re.findall(
        r"\w+",
        """L Lu Ll Lt LC Lm Lo M Mn Mc Me N Nd Nl No P Pc Pd Ps Pe Pi Pf Po S Sm Sc Sk So Z Zs Zl Zp C Cc Cf Co Cn
    Letter Uppercase_Letter Lowercase_Letter Titlecase_Letter Cased_Letter Modifier_Letter Other_Letter Mark
    Nonspacing_Mark Spacing_Mark Enclosing_Mark Number Decimal_Number Letter_Number Other_Number Punctuation
    Connector_Punctuation Dash_Punctuation Open_Punctuation Close_Punctuation Initial_Punctuation Final_Punctuation
    Other_Punctuation Symbol Math_Symbol Currency_Symbol Modifier_Symbol Other_Symbol Separator Space_Separator
    Line_Separator Paragraph_Separator Other Control Format Private_Use Unassigned""",
    )
)
"""Accepted values of General_Category, spelled as in ECMA-262."""

PROPERTIES: Final = frozenset(
    re.findall(
        r"\w+",
        """Any ASCII Alphabetic Alpha Lowercase Lower Uppercase Upper White_Space space Emoji Emoji_Presentation
    Extended_Pictographic ID_Start IDS ID_Continue IDC XID_Start XIDS XID_Continue XIDC Dash Diacritic Extender
    Hex_Digit Hex ASCII_Hex_Digit AHex Ideographic Ideo Math Quotation_Mark QMark""",
    )
)
"""Accepted binary properties (ECMA-262, tables 66 and 67)."""

SCRIPTS: Final = frozenset(
    re.findall(
        r"\w+",
        """Arabic Arab Armenian Armn Bengali Beng Bopomofo Bopo Braille Brai Canadian_Aboriginal Cans Cherokee Cher
    Common Zyyy Coptic Copt Qaac Cyrillic Cyrl Deseret Dsrt Devanagari Deva Ethiopic Ethi Georgian Geor Gothic Goth
    Greek Grek Gujarati Gujr Gurmukhi Guru Han Hani Hangul Hang Hebrew Hebr Hiragana Hira Inherited Zinh Qaai Javanese
    Java Kannada Knda Katakana Kana Khmer Khmr Lao Laoo Latin Latn Malayalam Mlym Mongolian Mong Myanmar Mymr Nko Nkoo
    Ogham Ogam Oriya Orya Runic Runr Samaritan Samr Sinhala Sinh Sundanese Sund Syriac Syrc Tagalog Tglg Tamil
    Taml Telugu Telu Thaana Thaa Thai Tibetan Tibt Tifinagh Tfng Vai Vaii Yi Yiii""",
    )
)
"""Accepted values of Script and Script_Extensions: those of living languages, and a few more."""


class PatternError(CasemateError):
    """A pattern is not valid in ECMA-262, or cannot be matched in linear time.

    Args:
        offset: where in the pattern (characters).
        got: what stands there.
        want: what would have been accepted.
    """

    def __init__(self, offset: int, *, got: str, want: str) -> None:
        super().__init__(f"the pattern has {got} at character {offset}, want {want}")
        self.got = f"a pattern with {got} at character {offset}"
        self.want = want


def translate_pattern(pattern: str) -> str:
    """The pattern in the syntax of Rust's ``regex``; the same text where both mean the same.

    Raises:
        PatternError: it is refused.
    """
    return _Translation(pattern).whole()


class _Translation:
    """One pass over a pattern; recursive for groups only."""

    def __init__(self, pattern: str) -> None:
        self._text = pattern
        self._at = 0
        self._names: set[str] = set()

    def whole(self) -> str:
        made = self._disjunction(0)
        if self._at < len(self._text):
            self._refuse("')' that closes nothing", "it escaped: \\)")
        return made

    def _disjunction(self, depth: int) -> str:
        made: list[str] = []
        while (char := self._peek()) not in ("", ")"):
            if char == "|":
                self._at += 1
                made.append("|")
            elif char in "^$":
                self._at += 1
                made.append(char + self._no_quantifier(char))
            elif char == "\\" and self._peek(1) in _WORD_EDGE:
                edge = self._peek(1)
                self._at += 2
                made.append(_WORD_EDGE[edge] + self._no_quantifier(f"\\{edge}"))
            else:
                made.append(self._atom(char, depth))
                made.append(self._quantifier())
        return "".join(made)

    def _atom(self, char: str, depth: int) -> str:
        if char == "(":
            return self._group(depth)
        if char == "[":
            return self._class()
        if char == ".":
            self._at += 1
            return _ANY_BUT_LINE_ENDS
        if char == "\\":
            found = self._escape()
            return found if isinstance(found, str) else _literal(found)
        if char in "*+?":
            self._refuse(f"{char!r} that repeats nothing", f"something before it, or it escaped: \\{char}")
        if char in _SYNTAX:
            self._refuse(f"{char!r}", f"it escaped: \\{char}")
        self._at += 1
        return _literal(ord(char))

    def _group(self, depth: int) -> str:
        start, self._at = self._at, self._at + 1
        if depth == MAX_NESTING:
            self._refuse("a group too deep", f"at most {MAX_NESTING} groups in each other")
        opening = "("
        for sign in ("?=", "?!", "?<=", "?<!"):
            if self._text.startswith(sign, self._at):
                self._refuse(f"look-around '({sign}'", _LINEAR)
        if self._text.startswith("?:", self._at):
            self._at += 2
            opening = "(?:"
        elif self._peek() == "?":
            name = _GROUP_NAME.match(self._text, self._at)
            if name is None:
                self._refuse("'(?' of another dialect", "(...), (?:...) or (?<name>...), without flags")
            if name["name"] in self._names:
                self._refuse(f"a second group named {name['name']!r}", "each name once")
            self._names.add(name["name"])
            self._at = name.end()
        made = self._disjunction(depth + 1)
        if self._peek() != ")":
            self._at = start
            self._refuse("'(' that is not closed", "a ')', or it escaped: \\(")
        self._at += 1
        return f"{opening}{made})"

    def _quantifier(self) -> str:
        char = self._peek()
        if char == "{":
            count = _COUNT.match(self._text, self._at)
            if count is None:
                self._refuse("'{'", "{n}, {n,} or {n,m}, or it escaped: \\{")
            least, most = count["least"], count["most"]
            if max(len(least), len(most or "")) > len(str(MAX_REPEAT)) or int(most or least) > MAX_REPEAT:
                self._refuse(f"a count of {count[0][:40]}", f"at most {MAX_REPEAT}")
            if most and int(most) < int(least):
                self._refuse(f"a count of {count[0]}", "the smaller number first")
            made = count[0]
            self._at = count.end()
        elif char and char in "*+?":
            made = char
            self._at += 1
        else:
            return ""
        if self._peek() == "?":  # lazy or greedy makes no difference to whether there is a match
            self._at += 1
            made += "?"
        return made

    def _no_quantifier(self, what: str) -> str:
        char = self._peek()
        if char and char in "*+?{":
            self._refuse(f"{char!r} after {what!r}", "nothing that repeats a place between characters")
        return ""

    def _escape(self, *, in_class: bool = False) -> str | int:
        """The meaning of an escape: a set, in Rust's syntax, or a character's code point."""
        char = self._peek(1)
        if char in _CLASSES:
            self._at += 2
            return _CLASSES[char] if in_class else f"[{_CLASSES[char]}]"
        if char and char in "pP":
            return self._property(char)
        if char == "x":
            return self._hex(2, 2)
        if char == "u":
            return self._unicode()
        return self._short_escape(char, in_class=in_class)

    def _short_escape(self, char: str, *, in_class: bool) -> int:
        if char == "c":
            letter = self._peek(2)
            if not (letter.isascii() and letter.isalpha()):
                self._refuse("'\\c' without a letter", "\\cA to \\cZ")
            self._at += 3
            return ord(letter) % 32
        code = _CONTROLS.get(char)
        if char == "0" and not self._peek(2).isdecimal():
            code = 0
        if char == "b" and in_class:
            code = 0x08
        if char in _PUNCTUATION:
            code = ord(char)
        if code is None:
            if char == "k" or (char.isdecimal() and char != "0"):
                self._refuse(f"back-reference '\\{char}'", _LINEAR)
            self._refuse(f"'\\{char}'", "an escape of ECMA-262")
        self._at += 2
        return code

    def _hex(self, skip: int, digits: int) -> int:
        found = _HEX.match(self._text, self._at + skip, self._at + skip + digits)
        if found is None or len(found[0]) != digits:
            self._refuse(f"'\\{self._peek(1)}'", f"{digits} hexadecimal digits after it")
        self._at = found.end()
        return int(found[0], 16)

    def _unicode(self) -> int:
        start = self._at
        if self._peek(2) == "{":
            found = _HEX.match(self._text, self._at + 3)
            digits = found[0].lstrip("0") if found is not None else ""
            if found is None or self._text[found.end() : found.end() + 1] != "}" or len(digits) > len("10ffff"):
                self._refuse("'\\u{'", "a code point up to 10FFFF, and '}'")
            self._at = found.end() + 1
            code = int(digits or "0", 16)
        else:
            code = self._hex(2, 4)
            if code in _LEADS and self._text.startswith("\\u", self._at) and self._peek(2) != "{":
                after = self._at
                trail = self._hex(2, 4)
                if trail in _TRAILS:
                    return 0x10000 + (code - _LEADS.start) * 0x400 + trail - _TRAILS.start
                self._at = after
        if code in _SURROGATES or code > _LAST:
            self._at = start
            self._refuse(f"U+{code:04X}", "a character: JSON here has no lone surrogates")
        return code

    def _property(self, char: str) -> str:
        found = _PROPERTY.match(self._text, self._at + 2)
        kind, value = (found["kind"], found["value"]) if found is not None else (None, "")
        if kind in ("General_Category", "gc"):
            is_known, kind = value in CATEGORIES, None
        elif kind in ("Script", "sc", "Script_Extensions", "scx"):
            is_known = value in SCRIPTS
        else:
            is_known = kind is None and (value in CATEGORIES or value in PROPERTIES)
        if found is None or not is_known:
            self._refuse(
                f"'\\{char}{self._text[self._at + 2 : self._at + 34]}'",
                f"a category, script or property: \\{char}{{Lu}}",
            )
        self._at = found.end()
        return f"\\{char}{{{value}}}" if kind is None else f"\\{char}{{{kind}={value}}}"

    def _class(self) -> str:
        start, self._at = self._at, self._at + 1
        negated = self._peek() == "^"
        self._at += negated
        made: list[str] = []
        while self._peek() != "]":
            if not self._peek():
                self._at = start
                self._refuse("'[' that is not closed", "a ']', or it escaped: \\[")
            first = self._class_atom()
            if self._peek() != "-" or self._peek(1) in ("]", ""):
                made.append(_in_class(first))
                continue
            dash = self._at
            self._at += 1
            last = self._class_atom()
            if isinstance(first, str) or isinstance(last, str) or last < first:
                self._at = dash
                self._refuse("a range that is none", "two characters in order, or '-' escaped: \\-")
            made.append(f"{_in_class(first)}-{_in_class(last)}")
        self._at += 1
        if not made:
            return _ANYTHING if negated else _NOTHING
        return f"[{'^' if negated else ''}{''.join(made)}]"

    def _class_atom(self) -> str | int:
        char = self._peek()
        if char == "\\":
            return self._escape(in_class=True)
        self._at += 1
        if not char or ord(char) in _SURROGATES:
            self._at -= 1
            self._refuse("no character", "a class, closed")
        return ord(char)

    def _peek(self, ahead: int = 0) -> str:
        return self._text[self._at + ahead : self._at + ahead + 1]

    def _refuse(self, got: str, want: str) -> NoReturn:
        raise PatternError(self._at, got=got, want=want)


def _literal(code: int) -> str:
    """A character outside of classes; control characters as Rust's own escapes."""
    char = chr(code)
    if char in _SYNTAX:
        return f"\\{char}"
    return char if char.isprintable() else f"\\x{{{code:x}}}"


def _in_class(atom: str | int) -> str:
    """A member of a class: sets, letters and digits unchanged, anything else escaped in every dialect."""
    if isinstance(atom, str):
        return atom
    char = chr(atom)
    return char if char.isascii() and char.isalnum() else f"\\x{{{atom:x}}}"
