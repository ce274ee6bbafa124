"""Assembles x86-64 code. The syntax is Keystone's: Intel operands, directives of the GNU assembler.

Keystone, and LLVM inside it, are loaded at the first use. Sources write as ``.byte`` what they cannot encode (VMGEXIT,
PVALIDATE, far jumps). What they are known to encode wrongly is refused: see `_misused`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from casemate.images.vm.constants import check_text, definition, substitute, without_comment
from casemate.wire.errors import CasemateError, importing

_LABEL = re.compile(r"^\s*([A-Za-z_]\w*):", re.ASCII)
_WORD = re.compile(r"[A-Za-z_.]\w*", re.ASCII)
_JUMPS = re.compile(r"j\w+|call|loop\w*", re.ASCII)
_LEAST_BASE = 3 << 30
"""Lowest base. Below it, Keystone encodes absolute addresses in the first GiB as relative ones, and some of them
wrongly."""
_WORD_SIZE = 8
"""Bytes of a label's value in the table that is assembled after the program and cut off again."""


class AssemblyError(CasemateError):
    """A source cannot be assembled: the message names file, line and what is wrong there.

    Args:
        name: the source's.
        line: from 1.
        reason: Keystone's words, or ours.
    """

    def __init__(self, name: str, line: int, reason: str) -> None:
        super().__init__(f"{name}:{line}: {reason}")
        self.name = name
        self.line = line
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Source:
    """A file of assembly. All files of a program share labels and constants."""

    name: str
    """The file's name in error messages."""
    text: str


@dataclass(frozen=True, slots=True)
class Program:
    """Assembled code."""

    content: bytes
    labels: Mapping[str, int]
    """Linear addresses."""


@dataclass(frozen=True, slots=True)
class _Line:
    source: str
    number: int
    text: str

    def error(self, reason: str) -> AssemblyError:
        return AssemblyError(self.source, self.number, reason)


class _RefusalError(Exception):
    """Keystone's refusal, which has no line number."""

    def __init__(self, number: int, reason: str, symbol: str | None) -> None:
        super().__init__(reason)
        self.number = number
        self.reason = reason
        self.symbol = symbol
        """The undefined symbol, if that is the reason."""


def assemble(sources: Sequence[Source], *, symbols: Mapping[str, int], base: int) -> Program:
    """Assembles ``sources``, one after another, for address ``base``.

    Args:
        sources: in the order of their bytes.
        symbols: constants that they may use.
        base: linear address of the first byte, in the last GiB below 4 GiB.

    Raises:
        AssemblyError: a line is not valid assembly, uses an undefined symbol, or a label where Keystone encodes it
            wrongly.
    """
    if base < _LEAST_BASE:
        raise RuntimeError(f"the base is {base:#x}, want {_LEAST_BASE:#x} at least")
    lines = _substituted(
        [
            _Line(source.name, number, without_comment(text))
            for source in sources
            for number, text in enumerate(source.text.splitlines(), 1)
        ],
        symbols,
    )
    labels = list(dict.fromkeys(found[1] for line in lines if (found := _LABEL.match(line.text))))
    for line in lines:
        if _misused(line.text, labels):
            raise line.error("a label can only be jumped to, called, addressed as [rip+label], or stand in data")
    table = "".join(f"\n.quad {name}" for name in labels)
    try:
        content = _encode(_joined(lines) + table, base)
    except _RefusalError as refusal:
        raise _where(refusal, lines).error(refusal.reason) from None
    end = len(content) - _WORD_SIZE * len(labels)
    values = (content[at : at + _WORD_SIZE] for at in range(end, len(content), _WORD_SIZE))
    return Program(
        content[:end], {name: int.from_bytes(value, "little") for name, value in zip(labels, values, strict=True)}
    )


def _substituted(lines: list[_Line], symbols: Mapping[str, int]) -> list[_Line]:
    """The lines without constants: where one was defined, an empty line is left."""
    known = dict(symbols)
    defining = set[int]()
    for at, line in enumerate(lines):
        try:
            check_text(line.text)
            defined = definition(line.text, known)
        except ValueError as error:
            raise line.error(str(error)) from None
        if defined is not None:
            known.update([defined])
            defining.add(at)
    return [
        _Line(line.source, line.number, "" if at in defining else substitute(line.text, known))
        for at, line in enumerate(lines)
    ]


def _misused(text: str, labels: Sequence[str]) -> bool:
    """Whether a line uses labels in a way that Keystone encodes wrongly: sums of them, or as plain numbers."""
    mnemonic, _, operands = text.partition(":")[2 if _LABEL.match(text) else 0].strip().partition(" ")
    used = [word for word in _WORD.findall(operands) if word in labels]
    if not used or mnemonic.startswith("."):
        return False
    return len(used) > 1 or not (_JUMPS.fullmatch(mnemonic) or "rip" in _WORD.findall(operands))


def _joined(lines: Sequence[_Line]) -> str:
    return "\n".join(line.text for line in lines)


def _where(refusal: _RefusalError, lines: Sequence[_Line]) -> _Line:
    """The line at fault.

    It is the first that names the missing symbol, else the last of the shortest beginning that is refused likewise.
    """
    if refusal.symbol is not None:
        return next((line for line in lines if refusal.symbol in _WORD.findall(line.text)), lines[0])
    low, high = 1, len(lines)
    while low < high:
        middle = (low + high) // 2
        if _refused_alike(refusal, lines[:middle]):
            high = middle
        else:
            low = middle + 1
    return lines[low - 1]


def _refused_alike(refusal: _RefusalError, lines: Sequence[_Line]) -> bool:
    try:
        _encode(_joined(lines), _LEAST_BASE)
    except _RefusalError as other:
        return other.number == refusal.number
    return False


def _encode(text: str, base: int) -> bytes:
    """Keystone's bytes."""
    with importing("vm", "assembling a guest"):
        import keystone

    missing: list[str] = []

    def miss(name: bytes, _value: object) -> bool:
        missing.append(name.decode())
        return False

    engine = keystone.Ks(keystone.KS_ARCH_X86, keystone.KS_MODE_64)
    engine.sym_resolver = miss
    try:
        content, _count = engine.asm(text, base, as_bytes=True)
    except keystone.KsError as error:
        symbol = missing[0] if missing else None
        reason = f"{symbol!r} is defined nowhere" if symbol is not None else str(error)
        raise _RefusalError(error.errno, reason, symbol) from None
    return bytes(content or b"")
