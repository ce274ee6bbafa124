"""Replaces the constants of an assembly source by numbers, before Keystone reads it.

Keystone has ``.equ`` too, but silently drops the first of two symbols that are added in an address.
"""

import ast
import re
from collections.abc import Mapping
from operator import add, mul, or_, sub

_DEFINITION = re.compile(r"^\s*\.equ\s+([A-Za-z_]\w*)\s*,(.*)$", re.ASCII)
_NAME_OR_NUMBER = re.compile(r"(?<![\w.\\])(?:[A-Za-z_]\w*|\d\w*)", re.ASCII)
_TEXT = re.compile(r"^\s*\.asci[iz]\b", re.ASCII)
_QUOTED = re.compile(r'\s*\.asci[iz]\s+"(?:[^"\\]|\\.)*"\s*', re.ASCII)
_OPERATORS = {ast.Add: add, ast.Sub: sub, ast.Mult: mul, ast.BitOr: or_}


def without_comment(line: str) -> str:
    """A line up to its ``#``; a line of text is returned whole."""
    return line if _TEXT.match(line) else line.partition("#")[0]


def definition(line: str, known: Mapping[str, int]) -> tuple[str, int] | None:
    """The name and value that a line ``.equ name, expression`` defines; None for any other line.

    Raises:
        ValueError: the expression is none of numbers, known names, + - * | and parentheses, or the name is taken.
    """
    found = _DEFINITION.match(line)
    if found is None:
        return None
    name, expression = found[1], found[2].strip()
    if name in known:
        raise ValueError(f"{name!r} is defined already")
    try:
        return name, _value(ast.parse(expression, mode="eval").body, known)
    except SyntaxError:
        raise ValueError(f"{expression!r} is no constant expression") from None


def check_text(line: str) -> None:
    """Refuses text that is not one string in double quotes: other quotes make Keystone run for ever.

    Raises:
        ValueError: it is such a line.
    """
    if _TEXT.match(line) and not _QUOTED.fullmatch(line):
        raise ValueError("text is one string in double quotes, and nothing behind it")


def substitute(line: str, known: Mapping[str, int]) -> str:
    """The line with numbers for the names of constants, and every number in hexadecimal.

    Whether Keystone 0.9.2 reads ``12`` as twelve or as eighteen depends on memory that it does not initialise.
    """
    if _TEXT.match(line):
        return line

    def shown(found: re.Match[str]) -> str:
        word = found[0]
        return hex(known[word]) if word in known else hex(int(word)) if word.isdecimal() else word

    return _NAME_OR_NUMBER.sub(shown, line)


def _value(node: ast.expr, known: Mapping[str, int]) -> int:
    match node:
        case ast.Constant(int(value)):
            return value
        case ast.Name(name) if name in known:
            return known[name]
        case ast.BinOp(left, operator, right) if type(operator) in _OPERATORS:
            return int(_OPERATORS[type(operator)](_value(left, known), _value(right, known)))
    raise ValueError(f"{ast.unparse(node)!r} is no constant expression of what is defined before it")
