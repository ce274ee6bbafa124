"""The measured files of a folder, changed so that what is built from them is a debug enclave."""

import re
import tomllib
from collections.abc import Mapping
from typing import Any

from casemate.images.errors import FolderError
from casemate.wire.protocol.image_index import MANIFEST_PATH

_HEADER = re.compile(r"^[ \t]*\[[ \t]*enclave[ \t]*\][^\n]*", re.MULTILINE)
_NEXT_TABLE = re.compile(r"^[ \t]*\[", re.MULTILINE)
_DEBUG = re.compile(r"^([ \t]*debug[ \t]*=[ \t]*)(?:true|false)\b", re.MULTILINE)


def debug_copy(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files with ``debug = true`` in the manifest, and not another difference.

    The manifest must be one that :func:`casemate.wire.protocol.manifest_text.parse_manifest` accepts.

    Raises:
        FolderError: the manifest is written in a way in which the key cannot be set.
    """
    text = files[MANIFEST_PATH].decode()
    made = _with_debug(text)
    wanted = tomllib.loads(text)
    wanted["enclave"]["debug"] = True
    if _parsed(made) != wanted:
        error = FolderError(f"{MANIFEST_PATH} has no table [enclave] of its own in which debug could be set")
        error.advice = "write [enclave] on a line of its own, and its keys below it"
        raise error
    return {**files, MANIFEST_PATH: made.encode()}


def _with_debug(text: str) -> str:
    header = _HEADER.search(text)
    if header is None:
        return text
    following = _NEXT_TABLE.search(text, header.end())
    end = len(text) if following is None else following.start()
    body, count = _DEBUG.subn(r"\1true", text[header.end() : end], count=1)
    inserted = body if count else f"\ndebug = true{body}"
    return text[: header.end()] + inserted + text[end:]


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None
