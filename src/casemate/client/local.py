"""A machine on this computer: the one that runs on a state directory, or a new one for a ``with`` block."""

import contextlib
import fcntl
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from casemate.client.owner_link import STATUS_TIMEOUT, ask_at, ask_for_descriptors, ask_supervisor
from casemate.client.owner_link import NoMachineError as NoMachineError  # noqa: PLC0414 - its users look here
from casemate.client.snp.processor import SnpLevers
from casemate.process.extras import check_extra
from casemate.process.ownership import PlaceError, open_own_file
from casemate.process.places import machine_lock, was_dev_state
from casemate.wire.errors import CasemateError
from casemate.wire.messages.bindings import Binding, BindingsAre, BindUse, ListBindings
from casemate.wire.messages.control import (
    Done,
    EndMachine,
    InUse,
    MachineIs,
    MachineStatus,
    RecoverTcb,
    RenewMachine,
    RevokeChip,
    UpdateMicrocode,
    UseMachine,
    seed_digest,
)
from casemate.wire.messages.host import EnclaveIs, EnclavesAre, ListEnclaves
from casemate.wire.messages.service_life import Configured, ConfigureService, GetHealth, HealthIs
from casemate.wire.messages.services import (
    MAX_SOURCE,
    GetService,
    InstallService,
    ListServices,
    RemoveService,
    ServiceIs,
    ServicesAre,
    StartService,
    StopService,
)
from casemate.wire.messages.state import ListStates, StatesAre, StoredState
from casemate.wire.messages.supervisor import (
    AcceptRollback,
    AnchorGivenUp,
    AnchorsAre,
    AnchorShown,
    GiveUpAnchor,
    ListAnchors,
    RollbackAccepted,
)
from casemate.wire.messages.verbs import LAUNCH_TIMEOUT
from casemate.wire.protocol.configuration import SignedConfiguration
from casemate.wire.protocol.faults import Code, FaultError
from casemate.wire.snp.tcb import Product

if TYPE_CHECKING:
    from casemate.images.image import Image

T = TypeVar("T")

END_TIMEOUT = 20.0
"""Longest end of a machine (seconds) before its supervisor is killed, and with it all the rest."""

CONFIGURE_TIMEOUT = 90.0
"""Longest answer to a new configuration (seconds), with the service's hook."""

LOOK_PERIOD = 0.05
"""Seconds between two looks whether a machine has ended."""

START_TIMEOUT = 60.0
"""Longest start of a machine (seconds): the first one copies the runtime."""


class MachineRunsError(CasemateError):
    """A machine runs on this state directory already."""


class NotStartedError(NoMachineError):
    """A machine with these arguments cannot be started here. Nothing was started or made."""


class WrongMachineError(CasemateError):
    """Another kind of machine runs on this state directory."""


