"""``python -m tests.crash.chain FOLDER SEED ROUNDS``: a chain of real processes that commits, and dies, and commits.

Chip, host and enclave are processes of their own, with the product's code and sockets between them: leaf functions and
anchors; entry gate, keeper and SQLite; leaf, pump, store. Left out is what has nothing to do with keeping state: pages,
guests, HPKE, confinement. They are forked from this process, which has imported everything, so a restart costs
milliseconds. In each round it lets them work for a random while, kills -9 some of them, lets the others notice as they
would, starts what is missing, and holds what the enclave then has against what was acknowledged.

It prints one JSON document: what was counted, or what went wrong. SIGKILL leaves the kernel's page cache alone, so this
says nothing of power cuts: those rest on fsync and SQLite's own tests.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import random
import select
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from casemate.enclave.io.host_questions import HostQuestions
from casemate.enclave.io.pump import Pump
from tests.rigs.store_lab import SECS

from casemate.chip.anchors import Anchors
from casemate.chip.enclave_process import EnclaveProcess
from casemate.chip.fuses import seeded_fuses
from casemate.chip.leaf_functions import LeafFunctions
from casemate.chip.sgx.attester import SgxAttester
from casemate.chip.sgx.platform import SgxPlatform
from casemate.chip.sgx.tcb import FIRST_TCB
from casemate.enclave.chip.leaf import Leaf
from casemate.enclave.chip.sealing_keys import SealingKeys
from casemate.enclave.guest.console import Console
from casemate.enclave.io.socket_peer import SocketPeer
from casemate.enclave.main import MAX_HOST_FRAME
from casemate.enclave.store import store as store_module
from casemate.enclave.store.store import Store
from casemate.host.entry import EntryGate
from casemate.host.state_keeper import StateKeeper
from casemate.link.async_channel import AsyncChannel
from casemate.link.channel import Channel
from casemate.link.errors import PeerGoneError
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.errors import WireError
from casemate.wire.messages.entry import Enter, Left
from casemate.wire.messages.leaf import Boot, Booted
from casemate.wire.protocol.call import CallBinding, Envelope
from casemate.wire.protocol.faults import Code, FaultError
from casemate.wire.protocol.manifest import Recovery, StateRules
from casemate.wire.protocol.seal_binding import SealBinding, state_namespace
from casemate.wire.protocol.tee import Identity, Tee

RULES = StateRules(SealBinding.MRSIGNER, Recovery.OPERATOR, max_kib=1024)
NAMESPACES = frozenset(
    state_namespace(policy, Identity(Tee.SGX, SECS.mr_enclave, SECS.mr_signer, SECS.isv_prod_id, 0, debug=False))
    for policy in SealBinding
)
GROWTH = 24 * 1024
"""Bytes between checkpoints: small, so that processes die in the middle of those, too."""
PATIENCE = 20.0
"""Longest that anything here may take (seconds)."""

ENTER = Enter(Envelope(CallBinding(bytes(32), 1, 1, "main"), b""))
EXPECTED_FAULTS = {Code.STATE_CONFLICT}
"""A step that the chip was still writing when its enclave was killed comes before the next enclave's."""


def change(store_put: Callable[[str, bytes], object], store_delete: Callable[[str], object], n: int) -> None:
    """What the n-th commit does: several keys, so that half of it would be seen."""
    store_put("n", str(n).encode())
    store_put(f"k{n % 7}", b'"' + b"x" * (n * 37 % 3000) + b'"')
    if n % 5 == 0:
        store_delete(f"k{(n + 3) % 7}")


def digest(state: dict[str, bytes]) -> str:
    """Names one content."""
    return hashlib.sha256(repr(sorted(state.items())).encode()).hexdigest()


# The processes


def play_enclave(leaf_end: socket.socket, entry_end: socket.socket) -> None:
    """One commit an entry; the first entry reads. Ends when chip or host have gone."""
    store_module.MIN_GROWTH = GROWTH
    leaf = Leaf(Channel(leaf_end))
    booted = leaf.boot()
    pump = Pump()
    host = SocketPeer("host", entry_end, limit=MAX_HOST_FRAME, most=1)
    pump.watch(host)
    keys = SealingKeys(leaf, booted.identity, booted.tcb)
    image: Any = None  # it is for OCALLs, of which there are none here
    questions = HostQuestions(image, pump, host, Console(host, debug=False), is_guest_gone=lambda: False)
    store = Store(leaf, questions, keys, RULES)
    leaf.tell(Booted())
    has_read = False
    while True:
        pump.until(lambda: bool(host.incoming), None)
        with contextlib.suppress(WireError):
            parse_message(host.incoming.popleft() or b"", Enter)
            said = step(store, read_only=not has_read)
            has_read = has_read or said["kind"] == "read"
            host.send(encode_message(Left(json.dumps(said).encode())))


