"""One machine's processes: maker on demand, chip, host; started in that order, anew when they die, ended together.

A host that dies is replaced, with a new link to the same chip. A chip that dies is a power cut: its enclaves are gone,
and chip and host are started anew. The listening sockets are the supervisor's, so clients wait in them meanwhile.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from casemate.link.async_channel import AsyncChannel
from casemate.link.errors import PeerGoneError
from casemate.process.audit_log import NAME as AUDIT_LOG
from casemate.process.audit_log import last_entry_at
from casemate.process.durable_files import write_whole
from casemate.process.places import host_directory
from casemate.process.plain_file import check_plain
from casemate.process.stopped_children import end_stopped_children
from casemate.supervisor.chip_link import ChipLink, ChipQuestion
from casemate.supervisor.errors import MachineError
from casemate.supervisor.inventory import take_inventory
from casemate.supervisor.listeners import Listeners
from casemate.supervisor.machine_log import MachineLog
from casemate.supervisor.maker_runner import MakerRunner
from casemate.supervisor.ocall_handlers import OcallHandlers
from casemate.supervisor.options import MachineOptions
from casemate.supervisor.process import MAX_DEATHS, WINDOW, Deaths, Process
from casemate.wire.encodings.pem import encode_chain
from casemate.wire.encodings.x509_dates import Validity, validity_of
from casemate.wire.errors import CasemateError
from casemate.wire.messages.control import ProcessIs
from casemate.wire.messages.supervisor import Certify, PckChainIs, RenewCertificates
from casemate.wire.protocol.clock import clock_doubt
from casemate.wire.protocol.faults import Code, FaultError, refuse
from casemate.wire.snp.tcb import Product

if TYPE_CHECKING:
    from casemate.wire.messages.supervisor import ChipReady

CHIP_START_TIMEOUT = 50.0
"""Longest start of the chip (seconds): a first start copies and hashes the runtime."""

HOST_START_TIMEOUT = 50.0
"""Longest start of a host (seconds), counted from when the chip is ready."""

REFRESH_PERIOD = 24 * 60 * 60.0
"""How often collateral is fetched from the maker (seconds)."""

DRAIN_TIMEOUT = 15.0
"""How long a host may take to end after SIGTERM (seconds) before it is killed: some more than it gives its calls."""

END_TIMEOUT = 5.0
"""How long a chip may take to end, or a host without one (seconds)."""

COLLATERAL = "collateral.json"
REVOCATION_LIST = "amd-{}.crl"
"""Name of a product's revocation list (DER) in the host's folder, written with the first SEV-SNP certificate."""
LASTING_CATALOGUE = "catalogue.db"
PASSING_CATALOGUE = "passing.db"
"""Deployments of a machine that does not keep them: removed when the next one starts."""


class Machine:
    """The running processes. :meth:`start` once, then :meth:`keep_running`, and :meth:`end` at last."""

    def __init__(self, options: MachineOptions, listeners: Listeners, log: MachineLog, last_death: str = "") -> None:
        """``listeners`` are owned; ``last_death``: how the supervisor before this one died, if it did."""
        self.options = options
        self.maker = MakerRunner(options.state, options.seed)
        self.root_certificate = b""
        self.ready: ChipReady | None = None
        """The chip's description of itself at its last start."""
        self.pck: PckChainIs | None = None
        """The chip's certificate, as it is after each start and each renewal."""
        self._last_seen = last_entry_at(options.state / AUDIT_LOG)
        self.url = listeners.url
        self.started_at = int(time.time())
        self._log = log
        self._last_death = last_death
        self._chip = Process("chip", log)
        self._host = Process("host" if options.http is None else "gateway", log)
        self.handlers = None if options.ocalls is None else OcallHandlers(options.ocalls, options.state, log)
        """The operator's own OCALL handlers; None where there are none."""
        self._link: ChipLink | None = None
        self._listeners = listeners
        self._host_serves: asyncio.Future[bytes] | None = None
        """Has a byte once the host answers clients, and none if it died before that."""
        self._deaths = Deaths()

    @property
    def host_socket(self) -> str:
        """The path of the socket that clients connect to."""
        return "" if self._listeners.host is None else str(self._listeners.host.getsockname())

    @property
    def processes(self) -> tuple[ProcessIs, ...]:
        """The supervisor and what it has started."""
        own = ProcessIs("supervisor", os.getpid(), 0, self.started_at, self._last_death)
        handlers = () if self.handlers is None else (self.handlers.shown,)
        return (own, self._chip.shown(), self._host.shown(), *handlers)

    async def start(self) -> None:
        """Opens the sockets; starts maker (to make what is missing), chip and host.

        Raises:
            CasemateError: what did not start, and why.
            NoPlainFileError: something else has the name of a file that a process of this machine opens.
        """
        directory = host_directory(self.options.state)
        for left in directory.glob(f"{PASSING_CATALOGUE}*"):
            left.unlink()
        check_plain(*(directory / name for name in ("host.log", "gateway.log", LASTING_CATALOGUE)))
        self._listeners.open(self.options.state)
        if self.handlers is not None:  # first: most of what can be wrong with a machine is in the operator's own code
            await self.handlers.start()
        await self._power_on("")
        await self._until_served()

    async def keep_running(self) -> str:
        """Starts anew what dies, or stays stopped, until too much does; says why it gave up."""
        watching = [asyncio.create_task(end_stopped_children(self._note_stopped))]
        if self.handlers is not None:
            watching.append(asyncio.create_task(self.handlers.keep_running()))
        try:
            return await self._keep_running()
        finally:
            for each in watching:
                each.cancel()

    def _note_stopped(self, pid: int) -> None:
        for process in (self._chip, self._host, *(() if self.handlers is None else (self.handlers,))):
            process.note_stopped(pid)

    async def _keep_running(self) -> str:
        while True:
            await self._until_death()
            chip_died = not self._chip.pid
            died = (self._chip if chip_died else self._host).note_death()
            now = time.monotonic()
            self._deaths.note(now)
            self._log.say(died)
            if self._deaths.too_many(now):
                return f"{MAX_DEATHS} deaths within {WINDOW:g} s, the last one: {died}"
            await asyncio.sleep(self._deaths.pause(now))
            try:
                await (self._power_on(died) if chip_died else self._replace_host(died))
            except (CasemateError, OSError) as error:
                self._log.say(f"starting anew failed: {error}")
                await self._chip.end(0)  # counts as another death, which limits how often this is tried
            else:
                self._log.say(f"the {'chip and the ' if chip_died else ''}{self._host.name} started anew")

    async def refresh_collateral(self) -> None:
        """Puts what the maker publishes now where the host finds it."""
        collateral = await self.maker.collateral()
        _hand_over(self.options.state, COLLATERAL, collateral)

    async def refresh_revocation_list(self, product: Product) -> bytes:
        """Puts the revocation list of an SEV-SNP processor's root where the host finds it, and returns it (DER)."""
        crl = await self.maker.amd_crl(product)
        _hand_over(self.options.state, REVOCATION_LIST.format(product), crl)
        return crl

    async def keep_collateral_fresh(self) -> None:
        """Asks the maker anew each day, until cancelled: what it publishes is good for thirty."""
        while True:
            await asyncio.sleep(REFRESH_PERIOD)
            with contextlib.suppress(FaultError, OSError):  # it is tried again tomorrow
                await self.renew()
            with contextlib.suppress(FaultError, OSError):
                await self.refresh_collateral()
                for product in Product:
                    if (host_directory(self.options.state) / REVOCATION_LIST.format(product)).exists():
                        await self.refresh_revocation_list(product)

    async def renew(self, *, owner: bool = False) -> None:
        """Has the chip's certificates renewed where they are not valid now, or not of the maker's root.

        Args:
            owner: by the owner's order: the maker's own certificates as well, and those of SEV-SNP's keys.
        """
        if owner:
            await self.maker.renew()
            self.root_certificate = await self.maker.initialise()
            self._describe()
        digest = hashlib.sha256(self.root_certificate).digest()
        self.pck = await self.chip.ask(RenewCertificates(digest, owner=owner), PckChainIs)

    def clock_doubt(self, now: datetime) -> str:
        """Why this computer's clock, or a certificate of this machine, cannot be right; empty where both can."""
        certificates = {"the maker's root certificate": validity_of(self.root_certificate)}
        if self.pck is not None:
            window = (datetime.fromtimestamp(at, UTC) for at in (self.pck.not_before, self.pck.not_after))
            certificates["this chip's certificate"] = Validity(*window)
        return clock_doubt(now, certificates, self._last_seen)

    @property
    def chip(self) -> ChipLink:
        """The link to the chip; :class:`FaultError` while there is none."""
        if self._link is None:
            raise refuse(Code.WRONG_STATE, "the chip is being started")
        return self._link

    async def end(self, *, at_once: bool) -> None:
        """Ends host, then chip (and with it every enclave and guest).

        Args:
            at_once: without waiting for calls under way.
        """
        self._listeners.close()
        await self._host.end(0 if at_once else DRAIN_TIMEOUT)
        await self._chip.end(END_TIMEOUT)
        if self.handlers is not None:
            await self.handlers.end()
        if self._link is not None:
            self._link.close()
        if self.ready is not None:
            with contextlib.suppress(MachineError, OSError):  # the next start says so
                take_inventory(self.options.state, self.ready.ppid)

    async def _ask_maker(self, question: ChipQuestion) -> object:
        """Passes a request from the chip to the maker. With an SEV-SNP certificate, also stores the revocation list."""
        answer = await self.maker.answer(question)
        if not isinstance(question, Certify):
            await self.refresh_revocation_list(question.product)
        return answer

    async def _until_death(self) -> None:
        ends = {asyncio.create_task(process.wait()) for process in (self._chip, self._host)}
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()

    async def _until_served(self) -> None:
        """Waits until the host answers its clients for the first time."""
        if self._host_serves is None:
            raise MachineError("no host was started")
        try:
            serves = await asyncio.wait_for(self._host_serves, HOST_START_TIMEOUT)
        except TimeoutError:
            raise MachineError(f"the {self._host.name} did not serve within {HOST_START_TIMEOUT:g} s") from None
        if not serves:
            try:  # it is ending: a signal now could make asyncio miss its exit status
                await asyncio.wait_for(self._host.wait(), END_TIMEOUT)
            except TimeoutError:
                await self._host.end(END_TIMEOUT)
            raise MachineError(self._host.note_death())

    async def _power_on(self, event: str) -> None:
        """Chip and host, from nothing; what is left of the last ones ends first."""
        if self._link is not None:
            self._link.close()
            self._link = None
        await self._host.end(END_TIMEOUT)  # its link to the chip has closed, so it is ending already
        await self._chip.end(END_TIMEOUT)
        chip_end, host_end = socket.socketpair()
        with chip_end, host_end:
            # The host imports while the chip hashes the runtime; what it asks the chip first waits in their link.
            await self._start_host(host_end, event)
            self.root_certificate, _ = await asyncio.gather(self.maker.initialise(), self._start_chip(chip_end))
            if self.ready is not None:
                take_inventory(self.options.state, self.ready.ppid)
            await self._renew_at_start()
            self._describe()
            await self._first_collateral()

    async def _renew_at_start(self) -> None:
        """Renews the chip's certificate if it is not valid now; if that fails, logs it and lets the machine start."""
        try:
            await self.renew()
        except FaultError as error:
            self._log.say(f"the chip's certificate was not renewed: {error}")
        if doubt := self.clock_doubt(datetime.now(UTC)):
            self._log.say(doubt)

    async def _first_collateral(self) -> None:
        """Fetches collateral. If that fails, as on a full disk, the machine starts with the last one."""
        try:
            await self.refresh_collateral()
        except (FaultError, OSError) as error:
            if not (host_directory(self.options.state) / COLLATERAL).exists():
                raise
            self._log.say(f"collateral was not fetched anew: {error}")

    def _describe(self) -> None:
        """Writes the description of the machine that the gateway serves, into the host's folder."""
        if self.ready is None:
            return
        said = {
            "platform": self.ready.platform,
            "runtime": {part.component: part.digest.hex() for part in self.ready.runtime},
            "seeded": self.options.seed is not None,
            "root_certificate": encode_chain(self.root_certificate).decode(),
        }
        # On a full disk the old file stays, which says the same except after an upgrade.
        with contextlib.suppress(OSError):
            _hand_over(self.options.state, "machine.json", json.dumps(said, indent=1).encode())

    async def _replace_host(self, event: str) -> None:
        chip_end, host_end = socket.socketpair()
        with chip_end, host_end:
            try:
                await self.chip.give_host(chip_end.fileno())
            except PeerGoneError as error:
                raise MachineError(f"the chip is gone: {error}") from None
            await self._start_host(host_end, event)

    async def _start_chip(self, for_host: socket.socket) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            options = self.options
            arguments = ["--host-fd", str(for_host.fileno()), "--supervisor-fd", str(theirs.fileno())]
            arguments += ["--state", str(options.state), "--pool", str(options.pool)]
            arguments += ["--seed", options.seed] if options.seed is not None else []
            arguments += [part for layer in options.layers for part in ("--layer", layer)]
            arguments += options.snp
            # Only at the first start: what is lost later has not been accepted.
            if options.accept_loss is not None and self.ready is None:
                arguments += ["--accept-loss", options.accept_loss]
            await self._chip.start("casemate.chip", arguments, (for_host.fileno(), theirs.fileno()))
        link = ChipLink(AsyncChannel(ours), self._ask_maker)
        try:
            self.ready = await asyncio.wait_for(link.until_ready(), CHIP_START_TIMEOUT)
        except TimeoutError:
            raise MachineError(f"the chip was not ready within {CHIP_START_TIMEOUT:g} s") from None
        except PeerGoneError:
            raise MachineError(f"the chip died at its start; see {options.state / 'machine.log'}") from None
        self._link = link

    async def _start_host(self, for_chip: socket.socket, event: str) -> None:
        listeners, http = self._listeners, self.options.http
        if listeners.host is None:
            raise MachineError("the machine has no sockets yet")
        directory = host_directory(self.options.state)
        catalogue = directory / (LASTING_CATALOGUE if self.options.lasting else PASSING_CATALOGUE)
        ra_tls = [listener.fileno() for listener in listeners.ra_tls]
        inherited = [for_chip.fileno(), listeners.host.fileno(), *ra_tls]
        arguments = ["--directory", str(directory), "--catalogue", str(catalogue), "--event", event]
        if not self.options.lasting:
            arguments.append("--passing")
        arguments += ["--chip-fd", str(for_chip.fileno()), "--listener-fd", str(listeners.host.fileno())]
        arguments += ["--ra-tls-fds", *map(str, ra_tls)]
        if http is not None and listeners.http is not None:
            inherited.append(listeners.http.fileno())
            arguments += ["--http-fd", str(listeners.http.fileno()), "--url", listeners.url]
            arguments += ["--token-digest", http.token_digest.hex(), *http.arguments]
        serves, theirs = os.pipe()
        self._host_serves = _first_byte(serves)
        ours, for_host = (None, None) if self.handlers is None else socket.socketpair()
        try:
            arguments += ["--ready-fd", str(theirs)]
            if for_host is not None:
                arguments += ["--ocalls-fd", str(for_host.fileno())]
                inherited.append(for_host.fileno())
            await self._host.start(f"casemate.{self._host.name}", arguments, [*inherited, theirs])
        finally:
            os.close(theirs)
            if for_host is not None:
                for_host.close()
        if self.handlers is not None and ours is not None:
            await self.handlers.serve_host(ours)


def _first_byte(descriptor: int) -> asyncio.Future[bytes]:
    """The first byte from a pipe, which is then closed; nothing if no process is left that could write to it."""
    loop = asyncio.get_running_loop()
    came: asyncio.Future[bytes] = loop.create_future()
    os.set_blocking(descriptor, False)

    def read() -> None:
        try:
            content = os.read(descriptor, 1)
        except BlockingIOError:
            return
        loop.remove_reader(descriptor)
        os.close(descriptor)
        if not came.done():
            came.set_result(content)

    loop.add_reader(descriptor, read)
    return came


def _hand_over(state: Path, name: str, content: bytes) -> None:
    """Puts a file into the host's folder; its draft is written outside, where a hostile host cannot exchange it."""
    write_whole(host_directory(state) / name, content, drafts=state)