@dataclass(frozen=True, slots=True)
class LocalMachine:
    """A running machine of this user's."""

    state: Path
    status: MachineIs
    joined: bool = False
    """Whether it ran already before this program asked for it."""

    @property
    def host_socket(self) -> Path:
        """Where clients connect."""
        return Path(self.status.host_socket)

    def recover_tcb(self, advisory: str) -> str:
        """Has the maker publish a new TCB level: this platform is out of date until its microcode is updated."""
        return ask_supervisor(self.state, RecoverTcb(advisory), Done).said

    def update_microcode(self) -> str:
        """Brings this platform to the newest published TCB."""
        return ask_supervisor(self.state, UpdateMicrocode(), Done).said

    def revoke(self) -> str:
        """Has the maker revoke this platform's certificate."""
        return ask_supervisor(self.state, RevokeChip(), Done).said

    def renew(self) -> str:
        """Has the maker renew the certificates of this machine that are not valid now, roots too."""
        return ask_supervisor(self.state, RenewMachine(), Done).said

    def accept_rollback(self, namespace: bytes, reason: str) -> int:
        """Has the chip accept, once, that a sealed state is older than its anchor; the anchor's epoch. It is logged."""
        return ask_supervisor(self.state, AcceptRollback(namespace, reason), RollbackAccepted).epoch

    def give_up_anchor(self, namespace: bytes, reason: str) -> int:
        """Has the chip free the anchor of a sealed state for good; the epoch up to which no record counts. Logged."""
        return ask_supervisor(self.state, GiveUpAnchor(namespace, reason), AnchorGivenUp).epoch

    def anchors(self) -> tuple[AnchorShown, ...]:
        """The chip's anchors of sealed states."""
        return ask_supervisor(self.state, ListAnchors(), AnchorsAre).anchors

    def enclaves(self) -> tuple[EnclaveIs, ...]:
        """All enclaves, in the host's words.

        Raises:
            NoMachineError, TimedOutError: the host is gone, or does not answer soon.
        """
        wanted = (ListEnclaves(), EnclavesAre)
        return ask_at(self.host_socket, self.state, "the host", *wanted, timeout=STATUS_TIMEOUT).enclaves

    def stored_states(self) -> tuple[StoredState, ...]:
        """The sealed states that the host stores, as it describes them; unverified."""
        return ask_at(self.host_socket, self.state, "the host", ListStates(), StatesAre).states

    def bindings(self, enclave: int) -> tuple[Binding, ...]:
        """What an enclave's ``[uses.NAME]`` are bound to, where they do not mean the deployment of that name."""
        return ask_at(self.host_socket, self.state, "the host", ListBindings(enclave), BindingsAre).bindings

    def bind(self, enclave: int, alias: str, target: str) -> tuple[Binding, ...]:
        """Binds an enclave's ``[uses.ALIAS]`` to a function's name or an enclave's number; all bindings it then has.

        An empty ``target`` ends a binding.
        """
        return ask_at(self.host_socket, self.state, "the host", BindUse(enclave, alias, target), BindingsAre).bindings

    def services(self) -> tuple[ServiceIs, ...]:
        """The installed services, without their operations' schemas."""
        return self._of_host(ListServices(), ServicesAre).services

    def service(self, name: str) -> ServiceIs:
        """An installed service."""
        return self._of_host(GetService(name), ServiceIs)

    def install_service(self, image: "Image", *, source: str = "", allow_older: bool = False) -> ServiceIs:
        """Has the host keep an image as a service, in the place of an older version.

        Args:
            image: its manifest has ``[service]``.
            source: where it came from, for people.
            allow_older: a lower version may take a higher one's place.

        Raises:
            HostRefusedError: it is no service, or older than what is installed, or closes a circle.
        """
        asked = InstallService(image.sgxs, image.sigstruct, source[:MAX_SOURCE], allow_older)
        return self._of_host(asked, ServiceIs)

    def start_service(self, name: str) -> ServiceIs:
        """Starts a service, and before it all that it uses; a running one of another version is replaced."""
        return self._of_host(StartService(name), ServiceIs)

    def stop_service(self, name: str, *, with_users: bool = False) -> ServiceIs:
        """Stops a service; ``with_users`` those that use it, too, and before it."""
        return self._of_host(StopService(name, with_users), ServiceIs)

    def remove_service(self, name: str) -> tuple[ServiceIs, ...]:
        """Forgets a service and destroys its enclaves; those that are left."""
        return self._of_host(RemoveService(name), ServicesAre).services

    def _of_host(self, question: object, wanted: type[T]) -> T:
        return ask_at(self.host_socket, self.state, "the host", question, wanted, timeout=LAUNCH_TIMEOUT)

    def configure(self, enclave: int, configuration: SignedConfiguration) -> int:
        """Gives an enclave that is a service a configuration; the version it then has.

        Raises:
            FaultError: the enclave refuses.
        """
        asked = ConfigureService(enclave, configuration)
        return ask_at(self.host_socket, self.state, "the host", asked, Configured, timeout=CONFIGURE_TIMEOUT).version

    def service_health(self, enclave: int) -> HealthIs:
        """How an enclave is that is a service, in its own word."""
        asked = GetHealth(enclave)
        return ask_at(self.host_socket, self.state, "the host", asked, HealthIs, timeout=CONFIGURE_TIMEOUT)

    @property
    def snp(self) -> SnpLevers:
        """Commands to its SEV-SNP processor."""
        return SnpLevers(self.state, self.host_socket)

    def end(self, *, at_once: bool = False) -> None:
        """Tells the machine to end; it may go on for a while, until calls under way are answered."""
        ask_supervisor(self.state, EndMachine(at_once), Done)


def running_machine(state: Path) -> LocalMachine:
    """The machine that runs on ``state``; :class:`NoMachineError` if none does."""
    return LocalMachine(state, ask_supervisor(state, MachineStatus(), MachineIs, timeout=STATUS_TIMEOUT))


def wait_for_end(state: Path, patience: float) -> bool:
    """Whether no machine runs on ``state``, now or within so many seconds."""
    deadline = time.monotonic() + patience
    while _is_locked(machine_lock(state)):
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_PERIOD)
    return True


