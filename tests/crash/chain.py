"""``python -m tests.crash.chain FOLDER SEED ROUNDS``: a chain of real processes that commits, and dies, and commits.

Chip, host and enclave are processes of their own, with the product's code and sockets between them: leaf functions
and anchors; entry gate, keeper and SQLite; loop, links, store. Left out is what has nothing to do with keeping state:
pages, guests, HPKE, confinement. They are forked from this process, which has imported everything, so a restart costs
milliseconds. Four writers commit at the same time. In each round this process lets them work for a random while, kills
-9 some of the others, lets the rest notice as they would, starts what is missing, and holds what the enclave then has
against what was acknowledged.

Each commit counts its writer's commits in one key, from which all that the writer's other keys have to hold follows.
Every commit also puts the writer's name into a key of all writers, which nobody reads, and every fourth of a writer's
counts a common counter up: two of these at once conflict, and one is made again. So a state shows whether it has all
that was acknowledged, commits that are whole, and nothing that nobody wrote, or wrote over unseen.

It prints one JSON document: what was counted, or what went wrong. SIGKILL leaves the kernel's page cache alone, so this
says nothing of power cuts: those rest on fsync and SQLite's own tests.
"""

import asyncio
import contextlib
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

from tests.rigs.store_lab import SECS

from casemate.chip.anchors import Anchors
from casemate.chip.enclave_process import EnclaveProcess
from casemate.chip.fuses import seeded_fuses
from casemate.chip.leaf_functions import LeafFunctions
from casemate.chip.sgx.attester import SgxAttester
from casemate.chip.sgx.platform import SgxPlatform
from casemate.chip.sgx.tcb import FIRST_TCB
from casemate.enclave.chip.leaf import Leaf, chip_peer
from casemate.enclave.chip.sealing_keys import SealingKeys
from casemate.enclave.io.host_link import HostLink
from casemate.enclave.io.loop import Loop
from casemate.enclave.io.socket_peer import SocketPeer
from casemate.enclave.store import store as store_module
from casemate.enclave.store.host_line import HostRecords
from casemate.enclave.store.store import Store
from casemate.enclave.store.transaction import Transaction
from casemate.host.entry import EntryGate
from casemate.host.ocalls import answer_built_in
from casemate.host.state_keeper import StateKeeper
from casemate.link.async_channel import AsyncChannel
from casemate.link.channel import Channel
from casemate.link.errors import PeerGoneError
from casemate.link.frames import MAX_FRAME
from casemate.wire.encodings.message import parse_message
from casemate.wire.messages.entry import Enter, Left, Ready
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
WRITERS = 4
CONTESTED = 4
"""One of so many commits of a writer reads and writes the common counter."""

EXPECTED_FAULTS = {Code.STATE_CONFLICT}
"""Of commits that count, and where the chip was still writing a commit of an enclave that was killed."""


def entry(writer: int) -> Enter:
    """The call of a writer; ``WRITERS`` stands for a call that only reads."""
    return Enter(Envelope(CallBinding(bytes(32), 1, 1, str(writer)), b""))


def own_keys(writer: int, n: int) -> dict[str, bytes]:
    """What a writer's own keys hold after its n-th commit: several keys, so that half of a commit would be seen."""
    state = {}
    for m in range(1, n + 1):
        state[f"w{writer}"] = str(m).encode()
        state[f"k{writer}.{m % 5}"] = b'"' + b"x" * (m * 37 % 900) + b'"'
        if m % 3 == 0:
            state.pop(f"k{writer}.{(m + 2) % 5}", None)
    return state


def change(transaction: Transaction, writer: int, n: int) -> None:
    """The n-th commit of a writer: its own keys, and those of all writers."""
    transaction.put(f"w{writer}", str(n).encode())
    transaction.put(f"k{writer}.{n % 5}", b'"' + b"x" * (n * 37 % 900) + b'"')
    if n % 3 == 0:
        transaction.delete(f"k{writer}.{(n + 2) % 5}")
    transaction.put("last", f"[{writer},{n}]".encode())
    if n % CONTESTED == 0:
        transaction.put("count", str(int(transaction.get("count") or b"0") + 1).encode())


# The processes


def play_enclave(leaf_end: socket.socket, entry_end: socket.socket) -> None:
    """One call an entry, several at once. Ends when chip or host have gone."""
    store_module.MIN_GROWTH = GROWTH
    loop = Loop()
    leaf = Leaf(chip_peer(loop, leaf_end))
    booted = loop.finish(leaf.boot())
    host = HostLink(SocketPeer(loop, "host", entry_end, limit=MAX_FRAME))
    store = Store(leaf, HostRecords(host), SealingKeys(leaf, booted.identity, booted.tcb), RULES)

    async def call(number: int, writer: int) -> None:
        host.reply(number, Left(json.dumps(await step(store, writer)).encode()))

    def enter(number: int, message: bytes | memoryview) -> None:
        loop.start(call(number, int(parse_message(message, Enter).envelope.binding.entry)))

    host.open(enter)
    leaf.tell(Booted())
    host.tell(Ready(WRITERS + 1))
    loop.run()


