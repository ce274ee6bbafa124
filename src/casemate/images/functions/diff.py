"""The differences between two images: by the key of a manifest or schema, a source file's line, a SIGSTRUCT's field."""

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from casemate.images.image import Image
from casemate.images.layout import ImageContents, read_pages
from casemate.wire.encodings.json_text import parse_json
from casemate.wire.encodings.toml_text import parse_toml
from casemate.wire.errors import CasemateError, WireError
from casemate.wire.protocol.image_index import LOCK_PATH, MAGIC
from casemate.wire.protocol.runtime_lock import RuntimeLock
from casemate.wire.sgx.sgxs import PAGE_SIZE, Segment, Sgxs
from casemate.wire.sgx.sigstruct import Sigstruct

_MAX_FILE = 1024 * 1024
"""Longest JSON that is compared by keys (bytes); of longer ones only the first line that differs is shown."""
_LONGEST_VALUE = 120
"""Characters of a value that are shown."""
_MOST_KEYS = 1000
"""Most keys of a file that are listed; where more differ, only the first line that differs is shown."""
_MOST_PAGES = 16
"""Most pages that are listed one by one."""
_ABSENT = object()
"""Marks a member that one side lacks."""
_DERIVED = ("modulus", "signature", "q1", "q2", "enclave_hash")
"""SIGSTRUCT fields that follow from the key and the other fields; MRSIGNER and MRENCLAVE are shown instead."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference between two images."""

    where: str
    """File and key or line, or structure and field."""
    old: str | None
    """The value in the first image; None if it has none."""
    new: str | None
    measured: bool
    """Whether it changes MRENCLAVE."""


def diff_images(old: Image, new: Image) -> tuple[Difference, ...]:
    """All differences between two images: what is measured first, then what is only signed.

    Raises:
        WireError: a stream or SIGSTRUCT is malformed.
    """
    found = [] if old.sgxs == new.sgxs else list(_measured(old, new))
    return (*found, *_signed(old.parse_sigstruct(), new.parse_sigstruct()))


def _measured(old: Image, new: Image) -> Iterator[Difference]:
    """The differences in what is measured."""
    old_sgxs, new_sgxs = old.parse_sgxs(), new.parse_sgxs()
    old_contents, new_contents = _contents(old_sgxs), _contents(new_sgxs)
    if old_contents is None or new_contents is None:
        yield from _pages(old_sgxs, new_sgxs)
    elif old_contents.files != new_contents.files:
        yield from _files(old_contents.files, new_contents.files)
    else:
        yield from _same_files(old_contents, new_contents, old_sgxs.segments, new_sgxs.segments)
    for field in ("size", "ssa_frame_size"):
        before, after = getattr(old_sgxs.ecreate, field), getattr(new_sgxs.ecreate, field)
        if before != after:
            yield Difference(f"SECS {field}", str(before), str(after), measured=True)


def _contents(sgxs: Sgxs) -> ImageContents | None:
    """The contents of the pages; None where they are not an image of Casemate."""
    if not sgxs.contents.startswith(MAGIC):
        return None
    try:
        return read_pages(sgxs.linear_contents())
    except CasemateError:
        return None


def _files(old: Mapping[str, bytes], new: Mapping[str, bytes]) -> Iterator[Difference]:
    """Files that were added, removed or changed."""
    for path in sorted(old.keys() | new.keys()):
        if path not in old:
            yield Difference(path, None, f"{len(new[path])} bytes", measured=True)
        elif path not in new:
            yield Difference(path, f"{len(old[path])} bytes", None, measured=True)
        elif old[path] != new[path]:
            yield from _changed(path, old[path], new[path])


def _changed(path: str, old: bytes, new: bytes) -> Iterator[Difference]:
    """The differences in one file: by keys where it has keys, otherwise its first line that differs."""
    trees = _tree(path, old), _tree(path, new)
    if None not in trees:
        keys = list(itertools.islice(_keys("", *trees), _MOST_KEYS + 1))
        if 0 < len(keys) <= _MOST_KEYS:
            for key, before, after in keys:
                yield Difference(f"{path}: {key}", before, after, measured=True)
            return
    yield _first_line(path, old, new)


def _tree(path: str, content: bytes) -> Any:
    """The values in a TOML or JSON file, None for other files."""
    try:
        if path == LOCK_PATH:
            return _lock_tree(content)
        if path.endswith(".toml"):
            return parse_toml(path, content)
        if path.endswith(".json"):
            return parse_json(path, content, limit=_MAX_FILE)
    except WireError:
        return None
    return None


