"""A function that streams, as a guest of threads: it says every piece of its input twice."""

from tests.rigs.channel.guests import Called, called_in, echo
from tests.rigs.channel.rig import MANIFEST

from casemate.engines.frames import FrameKind
from casemate.wire.encodings.json_text import encode_json

DOUBLES = f"""{MANIFEST}
[entry.double]
stream = true
input = {{}}
callers = "anyone"
[entry.double.output]
type = "object"
properties = {{ pieces = {{ type = "integer" }}, asked = {{ type = "string" }} }}

[entry.owned]
stream = true
input = {{}}
output = {{ type = "object", properties = {{ pieces = {{ type = "integer" }} }} }}
callers = ["alice"]

[errors]
closed = "Nobody is served."
"""


class Doubling:
    """One stream."""

    def __init__(self, called: Called) -> None:
        self.called = called
        self.pieces = 0
        self.piece = b""
        self.called.line.say(FrameKind.PAUSED, called.number, b"\1")

    def step(self, kind: int, piece: bytes) -> bool:
        """Answers a step; whether others follow."""
        line, number = self.called.line, self.called.number
        if kind == FrameKind.PULL:
            line.say(FrameKind.PAUSED, number, b"\1" + self.piece)
        elif kind == FrameKind.CHUNK and piece == b"fail":
            self.called.throws("Error", "as asked")
            return False
        elif kind == FrameKind.CHUNK and piece == b"refuse":
            self.called.refuses("closed")
            return False
        elif kind == FrameKind.CHUNK:
            self.pieces, self.piece = self.pieces + 1, piece
            line.say(FrameKind.PAUSED, number, b"\0" + piece)
        elif kind == FrameKind.END:
            text = encode_json({"pieces": self.pieces, "asked": self.called.arguments.decode()})
            line.say(FrameKind.ENDED, number, (3).to_bytes(4, "little") + b"end" + text)
        return kind in (FrameKind.PULL, FrameKind.CHUNK)


def doubles(called: Called) -> None:
    """What ``double`` does, as often at a time as wanted; other entry points echo. Never returns."""
    streams: dict[bytes, Doubling] = {}
    while True:
        if called.entry in ("double", "owned"):
            streams[called.number] = Doubling(called)
        else:
            echo(called)
        kind, number, body = called.line.receive()
        while kind not in (FrameKind.CALL, FrameKind.OPEN):
            if not streams[number].step(kind, body):
                del streams[number]
            kind, number, body = called.line.receive()
        called = called_in(called.line, number, body)