def step(store: Store, *, read_only: bool) -> dict[str, object]:
    """One call of the enclave."""
    try:
        transaction = store.begin(time.monotonic() + PATIENCE)
        n = int(transaction.get("n") or b"0")
        if not read_only:
            n += 1
            change(transaction.put, transaction.delete, n)
        state = {key: transaction.get(key) or b"" for key in transaction.list()}
        mark = transaction.commit(time.monotonic() + PATIENCE)
    except FaultError as error:
        return {"kind": "fault", "code": error.fault.code, "reason": error.fault.reason}
    return {"kind": "read" if read_only else "step", "n": n, "digest": digest(state), "epoch": mark.epoch}


def play_chip(control: socket.socket, folder: Path) -> None:
    """Serves the leaf functions of every enclave whose socket it is handed."""
    asyncio.run(_chip(control, folder))


async def _chip(control: socket.socket, folder: Path) -> None:
    fuses = seeded_fuses("crashes")
    leaves = LeafFunctions(Anchors(folder, fuses))
    attester = SgxAttester(SgxPlatform(folder, fuses, FIRST_TCB), SECS)
    channel = AsyncChannel(control)
    runs: list[EnclaveProcess] = []
    while True:
        (descriptor,) = (await channel.receive()).descriptors
        process = EnclaveProcess(
            len(runs), socket.socket(fileno=descriptor), partial(leaves.answer, attester), lambda _: None
        )
        runs.append(process)
        with contextlib.suppress(FaultError):
            await process.boot(Boot(attester.identity, attester.tcb, b""))


def play_host(control: socket.socket, told: int, folder: Path) -> None:
    """Enters every enclave whose socket it is handed, over and over, and passes on what comes back."""
    asyncio.run(_host(control, told, folder))


async def _host(control: socket.socket, told: int, folder: Path) -> None:
    keeper = StateKeeper(folder / "records.db")
    channel = AsyncChannel(control)
    while True:
        (descriptor,) = (await channel.receive()).descriptors
        keep = partial(keeper.answer, namespaces=NAMESPACES)
        gate = EntryGate(socket.socket(fileno=descriptor), {}, keep, lambda _: None)
        with contextlib.suppress(FaultError):
            while True:
                left = await gate.enter(ENTER, Left)
                os.write(told, left.sealed + b"\n")


# The one who starts and kills them


class ChainError(Exception):
    """Something was lost, invented or stuck."""


