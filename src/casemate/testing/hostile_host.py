"""A hostile host between a client and the real one: records, alters, repeats and delays messages.

Example:
    with hostile_host(machine.host_socket, Tampering(on_answer=flip_a_bit)) as door, connect(door) as client:
        ...
"""

import contextlib
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from casemate.link.channel import Channel
from casemate.link.numbered_frames import NUMBER_SIZE, split
from casemate.process.places import listen
from casemate.wire.errors import CasemateError

Alter = Callable[[bytes], bytes]
"""Maps a message to the message that is relayed in its place."""


def _honest(message: bytes) -> bytes:
    return message


@dataclass(slots=True)
class Tampering:
    """How the hostile host treats the messages it relays, and a record of them."""

    on_question: Alter = _honest
    on_answer: Alter = _honest
    delay: float = 0.0
    """Seconds before each answer is relayed."""
    seen: list[bytes] = field(default_factory=list)
    """All messages that passed, in order."""


@contextlib.contextmanager
def hostile_host(real: Path, tampering: Tampering) -> Iterator[Path]:
    """Gives a socket for clients; relays their messages to the host at ``real``, altered by ``tampering``."""
    with tempfile.TemporaryDirectory(prefix="casemate-") as folder:
        door = Path(folder) / "host.sock"
        listener = listen(door)
        thread = threading.Thread(target=_accept, args=(listener, real, tampering), daemon=True)
        thread.start()
        try:
            yield door
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            thread.join(timeout=5)


def _accept(listener: socket.socket, real: Path, tampering: Tampering) -> None:
    with contextlib.suppress(OSError):
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_relay, args=(Channel(client), real, tampering), daemon=True).start()


def _relay(client: Channel, real: Path, tampering: Tampering) -> None:
    """Relays one request and one answer at a time until either side hangs up."""
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(real))
    host = Channel(sock)
    try:
        while True:
            number, message = split(client.receive().payload)
            question = bytes(message)
            tampering.seen.append(question)
            answer = ask(host, number, tampering.on_question(question))
            tampering.seen.append(answer)
            time.sleep(tampering.delay)
            client.send(numbered_bytes(number, tampering.on_answer(answer)), timeout=10)
    except CasemateError:
        return
    finally:
        client.close()
        host.close()


def ask(host: Channel, number: int, question: bytes) -> bytes:
    """The real host's answer to a raw question."""
    host.send(numbered_bytes(number, question), timeout=10)
    return bytes(split(host.receive(timeout=80).payload)[1])


def numbered_bytes(number: int, message: bytes) -> bytes:
    """A numbered frame around bytes that need not be a message."""
    return number.to_bytes(NUMBER_SIZE, "little") + message
