"""The encoding of all records and messages: a tag, then the fields of a dataclass in order.

Integers are little-endian with a fixed width, byte strings and texts have a u32 length, tuples a u32 count, optional
values one byte 0 or 1. Each value has one encoding, so ``encode(parse(b)) == b`` for every accepted ``b``. The table in
`docs/protocol.md` has every type.

Example:
    @message(0x21)
    @dataclass(frozen=True, slots=True)
    class Challenge:
        nonce: Annotated[bytes, Fixed(32)]
        label: Annotated[str, Limit(64)]
"""

import types
import typing
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from enum import IntEnum, StrEnum
from typing import Annotated, Any, TypeVar, get_args, get_origin

from casemate.wire.encodings.fields import Reader
from casemate.wire.errors import WireError

MAX_BYTES = 128 * 1024 * 1024
"""Longest byte string (bytes): an image of 64 MiB takes 84 MiB as an SGXS stream."""

MAX_ITEMS = 65_536
"""Most members of a tuple: bounds the memory that a hostile count can take."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """A byte string of exactly ``size`` bytes."""

    size: int


@dataclass(frozen=True, slots=True)
class Limit:
    """A byte string or text (as UTF-8) of at most ``size`` bytes, or a tuple of at most ``size`` members."""

    size: int


@dataclass(frozen=True, slots=True)
class Uint:
    """An unsigned integer of ``size`` bytes."""

    size: int


U8 = Annotated[int, Uint(1)]
U16 = Annotated[int, Uint(2)]
U32 = Annotated[int, Uint(4)]
U64 = Annotated[int, Uint(8)]
Bytes16 = Annotated[bytes, Fixed(16)]
Bytes32 = Annotated[bytes, Fixed(32)]
Bytes64 = Annotated[bytes, Fixed(64)]
Name = Annotated[str, Limit(256)]

_Encode = Callable[[str, Any, list[bytes]], None]
"""Appends parts: a message may hold an image of 84 MiB, which is copied once, when its parts are joined."""
_Parse = Callable[[str, Reader], Any]
_Codec = tuple[_Encode, _Parse]
T = TypeVar("T")

_TWO_BYTES = 0xFF
"""The first byte of all tags that have two."""

_TAGS: dict[type, int] = {}
_RETIRED: dict[int, tuple[str, object, object]] = {}
_CODECS: dict[Any, _Codec] = {}


def message(tag: int) -> Callable[[type[T]], type[T]]:
    """Registers a frozen dataclass under the ``tag`` that stands before its fields on the wire.

    Args:
        tag: one byte below 0xFF; or two, the first of which is 0xFF.

    Raises:
        ValueError: another class has it, or had it once; or it is no tag.
    """

    def register(cls: type[T]) -> type[T]:
        if not (0 <= tag < _TWO_BYTES or tag >> 8 == _TWO_BYTES):
            raise ValueError(f"{tag:#x} of {cls.__name__} is no tag, want 0x00 to 0xfe or 0xff00 to 0xffff")
        if tag in _TAGS.values() or tag in _RETIRED:
            raise ValueError(f"tag {tag:#04x} of {cls.__name__} is taken")
        _TAGS[cls] = tag
        return cls

    return register


def retire(tag: int, field: str, *, got: object, want: object) -> None:
    """Gives the words with which every parser refuses a tag that an earlier version used; no class may have it again.

    Args:
        tag: as in :func:`message`.
        field: of the :class:`WireError`, as are
        got: and
        want: these two.
    """
    _RETIRED[tag] = (field, got, want)


def encode_message(value: object, *, prefix: bytes = b"") -> bytes:
    """The tag and the fields of a registered message, after ``prefix``."""
    return b"".join((prefix, *message_parts(value)))


def message_parts(value: object) -> list[bytes]:
    """What :func:`encode_message` joins: for who puts it into a larger text, and would copy it again."""
    out = [tag_of(type(value))]
    _codec(type(value))[0](type(value).__name__, value, out)
    return out


def tag_of(cls: type) -> bytes:
    """The bytes with which every encoded message of that registered class begins."""
    tag = _TAGS[cls]
    return bytes((tag,)) if tag < _TWO_BYTES else tag.to_bytes(2, "big")


def parse_message(data: bytes | memoryview, *wanted: type[T]) -> T:
    """Parses ``data`` as one whole message of the ``wanted`` types; else :class:`WireError`."""
    reader = Reader("message", data)
    tag = reader.uint("tag", 1)
    if tag == _TWO_BYTES:
        tag = tag << 8 | reader.uint("tag", 1)
    for cls in wanted:
        if _TAGS[cls] == tag:
            value: T = _codec(cls)[1](cls.__name__, reader)
            reader.end()
            return value
    if tag in _RETIRED:
        field, got, want_instead = _RETIRED[tag]
        raise WireError(field, got=got, want=want_instead)
    raise WireError("message.tag", got=f"{tag:#04x}", want=" or ".join(cls.__name__ for cls in wanted))


def encode_fields(value: object) -> bytes:
    """The fields of any such dataclass without a tag, for hashing, signing and nesting."""
    out: list[bytes] = []
    _codec(type(value))[0](type(value).__name__, value, out)
    return b"".join(out)


def parse_fields(cls: type[T], data: bytes) -> T:
    """Parses what :func:`encode_fields` returns."""
    reader = Reader(cls.__name__, data)
    value: T = _codec(cls)[1](cls.__name__, reader)
    reader.end()
    return value


def prepare(*classes: type) -> None:
    """Builds the encoders and parsers of these classes now; otherwise that happens when a class is first used."""
    for cls in classes:
        _codec(cls)


def _codec(hint: Any) -> _Codec:
    """Encoder and parser of a type hint, built once for each type."""
    if hint not in _CODECS:
        _CODECS[hint] = _build(hint)
    return _CODECS[hint]


def _build(hint: Any) -> _Codec:
    origin = get_origin(hint)
    if origin is Annotated:
        base, rule = get_args(hint)[:2]
        return _annotated(base, rule)
    if origin is tuple:
        return _tuple(_codec(get_args(hint)[0]), MAX_ITEMS)
    if origin in (typing.Union, types.UnionType):
        return _optional(_codec(next(arm for arm in get_args(hint) if arm is not types.NoneType)))
    if hint is bool:
        return _flag()
    if hint is bytes:
        return _bytes(MAX_BYTES)
    if hint is str:
        return _text(MAX_BYTES)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return _str_enum(hint)
    if isinstance(hint, type) and issubclass(hint, IntEnum):
        return _int_enum(hint)
    if is_dataclass(hint) and isinstance(hint, type):
        return _record(hint)
    raise TypeError(f"{hint!r} has no encoding")


def _annotated(base: Any, rule: object) -> _Codec:
    match rule:
        case Uint(size):
            return _uint(size)
        case Fixed(size):
            return _fixed(size)
        case Limit(size) if base is bytes:
            return _bytes(size)
        case Limit(size) if base is str:
            return _text(size)
        case Limit(size) if get_origin(base) is tuple:
            return _tuple(_codec(get_args(base)[0]), size)
    raise TypeError(f"{base!r} with {rule!r} has no encoding")


def _uint(size: int) -> _Codec:
    def encode(field: str, value: int, out: list[bytes]) -> None:
        try:
            out.append(value.to_bytes(size, "little"))
        except OverflowError:
            raise WireError(field, got=value, want=f"an unsigned integer of {size} bytes") from None

    return encode, lambda field, reader: reader.uint(field, size)


def _flag() -> _Codec:
    def encode(_field: str, value: bool, out: list[bytes]) -> None:  # noqa: FBT001 - the value itself
        out.append(b"\1" if value else b"\0")

    def parse(field: str, reader: Reader) -> bool:
        got = reader.uint(field, 1)
        if got > 1:
            raise WireError(field, got=got, want="0 or 1")
        return bool(got)

    return encode, parse


def _fixed(size: int) -> _Codec:
    def encode(field: str, value: bytes, out: list[bytes]) -> None:
        if len(value) != size:
            raise WireError(field, got=f"{len(value)} bytes", want=f"{size} bytes")
        out.append(value)

    return encode, lambda field, reader: reader.take(field, size)


def _bytes(limit: int) -> _Codec:
    def encode(field: str, value: bytes, out: list[bytes]) -> None:
        if len(value) > limit:
            raise WireError(field, got=f"{len(value)} bytes", want=f"at most {limit}")
        out += (len(value).to_bytes(4, "little"), value)

    def parse(field: str, reader: Reader) -> bytes:
        size = reader.uint(field, 4)
        if size > limit:
            raise WireError(field, got=f"{size} bytes", want=f"at most {limit}")
        return reader.take(field, size)

    return encode, parse


def _text(limit: int) -> _Codec:
    encode_bytes, parse_bytes = _bytes(limit)

    def encode(field: str, value: str, out: list[bytes]) -> None:
        try:
            encode_bytes(field, value.encode(), out)
        except UnicodeEncodeError:
            raise WireError(field, got="a lone surrogate", want="text that UTF-8 can hold") from None

    def parse(field: str, reader: Reader) -> str:
        raw: bytes = parse_bytes(field, reader)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise WireError(field, got="bytes that are not UTF-8", want="UTF-8") from None

    return encode, parse


def _str_enum(cls: type[StrEnum]) -> _Codec:
    encode_text, parse_text = _text(64)

    def parse(field: str, reader: Reader) -> StrEnum:
        text = parse_text(field, reader)
        try:
            return cls(text)
        except ValueError:
            raise WireError(field, got=repr(text), want=" or ".join(cls)) from None

    return encode_text, parse


def _int_enum(cls: type[IntEnum]) -> _Codec:
    encode_int, parse_int = _uint(2)

    def parse(field: str, reader: Reader) -> IntEnum:
        number = parse_int(field, reader)
        try:
            return cls(number)
        except ValueError:
            raise WireError(field, got=number, want=" or ".join(str(int(member)) for member in cls)) from None

    return encode_int, parse


def _tuple(item: _Codec, limit: int) -> _Codec:
    encode_item, parse_item = item

    def encode(field: str, value: tuple[Any, ...], out: list[bytes]) -> None:
        if len(value) > limit:
            raise WireError(field, got=f"{len(value)} items", want=f"at most {limit}")
        out.append(len(value).to_bytes(4, "little"))
        for member in value:
            encode_item(field, member, out)

    def parse(field: str, reader: Reader) -> tuple[Any, ...]:
        count = reader.uint(field, 4)
        if count > limit:
            raise WireError(field, got=f"{count} items", want=f"at most {limit}")
        return tuple(parse_item(field, reader) for _ in range(count))

    return encode, parse


def _optional(some: _Codec) -> _Codec:
    encode_some, parse_some = some
    encode_flag, parse_flag = _flag()

    def encode(field: str, value: Any, out: list[bytes]) -> None:
        encode_flag(field, value is not None, out)
        if value is not None:
            encode_some(field, value, out)

    def parse(field: str, reader: Reader) -> Any:
        return parse_some(field, reader) if parse_flag(field, reader) else None

    return encode, parse


def _record(cls: type) -> _Codec:
    hints = typing.get_type_hints(cls, include_extras=True)
    members = [(field.name, f"{cls.__name__}.{field.name}", _codec(hints[field.name])) for field in fields(cls)]

    def encode(_field: str, value: Any, out: list[bytes]) -> None:
        for name, path, (encode_member, _) in members:
            encode_member(path, getattr(value, name), out)

    def parse(_field: str, reader: Reader) -> Any:
        return cls(*[parse_member(path, reader) for _, path, (_, parse_member) in members])

    return encode, parse
