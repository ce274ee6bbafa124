"""Measures a store's commits as its enclave sees them: with chip and host processes, without guest and channel.

``python -m bench.lone_store FOLDER ROUNDS`` prints the seconds of each commit, and of each bare write in between, as
JSON. Leaf functions, anchors, entry gate, keeper and database are the product's, and so are the sockets between them.
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

from casemate.enclave.io.host_questions import HostQuestions
from casemate.enclave.io.pump import Pump

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
from casemate.enclave.chip.leaf import Leaf
from casemate.enclave.chip.sealing_keys import SealingKeys
from casemate.enclave.guest.console import Console
from casemate.enclave.io.socket_peer import SocketPeer
from casemate.enclave.main import MAX_HOST_FRAME
from casemate.enclave.store.store import Store
from casemate.host.entry import EntryGate
from casemate.host.state_keeper import StateKeeper
from casemate.link.channel import Channel
from casemate.wire.messages.entry import Enter, Left
from casemate.wire.messages.leaf import Boot, Booted
from casemate.wire.protocol.call import CallBinding, Envelope
from casemate.wire.protocol.manifest import Recovery, StateRules
from casemate.wire.protocol.seal_binding import SealBinding, state_namespace
from casemate.wire.protocol.tee import Identity, Tee
from casemate.wire.sgx.attributes import AttributeFlag, Attributes, CetAttributes, MiscSelect

SIZE = 4096
PATIENCE = 30.0
SECS = Secs(
    attributes=Attributes(AttributeFlag.INIT | AttributeFlag.MODE64BIT, 3), misc_select=MiscSelect(0),
    cet_attributes=CetAttributes(0), mr_enclave=b"e" * 32, mr_signer=b"s" * 32, isv_prod_id=1, isv_svn=1,
    isv_ext_prod_id=bytes(16), isv_family_id=bytes(16), config_id=bytes(64), config_svn=0,
)  # fmt: skip
NAMESPACE = state_namespace(SealBinding.MRSIGNER, Identity(Tee.SGX, SECS.mr_enclave, SECS.mr_signer, 1, 1, debug=False))


def commits(folder: Path, rounds: int) -> tuple[list[float], list[float]]:
    """The seconds of ``rounds`` commits and bare writes. Runs in a new process, since it forks."""
    command = [sys.executable, "-m", "bench.lone_store", str(folder), str(rounds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    ours, bare = json.loads(done.stdout)
    return ours, bare


async def _chip(leaf: socket.socket, folder: Path) -> None:
    fuses = seeded_fuses("bench")
    functions = LeafFunctions(Anchors(folder, fuses))
    attester = SgxAttester(SgxPlatform(folder, fuses, FIRST_TCB), SECS)
    process = EnclaveProcess(1, leaf, partial(functions.answer, attester), lambda _: None)
    await process.boot(Boot(attester.identity, attester.tcb, b""))
    await asyncio.sleep(3600)


async def _host(entry: socket.socket, folder: Path) -> None:
    keep = partial(StateKeeper(folder / "records.db").answer, namespaces=frozenset({NAMESPACE}))
    gate = EntryGate(entry, {}, keep, lambda _: None)
    await gate.enter(Enter(Envelope(CallBinding(bytes(32), 1, 1, "main"), b"")), Left)


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


def main() -> None:
    """Prints the seconds of commits and bare writes as JSON."""
    folder, rounds = Path(sys.argv[1]), int(sys.argv[2])
    chip_end, leaf_end = socket.socketpair()
    host_end, entry_end = socket.socketpair()
    with _beside(_chip, chip_end, folder), _beside(_host, host_end, folder), BareSqlite(folder / "bare.db") as bare:
        leaf, pump = Leaf(Channel(leaf_end)), Pump()
        booted = leaf.boot()
        host = SocketPeer("host", entry_end, limit=MAX_HOST_FRAME, most=1)
        pump.watch(host)
        image: Any = None  # only for OCALLs, and nothing here makes any
        questions = HostQuestions(image, pump, host, Console(host, debug=False), is_guest_gone=lambda: False)
        rules = StateRules(SealBinding.MRSIGNER, Recovery.OPERATOR, max_kib=1024)
        store = Store(leaf, questions, SealingKeys(leaf, booted.identity, booted.tcb), rules)
        leaf.tell(Booted())
        text = b'"' + secrets.token_hex(SIZE // 2 - 1).encode() + b'"'

        def commit() -> None:
            transaction = store.begin(time.monotonic() + PATIENCE)
            transaction.put("text", text)
            transaction.commit(time.monotonic() + PATIENCE)

        figures = interleave(rounds, timed(commit), timed(lambda: bare.put(text)), warm_up=20)
    sys.stdout.write(json.dumps(figures))


if __name__ == "__main__":
    main()