def _is_locked(path: Path) -> bool:
    try:
        descriptor = open_own_file(path, os.O_RDONLY)
    except (OSError, PlaceError):
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextlib.contextmanager
def local_machine(
    state: Path,
    *,
    seed: str | None = None,
    layers: Sequence[str] = (),
    pool: int = 1,
    snp_product: Product | None = None,
    snp_report: int | None = None,
    ocalls: Path | None = None,
) -> Iterator[LocalMachine]:
    """The machine that runs on ``state``, or else a new one that ends with the block, and its enclaves with it.

    Where others use a new one by then (with this function, or `casemate run`), it ends with the last of them.
    A new one launches nothing by itself: the deployments that `casemate up` keeps in ``state`` stay as they are.

    Args:
        state: the state directory; made if it is missing.
        seed: makes the same machine each time. Everybody knows its secrets: for tests alone.
        layers: sandbox layers as ``NAME=MODE``, with modes ``require``, ``prefer`` and ``off``.
        pool: how many warm guests to keep.
        snp_product: which SEV-SNP processor a new machine has; one that there is has to have it, if it is started here.
        snp_report: the version of its reports, likewise.
        ocalls: a module of handlers with which a new machine answers OCALLs.

    Raises:
        NoMachineError: it did not start; the message says why.
        NotStartedError, one of these: ``state`` was in memory (`casemate up --dev`), and has ended with its machine.
    """
    processor = snp_arguments(snp_product, snp_report)
    with starting_machine(state, seed=seed, layers=layers, pool=pool, processor=processor, ocalls=ocalls) as starting:
        yield starting.wait()


@contextlib.contextmanager
def starting_machine(
    state: Path,
    *,
    seed: str | None = None,
    layers: Sequence[str] = (),
    pool: int = 1,
    processor: Sequence[str] = (),
    ocalls: Path | None = None,
) -> "Iterator[StartingMachine]":
    """The machine of :func:`local_machine` before it is ready: until ``wait``, its user can do something else.

    Args:
        state: these four as there.
        seed: as there.
        layers: as there.
        pool: as there.
        processor: what :func:`snp_arguments` gives.
        ocalls: as there.

    Raises:
        NotStartedError: ``state`` was in memory, and has ended with its machine.
    """
    if was_dev_state(state) and not os.path.lexists(state):
        raise NotStartedError(
            f"the machine on {state} has ended, and with it its state in memory; name another state directory"
        )
    arguments = ["--state", str(state), "--pool", str(pool), "--while-used"]
    arguments += ["--seed", seed] if seed is not None else []
    arguments += [part for layer in layers for part in ("--layer", layer)]
    starting = StartingMachine(state, seed, [*arguments, *processor, *ocalls_arguments(ocalls)])
    try:
        yield starting
    finally:
        starting.end()


class StartingMachine:
    """A machine that runs already, or whose supervisor has been started and may not be ready yet."""

    def __init__(self, state: Path, seed: str | None, arguments: Sequence[str]) -> None:
        """Starts a supervisor with ``arguments`` if no machine runs on ``state``."""
        self._state = state
        self._seed = seed
        self._arguments = arguments
        self._user: _Use | Supervisor | None = None
        try:
            self._user = _use(state)
        except NoMachineError:
            self._user = _begin_supervisor(arguments)

    def wait(self) -> LocalMachine:
        """The machine, once it is ready.

        Raises:
            NoMachineError: it did not start; the message says why.
            WrongMachineError: a machine with another seed runs on this state directory.
        """
        if isinstance(self._user, Supervisor):
            try:
                _wait_until_ready(self._user.process)
            except MachineRunsError:  # somebody else was faster; or it is ending
                self.end()
                self._user = _used_or_started(self._state, self._arguments)
        if isinstance(self._user, Supervisor):
            return running_machine(self._state)
        found = LocalMachine(self._state, running_machine(self._state).status, joined=True)
        if found.status.seed_digest != seed_digest(self._seed):
            seeded = "a seeded" if self._seed is None else "an otherwise seeded"
            kind = seeded if found.status.seeded else "an unseeded"
            raise WrongMachineError(
                f"{kind} machine runs on {self._state} already; stop it, or name another state directory"
            )
        return found

    def end(self) -> None:
        """Ends the machine if it was started here and nobody else uses it. Does nothing the second time."""
        user, self._user = self._user, None
        if user is not None:
            user.end()


@dataclass(frozen=True, slots=True)
class _Use:
    """A machine that ran already, and does not end before :meth:`end` although its starter leaves."""

    descriptor: int

    def end(self) -> None:
        os.close(self.descriptor)


def _used_or_started(state: Path, arguments: Sequence[str]) -> "_Use | Supervisor":
    """The machine that runs on ``state``, kept; or a new one. While one starts or ends, this waits for it."""
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        with contextlib.suppress(NoMachineError):
            return _use(state)
        try:
            return start_supervisor(arguments)
        except MachineRunsError:  # somebody else was faster; or it is ending
            if time.monotonic() > deadline:
                raise
        while not wait_for_end(state, 0) and time.monotonic() < deadline:
            with contextlib.suppress(NoMachineError):
                return _use(state)
            time.sleep(LOOK_PERIOD)


