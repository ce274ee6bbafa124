"""The spawner's loop: forks enclaves when the chip says so, keeps warm guests for them, watches them, reaps all.

One thread and one loop: nothing in here waits for a peer, and there is no lock that a fork could copy while it is held.
What enclaves need is imported before the first fork, so that their pages of it are shared. When the chip closes the
control socket, everything ends.

| what happens | what it does |
| --- | --- |
| the chip: ``Spawn`` | forks an enclave; told by ``Spawned`` once that has reported its layers |
| the chip: ``Kill`` | kills an enclave; told by ``Exited`` once it and its guests are reaped |
| the chip: ``LoadPart`` | loads code for later forks |
| an enclave: ``NeedGuest`` | has ``guest_supply`` give it a guest, or ``copies`` |
| an enclave: ``Interrupt`` | sends a copy SIGALRM |
| an enclave: ``Watch``, ``Unwatch`` | sets or lifts the deadline of one of its guests; a deadline of 0 is now |
| a watchdog's limit, STOPPED_TIME | kills the process |
| a child has ended | tells whom it concerns, and forgets it |

The states of the kinds of children are tables: ``enclave_process``, ``guest_process`` and ``python_base``.
"""

import gc
import os
import resource
import selectors
import signal
import socket
import sys
import time
from collections.abc import Iterator

from casemate.engines.registry import engine_named
from casemate.link.errors import PeerGoneError
from casemate.process.memory import give_back_memory
from casemate.process.stopped_children import STOPPED_TIME, StoppedChildren
from casemate.sandbox.cgroup import Group
from casemate.sandbox.confinement import Confinement, NoGroup, confine, modes_of, prepare_enclave
from casemate.sandbox.probe import find_group
from casemate.spawner.confined_fork import end_of, fork, report_of
from casemate.spawner.copies import Copies, Does, Image
from casemate.spawner.enclave_code import Entry, load_part
from casemate.spawner.enclave_process import EnclaveGuest, EnclaveProcess, EnclaveProcessState
from casemate.spawner.guest_process import GuestProcess, GuestProcessState
from casemate.spawner.guest_queue import Want
from casemate.spawner.guest_supply import GuestSupply, Serves
from casemate.spawner.image_process import ImageProcess
from casemate.spawner.links import SpawnerLink
from casemate.spawner.process_memory import status_of
from casemate.spawner.watchdog import Gone, Watchdog, cause_of_death
from casemate.wire.encodings.message import parse_message
from casemate.wire.errors import CasemateError, WireError, os_error_text
from casemate.wire.messages.leaf import OptionalPart
from casemate.wire.messages.spawner import (
    MAX_GUESTS,
    Configure,
    Exited,
    GuestGiven,
    GuestGone,
    GuestRefused,
    Interrupt,
    Kill,
    LoadPart,
    NeedGuest,
    Spawn,
    Spawned,
    SpawnerReady,
    Unwatch,
    Watch,
)
from casemate.wire.protocol.faults import Code, Fault, fault
from casemate.wire.protocol.sandbox_layers import Layer, LayerMode, LayerName, LayerRequest

MOST_MEMORY_MIB = 4096
"""Largest guest: more than any manifest may ask for."""

MAX_DESCRIPTORS = 65_536
"""Most descriptors that the spawner may have open; fewer where it is not allowed so many."""

LINK_BUFFER = 208 * 1024
"""What an enclave may leave unread (bytes; Linux doubles it for its own bookkeeping, which is counted, too).

A ``GuestGiven`` and a ``GuestGone`` for each of its guests fit, so an enclave that computes for long is not taken for
one that does not read."""


