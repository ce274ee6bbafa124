"""Clients that are slow, silent, or talk nonsense, a thousand of them at a time."""

import contextlib
import os
import resource
import selectors
import socket
import threading
import time
from collections.abc import Iterator

FIRST_WORDS: tuple[bytes, ...] = (
    b"",
    b"G",
    b"POST /v1/enclaves/1/calls HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n",
    b"POST /enclave/compute HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{",
    b"POST /enclave/compute HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
    b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\x00" * 64,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"Content-Length: -1\r\n\r\n" * 20,
)
"""What such a client begins with; then it sends a byte now and then, or nothing more."""
DRIP = 0.5
"""Between two bytes of all of them (seconds)."""


@contextlib.contextmanager
def slow_clients(address: tuple[str, int], many: int) -> Iterator[list[int]]:
    """So many of them while the block lasts; each that is hung up on comes again. How often one came is counted."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, many + 1024)), hard))
    stop = threading.Event()
    came = [0]
    thread = threading.Thread(target=_crowd, args=(address, many, stop, came), daemon=True)
    thread.start()
    try:
        while came[0] < many and thread.is_alive():
            time.sleep(0.05)
        yield came
    finally:
        stop.set()
        thread.join(timeout=30)


def _crowd(address: tuple[str, int], many: int, stop: threading.Event, came: list[int]) -> None:
    with selectors.DefaultSelector() as selector:
        while not stop.is_set():
            with contextlib.suppress(OSError):  # nobody takes connections just now
                while len(selector.get_map()) < many and not stop.is_set():
                    _come(address, selector, came)
            for key, _ in selector.select(timeout=DRIP):
                if not _listens(key.fileobj):  # type: ignore[arg-type] # sockets were registered
                    selector.unregister(key.fileobj)
                    key.fileobj.close()  # type: ignore[union-attr]
            for key in list(selector.get_map().values()):
                with contextlib.suppress(OSError):
                    key.fileobj.send(os.urandom(1) if key.data % 3 else b"a")  # type: ignore[union-attr]
        for key in list(selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]


def _come(address: tuple[str, int], selector: selectors.BaseSelector, came: list[int]) -> None:
    client = socket.create_connection(address, timeout=1)
    client.settimeout(0)
    with contextlib.suppress(OSError):
        client.send(FIRST_WORDS[came[0] % len(FIRST_WORDS)])
    selector.register(client, selectors.EVENT_READ, came[0])
    came[0] += 1


def _listens(client: socket.socket) -> bool:
    """Whether the other end is there still: what it says is thrown away."""
    try:
        return bool(client.recv(65536))
    except BlockingIOError:
        return True
    except OSError:
        return False
