"""Streams: the time for a MiB through a function."""

import hashlib
import secrets
import time
from collections.abc import Iterator
from itertools import repeat

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bench.figures import Kind, Row, Stats, Target
from bench.lab import STREAMER, Lab, image_of, policy_for
from casemate.client import Enclave, connect
from casemate.wire.protocol.call import MAX_CHUNK

BASELINE = "SHA-256 and AES-256-GCM of the same MiB, once"
THERE_AND_BACK = Target(Kind.VALUE, 10, "at least 100 MiB/s")
ONE_WAY = Target(Kind.VALUE, 5, "at least 200 MiB/s")


def streams(lab: Lab) -> list[Row]:
    """Time for a MiB to a function and back, and to a function only."""
    image = image_of(STREAMER, lab.folder / "streamer", lab.machine)
    piece = secrets.token_bytes(MAX_CHUNK)
    with connect(lab.machine.host_socket) as client:
        number = client.launch(image)
        enclave = client.attest(number, policy_for(image, lab.machine))
        back = Stats.of_seconds(_steps(enclave, "back", piece, lab.rounds.pieces))
        into = Stats.of_seconds(_steps(enclave, "into", piece, lab.rounds.pieces))
        client.destroy(number)
    bare = Stats.of_seconds(_bare(piece) for _ in range(lab.rounds.pieces))
    return [
        Row("stream", "1 MiB to a function and back", "ms", back, BASELINE, bare, THERE_AND_BACK, note=_speed(back)),
        Row("stream", "1 MiB to a function", "ms", into, BASELINE, bare, ONE_WAY, note=_speed(into)),
    ]


def _steps(enclave: Enclave, entry: str, piece: bytes, count: int) -> Iterator[float]:
    """Seconds from one piece of the output to the next."""
    with enclave.stream(entry, None, repeat(piece, count + 1)) as stream:
        last = None
        for _ in stream:
            now = time.perf_counter()
            if last is not None:
                yield now - last
            last = now


def _bare(piece: bytes) -> float:
    key, nonce = secrets.token_bytes(32), bytes(12)
    began = time.perf_counter()
    hashlib.sha256(piece).digest()
    AESGCM(key).encrypt(nonce, piece, None)
    return time.perf_counter() - began


def _speed(each: Stats) -> str:
    return f"{1000 / each.median:.0f} MiB/s"