class Spawner:
    """Serves the chip and the enclaves until the chip is gone.

    Args:
        control: the chip's link.
        configure: what the chip said first.
        entry: what a forked and confined enclave runs.
    """

    def __init__(self, control: SpawnerLink, configure: Configure, entry: Entry) -> None:
        self._control = control
        self._requests = configure.layers
        self._entry = entry
        self._modes = modes_of(configure.layers)
        self._enclave_confinement: Confinement = prepare_enclave()
        # Half of them for guests that enclaves have: each keeps one open here. The rest is for all else.
        self._most_guests = _raise_descriptor_limit() // 2
        self._selector = selectors.DefaultSelector()
        self._supply = GuestSupply(
            self._selector,
            configure,
            Serves(
                give=lambda enclave, guest, process: self._give(self._enclaves[enclave], guest, process),
                refuse=lambda enclave, guest, reason: self._refuse(self._enclaves[enclave], guest, reason),
                remove_group=self._remove_group,
            ),
        )
        self._copies = Copies(
            self._selector,
            Does(give=self._give, refuse=self._refuse, end=self._end_guest, drop=self._supply.drop, known=self._known),
        )
        self._enclaves: dict[int, EnclaveProcess] = {}
        self._owned: dict[int, tuple[EnclaveProcess, EnclaveGuest]] = {}
        """Guests that enclaves have, by pid."""
        self._groups: list[Group] = []
        """Control groups whose process is gone and that could not be removed yet."""
        self._stopped = StoppedChildren()

    def run(self) -> None:
        """Returns when the chip has closed its link; no child is left then."""
        children = _children_signal()
        self._selector.register(self._control, selectors.EVENT_READ, self._hear_chip)
        self._selector.register(children, selectors.EVENT_READ, lambda: self._reap(children))
        try:
            self._control.send(SpawnerReady())
            while True:
                now = time.monotonic()
                wait = max(0.0, self._due() - now)
                for key, _ in self._selector.select(None if wait == float("inf") else wait):
                    if self._selector.get_map().get(key.fd) is key:  # an earlier event may have ended this one
                        key.data()
                self._tend(time.monotonic())
        except PeerGoneError:
            pass  # the chip
        finally:
            self._end()

    # --- the chip ---------------------------------------------------------------------------------------------------

    def _hear_chip(self) -> None:
        for frame in self._control.receive():
            message: object = parse_message(frame, Spawn, Kill, LoadPart)
            match message:
                case Spawn(number):
                    self._spawn(number)
                case Kill(number):
                    self._kill(number)
                case LoadPart(part):
                    self._load_part(part)

    def _load_part(self, part: OptionalPart) -> None:
        """Loads code for enclaves that are forked from now on. Guests and enclaves wait meanwhile: 0.1 s, once."""
        try:
            load_part(part)
        except (CasemateError, ImportError) as error:
            self._control.send(fault(Code.UNAVAILABLE, f"{part} cannot be loaded: {error}"))
            return
        settle_memory()
        self._control.send(SpawnerReady())

    def _spawn(self, number: int) -> None:
        sockets = [self._control.descriptors.popleft() for _ in range(min(2, len(self._control.descriptors)))]
        if len(sockets) < 2 or number in self._enclaves:
            for descriptor in sockets:
                os.close(descriptor)
            self._control.send(fault(Code.WRONG_STATE, f"enclave {number} cannot be started: no sockets, or running"))
            return
        chip, host = sockets
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            os.close(chip)
            os.close(host)
            self._control.send(fault(Code.UNAVAILABLE, f"no socket for an enclave: {os_error_text(error)}"))
            return
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LINK_BUFFER)
        descriptor = theirs.fileno()
        group: Group | NoGroup = NoGroup("not asked for")
        requests = self._requests
        if self._modes[LayerName.CGROUP] is LayerMode.REQUIRE:
            group = find_group(f"casemate-{os.getpid()}-enclave-{number}")
        else:
            # Joining a group takes the kernel up to 20 ms; RLIMIT_DATA and RLIMIT_NPROC bound an enclave as well.
            requests = (*requests, LayerRequest(LayerName.CGROUP, LayerMode.OFF))
        try:
            child = fork(
                (chip, host, descriptor),
                lambda parent: self._confine_enclave(requests, parent, group),
                lambda layers: self._entry(chip, host, descriptor, layers),
            )
        except OSError as error:
            ours.close()
            self._remove_group(group)
            self._control.send(fault(Code.UNAVAILABLE, f"cannot fork: {os_error_text(error)}"))
            return
        finally:
            theirs.close()
            os.close(chip)
            os.close(host)
        enclave = EnclaveProcess(number, child.pid, SpawnerLink(ours, takes_descriptors=False), child, group)
        self._enclaves[number] = enclave
        self._supply.open()
        self._selector.register(child.report, selectors.EVENT_READ, lambda: self._confined(enclave))
        self._selector.register(enclave.link, selectors.EVENT_READ, lambda: self._hear_enclave(enclave))

    def _confine_enclave(
        self, requests: tuple[LayerRequest, ...], parent: int, group: Group | NoGroup
    ) -> tuple[Layer, ...]:
        """Confines the child that calls this. What it prints goes nowhere, since it could be a secret."""
        nowhere = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(nowhere, standard)
        os.close(nowhere)
        return confine(self._enclave_confinement, requests, parent=parent, group=group)

    def _confined(self, enclave: EnclaveProcess) -> None:
        child, enclave.child = enclave.child, None
        if child is None:
            return
        self._selector.unregister(child.report)
        enclave.refusal = report_of(child).refusal
        if enclave.refusal:
            enclave.become(EnclaveProcessState.REFUSED)
            self._control.send(fault(Code.UNAVAILABLE, enclave.refusal))
        else:
            enclave.become(EnclaveProcessState.RUNNING)
            self._control.send(Spawned(enclave.number, enclave.pid))

    def _kill(self, number: int) -> None:
        enclave = self._enclaves.get(number)
        if enclave is None:
            self._control.send(Exited(number, "there is no such process"))
        else:
            enclave.kill()

    # --- enclaves ---------------------------------------------------------------------------------------------------

    def _hear_enclave(self, enclave: EnclaveProcess) -> None:
        now = time.monotonic()
        try:
            for frame in enclave.link.receive():
                message: object = parse_message(frame, NeedGuest, Watch, Unwatch, Interrupt)
                match message:
                    case NeedGuest():
                        self._need_guest(enclave, message)
                    case Watch(guest, 0):  # it is needed no more: report the reason that the exit status gives
                        self._give_up(enclave, guest)
                    case Watch(guest, deadline_ms):
                        watchdog = enclave.watchdog(guest)
                        if watchdog is not None:
                            watchdog.watch(deadline_ms, now)
                    case Unwatch(guest):
                        watchdog = enclave.watchdog(guest)
                        if watchdog is not None:
                            watchdog.unwatch(now)
                    case Interrupt(guest) if guest in enclave.guests:
                        enclave.guests[guest].process.interrupt()
        except (PeerGoneError, WireError):
            self._selector.unregister(enclave.link)
            enclave.kill()

    def _need_guest(self, enclave: EnclaveProcess, need: NeedGuest) -> None:
        refusal = self._refusal(enclave, need)
        enclave.last_guest = max(enclave.last_guest, need.guest)
        if refusal is not None:
            self._tell(enclave, GuestRefused(need.guest, refusal))
            return
        now = time.monotonic()
        if need.copy_of:
            image = self._image(enclave, need.copy_of)
            if image is None:
                self._refuse(enclave, need.guest, f"guest {need.copy_of}, which it is to be a copy of, is gone")
            else:
                self._copies.want(image, need.guest, now)
            return
        self._supply.want(Want(enclave.number, need.guest, need.engine, need.memory_mib), now)

    def _refusal(self, enclave: EnclaveProcess, need: NeedGuest) -> Fault | None:
        """Why an enclave cannot have this guest; None if it can."""
        if need.guest <= enclave.last_guest:
            words = f"the guest's number is {need.guest}, this enclave's next must be above {enclave.last_guest}"
            return fault(Code.WRONG_STATE, words)
        try:
            engine_named(need.engine)
        except CasemateError as error:
            return fault(Code.UNAVAILABLE, str(error))
        if not 1 <= need.memory_mib <= MOST_MEMORY_MIB:
            words = f"a guest of {need.memory_mib} MiB, this spawner starts them up to {MOST_MEMORY_MIB}"
            return fault(Code.UNAVAILABLE, words)
        never = self._supply.refusal(need.engine)
        if never:
            return fault(Code.UNAVAILABLE, never)
        images = (guest.process for guest in enclave.guests.values() if isinstance(guest.process, ImageProcess))
        wanted = self._supply.count(enclave.number) + self._copies.count(images)
        if len(enclave.guests) + wanted >= MAX_GUESTS:
            return fault(Code.BUSY, f"this enclave has {MAX_GUESTS} guests or waits for them, and may not have more")
        if len(self._owned) + len(self._supply) >= self._most_guests:
            return fault(Code.BUSY, f"all enclaves together have {self._most_guests} guests, the most for this machine")
        return None

    def _give(self, enclave: EnclaveProcess, number: int, guest: GuestProcess) -> None:
        """Gives an enclave a guest that is warm, or a copy."""
        guest.become(GuestProcessState.GIVEN)
        sleeps = self._modes[LayerName.WATCHDOG] is LayerMode.OFF
        owned = EnclaveGuest(number, guest, Watchdog(guest, time.monotonic(), sleeps=sleeps))
        enclave.guests[number] = owned
        self._owned[guest.pid] = (enclave, owned)
        with status_of(guest.pid) as status:
            given = GuestGiven(number, guest.pid, guest.layers, has_status=bool(status))
            self._tell(enclave, given, (guest.to_guest, guest.from_guest, *status))
        guest.close_pipes()

    def _refuse(self, enclave: EnclaveProcess, number: int, reason: str) -> None:
        if enclave.state is not EnclaveProcessState.REAPED:
            self._tell(enclave, GuestRefused(number, fault(Code.UNAVAILABLE, reason)))

    def _image(self, enclave: EnclaveProcess, number: int) -> Image | None:
        """An enclave's guest that can be copied; None if it is gone, or of another kind."""
        owned = enclave.guests.get(number)
        if owned is None or not isinstance(owned.process, ImageProcess):
            return None
        return Image(enclave, owned, owned.process)

    def _images(self) -> Iterator[Image]:
        for enclave, owned in self._owned.values():
            if isinstance(owned.process, ImageProcess):
                yield Image(enclave, owned, owned.process)

    def _give_up(self, enclave: EnclaveProcess, number: int) -> None:
        """Ends a guest that its enclave needs no more, or stops waiting for it."""
        guest = enclave.guests.get(number)
        if guest is not None:
            self._end_guest(guest, None)
        elif self._supply.give_up(enclave.number, number) or any(
            self._copies.give_up(image, number) for image in list(self._images()) if image.enclave is enclave
        ):
            self._tell(enclave, GuestRefused(number, fault(Code.UNAVAILABLE, "the enclave has given it up")))

    def _end_guest(self, guest: EnclaveGuest, gone: Gone | None) -> None:
        """Kills an enclave's guest; the enclave is told when it has been reaped.

        Args:
            guest: it.
            gone: why; None for what the wait status says. A guest that died before it was killed keeps the status of
                that death, so its cause is not lost.
        """
        if guest.process.state is GuestProcessState.GIVEN:
            guest.gone, guest.watchdog = gone, None
            guest.process.kill()

    def _tell(self, enclave: EnclaveProcess, message: object, descriptors: tuple[int, ...] = ()) -> None:
        try:
            enclave.link.send(message, descriptors)
        except PeerGoneError:
            enclave.kill()

    # --- time and death ---------------------------------------------------------------------------------------------

    def _due(self) -> float:
        """When something is to be done next even if nothing happens."""
        due = [guest.watchdog.due for _, guest in self._owned.values() if guest.watchdog is not None]
        due += [self._copies.due(image.process) for image in self._images()]
        due += (self._stopped.due, self._supply.due())
        return min(due, default=float("inf"))

    def _tend(self, now: float) -> None:
        for _, owned in self._owned.values():
            gone = None if owned.watchdog is None else owned.watchdog.look(now)
            if gone is not None:
                self._end_guest(owned, gone)
        self._copies.look(list(self._images()), now)
        self._supply.tend(now)
        if now >= self._stopped.due:
            self._end_stopped(now)

    def _end_stopped(self, now: float) -> None:
        """Kills an enclave or guest that stays stopped (SIGSTOP). Its death is noticed as any other's."""
        pid = self._stopped.look(now)
        if pid:
            how = f"was stopped (SIGSTOP) for {STOPPED_TIME:g} s, and killed"
            sys.stderr.write(f"casemate.spawner: process {pid} {how}\n")

    def _reap(self, children: socket.socket) -> None:
        children.recv(4096)
        self._end_stopped(time.monotonic())
        while True:
            try:
                dead = _first_dead()
                if dead == 0:
                    return
                if dead != _ANY:
                    self._before_reaping(dead)
                pid, status, usage = os.wait4(dead, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._buried(pid, status, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))

    def _before_reaping(self, pid: int) -> None:
        """A child has died; its pid is its own until it is reaped, and so is the process group that it leads.

        If it has reported who it is and was not heard yet, it becomes known. If it is an image process, all that are of
        its group are ended.
        """
        if pid not in self._known():
            self._supply.hear_reports()
            for image_of_enclave in list(self._images()):
                self._copies.hear(image_of_enclave, time.monotonic())
        enclave, owned = self._owned.get(pid, (None, None))
        if enclave is not None and owned is not None and isinstance(owned.process, ImageProcess):
            self._copies.ended(Image(enclave, owned, owned.process), list(enclave.guests.values()))

    def _buried(self, pid: int, status: int, peak: int) -> None:
        if self._supply.buried(pid, status):
            return
        if pid in self._owned:
            self._bury_guest(*self._owned.pop(pid), status, peak)
            return
        for enclave in list(self._enclaves.values()):
            if enclave.pid == pid:
                self._bury_enclave(enclave, status)

    def _known(self) -> set[int]:
        """The pids of all children that somebody has asked for."""
        return self._supply.pids() | self._owned.keys() | {enclave.pid for enclave in self._enclaves.values()}

    def _bury_guest(self, enclave: EnclaveProcess, guest: EnclaveGuest, status: int, peak: int) -> None:
        last_words = guest.process.bury()
        gone = guest.gone or cause_of_death(guest.process, status, last_words, peak)
        self._remove_group(guest.process.group)
        del enclave.guests[guest.number]
        if enclave.state is not EnclaveProcessState.REAPED:
            self._tell(enclave, GuestGone(guest.number, gone.code, gone.reason))
        elif not enclave.guests:
            self._exited(enclave)

    def _bury_enclave(self, enclave: EnclaveProcess, status: int) -> None:
        if enclave.child is not None:  # its report is in the pipe still, or will never come
            self._confined(enclave)
        enclave.become(EnclaveProcessState.REAPED)
        enclave.status = status
        self._supply.forget(enclave.number)
        if enclave.link.fileno() in self._selector.get_map():
            self._selector.unregister(enclave.link)
        enclave.link.close()
        self._remove_group(enclave.group)
        if not enclave.guests:
            self._exited(enclave)
        for guest in enclave.guests.values():
            self._end_guest(guest, Gone(Code.LOST, "its enclave ended"))

    def _exited(self, enclave: EnclaveProcess) -> None:
        del self._enclaves[enclave.number]
        if not enclave.refusal:
            self._control.send(Exited(enclave.number, f"its process {end_of(enclave.status)}"))

    def _remove_group(self, group: Group | NoGroup) -> None:
        if isinstance(group, Group):
            self._groups = [left for left in (*self._groups, group) if not left.remove()]

    def _end(self) -> None:
        """Kills and reaps every child, and removes their control groups."""
        owned = [guest.process for _, guest in self._owned.values()]
        for enclave in self._enclaves.values():
            enclave.kill()
        for guest in owned:
            guest.kill()
        guests = [*self._supply.kill(), *owned]
        while True:
            try:
                os.wait4(-1, 0)
            except ChildProcessError:
                break
        for group in (*(guest.group for guest in guests), *(enclave.group for enclave in self._enclaves.values())):
            self._remove_group(group)
        self._supply.close()


_ANY = -1
"""Stands for any child in wait4(2)."""


def _first_dead() -> int:
    """A child that has died and is not reaped; 0 if there is none, :data:`_ANY` where the system does not tell."""
    if sys.platform != "linux":
        return _ANY
    found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return 0 if found is None else found.si_pid


def _children_signal() -> socket.socket:
    """A socket that becomes readable when a child has ended."""
    reading, writing = socket.socketpair()
    reading.settimeout(0)
    writing.settimeout(0)
    signal.signal(signal.SIGCHLD, lambda _signal, _frame: None)
    signal.set_wakeup_fd(writing.detach(), warn_on_full_buffer=False)
    return reading


def _raise_descriptor_limit() -> int:
    """Allows this process as many descriptors as it may have, and gives their number. Children set their own limits."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if most == resource.RLIM_INFINITY else min(most, MAX_DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    return wanted


def settle_memory() -> None:
    """Gives back what loading took, and keeps the collector away from what is loaded.

    A collection writes to the head of each object that it looks at, and so copies pages that parent and child share.
    """
    give_back_memory()  # what compiling the modules has used: 2 MB here and in each enclave; before the freeze
    gc.freeze()
