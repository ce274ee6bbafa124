"""A JSON object whose members are read by name and type.

:class:`WireError` for one that is missing or of another type.
"""

import re
from datetime import datetime

from casemate.wire.encodings.json_text import parse_json
from casemate.wire.errors import WireError

_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
_LONGEST_SHOWN = 80
"""Characters of the input that an error message shows."""


class JsonObject:
    """The members of one object; ``what`` is its place in the document, for errors."""

    __slots__ = ("_members", "_what")

    def __init__(self, what: str, members: dict[str, object]) -> None:
        self._what = what
        self._members = members

    def only(self, *names: str) -> None:
        """Refuses members that are not among ``names``."""
        for name in self._members:
            if name not in names:
                raise WireError(self._what, got=f"a member {_brief(name)}", want=f"only {', '.join(names)}")

    def has(self, name: str) -> bool:
        """Whether there is such a member, and it is not null."""
        return self._members.get(name) is not None

    def names(self) -> tuple[str, ...]:
        """The members' names, in their order."""
        return tuple(self._members)

    def value(self, name: str) -> object:
        """The member, of any type."""
        try:
            return self._members[name]
        except KeyError:
            raise WireError(f"{self._what}.{name}", got="nothing", want="a member of this name") from None

    def text(self, name: str) -> str:
        value = self.value(name)
        if not isinstance(value, str):
            raise self._wrong(name, value, "a string")
        return value

    def texts(self, name: str, *, limit: int) -> tuple[str, ...]:
        """An array of at most ``limit`` strings."""
        items = self._array(name, limit)
        for item in items:
            if not isinstance(item, str):
                raise self._wrong(name, item, "strings")
        return tuple(str(item) for item in items)

    def uint(self, name: str, maximum: int) -> int:
        """An integer from 0 to ``maximum``."""
        value = self.value(name)
        if type(value) is not int or not 0 <= value <= maximum:
            raise self._wrong(name, value, f"an integer from 0 to {maximum}")
        return value

    def flag(self, name: str) -> bool:
        value = self.value(name)
        if not isinstance(value, bool):
            raise self._wrong(name, value, "true or false")
        return value

    def hexadecimal(self, name: str, size: int | None = None) -> bytes:
        """Bytes written in hexadecimal of either case, without spaces; exactly ``size`` of them if given."""
        text = self.text(name)
        try:
            raw = bytes.fromhex(text)
        except ValueError:
            raw = b""
        if len(raw) * 2 != len(text) or (size is not None and len(raw) != size):
            raise self._wrong(name, text, "hexadecimal" if size is None else f"{size} bytes in hexadecimal")
        return raw

    def date(self, name: str) -> datetime:
        """A time in UTC, to the second, as the chip makers write it: ``2025-06-19T10:56:11Z``."""
        text = self.text(name)
        if _DATE.fullmatch(text):
            try:
                return datetime.fromisoformat(text)
            except ValueError:  # such as the 31st of February
                pass
        raise self._wrong(name, text, "a time such as 2025-06-19T10:56:11Z")

    def child(self, name: str) -> "JsonObject":
        return _object(f"{self._what}.{name}", self.value(name))

    def children(self, name: str, *, limit: int) -> tuple["JsonObject", ...]:
        """An array of at most ``limit`` objects."""
        where = f"{self._what}.{name}"
        return tuple(_object(f"{where}[{at}]", item) for at, item in enumerate(self._array(name, limit)))

    def _array(self, name: str, limit: int) -> list[object]:
        value = self.value(name)
        if not isinstance(value, list):
            raise self._wrong(name, value, "an array")
        if len(value) > limit:
            raise WireError(f"{self._what}.{name}", got=f"{len(value)} items", want=f"at most {limit}")
        return value

    def _wrong(self, name: str, got: object, want: str) -> WireError:
        return WireError(f"{self._what}.{name}", got=_brief(got), want=want)


def parse_object(what: str, data: bytes, *, limit: int) -> JsonObject:
    """The JSON object that ``data`` holds, whole, in at most ``limit`` bytes of UTF-8."""
    return _object(what, parse_json(what, data, limit=limit))


def date_text(moment: datetime) -> str:
    """The way back from :meth:`JsonObject.date`; ``moment`` is in UTC."""
    return f"{moment.replace(tzinfo=None).isoformat(timespec='seconds')}Z"


def _object(where: str, value: object) -> JsonObject:
    if not isinstance(value, dict):
        raise WireError(where, got=_brief(value), want="an object")
    return JsonObject(where, value)


def _brief(value: object) -> str:
    """A value of the input, on one short line."""
    shown = ascii(value) if isinstance(value, str | int | float | None) else f"a {type(value).__name__}"
    return shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}..."
