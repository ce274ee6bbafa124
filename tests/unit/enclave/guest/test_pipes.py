import os
import time
from collections.abc import Callable

from tests.rigs.loop_turns import turn_until

from casemate.enclave.guest.pipes import FromGuest, ToGuest
from casemate.enclave.io.loop import Loop


class Pipe:
    """A pipe, with our end watched."""

    def __init__(self, *, to_guest: bool = False, most: int = 4) -> None:
        self.reading, self.writing = os.pipe()
        self.ended = 0
        self.news = 0
        self.loop = Loop()
        if to_guest:
            self.outflow = ToGuest(self.loop, self.writing, on_end=self.end)
            self.loop.watch(self.outflow)
        else:
            self.inflow = FromGuest(
                self.loop, self.reading, limit=100_000, most=most, on_frames=self.hear, on_end=self.end
            )
            self.loop.watch(self.inflow)

    def hear(self) -> None:
        self.news += 1

    def end(self) -> None:
        self.ended += 1
        self.loop.forget(self.reading)
        self.loop.forget(self.writing)

    def turn_until(self, condition: Callable[[], object], seconds: float = 5.0) -> bool:
        return turn_until(self.loop, condition, seconds)


def test_hears_frames() -> None:
    pipe = Pipe()
    os.write(pipe.writing, b"\x02\x00\x00\x00hi\x00\x00\x00\x00")
    assert pipe.turn_until(lambda: len(pipe.inflow.incoming) == 2)
    assert list(pipe.inflow.incoming) == [b"hi", b""]
    assert pipe.news


def test_hears_last_words_before_the_end() -> None:
    pipe = Pipe(most=1)
    os.write(pipe.writing, b"\x02\x00\x00\x00hi" * 3)
    os.close(pipe.writing)
    assert pipe.turn_until(lambda: pipe.ended)
    assert pipe.ended == 1
    assert list(pipe.inflow.incoming) == [b"hi"] * 3


def test_a_guest_that_floods_has_to_wait() -> None:
    pipe = Pipe(most=1)
    os.set_blocking(pipe.writing, False)
    os.write(pipe.writing, b"\x02\x00\x00\x00hi")
    assert pipe.turn_until(lambda: pipe.inflow.incoming)
    os.write(pipe.writing, bytes(65536))
    assert not pipe.turn_until(lambda: len(pipe.inflow.incoming) > 1, 0.05)
    assert pipe.inflow.take() == b"hi"
    assert pipe.turn_until(lambda: pipe.inflow.incoming), "and is heard again once its frame is taken"


def test_a_guest_that_does_not_read_delays_nobody() -> None:
    pipe = Pipe(to_guest=True)
    started = time.monotonic()
    pipe.outflow.send(bytes(1_000_000))
    assert time.monotonic() - started < 1
    assert not pipe.turn_until(lambda: False, 0.05)
    received = b""

    def all_read() -> bool:
        nonlocal received
        received += os.read(pipe.reading, 65536)
        return len(received) == 1_000_004

    assert pipe.turn_until(all_read)


def test_a_guest_that_closes_its_ear_is_noticed() -> None:
    pipe = Pipe(to_guest=True)
    os.close(pipe.reading)
    assert pipe.turn_until(lambda: pipe.ended)
    pipe = Pipe(to_guest=True)
    os.close(pipe.reading)
    pipe.outflow.send(b"x")
    assert pipe.ended == 1
