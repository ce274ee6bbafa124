"""Limits that the bootstrap keeps by itself, so that an honest program gets an exception instead of its end.

The enclave checks all of them again. They are those of the JavaScript bootstrap.
"""

MAX_LINES = 64
"""Most lines that a call, or a step of a stream, prints; further ones are dropped."""
MAX_TEXT = 1024
"""Longest line, name or message (characters); longer ones are cut."""
MAX_PIECE = 1024 * 1024
"""Most bytes that one step of a stream puts out."""
MAX_YIELD = 16 * 1024 * 1024
"""Most bytes that a stream yields at once."""
STEP_TIME = 0.1
"""Seconds after which a step that could go on ends all the same, at the next yield."""
MAX_PARTS = 3
"""Most exceptions of a group whose words are told."""
MAX_DEPTH = 64
"""Deepest nesting of a value that is told as JSON, as in :mod:`casemate.wire.encodings.json_text`."""
MAX_INTEGER = 2**53 - 1
"""Largest integer in JSON, as there."""

BROKEN_PIPE, BROKEN_FRAME = 70, 71
"""Exit codes."""
