"""Hashes the pages of large firmware in two processes, on two processors.

Threads do not help: between two pages a thread needs the interpreter's lock, and waiting for it takes longer than
hashing. A forked copy of this process takes longer than a new one where this one has much memory.
"""

import subprocess
import sys
from collections.abc import Iterator

from casemate.cli.files import FileContent
from casemate.cli.snp import page_hasher
from casemate.wire.snp.launch import hash_firmware
from casemate.wire.snp.ovmf import Content
from casemate.wire.snp.page_info import DIGEST_SIZE, PAGE_SIZE

WORTH_A_PROCESS = 16 * 1024 * 1024
"""Size of firmware (bytes) from which on hashing half of it takes longer than starting an interpreter."""


def hash_on_two_processors(content: Content) -> Iterator[bytes]:
    """SHA-384 of each page, in order; the second half of a large file is hashed by a process that is started for it.

    Where that process cannot be started or fails, its half is hashed here.
    """
    if isinstance(content, FileContent) and len(content) >= WORTH_A_PROCESS:
        yield from _in_halves(content)
    else:
        yield from hash_firmware(content)


def _in_halves(content: FileContent) -> Iterator[bytes]:
    middle = len(content) // PAGE_SIZE // 2 * PAGE_SIZE
    first, second = _Part(content, 0, middle), _Part(content, middle, len(content))
    command = [sys.executable, "-I", "-S", page_hasher.__file__, str(middle), str(len(content)), str(PAGE_SIZE)]
    try:
        process = subprocess.Popen(
            command, stdin=content.descriptor, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )  # fmt: skip
    except OSError:
        yield from hash_firmware(content)
        return
    with process:
        try:
            yield from hash_firmware(first)
            hashes, _ = process.communicate()
        finally:
            process.kill()
    if len(hashes) == len(second) // PAGE_SIZE * DIGEST_SIZE:
        yield from (hashes[at : at + DIGEST_SIZE] for at in range(0, len(hashes), DIGEST_SIZE))
    else:
        yield from hash_firmware(second)


class _Part:
    """A part of an image's content."""

    def __init__(self, content: Content, start: int, end: int) -> None:
        self._content = content
        self._places = range(start, end)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, places: slice, /) -> bytes:
        found = self._places[places]
        return self._content[found.start : found.stop]
