"""Measures a store's commits as its enclave sees them: with chip and host processes, without guest and channel.

``python -m bench.lone_store FOLDER latency ROUNDS`` prints the seconds of each commit, and of each bare write in
between, as JSON; with ``rates``, for each round, the commits a second of one writer, and of many at once. Leaf
functions, anchors, entry gate, keeper and database are the product's, and so are loop, links and the sockets between.
"""

import asyncio
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from bench.bare_sqlite import BareSqlite
from bench.figures import interleave, timed
from casemate.chip.anchors import Anchors
from casemate.chip.enclave_process import EnclaveProcess
from casemate.chip.fuses import seeded_fuses
from casemate.chip.leaf_functions import LeafFunctions
from casemate.chip.sgx.attester import SgxAttester
from casemate.chip.sgx.platform import SgxPlatform
from casemate.chip.sgx.secs import Secs
from casemate.chip.sgx.tcb import FIRST_TCB
from casemate.enclave.chip.leaf import Leaf, chip_peer
from casemate.enclave.chip.sealing_keys import SealingKeys
from casemate.enclave.io.host_link import HostLink
from casemate.enclave.io.loop import Loop, Pending
from casemate.enclave.io.socket_peer import SocketPeer
from casemate.enclave.store.host_line import HostRecords
from casemate.enclave.store.store import Store
from casemate.host.entry import EntryGate
from casemate.host.ocalls import answer_built_in
from casemate.host.state_keeper import StateKeeper
from casemate.link.frames import MAX_FRAME
from casemate.wire.messages.entry import Ready
from casemate.wire.messages.leaf import Boot, Booted
from casemate.wire.protocol.manifest import Recovery, StateRules
from casemate.wire.protocol.seal_binding import SealBinding, state_namespace
from casemate.wire.protocol.tee import Identity, Tee
from casemate.wire.sgx.attributes import AttributeFlag, Attributes, CetAttributes, MiscSelect

SIZE = 4096
"""Of a value whose commit is timed (bytes)."""
SMALL = 1024
"""Of a value that is put at the same time as others."""
PATIENCE = 30.0
MANY = 16
"""Writers at once."""
PUTS = 200
"""Of the one writer in each round; each of many makes a quarter."""
SECS = Secs(
    attributes=Attributes(AttributeFlag.INIT | AttributeFlag.MODE64BIT, 3), misc_select=MiscSelect(0),
    cet_attributes=CetAttributes(0), mr_enclave=b"e" * 32, mr_signer=b"s" * 32, isv_prod_id=1, isv_svn=1,
    isv_ext_prod_id=bytes(16), isv_family_id=bytes(16), config_id=bytes(64), config_svn=0,
)  # fmt: skip
NAMESPACE = state_namespace(SealBinding.MRSIGNER, Identity(Tee.SGX, SECS.mr_enclave, SECS.mr_signer, 1, 1, debug=False))


def commits(folder: Path, rounds: int) -> tuple[list[float], list[float]]:
    """The seconds of ``rounds`` commits and bare writes."""
    ours, bare = _measured(folder, "latency", rounds)
    return ours, bare


def rates(folder: Path, rounds: int) -> tuple[list[float], list[float]]:
    """Commits a second of one writer, and of :data:`MANY` at once, in each of the rounds."""
    one, many = _measured(folder, "rates", rounds)
    return one, many


def _measured(folder: Path, what: str, rounds: int) -> list[list[float]]:
    """Runs in a new process, since it forks."""
    command = [sys.executable, "-m", "bench.lone_store", str(folder), what, str(rounds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    figures: list[list[float]] = json.loads(done.stdout)
    return figures


async def _chip(leaf: socket.socket, folder: Path) -> None:
    fuses = seeded_fuses("bench")
    functions = LeafFunctions(Anchors(folder, fuses))
    attester = SgxAttester(SgxPlatform(folder, fuses, FIRST_TCB), SECS)
    process = EnclaveProcess(1, leaf, partial(functions.answer, attester), lambda _: None)
    await process.boot(Boot(attester.identity, attester.tcb, b""))
    await asyncio.sleep(3600)


async def _host(entry: socket.socket, folder: Path) -> None:
    keep = partial(StateKeeper(folder / "records.db").answer, namespaces=frozenset({NAMESPACE}))
    EntryGate(entry, answer_built_in, keep, lambda _: None, lambda _: None)
    await asyncio.sleep(3600)


@contextmanager
def _beside(play: Callable[..., Any], sock: socket.socket, folder: Path) -> Iterator[None]:
    """Runs ``play`` in a forked process during the context."""
    pid = os.fork()
    if pid == 0:
        asyncio.run(play(sock, folder))
        os._exit(0)
    sock.close()
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@contextmanager
def _store(folder: Path) -> Iterator[tuple[Loop, Store]]:
    """The store of an enclave that runs in this process, between a chip's and a host's process."""
    chip_end, leaf_end = socket.socketpair()
    host_end, entry_end = socket.socketpair()
    with _beside(_chip, chip_end, folder), _beside(_host, host_end, folder):
        loop = Loop()
        leaf = Leaf(chip_peer(loop, leaf_end))
        booted = loop.finish(leaf.boot())
        host = HostLink(SocketPeer(loop, "host", entry_end, limit=MAX_FRAME))
        host.open(lambda _number, _message: None)  # no call is made
        rules = StateRules(SealBinding.MRSIGNER, Recovery.OPERATOR, max_kib=1024)
        store = Store(leaf, HostRecords(host), SealingKeys(leaf, booted.identity, booted.tcb), rules)
        leaf.tell(Booted())
        host.tell(Ready(1))
        yield loop, store


async def _put(store: Store, key: str, text: bytes) -> None:
    """One call."""
    transaction = await store.begin(time.monotonic() + PATIENCE)
    transaction.put(key, text)
    await transaction.commit(time.monotonic() + PATIENCE)


def _latency(folder: Path, rounds: int) -> list[list[float]]:
    text = _text(SIZE)
    with _store(folder) as (loop, store), BareSqlite(folder / "bare.db") as bare:
        ours = timed(lambda: loop.finish(_put(store, "text", text)))
        return interleave(rounds, ours, timed(lambda: bare.put(text)), warm_up=20)


def _rates(folder: Path, rounds: int) -> list[list[float]]:
    text = _text(SMALL)
    with _store(folder) as (loop, store):

        def rate(writers: int, puts: int) -> float:
            """Puts a second: each writer makes its calls one after the other, on a key of its own."""
            left = writers
            ended: Pending[None] = Pending()

            async def write(key: str) -> None:
                nonlocal left
                for _ in range(puts):
                    await _put(store, key, text)
                left -= 1
                if not left:
                    ended.set(None)

            began = time.perf_counter()
            for number in range(writers):
                loop.start(write(f"text {number}"))
            loop.finish(ended.done_by(None))
            return writers * puts / (time.perf_counter() - began)

        return interleave(rounds, lambda: rate(1, PUTS), lambda: rate(MANY, PUTS // 4))


def _text(size: int) -> bytes:
    return b'"' + secrets.token_hex(size // 2 - 1).encode() + b'"'


def main() -> None:
    """Prints the figures as JSON."""
    folder, what, rounds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    figures = {"latency": _latency, "rates": _rates}[what](folder, rounds)
    sys.stdout.write(json.dumps(figures))


if __name__ == "__main__":
    main()
