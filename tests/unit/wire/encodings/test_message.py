import importlib
import pkgutil
import types
import typing
from dataclasses import dataclass, fields, is_dataclass
from enum import IntEnum, StrEnum
from typing import Annotated, Any, get_args, get_origin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import casemate.wire
from casemate.wire.encodings import message
from casemate.wire.encodings.message import (
    MAX_ITEMS,
    U16,
    Fixed,
    Limit,
    Uint,
    encode_fields,
    encode_message,
    parse_fields,
    parse_message,
)
from casemate.wire.errors import WireError

_LONGEST = 40  # bytes of the strings that are tried


def _messages() -> list[type]:
    for module in pkgutil.walk_packages(casemate.wire.__path__, "casemate.wire."):
        importlib.import_module(module.name)
    return sorted(
        (cls for cls in message._TAGS if cls.__module__.startswith("casemate.wire.")),
        key=lambda cls: message._TAGS[cls],
    )


MESSAGES = _messages()


def _values(hint: Any) -> st.SearchStrategy[Any]:
    """All values of one type hint, as the codec understands it."""
    origin = get_origin(hint)
    if origin is Annotated:
        return _annotated(*get_args(hint)[:2])
    if origin is tuple:
        return st.lists(_values(get_args(hint)[0]), max_size=4).map(tuple)
    if origin in (typing.Union, types.UnionType):
        return st.one_of([st.none() if arm is types.NoneType else _values(arm) for arm in get_args(hint)])
    if isinstance(hint, type) and is_dataclass(hint):
        hints = typing.get_type_hints(hint, include_extras=True)
        return st.builds(hint, **{field.name: _values(hints[field.name]) for field in fields(hint)})
    if issubclass(hint, StrEnum | IntEnum):
        return st.sampled_from(list(hint))
    plain: dict[Any, st.SearchStrategy[Any]] = {bool: st.booleans(), bytes: st.binary(max_size=_LONGEST)}
    return plain[hint] if hint in plain else _texts(_LONGEST)


def _annotated(base: type, rule: object) -> st.SearchStrategy[Any]:
    match rule:
        case Uint(size):
            return st.integers(0, 256**size - 1)
        case Fixed(size):
            return st.binary(min_size=size, max_size=size)
        case Limit(size) if get_origin(base) is tuple:
            return st.lists(_values(get_args(base)[0]), max_size=min(size, 4)).map(tuple)
        case Limit(size) if base is bytes:
            return st.binary(max_size=min(size, _LONGEST))
        case Limit(size):
            return _texts(min(size, _LONGEST))
    raise AssertionError(rule)


def _texts(size: int) -> st.SearchStrategy[str]:
    return st.text(st.characters(exclude_categories=["Cs"]), max_size=size // 4)


def _mutations(data: st.DataObject, encoded: bytes) -> bytes:
    """A message with some bytes changed, cut or added."""
    at = data.draw(st.integers(0, len(encoded)))
    cut = data.draw(st.integers(0, 4))
    return encoded[:at] + data.draw(st.binary(max_size=4)) + encoded[at + cut :]


def test_there_are_messages_on_every_link() -> None:
    assert {cls.__module__.rpartition(".")[2] for cls in MESSAGES} >= {"chip", "host", "leaf", "spawner", "entry"}


def test_tags_are_unique_and_none_begins_another() -> None:
    tags = [message.tag_of(cls) for cls in MESSAGES]
    assert len(set(tags)) == len(tags)
    assert all(len(tag) == (2 if tag[0] == 0xFF else 1) for tag in tags)


@pytest.mark.parametrize("tag", [-1, 0xFF, 0x100, 0xFEFF, 0x10000])
def test_refuses_to_register_what_is_no_tag(tag: int) -> None:
    with pytest.raises(ValueError, match="is no tag"):
        message.message(tag)(_Many)


def test_a_tag_of_two_bytes_is_read_whole() -> None:
    first = next(cls for cls in MESSAGES if message._TAGS[cls] < 0xFF)
    for data, got in ((b"\xff", "0 bytes"), (bytes((0xFF, message._TAGS[first])), f"0xff{message._TAGS[first]:02x}")):
        with pytest.raises(WireError, match=got):
            parse_message(data, first)


@pytest.mark.parametrize("cls", MESSAGES, ids=lambda cls: cls.__name__)
@settings(max_examples=10)
@given(data=st.data())
def test_every_message_comes_back_as_it_was(cls: type, data: st.DataObject) -> None:
    value = data.draw(_values(cls))
    assert parse_message(encode_message(value), cls) == value
    assert parse_fields(cls, encode_fields(value)) == value


@given(data=st.data())
def test_changed_bytes_are_another_message_or_a_wire_error(data: st.DataObject) -> None:
    changed = _mutations(data, encode_message(data.draw(_values(data.draw(st.sampled_from(MESSAGES))))))
    try:
        value: object = parse_message(changed, *MESSAGES)
    except WireError:
        return
    assert encode_message(value) == changed


@given(st.binary(max_size=300))
def test_random_bytes_are_a_message_or_a_wire_error(data: bytes) -> None:
    try:
        value: object = parse_message(data, *MESSAGES)
    except WireError:
        return
    assert encode_message(value) == data


@dataclass(frozen=True, slots=True)
class _Many:
    items: tuple[U16, ...]
    text: Annotated[str, Limit(4)]
    flag: bool


def test_refuses_a_count_that_the_bytes_do_not_bear_out() -> None:
    with pytest.raises(WireError, match=r"_Many\.items.*0 bytes"):
        parse_fields(_Many, MAX_ITEMS.to_bytes(4, "little"))


@pytest.mark.parametrize(
    ("encoded", "field"),
    [
        ((MAX_ITEMS + 1).to_bytes(4, "little"), "items"),
        (bytes(4) + b"\x05\0\0\0hello\0", "text"),
        (bytes(4) + b"\x01\0\0\0\xff\0", "text"),
        (bytes(4) + bytes(4) + b"\x02", "flag"),
        (bytes(4) + bytes(4) + b"\x01\x00", "after its end"),
    ],
)
def test_refuses_what_no_value_is_written_as(encoded: bytes, field: str) -> None:
    with pytest.raises(WireError, match=field):
        parse_fields(_Many, encoded)


@pytest.mark.parametrize(
    "value",
    [
        _Many((1 << 16,), "", flag=True),
        _Many((-1,), "", flag=True),
        _Many((), "hello", flag=True),
        _Many((), "\ud800", flag=True),
    ],
)
def test_refuses_to_encode_what_does_not_fit(value: _Many) -> None:
    with pytest.raises(WireError):
        encode_fields(value)


def test_refuses_a_message_of_another_kind_than_wanted() -> None:
    first, second = MESSAGES[:2]
    with pytest.raises(WireError, match=second.__name__):
        parse_message(message.tag_of(first), second)