def _use(state: Path) -> _Use:
    try:
        _, descriptors = ask_for_descriptors(state, UseMachine(), InUse, timeout=STATUS_TIMEOUT)
    except FaultError as error:
        if error.fault.code is Code.WRONG_STATE:
            raise NoMachineError(f"the machine on {state} is ending") from None
        raise
    if len(descriptors) != 1:
        for descriptor in descriptors:
            os.close(descriptor)
        raise NoMachineError(f"the supervisor of {state} keeps no machine for others")
    return _Use(descriptors[0])


@dataclass(frozen=True, slots=True)
class Supervisor:
    """A supervisor that this process has started."""

    process: subprocess.Popen[bytes]
    lifeline: int | None
    """This end of the pipe with which the machine ends; None for one that outlives this process."""

    def end(self) -> None:
        """Ends the machine at once, and waits until it has; or leaves it to others who use it."""
        if self.lifeline is not None:
            os.close(self.lifeline)
            if self._is_kept():
                # The supervisor outlives this object: a thread waits for it, so that it does not stay a zombie.
                threading.Thread(target=self.process.wait, daemon=True).start()
                return
        _end(self.process)

    def _is_kept(self) -> bool:
        """Whether the supervisor says so; where it ends, nothing comes."""
        said = self.process.stdout
        if said is None or said.closed:
            return False
        while select.select([said], [], [], END_TIMEOUT)[0] and (line := said.readline()):
            if b"kept" in line:
                said.close()
                return True
        return False


def snp_arguments(product: Product | None, report: int | None) -> list[str]:
    """The supervisor's arguments about the SEV-SNP processor."""
    found = [] if product is None else [f"--snp=--snp-product={product}"]
    return found if report is None else [*found, f"--snp=--snp-report={report}"]


def ocalls_arguments(module: Path | None) -> list[str]:
    """The supervisor's arguments about the operator's OCALL handlers."""
    return [] if module is None else ["--ocalls", str(module.absolute())]


def start_supervisor(arguments: Sequence[str], *, attached: bool = True) -> Supervisor:
    """Starts a machine, and returns when it is ready.

    Args:
        arguments: for ``casemate.supervisor``.
        attached: the machine ends with this process, even if this process is killed.

    Raises:
        NoMachineError: it did not start; the message says why.
        MissingExtraError: packages that a machine needs are not installed; nothing was created.
    """
    supervisor = _begin_supervisor(arguments, attached=attached)
    try:
        _wait_until_ready(supervisor.process)
    except BaseException:
        if not attached:
            supervisor.process.terminate()
        supervisor.end()
        raise
    return supervisor


def _begin_supervisor(arguments: Sequence[str], *, attached: bool = True) -> Supervisor:
    """Starts a machine as :func:`start_supervisor` does, without waiting for it."""
    check_extra("machine", "a machine on this computer")
    command = [sys.executable, "-I", "-m", "casemate.supervisor", *arguments]
    lifeline, ours = os.pipe() if attached else (None, None)
    try:
        process = subprocess.Popen(
            [*command, *(() if lifeline is None else ("--lifeline-fd", str(lifeline)))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=None if attached else subprocess.DEVNULL,
            pass_fds=() if lifeline is None else (lifeline,),
            start_new_session=True,
            bufsize=0,  # select tells of its second line, too
        )
    finally:
        if lifeline is not None:
            os.close(lifeline)
    return Supervisor(process, ours)


def _wait_until_ready(supervisor: subprocess.Popen[bytes]) -> None:
    """Reads the one line that the supervisor prints: ``{"ready": true}`` or ``{"error": "..."}``."""
    if supervisor.stdout is None:
        raise NoMachineError("the supervisor has no output to read")
    if not select.select([supervisor.stdout], [], [], START_TIMEOUT)[0]:
        raise NoMachineError(f"the machine did not start within {START_TIMEOUT:g} s")
    line = supervisor.stdout.readline()
    try:
        said = json.loads(line)
    except ValueError:
        said = {"error": f"the supervisor ended without a word, {_how_it_ended(supervisor)}"}
    if said.get("ready") is True:
        return
    why = str(said.get("error"))
    if said.get("kind") == "StateInUseError":
        raise MachineRunsError(why)
    if said.get("log") is None:
        raise NotStartedError(why)
    raise NoMachineError(f"{why}; {said['log']} tells more")


def _how_it_ended(supervisor: subprocess.Popen[bytes]) -> str:
    try:
        code = supervisor.wait(timeout=1.0)
    except subprocess.TimeoutExpired:
        return "and goes on"
    return f"with exit status {code}" if code >= 0 else f"by signal {-code}"


def _end(supervisor: subprocess.Popen[bytes]) -> None:
    if supervisor.stdout is not None:
        supervisor.stdout.close()
    try:
        supervisor.wait(timeout=END_TIMEOUT)
    except subprocess.TimeoutExpired:
        supervisor.kill()
        supervisor.wait()
