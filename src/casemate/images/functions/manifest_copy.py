"""A manifest's text with a few keys set to other values, for copies that are built beside an author's folder."""

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any

from casemate.images.errors import FolderError
from casemate.wire.protocol.image_index import MANIFEST_PATH

Key = tuple[str, str]
"""A table, and a key in it."""

_NEXT_TABLE = re.compile(r"^[ \t]*\[", re.MULTILINE)
_VALUE = r"""(?:true|false|[-+]?[0-9_]+|"[^"\\\n]*"|'[^'\n]*')"""


def with_keys(manifest: bytes, changes: Mapping[Key, bool | int | str]) -> bytes:
    """The manifest in which these keys have these values, and nothing else is different.

    What is not TOML is given back as it is: whoever parses it says why.

    Raises:
        FolderError: it is written in a way in which a key cannot be set.
    """
    wanted = _parsed(manifest.decode("utf-8", "replace"))
    if wanted is None:
        return manifest
    text = manifest.decode()
    for (table, key), value in changes.items():
        text = _with_key(text, table, key, json.dumps(value))
        held = wanted.setdefault(table, {})
        if not isinstance(held, dict):
            return manifest
        held[key] = value
    if _parsed(text) != wanted:
        named = ", ".join(dict.fromkeys(table for table, _ in changes))
        error = FolderError(f"{MANIFEST_PATH} has no table of its own for {named}, in which a copy could differ")
        error.advice = "write [enclave] and [callers] on lines of their own, and each key on a line below"
        raise error
    return text.encode()


def _with_key(text: str, table: str, key: str, value: str) -> str:
    header = re.search(rf"^[ \t]*\[[ \t]*{re.escape(table)}[ \t]*\][^\n]*", text, re.MULTILINE)
    if header is None:
        return f"{text}\n[{table}]\n{key} = {value}\n"
    following = _NEXT_TABLE.search(text, header.end())
    end = len(text) if following is None else following.start()
    line = re.compile(rf"^([ \t]*{re.escape(key)}[ \t]*=[ \t]*){_VALUE}", re.MULTILINE)
    body, count = line.subn(lambda found: found[1] + value, text[header.end() : end], count=1)
    inserted = body if count else f"\n{key} = {value}{body}"
    return text[: header.end()] + inserted + text[end:]


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None