def _lock_tree(content: bytes) -> dict[str, dict[str, list[str]]]:
    """A runtime lock's digests by part and platform."""
    tree: dict[str, dict[str, list[str]]] = {}
    for record in RuntimeLock.parse(content).records:
        tree.setdefault(record.component, {}).setdefault(record.platform, []).append(record.digest.hex())
    return tree


def _keys(key: str, old: Any, new: Any) -> Iterator[tuple[str, str | None, str | None]]:
    """The keys whose values differ, as deep as they can be named."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in (*old, *(name for name in new if name not in old)):
            inner = f"{key}.{name}" if key else str(name)
            yield from _keys(inner, old.get(name, _ABSENT), new.get(name, _ABSENT))
    elif isinstance(old, list) and isinstance(new, list):
        for at, pair in enumerate(itertools.zip_longest(old, new, fillvalue=_ABSENT)):
            yield from _keys(f"{key}[{at}]", *pair)
    elif type(old) is not type(new) or old != new:
        yield key or "(all)", _shown_if_there(old), _shown_if_there(new)


def _shown_if_there(value: Any) -> str | None:
    return None if value is _ABSENT else _shown(value)


def _shown(value: Any) -> str:
    """A value on one line, short."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def _first_line(path: str, old: bytes, new: bytes) -> Difference:
    """The first line that differs."""
    lines = itertools.zip_longest(old.split(b"\n"), new.split(b"\n"))
    at, (before, after) = next((at, pair) for at, pair in enumerate(lines, 1) if pair[0] != pair[1])
    return Difference(f"{path}:{at}", _line(before), _line(after), measured=True)


def _line(line: bytes | None) -> str | None:
    return None if line is None else _shown(line.decode("utf-8", "backslashreplace"))


def _same_files(
    old: ImageContents, new: ImageContents, old_segments: tuple[Segment, ...], new_segments: tuple[Segment, ...]
) -> Iterator[Difference]:
    """Other differences in what is measured: import links, and how the pages are added."""
    if old.index != new.index:
        yield Difference("index", f"{len(old.index.links)} links", f"{len(new.index.links)} links", measured=True)
    if old_segments != new_segments:
        yield Difference("page order and flags", _runs(old_segments), _runs(new_segments), measured=True)


def _runs(segments: tuple[Segment, ...]) -> str:
    return ", ".join(f"{run.offset:#x}..{run.end:#x} {run.flags.name}" for run in segments)


def _pages(old: Sgxs, new: Sgxs) -> Iterator[Difference]:
    """The pages that differ, for streams that are not images of Casemate."""
    if old.segments != new.segments:
        yield Difference("page order and flags", _runs(old.segments), _runs(new.segments), measured=True)
        return
    offsets = [page for segment in old.segments for page in range(segment.offset, segment.end, PAGE_SIZE)]
    pairs = [(page, _page(old, at), _page(new, at)) for at, page in enumerate(offsets)]
    changed = [(page, before, after) for page, before, after in pairs if before != after]
    for page, before, after in changed[:_MOST_PAGES]:
        yield Difference(f"page {page:#x}", _digest(before), _digest(after), measured=True)
    if len(changed) > _MOST_PAGES:
        yield Difference(f"{len(changed) - _MOST_PAGES} more pages", "others", "others", measured=True)


def _page(sgxs: Sgxs, at: int) -> bytes:
    """The contents of the page that was added as number ``at``."""
    return sgxs.contents[at * PAGE_SIZE : (at + 1) * PAGE_SIZE]


def _digest(page: bytes) -> str:
    return f"sha256 {hashlib.sha256(page).hexdigest()[:16]}..."


def _signed(old: Sigstruct, new: Sigstruct) -> Iterator[Difference]:
    """The differences in SIGSTRUCT fields, which are not measured."""
    if old.mr_signer() != new.mr_signer():
        yield Difference("MRSIGNER", old.mr_signer().hex(), new.mr_signer().hex(), measured=False)
    before, after = old.encode(), new.encode()
    for span in Sigstruct.LAYOUT.spans:
        if span.name not in _DERIVED and span.cut(before) != span.cut(after):
            yield Difference(f"SIGSTRUCT {span.name}", span.render(before), span.render(after), measured=False)
