"""The baseline: frames of JSON behind a u32 with their length, from descriptor 0 to `price` and on to descriptor 1."""

import json
import sys

from bench.price import price

SIZE = 4


def serve() -> None:
    """Answers frames until there are no more."""
    reading, writing = sys.stdin.buffer, sys.stdout.buffer
    while head := reading.read(SIZE):
        arguments = json.loads(reading.read(int.from_bytes(head, "little")))
        text = json.dumps(price(arguments, None), ensure_ascii=False, separators=(",", ":")).encode()
        writing.write(len(text).to_bytes(SIZE, "little") + text)
        writing.flush()