class Chain:
    """The three processes, and what is known of their state."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pids: dict[str, int] = {}
        self._controls: dict[str, Channel] = {}
        self._told = -1
        self._unread = b""
        self.n = 0
        """The last commit that was acknowledged or seen."""
        self._state: dict[str, bytes] = {}
        self._digests: dict[int, str] = {0: digest({})}
        self.counted: Counter[str] = Counter()

    def start(self) -> None:
        """Starts what is missing; a new enclave in any case."""
        if "chip" not in self._pids:
            self._controls["chip"] = self._fork_with_control("chip", play_chip, self._folder)
        if "host" not in self._pids:
            if self._told >= 0:
                os.close(self._told)
            self._told, theirs = os.pipe()
            self._controls["host"] = self._fork_with_control("host", play_host, theirs, self._folder)
            os.close(theirs)
        chip_end, leaf_end = socket.socketpair()
        host_end, entry_end = socket.socketpair()
        with chip_end, leaf_end, host_end, entry_end:
            self._fork("enclave", play_enclave, leaf_end, entry_end)
            self._controls["chip"].send(b"enclave", (chip_end.fileno(),), timeout=PATIENCE)
            self._controls["host"].send(b"enclave", (host_end.fileno(),), timeout=PATIENCE)

    def work(self, seconds: float) -> None:
        """Lets them work for so long, and checks all that is acknowledged."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if select.select([self._told], [], [], left)[0]:
                self._hear()

    def await_answers(self, count: int) -> None:
        """Lets them work until so many answers have come."""
        wanted = self.counted["answers"] + count
        until = time.monotonic() + PATIENCE
        while self.counted["answers"] < wanted:
            self.work(0.001)
            if time.monotonic() > until:
                raise ChainError(f"no answer within {PATIENCE:g} s: {self.counted}")

    def kill(self, victims: list[str]) -> None:
        """Kills -9 these; whoever cannot live without them must end by itself."""
        for name in victims:
            os.kill(self._pids[name], signal.SIGKILL)
        for name in victims:
            self._reap(name)
        if "chip" in victims and "host" in self._pids:  # a machine without its chip is started anew
            self._end_host()
        if "enclave" in self._pids:
            self._reap("enclave")
        self._drain()

    def close(self) -> None:
        """Ends all."""
        self.kill(list(self._pids))

    def _end_host(self) -> None:
        os.kill(self._pids["host"], signal.SIGKILL)
        self._reap("host")

    def _reap(self, name: str) -> None:
        pid = self._pids.pop(name)
        if name in self._controls:
            self._controls.pop(name).close()
        until = time.monotonic() + PATIENCE
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            if time.monotonic() > until:
                raise ChainError(f"{name} does not notice that the others are gone")
            time.sleep(0.0005)

    def _fork_with_control(self, name: str, play: Callable[..., None], *given: Any) -> Channel:
        ours, theirs = socket.socketpair()
        with theirs:
            self._fork(name, play, theirs, *given)
        return Channel(ours)

    def _fork(self, name: str, play: Callable[..., None], *given: Any) -> None:
        pid = os.fork()
        if pid == 0:
            _become(play, given)
        self._pids[name] = pid

    def _drain(self) -> None:
        """What was said before it was killed counts."""
        while select.select([self._told], [], [], 0)[0] and self._hear():
            pass

    def _hear(self) -> bool:
        piece = os.read(self._told, 65536)
        *lines, self._unread = (self._unread + piece).split(b"\n") if piece else (b"",)
        for line in lines:
            self._check(json.loads(line))
        return bool(piece)

    def _check(self, said: dict[str, Any]) -> None:
        self.counted["answers"] += 1
        self.counted[said["kind"]] += 1
        if said["kind"] == "fault":
            if said["code"] not in EXPECTED_FAULTS:
                raise ChainError(f"after commit {self.n}: {said}")
            return
        n, first = said["n"], self.n if said["kind"] == "read" else self.n + 1
        if n not in (first, first + 1):
            raise ChainError(f"{said['kind']} gives commit {n} after commit {self.n} was acknowledged")
        if said["digest"] != self._expected(n):
            raise ChainError(f"the state of commit {n} is not what was committed")
        if said["epoch"] != n:
            raise ChainError(f"commit {n} is at epoch {said['epoch']}")
        self.counted["kept though unacknowledged"] += n - first
        self.n = n

    def _expected(self, n: int) -> str:
        for number in range(max(self._digests) + 1, n + 1):
            change(self._state.__setitem__, lambda key: self._state.pop(key, None), number)
            self._digests[number] = digest(self._state)
        return self._digests[n]


def _become(play: Callable[..., None], given: tuple[Any, ...]) -> NoReturn:
    """The forked child: keeps what it was given, and nothing else that is open here."""
    kept = {each if isinstance(each, int) else each.fileno() for each in given if not isinstance(each, Path)}
    for descriptor in [int(path.name) for path in Path("/proc/self/fd").iterdir()]:
        if descriptor > 2 and descriptor not in kept:  # standard streams stay
            with contextlib.suppress(OSError):
                os.close(descriptor)
    code = 0
    try:
        play(*given)
    except PeerGoneError:
        pass
    except BaseException as error:  # told there, and by its silence
        sys.stderr.write(f"{play.__name__}: {error!r}\n")
        code = 1
    os._exit(code)


def run(folder: Path, seed: int, rounds: int) -> dict[str, object]:
    """So many rounds; what was counted."""
    chance = random.Random(seed)
    chain = Chain(folder)
    killed: Counter[str] = Counter()
    try:
        for _ in range(rounds):
            chain.start()
            if chance.random() < 0.3:  # while it starts and loads, or soon after
                chain.work(chance.uniform(0, 0.03))
            else:
                chain.await_answers(chance.randint(1, 6))
                chain.work(chance.uniform(0, 0.008))
            victims = chance.sample(["chip", "host", "enclave"], chance.choice([1, 1, 1, 2, 3]))
            chain.kill(victims)
            killed.update(victims)
        chain.start()
        chain.await_answers(3)
    finally:
        chain.close()
    return {"commits": chain.n, "killed": dict(killed), **chain.counted}


def main() -> int:
    """The exit status is 1 where something went wrong."""
    folder, seed, rounds = sys.argv[1:]
    try:
        said: dict[str, object] = run(Path(folder), int(seed), int(rounds))
    except ChainError as error:
        said = {"wrong": str(error)}
    sys.stdout.write(json.dumps(said))
    return int("wrong" in said)


if __name__ == "__main__":
    sys.exit(main())
