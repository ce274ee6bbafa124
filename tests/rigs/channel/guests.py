"""Guests made of a thread and a script: they say what the script says, however wrong."""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass

from casemate.engines.frames import NO_CALL, FrameKind, frame, head_and_text
from casemate.wire.encodings.json_text import encode_json, parse_json


class GuestEndedError(Exception):
    """The enclave has hung up."""


@dataclass(frozen=True, slots=True)
class Line:
    """A guest's end of the two pipes, with nothing to stop it from saying anything."""

    reading: int
    writing: int

    def read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = os.read(self.reading, size - len(data))
            if not piece:
                raise GuestEndedError
            data += piece
        return data

    def receive(self) -> tuple[int, bytes, bytes]:
        """FrameKind, call and body of the enclave's next frame."""
        payload = self.read(int.from_bytes(self.read(4), "little"))
        return payload[0], payload[1:9], payload[9:]

    def raw(self, data: bytes) -> None:
        """Writes bytes that need not be a frame."""
        while data:
            try:
                data = data[os.write(self.writing, data) :]
            except OSError:
                raise GuestEndedError from None

    def say(self, kind: int, call: bytes, body: bytes = b"") -> None:
        payload = frame(FrameKind.WARM, call, body)
        self.raw(len(payload).to_bytes(4, "little") + bytes((kind,)) + payload[1:])


@dataclass(frozen=True, slots=True)
class Called:
    """A call, as the guest sees it."""

    line: Line
    number: bytes
    entry: str
    caller: object
    arguments: bytes
    kind: int = FrameKind.CALL

    def returns(self, text: bytes) -> None:
        self.line.say(FrameKind.RETURNED, self.number, text)

    def prints(self, text: str) -> None:
        self.line.say(FrameKind.PRINTED, self.number, text.encode())

    def throws(self, name: str, message: str, code: str = "guest-error", place: object = None) -> None:
        head = {"code": code, "name": name, "message": message, "place": place}
        self.line.say(FrameKind.FAILED, self.number, head_and_text(head, b""))

    def refuses(self, name: str, details: bytes = b"") -> None:
        self.line.say(FrameKind.REFUSED, self.number, head_and_text({"name": name}, details))

    def pauses(self, data: bytes = b"", *, hungry: bool = True) -> None:
        self.line.say(FrameKind.PAUSED, self.number, bytes((hungry,)) + data)

    def ends(self, text: bytes, data: bytes = b"") -> None:
        self.line.say(FrameKind.ENDED, self.number, len(data).to_bytes(4, "little") + data + text)

    def wants(self, head: object, text: bytes = b"") -> tuple[int, bytes]:
        """A question to the enclave itself: the kind and the body of the answer."""
        self.line.say(FrameKind.WANTED, self.number, head_and_text(head, text))
        kind, number, body = self.line.receive()
        assert number == self.number
        return kind, body

    def asks(self, name: str, arguments: bytes) -> bytes | None:
        """An OCALL: the answer, or None if it was refused."""
        self.line.say(FrameKind.ASKED, self.number, head_and_text({"name": name}, arguments))
        kind, number, body = self.line.receive()
        assert number == self.number
        return body if kind == FrameKind.ANSWER else None


def called_in(line: Line, number: bytes, body: bytes, kind: int = FrameKind.CALL) -> Called:
    """The call that a frame opens."""
    size = int.from_bytes(body[:4], "little")
    head = parse_json("head", body[4 : 4 + size], limit=1 << 20)
    return Called(line, number, head["entry"], head["caller"], body[4 + size :], kind)


Script = Callable[[Called], None]
Loader = Callable[[Line], None]


def loads(line: Line) -> None:
    """Says that the program is loaded."""
    line.say(FrameKind.LOADED, NO_CALL)


def echo(called: Called) -> None:
    """Returns entry point, caller and arguments."""
    value = parse_json("arguments", called.arguments, limit=1 << 30)
    called.returns(encode_json({"entry": called.entry, "caller": called.caller, "arguments": value}))


def start_guest(
    reading: int, writing: int, script: Script, loader: Loader, *, is_copy: bool = False
) -> threading.Thread:
    """Runs a guest until the enclave hangs up or the script says :class:`GuestEndedError`; it then closes its ends.

    A copy is given no program: it says that it is loaded.
    """
    line = Line(reading, writing)

    def live() -> None:
        try:
            if is_copy:
                loads(line)
            else:
                kind, _, _ = line.receive()
                assert kind == FrameKind.LOAD
                loader(line)
            while True:
                kind, number, body = line.receive()
                if kind in (FrameKind.CALL, FrameKind.OPEN):
                    script(called_in(line, number, body, kind))
                else:
                    assert kind in (FrameKind.CHUNK, FrameKind.END, FrameKind.PULL, FrameKind.DROP)
                    script(Called(line, number, "", None, body, kind))
        except GuestEndedError:
            return
        finally:
            os.close(reading)
            os.close(writing)

    thread = threading.Thread(target=live, daemon=True)
    thread.start()
    return thread
