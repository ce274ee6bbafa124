import os
import time

from casemate.enclave.io.pump import Pump

from casemate.enclave.guest.pipes import FromGuest, ToGuest


class Pipe:
    """A pipe, with our end watched."""

    def __init__(self, *, to_guest: bool = False, most: int = 4) -> None:
        self.reading, self.writing = os.pipe()
        self.ended = 0
        self.pump = Pump()
        if to_guest:
            self.outflow = ToGuest(self.writing, on_end=self.end)
            self.pump.watch(self.outflow)
        else:
            self.inflow = FromGuest(self.reading, limit=100_000, most=most, on_end=self.end)
            self.pump.watch(self.inflow)

    def end(self) -> None:
        self.ended += 1
        self.pump.forget(self.reading)
        self.pump.forget(self.writing)

    def turn_until(self, condition: object, seconds: float = 5.0) -> bool:
        assert callable(condition)
        return self.pump.until(condition, time.monotonic() + seconds)


def test_hears_frames() -> None:
    pipe = Pipe()
    os.write(pipe.writing, b"\x02\x00\x00\x00hi\x00\x00\x00\x00")
    assert pipe.turn_until(lambda: len(pipe.inflow.incoming) == 2)
    assert list(pipe.inflow.incoming) == [b"hi", b""]


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