async def step(store: Store, writer: int) -> dict[str, object]:
    """One call of the enclave."""
    try:
        transaction = await store.begin(time.monotonic() + PATIENCE)
        if writer == WRITERS:
            state = {key: (transaction.get(key) or b"").decode() for key in transaction.list()}
            mark = await transaction.commit(time.monotonic() + PATIENCE)
            return {"kind": "read", "state": state, "epoch": mark.epoch}
        n = int(transaction.get(f"w{writer}") or b"0") + 1
        change(transaction, writer, n)
        mark = await transaction.commit(time.monotonic() + PATIENCE)
    except FaultError as error:
        return {"kind": "fault", "code": error.fault.code, "reason": error.fault.reason}
    return {"kind": "step", "writer": writer, "n": n, "epoch": mark.epoch}


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

    async def tell(gate: EntryGate, writer: int) -> None:
        left = await gate.enter(entry(writer), Left)
        os.write(told, left.sealed + b"\n")  # a pipe takes so short a line whole

    async def write(gate: EntryGate, writer: int) -> None:
        with contextlib.suppress(FaultError):
            while True:
                await tell(gate, writer)

    while True:
        (descriptor,) = (await channel.receive()).descriptors
        keep = partial(keeper.answer, namespaces=NAMESPACES)
        gate = EntryGate(socket.socket(fileno=descriptor), answer_built_in, keep, lambda _: None, lambda _: None)
        with contextlib.suppress(FaultError):
            await tell(gate, WRITERS)
            await asyncio.gather(*(write(gate, writer) for writer in range(WRITERS)))


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
        self._acknowledged = [0] * WRITERS
        """The last commit of each writer that was acknowledged or seen."""
        self._epoch = 0
        """The newest epoch that was told."""
        self._late = [False] * WRITERS
        """Whose last commit, of the enclave before, the chip may still be writing."""
        self.counted: Counter[str] = Counter()

    @property
    def commits(self) -> int:
        """Of all writers."""
        return sum(self._acknowledged)

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
                raise ChainError(f"after commits {self._acknowledged}: {said}")
            return
        if said["kind"] == "read":
            self._check_state(said["state"], said["epoch"])
        else:
            self._check_step(said["writer"], said["n"], said["epoch"])

    def _check_step(self, writer: int, n: int, epoch: int) -> None:
        """Each writer's commits are acknowledged one after the other, at epochs that rise."""
        unheard = n - self._acknowledged[writer] - 1
        if unheard not in (0, int(self._late[writer])):
            raise ChainError(f"writer {writer} makes commit {n} after commit {self._acknowledged[writer]}")
        if epoch < self._epoch:
            raise ChainError(f"commit {n} of writer {writer} is at epoch {epoch}, after epoch {self._epoch}")
        self.counted["shared"] += epoch == self._epoch
        self.counted["kept though unacknowledged"] += unheard
        self._acknowledged[writer], self._epoch = n, epoch
        self._late[writer] = False

    def _check_state(self, state: dict[str, str], epoch: int) -> None:
        """What a new enclave has: whole commits, all that were acknowledged, and at most one more of each writer."""
        seen = [int(state.get(f"w{writer}", "0")) for writer in range(WRITERS)]
        for writer, (n, known) in enumerate(zip(seen, self._acknowledged, strict=True)):
            if n not in (known, known + 1):
                raise ChainError(f"writer {writer} has commit {n} after commit {known} was acknowledged")
            mine = {
                key: value.encode() for key, value in state.items() if key.startswith((f"w{writer}", f"k{writer}."))
            }
            if mine != own_keys(writer, n):
                raise ChainError(f"the keys of writer {writer} are not what its commit {n} leaves")
        last_writer, last_n = json.loads(state.get("last", f"[0,{seen[0]}]"))
        if last_n != seen[last_writer]:
            raise ChainError(f"the last commit of all was {last_n} of writer {last_writer}, which has made {seen}")
        if int(state.get("count", "0")) != sum(n // CONTESTED for n in seen):
            raise ChainError(f"the common counter is {state.get('count')} after {seen}")
        common = {"last", "count"} & state.keys()
        if len(state) != sum(len(own_keys(writer, n)) for writer, n in enumerate(seen)) + len(common):
            raise ChainError(f"keys that nobody has written: {sorted(state)}")
        if epoch < self._epoch or sum(seen) < epoch:
            raise ChainError(f"epoch {epoch} after epoch {self._epoch}, with {sum(seen)} commits")
        self.counted["kept though unacknowledged"] += sum(seen) - sum(self._acknowledged)
        self._late = [n == known for n, known in zip(seen, self._acknowledged, strict=True)]
        self._acknowledged, self._epoch = seen, epoch


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
    return {"commits": chain.commits, "killed": dict(killed), **chain.counted}


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
