"""Hashes a range of a file page by page: run as a file, so that nothing else is loaded.

``page_hasher.py START END PAGE_SIZE <FILE``: writes SHA-384 of each page from START to END (bytes) to standard output,
one after the other. Where the file ends before END, it writes nothing and its exit status is 1.
"""

import hashlib
import os
import sys

PIECE = 128
"""Pages that are read at a time."""


def main() -> int:
    """Hashes; the exit status."""
    start, end, page_size = map(int, sys.argv[1:])
    hashes: list[bytes] = []
    before, hashed = b"", b""
    for at in range(start, end, PIECE * page_size):
        size = min(PIECE * page_size, end - at)
        piece = os.pread(sys.stdin.fileno(), size, at)
        if len(piece) != size:
            return 1
        for place in range(0, size, page_size):
            page = piece[place : place + page_size]
            if page != before:  # large images are filling for the most part
                before, hashed = page, hashlib.sha384(page).digest()
            hashes.append(hashed)
    sys.stdout.buffer.write(b"".join(hashes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
