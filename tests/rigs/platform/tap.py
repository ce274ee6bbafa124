"""A tap: a socket that passes everything on, both ways, and keeps a copy."""

import contextlib
import selectors
import socket
import threading
from collections.abc import Callable, Iterator

CHUNK = 256 * 1024


class Tap:
    """What went through."""

    def __init__(self) -> None:
        self._said: list[bytes] = []

    def keep(self, data: bytes) -> None:
        """One more piece."""
        self._said.append(data)

    @property
    def heard(self) -> bytes:
        """All of it; what was said in one direction without a break lies together."""
        return b"".join(self._said)


def relay(client: socket.socket, server: socket.socket, tap: Tap) -> None:
    """Passes on until both have ended, with what each says kept together."""
    said: dict[socket.socket, list[bytes]] = {client: [], server: []}
    with client, server, selectors.DefaultSelector() as selector:
        for ends in ((client, server), (server, client)):
            selector.register(ends[0], selectors.EVENT_READ, ends)
        while selector.get_map():
            for key, _ in selector.select():
                here, there = key.data
                try:
                    data = here.recv(CHUNK)
                    said[here].append(data)
                    there.sendall(data) if data else there.shutdown(socket.SHUT_WR)
                except OSError:
                    data = b""
                if not data:
                    selector.unregister(here)
    for pieces in said.values():
        tap.keep(b"".join(pieces))


@contextlib.contextmanager
def tapped(listener: socket.socket, connect: Callable[[], socket.socket]) -> Iterator[Tap]:
    """Every connection to ``listener`` goes to where ``connect`` leads, and is listened to; ended with the block."""
    tap = Tap()
    relays: list[threading.Thread] = []

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                relays.append(threading.Thread(target=relay, args=(client, connect(), tap), daemon=True))
                relays[-1].start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield tap
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join(timeout=5)
        for thread in relays:
            thread.join(timeout=5)
