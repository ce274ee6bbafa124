"""Where in a source something stands, as editors count."""


def place_of(source: bytes, offset: int) -> tuple[int, int]:
    """Line and column of a byte, both from 1, the column in characters."""
    before = source[:offset].decode("utf-8", "replace")
    line_start = before.rfind("\n") + 1
    return before.count("\n") + 1, len(before) - line_start + 1
