"""The host's enclaves: launches, starts, stops and destroys them on the chip as clients ask, and keeps their states.

Clients know an enclave by the number of its *deployment*. That number is the catalogue's: it stays the same when chip
or host are started anew, and the enclave that then has it is a new launch of the same image, with fresh keys, which
clients have to attest again.

Everything that this says is the operator's word. Every refusal is a :class:`FaultError`; an image whose SIGSTRUCT is
malformed is a :class:`WireError`.
"""

import asyncio
import hashlib
import logging
import os
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TypeVar

from casemate.host.bindings import Bindings
from casemate.host.catalogue import Catalogue, Deployment, ImageBytes, Wanted
from casemate.host.chip_client import ChipClient
from casemate.host.enclave_record import NOWHERE, EnclaveRecord
from casemate.host.enclave_states import AT_START, MOST_DEATHS, RELAUNCHED, WITHIN, Cause, check_step
from casemate.host.endorsements import Endorsements
from casemate.host.entry import EntryGate
from casemate.host.events import Events, MachineEvent
from casemate.host.function_names import FunctionNames, replaced_refusal
from casemate.host.handlers import Handlers
from casemate.host.image_store import SHARE, ImageStore
from casemate.host.launch_turns import LaunchTurns
from casemate.host.ocall_handlers import OcallHandlers
from casemate.host.ocall_terms import ocall_terms
from casemate.host.ocalls import answer_built_in
from casemate.host.peer_relay import PeerRelay, Place
from casemate.host.services.registry import Services
from casemate.host.state_keeper import StateKeeper, namespaces_of
from casemate.host.tls_ports import TlsPorts
from casemate.host.tls_relay import TlsRelay, certify
from casemate.link.calls import Caller
from casemate.wire.messages import chip, entry
from casemate.wire.messages.bindings import BindingsAre, BindUse, ListBindings
from casemate.wire.messages.functions import (
    MAX_DRAIN,
    FunctionIs,
    FunctionsAre,
    GetFunction,
    ListFunctions,
    SwitchFunction,
)
from casemate.wire.messages.host import (
    Answer,
    Call,
    DestroyEnclave,
    EnclaveIs,
    EnclavesAre,
    EvidenceIs,
    GetEvidence,
    ImageIs,
    Launch,
    Launched,
    ListEnclaves,
    PutImage,
    StartEnclave,
    StopEnclave,
)
from casemate.wire.messages.machine_log import LogIs, LogSource, ReadLog
from casemate.wire.messages.request import Request
from casemate.wire.messages.service_life import (
    Configure,
    Configured,
    ConfigureService,
    GetHealth,
    Health,
    HealthIs,
    RunHook,
)
from casemate.wire.messages.services import (
    GetService,
    InstallService,
    ListServices,
    RemoveService,
    StartService,
    StopService,
)
from casemate.wire.messages.state import ListStates, StatesAre
from casemate.wire.messages.tls import TlsInstalled
from casemate.wire.messages.verbs import CALL_TIMEOUT
from casemate.wire.protocol.call import Envelope, Refusal
from casemate.wire.protocol.caller_key import has_small_order
from casemate.wire.protocol.capabilities.service import Hook
from casemate.wire.protocol.faults import Code, FaultError, refuse
from casemate.wire.protocol.lifecycle import Event, State
from casemate.wire.protocol.manifest import Reaction
from casemate.wire.protocol.tee import Tee

MAX_ENCLAVES = 1024
"""Most enclaves of a host, destroyed ones not counted."""

AT_ONCE = 2
"""Enclaves launched again at a time after a start: the chip measures one after the other anyway."""

PATIENCE = 30.0
"""How long a call waits for an enclave that is being launched again (seconds)."""

CANDIDATE_TIME = 600.0
"""How long a candidate waits for the switch to it, before it is destroyed (seconds)."""

HEALTH_TIME = 30.0
"""How long an enclave may take for the challenge that comes before a switch to it (seconds)."""

SHUTDOWN_TIME = 8.0
"""Longest leave of a service (seconds) that is to be stopped: the start of a guest, and its hook ``shutdown``."""

QUIET = 5.0
"""Sessions of a replaced enclave count as over when nothing has entered it for so long (seconds)."""

_log = logging.getLogger(__name__)
T = TypeVar("T")
A = TypeVar("A")


_NONCE_SIZE = 32

_NOTICES = {
    Reaction.WARN: "its monitor found {0.subject} = {0.count}, the manifest expects {0.most} at most",
    Reaction.SLOW: "its monitor slows calls down: {0.subject} = {0.count}, the manifest expects {0.most} at most",
    Reaction.STOP: (
        "its monitor stopped all calls until the next launch: "
        "{0.subject} = {0.count}, the manifest expects {0.most} at most"
    ),
}
"""What an enclave's monitor found, for people."""


class Orchestrator:
    """Keeps the enclaves of one host. For one event loop; :meth:`restore` is called first.

    Attributes:
        events: every change of an enclave's state, and what happens to the machine.
        handlers: what answers each request about enclaves.
    """

    def __init__(
        self,
        chip_link: Caller,
        *,
        endorsements: Endorsements,
        keeper: StateKeeper,
        catalogue: Catalogue,
        tls_ports: TlsPorts,
        ocalls: OcallHandlers | None = None,
    ) -> None:
        self.events = Events()
        self._chip = ChipClient(chip_link)
        self._endorsements = endorsements
        self._keeper = keeper
        self._catalogue = catalogue
        self._ocalls = ocalls
        self._tls_ports = tls_ports
        self._images = ImageStore(catalogue)
        self._names = FunctionNames(self._images, catalogue)
        self._bindings = Bindings(self._images, catalogue)
        self._services = Services(self._images, catalogue, self)
        self._relay = PeerRelay(
            bound=lambda number, alias: self.bound(number, alias).enclave,
            place=self._place,
            quote_target=self._chip.quote_target,
            endorsements=endorsements.of,
        )
        self._switching = asyncio.Lock()
        self._records: dict[int, EnclaveRecord] = {}
        self._places: dict[int, EnclaveRecord] = {}
        self._launches = asyncio.Semaphore(AT_ONCE)
        self._turns = LaunchTurns()
        self._launching: Counter[str] = Counter()
        """Launches under way of each token, which have no record yet."""

        self.handlers = self._all_handlers()

    async def answer(self, request: Request[A]) -> A:
        """The host's answer to a request about enclaves; FaultError if it refuses."""
        return await self.handlers.answer(request)

    def _all_handlers(self) -> Handlers:
        handlers = Handlers()
        handlers.add(Call, self.call)
        handlers.add(GetEvidence, self.evidence)
        handlers.add(Launch, self.launch)
        handlers.add(ListEnclaves, self._list)
        handlers.add(StartEnclave, lambda asked: self.start(asked.enclave))
        handlers.add(StopEnclave, lambda asked: self.stop(asked.enclave))
        handlers.add(DestroyEnclave, lambda asked: self.destroy(asked.enclave))
        handlers.add(GetFunction, self._get_function)
        handlers.add(ListFunctions, self._list_functions)
        handlers.add(SwitchFunction, self.switch)
        handlers.add(BindUse, self.bind)
        handlers.add(ListBindings, self._list_bindings)
        handlers.add(ListServices, self._services.list)
        handlers.add(GetService, self._services.get)
        handlers.add(InstallService, self._services.install)
        handlers.add(StartService, self._services.start)
        handlers.add(StopService, self._services.stop)
        handlers.add(RemoveService, self._services.remove)
        handlers.add(ConfigureService, self.configure)
        handlers.add(GetHealth, lambda asked: self.service_health(asked.enclave))
        handlers.add(ReadLog, self._read_log)
        handlers.add(ListStates, self._list_states)
        return handlers

    async def restore(self) -> None:
        """Reads the catalogue's deployments, and launches in the background those that should run."""
        for deployment in await self._images.run(self._catalogue.deployments):
            about = await self._images.run(self._catalogue.image, deployment.image)
            if about is None:  # not possible: the table has a foreign key
                continue
            record = EnclaveRecord(_shown(deployment, about), lasting=True, launcher=deployment.launcher)
            if record.shown.state is State.DESTROYED:
                await self._images.run(self._catalogue.forget, deployment.number)
                continue
            self._records[deployment.number] = record
            if deployment.wanted is Wanted.RUNNING:
                record.coming = asyncio.create_task(self._launch_again(deployment.number, record))
        await self._names.restore()
        await self._bindings.restore()
        await self._services.restore()

    # Images

    async def put_image(self, request: PutImage, *, keeper: str = "") -> ImageIs:
        """Keeps an image, as :meth:`ImageStore.put`."""
        return await self._images.put(request, keeper=keeper)

    async def images(self) -> tuple[ImageIs, ...]:
        """All images that are kept."""
        return await self._images.all()

    async def image(self, image: bytes) -> ImageIs:
        """One image, by its digest."""
        return await self._images.get(image)

    async def remove_image(self, image: bytes) -> None:
        """Forgets an image, as :meth:`ImageStore.remove`."""
        await self._images.remove(image)

    # Enclaves

    def enclaves(self) -> tuple[EnclaveIs, ...]:
        """All enclaves, the destroyed ones left out."""
        return tuple(record.shown for record in self._records.values())

    def usage(self) -> dict[int, tuple[entry.EntryUsage, ...]]:
        """What the calls of each running enclave have used since its launch, by its number, in its own words."""
        records = self._records.items()
        return {number: record.gate.usage.entries() for number, record in records if record.gate is not None}

    def enclave(self, number: int) -> EnclaveIs:
        """One enclave."""
        return self._record(number).shown

    async def deploy(
        self,
        image: bytes,
        name: str | None = None,
        tee: Tee = Tee.SGX,
        *,
        launcher: str = "",
        candidate: bool = False,
        owner: bytes | None = None,
    ) -> EnclaveIs:
        """Launches an image that is kept, by its digest; the new enclave is launched again after each restart.

        Args:
            image: the digest.
            name: for people; default: the image's.
            tee: as what it is to run.
            launcher: the name of the token that asks for it; empty for the machine's owner.
            candidate: it is to replace another, as :class:`Launch` says.
            owner: whose deployment it is to be, as :class:`Launch` says.
        """
        about = await self.image(image)
        files = await self._images.files(image)
        launched = await self._launch_new(
            *(name or about.name, about, files, tee),
            lasting=not candidate,
            launcher=launcher,
            candidate=candidate,
            owner=owner,
        )
        return launched.shown

    def named(self, name: str | None = None) -> tuple[EnclaveIs, ...]:
        """The enclaves that a name may mean, of all names or of one; those that were replaced, too."""
        return tuple(each for each in self._lasting() if name is None or each.name == name)

    async def deploy_files(self, name: str, about: ImageIs, files: ImageBytes, *, candidate: bool) -> EnclaveIs:
        """Launches an image of a service's, as :meth:`deploy`."""
        launched = await self._launch_new(*(name, about, files, Tee.SGX), lasting=not candidate, candidate=candidate)
        return launched.shown

    async def launch(self, request: Launch) -> Launched:
        """Loads, initialises and starts an image that the client has brought; what fails on the way is removed."""
        about, files = await self._images.described(request)
        record = await self._launch_new(
            *(request.name, about, files, request.tee),
            lasting=not (request.temporary or request.candidate),
            candidate=request.candidate,
            owner=request.owner,
        )
        return Launched(record.shown.enclave, record.shown.mr_enclave)

    async def start(self, number: int) -> EnclaveIs:
        """Starts a stopped or lost enclave, with fresh keys. It is launched again after restarts of the host."""
        record = self._record(number)
        async with record.turn:
            self._check_there(number, record)
            async with self._turns.turn():
                await self._bring_up(record, Cause.CLIENT)
            await self._want(record, Wanted.RUNNING)
            return record.shown

    async def stop(self, number: int) -> EnclaveIs:
        """Ends an enclave's process. It stays stopped after restarts of the host."""
        record = self._record(number)
        async with record.turn:
            self._check_there(number, record)
            check_step(record.shown.state, Event.STOP, Cause.CLIENT)
            await self._want(record, Wanted.STOPPED)
            return await self._end(record)

    async def destroy(self, number: int) -> EnclaveIs:
        """Ends an enclave and forgets it, for good."""
        record = self._record(number)
        async with record.turn:
            self._check_there(number, record)
            check_step(record.shown.state, Event.DESTROY, Cause.CLIENT)
            if record.is_kept:
                await self._images.run(self._catalogue.forget, number)
                self._names.forget(number)
            self._bindings.forget(number)
            self._relay.forget(number)
            try:
                await self._vacate(record)
            finally:
                del self._records[number]
                self._tls_ports.forget(number)
                self._now(record, State.DESTROYED)
                for task in (record.candidate, record.retiring):
                    if task is not None and task is not asyncio.current_task():
                        task.cancel()
            return record.shown

    # Names

    def functions(self) -> tuple[FunctionIs, ...]:
        """All names that were given by a switch, in their order."""
        return self._names.all(self._lasting())

    def function(self, name: str) -> FunctionIs:
        """The enclave that answers to a name."""
        return self._names.find(name, self._lasting())

    async def switch(self, asked: SwitchFunction) -> FunctionIs:
        """Has an enclave answer to a name, once it runs and has proved that it can; the replaced one retires.

        One that does not run is started first. Where anything fails, the name stays where it is.
        """
        if asked.drain > MAX_DRAIN:
            raise refuse(Code.MALFORMED, f"drain: got {asked.drain} s, want {MAX_DRAIN} at most")
        record = self._record(asked.enclave)
        self._check_switch(asked, record)
        async with record.turn:
            self._check_there(asked.enclave, record)
            was_down = record.gate is None
            if was_down:
                async with self._turns.turn():
                    await self._bring_up(record, Cause.CLIENT)
            try:
                if record.gate is None:
                    raise refuse(Code.LOST, f"enclave {asked.enclave} died: {record.shown.reason}")
                record.gate.let_in()
                await self._check_health(record, record.gate)
                async with self._switching:
                    self._check_switch(asked, record)
                    self._succeed(record, asked, oldest=await self._names.switch(asked))
                    self._bindings.follow(asked.enclave, asked.replaces)
            except BaseException:
                if was_down and record.gate is not None:
                    await self._end(record)
                raise
        return self.function(asked.name)

    async def bind(self, asked: BindUse) -> BindingsAre:
        """Binds what an enclave uses to a deployment, from its next call to it on."""
        record = self._record(asked.enclave)
        async with record.turn:
            self._check_there(asked.enclave, record)
            await self._bindings.bind(asked, kept=record.is_kept)
        return self._bindings.of(asked.enclave)

    def bound(self, number: int, alias: str) -> EnclaveIs:
        """The enclave that an alias of an enclave's means now.

        Raises:
            FaultError: ``unknown-enclave`` or ``wrong-state``; it is bound to nothing that is there, or to several.
        """
        target = self._bindings.target(number, alias)
        return self.enclave(int(target)) if target.isdigit() else self.function(target).current

    async def evidence_of(self, name: str, nonce: bytes) -> EvidenceIs:
        """Evidence of the enclave that answers to a name."""
        return await self.evidence(GetEvidence(self.function(name).current.enclave, nonce))

    async def call_of(self, name: str, envelope: Envelope) -> Answer:
        """Relays a sealed call to the enclave that answers to a name, or to the replaced one that has its session."""
        holder = self._names.holder(envelope.binding.quote_hash, self.function(name))
        return await self.call(Call(holder, envelope))

    # Requests that an enclave answers

    async def evidence(self, request: GetEvidence) -> EvidenceIs:
        """Fresh evidence over the challenger's nonce, with its endorsements."""
        gate, record = await self._gate(request.enclave), self._record(request.enclave)
        said, evidence = await self._challenge(record, gate, request.nonce)
        self._names.note_quote(hashlib.sha256(evidence).digest(), request.enclave)
        return EvidenceIs(
            tee=record.shown.tee,
            evidence=evidence,
            hpke_key=said.hpke_key,
            receipt_key=said.receipt_key,
            layers=said.layers,
            session=said.session,
            endorsements=await self._endorsements.of(record.shown.tee),
        )

    async def call(self, request: Call) -> Answer:
        """Relays a sealed call and its sealed response."""
        left = await (await self._gate(request.enclave)).enter(entry.Enter(request.envelope), entry.Left)
        return Answer(left.sealed)

    async def plain_call(self, number: int, name: str, arguments: bytes) -> bytes | Refusal:
        """Calls an entry point in the clear, which its manifest must allow; JSON in, JSON out, or a refusal."""
        left = await (await self._gate(number)).enter(entry.PlainEnter(name, arguments), entry.PlainLeft)
        return left.output if left.refusal is None else left.refusal

    async def configure(self, asked: ConfigureService) -> Configured:
        """Passes a service its owner's configuration."""
        return await (await self._gate(asked.enclave)).enter(Configure(asked.configuration), Configured)

    async def service_health(self, number: int) -> HealthIs:
        """How a service is: in the word of its hook ``health``, where it has one."""
        return await (await self._gate(number)).enter(RunHook(Hook.HEALTH), HealthIs)

    def collateral(self) -> bytes:
        """The maker's current collateral, as QuoteCollateralV3 JSON."""
        return self._endorsements.collateral.read()

    async def _list(self, _asked: ListEnclaves) -> EnclavesAre:
        return EnclavesAre(self.enclaves())

    async def _get_function(self, asked: GetFunction) -> FunctionIs:
        return self.function(asked.name)

    async def _list_functions(self, _asked: ListFunctions) -> FunctionsAre:
        return FunctionsAre(self.functions())

    async def _list_bindings(self, asked: ListBindings) -> BindingsAre:
        self._record(asked.enclave)
        return self._bindings.of(asked.enclave)

    async def _list_states(self, _asked: ListStates) -> StatesAre:
        return StatesAre(await self._keeper.states())

    # Messages from the chip

    def on_news(self, news: chip.StateIs) -> None:
        """Takes note of a change of an enclave's state that the chip reports by itself."""
        record = self._places.get(news.enclave)
        if record is None:
            return
        if news.state is State.LOST:
            self._lose(record, news.reason)
        else:
            self._now(record, news.state, news.reason)

    def chip_died(self) -> None:
        """Marks every enclave as lost: the chip held them all."""
        for record in self._records.values():
            if record.coming is not None:
                record.coming.cancel()
            self._now(record, State.LOST, "the chip died")

    def _lasting(self) -> list[EnclaveIs]:
        """The enclaves that a name may mean."""
        return [record.shown for record in self._records.values() if record.lasting]

    def _check_switch(self, asked: SwitchFunction, record: EnclaveRecord) -> None:
        self._names.check_switch(asked, self._lasting())
        if record.shown.name != asked.name:
            raise refuse(Code.WRONG_STATE, f"enclave {asked.enclave} is named {record.shown.name}, want {asked.name}")
        if not record.is_kept:
            raise refuse(Code.WRONG_STATE, f"enclave {asked.enclave} is temporary, want one that lasts")

    def _succeed(self, record: EnclaveRecord, asked: SwitchFunction, *, oldest: int | None) -> None:
        """Has everything follow a switch that the catalogue has taken note of."""
        number = asked.enclave
        for task in (record.candidate, record.retiring):
            if task is not None:
                task.cancel()
        record.lasting, record.candidate, record.retiring = True, None, None
        if record.gate is not None:
            record.gate.let_in()
        replaced = self._records.get(asked.replaces)
        if replaced is not None:
            self._exchange_ports(record, replaced)
        self._now(record, record.shown.state)
        instead = "" if replaced is None else f" in place of enclave {asked.replaces}"
        self.events.publish(MachineEvent(f"{asked.name} is enclave {number} now{instead}"))
        if replaced is not None:
            if replaced.gate is not None:
                self._now(replaced, replaced.shown.state, f"ends: replaced by enclave {number}")
            replaced.retiring = asyncio.create_task(self._retire(replaced, asked.replaces, asked.drain))
        discarded = None if oldest is None else self._records.get(oldest)
        if discarded is not None and oldest is not None:
            discarded.discarding = asyncio.create_task(self._discard(discarded, oldest))

    def _exchange_ports(self, record: EnclaveRecord, replaced: EnclaveRecord) -> None:
        """Has a function's new RA-TLS clients find its current enclave at the port that they know."""
        if record.relay is None or replaced.relay is None:
            return
        record.relay.exchange(replaced.relay)
        self._tls_ports.exchange(record.shown.enclave, replaced.shown.enclave)
        for each in (record, replaced):
            if each.relay is not None:
                each.shown = replace(each.shown, ra_tls_port=each.relay.port)

    async def _check_health(self, record: EnclaveRecord, gate: EntryGate) -> None:
        """Refuses an enclave that gives no evidence of itself."""
        try:
            async with asyncio.timeout(HEALTH_TIME):
                await self._challenge(record, gate, os.urandom(_NONCE_SIZE))
        except TimeoutError:
            reason = f"enclave {record.shown.enclave} did not answer a challenge within {HEALTH_TIME:g} s"
            raise refuse(Code.TIMED_OUT, reason) from None

    async def _challenge(
        self, record: EnclaveRecord, gate: EntryGate, nonce: bytes
    ) -> tuple[entry.ChallengeAnswer, bytes]:
        """An enclave's answer to a challenge, and the evidence over it."""
        said = await gate.enter(entry.Challenge(nonce, await self._chip.quote_target()), entry.ChallengeAnswer)
        return said, await self._chip.quote(record.place, said.report)

    async def _retire(self, record: EnclaveRecord, number: int, drain: float) -> None:
        """Stops a replaced enclave when its sessions are over, or have gone on for long enough."""
        function = self._names.replaced(number)
        if function is None:  # switched again meanwhile
            return
        if record.gate is not None:
            await record.gate.drain(replaced_refusal(function, number), quiet=QUIET, most=drain, last=CALL_TIMEOUT)
        async with record.turn:
            if self._records.get(number) is not record or record.retiring is not asyncio.current_task():
                return
            record.retiring = None
            try:
                if record.gate is not None:
                    await self._end(record, f"replaced by enclave {function.current}")
                await self._vacate(record)
            except FaultError as error:
                _log.warning("enclave %d, which was replaced, could not be stopped: %s", number, error)

    async def _discard(self, record: EnclaveRecord, number: int) -> None:
        """Destroys an enclave that nothing goes back to any more, unless its owner has started it again."""
        if record.retiring is not None:
            await asyncio.wait({record.retiring})
        if record.gate is None:
            with suppress(FaultError):  # its owner was faster
                await self.destroy(number)

    async def _give_up(self, record: EnclaveRecord, number: int) -> None:
        """Destroys a candidate to which nobody has switched in time."""
        await asyncio.sleep(CANDIDATE_TIME)
        _log.warning("enclave %d was launched to replace another, and nobody has switched to it", number)
        if self._records.get(number) is record:
            with suppress(FaultError):
                await self.destroy(number)

    async def _launch_new(
        self,
        name: str,
        about: ImageIs,
        files: ImageBytes,
        tee: Tee,
        *,
        lasting: bool,
        launcher: str = "",
        candidate: bool = False,
        owner: bytes | None = None,
    ) -> EnclaveRecord:
        if len(self._records) >= MAX_ENCLAVES:
            raise refuse(Code.BUSY, f"{len(self._records)} enclaves are there already, destroy one")
        self._check_share(launcher)
        number = await self._images.run(self._catalogue.draw_number)
        wanted = Wanted.CANDIDATE if candidate else Wanted.RUNNING
        _check_owner(owner)
        deployment = Deployment(number, name, about.image, wanted, tee, launcher, owner)
        record = EnclaveRecord(_shown(deployment, about), lasting=lasting, launcher=launcher)
        self._launching[launcher] += 1
        try:
            async with self._turns.turn():
                await self._load(record, files)
                await self._start(record)
            if lasting or candidate:  # written when it runs, so that a failed launch leaves no deployment behind
                await self._images.run(self._catalogue.deploy, deployment, about, files)
        except BaseException:
            await self._vacate(record)
            self._tls_ports.forget(number)
            raise
        finally:
            self._launching[launcher] -= 1
        self._records[number] = record
        if candidate:
            record.candidate = asyncio.create_task(self._give_up(record, number))
            record.shown = replace(record.shown, reason=f"not switched to yet: answers to {number} alone")
        self.events.publish(record.shown)
        return record

    async def _launch_again(self, number: int, record: EnclaveRecord) -> None:
        """Launches, in the background, an enclave that should run; a failure becomes the reason of its state."""
        try:
            async with self._launches, record.turn:
                if self._records.get(number) is record and record.shown.state in (State.LOADED, State.LOST):
                    await self._bring_up(record, Cause.HOST)
        except FaultError as error:
            _log.warning("enclave %d could not be launched again: %s", number, error)
            self._now(record, State.LOST, f"could not be launched again: {error}")
        finally:
            record.coming = None

    async def _bring_up(self, record: EnclaveRecord, cause: Cause) -> None:
        """Brings an enclave that does not run to running; loads it anew where its pages are not on the chip."""
        anew = record.lasting and (record.shown.state is State.LOST or record.place == NOWHERE)
        if anew:
            files = await self._images.files(record.shown.image)
            await self._vacate(record)
            await self._load(record, files)
        check_step(record.shown.state, Event.START, cause)
        await self._start(record)

    async def _load(self, record: EnclaveRecord, files: ImageBytes) -> None:
        made = await self._chip.load(files, record.shown.tee, record.launcher, record.shown.deployment)
        record.place = made.enclave
        if self._ocalls is not None:
            record.ocalls = await self._images.run(ocall_terms, files.sgxs)
        self._places[made.enclave] = record
        record.shown = replace(
            record.shown,
            mr_enclave=made.mr_enclave,
            mr_signer=made.mr_signer,
            isv_prod_id=made.isv_prod_id,
            isv_svn=made.isv_svn,
            debug=made.debug,
            launch_digest=made.launch_digest,
            state=State.INITIALISED,
            reason="",
        )

    async def _start(self, record: EnclaveRecord) -> None:
        keep = partial(self._keeper.answer, namespaces=namespaces_of(record.shown))
        entry_socket = await self._chip.start(record.place)
        handlers = self._ocalls
        ask = answer_built_in if handlers is None else handlers.ask_for(record.shown, record.ocalls)
        record.gate = EntryGate(entry_socket, ask, keep, self._death(record), self._console(record))
        record.gate.on_notice = self._noticed(record)
        record.gate.relay = partial(self._relay.answer, record.shown.enclave)
        self._relay.forget(record.shown.enclave)
        record.gate.on_ready = partial(self._begin_service, record, record.gate)
        self._now(record, State.RUNNING)
        await self._serve_tls(record)

    def _begin_service(self, record: EnclaveRecord, gate: EntryGate) -> None:
        """Has a service that is ready start; its first call would do so, and would wait for it."""
        if Hook.START in gate.hooks:
            record.beginning = asyncio.create_task(self._run_start(record, gate))

    async def _run_start(self, record: EnclaveRecord, gate: EntryGate) -> None:
        with suppress(FaultError):  # its death, which others are told of
            said = await gate.enter(RunHook(Hook.START), HealthIs)
            if said.state is not Health.READY and record.gate is gate:
                self._now(record, State.RUNNING, said.reason)

    async def _end_service(self, gate: EntryGate) -> None:
        """Has a service take leave; one that cannot is stopped all the same."""
        if Hook.SHUTDOWN in gate.hooks:
            with suppress(FaultError, TimeoutError):
                async with asyncio.timeout(SHUTDOWN_TIME):
                    await gate.enter(RunHook(Hook.SHUTDOWN), HealthIs)

    def _noticed(self, record: EnclaveRecord) -> Callable[[entry.Noticed], None]:
        """Shows what an enclave's behaviour monitor has found: an event, and the enclave's reason from now on."""

        def show(noticed: entry.Noticed) -> None:
            if record.shown.state is State.RUNNING:
                self._now(record, State.RUNNING, _NOTICES[noticed.then].format(noticed))

        return show

    async def _serve_tls(self, record: EnclaveRecord) -> None:
        """Opens an enclave's TLS port, if its manifest asks for one. RA-TLS certificates hold SGX quotes only."""
        gate = record.gate
        if gate is None or record.shown.tee is not Tee.SGX:
            return

        async def renew() -> TlsInstalled | None:
            return await certify(
                gate, await self._chip.quote_target(), lambda report: self._chip.quote(record.place, report)
            )

        certificate = await renew()
        if certificate is None or record.gate is not gate:
            return
        listener = self._tls_ports.lend(record.shown.enclave)
        if listener is None:
            self._now(record, record.shown.state, "no port is left for RA-TLS: destroy an enclave that has one")
            return
        record.relay = TlsRelay(listener, gate, renew)
        record.relay.start(certificate)
        record.shown = replace(record.shown, ra_tls_port=record.relay.port)

    async def _end(self, record: EnclaveRecord, reason: str = "") -> EnclaveIs:
        """Ends a running enclave's process; its pages stay."""
        record.is_ending = True
        try:
            if record.gate is not None:
                await self._end_service(record.gate)
            state = await self._chip.stop(record.place)
            return self._now(record, state.state, state.reason or reason)
        finally:
            record.is_ending = False

    async def _vacate(self, record: EnclaveRecord) -> None:
        """Takes an enclave's pages off the chip."""
        place, record.place = record.place, NOWHERE
        if place == NOWHERE:
            return
        self._places.pop(place, None)
        self._close(record)
        await self._chip.destroy(place)

    async def _place(self, number: int) -> Place:
        """An enclave that runs, for what others ask of it."""
        gate, record = await self._gate(number), self._record(number)
        return Place(number, record.shown.tee, gate, partial(self._chip.quote, record.place))

    async def _gate(self, number: int) -> EntryGate:
        """The gate of a running enclave; waits for one that is being launched again."""
        record = self._record(number)
        if record.coming is not None:
            await asyncio.wait({record.coming}, timeout=PATIENCE)
        if record.gate is None:
            function = self._names.replaced(number)
            if function is not None:
                raise replaced_refusal(function, number)
            shown = record.shown
            code = Code.LOST if shown.state is State.LOST else Code.WRONG_STATE
            raise refuse(code, f"enclave {number} is {shown.state}, want running. {shown.reason}".strip())
        return record.gate

    def _record(self, number: int) -> EnclaveRecord:
        try:
            return self._records[number]
        except KeyError:
            known = ", ".join(str(known) for known in self._records) or "none"
            raise refuse(Code.UNKNOWN_ENCLAVE, f"no enclave {number} here, there are: {known}") from None

    def _check_there(self, number: int, record: EnclaveRecord) -> None:
        """Refuses where another request destroyed the enclave while this one waited for its turn."""
        if self._records.get(number) is not record:
            raise refuse(Code.UNKNOWN_ENCLAVE, f"enclave {number} has been destroyed")

    def _now(self, record: EnclaveRecord, state: State, reason: str = "") -> EnclaveIs:
        if state is not State.RUNNING:
            self._close(record)
        cut = reason.encode("utf-8", "replace")[:1024].decode("utf-8", "ignore")
        record.shown = replace(record.shown, state=state, reason=cut)
        if self._records.get(record.shown.enclave) is record or state is State.DESTROYED:
            self.events.publish(record.shown)
        return record.shown

    def _close(self, record: EnclaveRecord) -> None:
        """Closes an enclave's gate and its TLS port."""
        gate, record.gate = record.gate, None
        if gate is not None:
            gate.close()
        relay, record.relay = record.relay, None
        if relay is not None:
            relay.close()
            self._tls_ports.give_back(relay.listener)
            record.shown = replace(record.shown, ra_tls_port=None)

    def _lose(self, record: EnclaveRecord, reason: str) -> None:
        """Takes note of an enclave's death, and launches it again where the tables of states say so."""
        is_relaunched = record.lasting and record.retiring is None and RELAUNCHED[record.shown.state]
        _log.warning("enclave %d (%s) died: %s", record.shown.enclave, record.shown.name, reason)
        self._now(record, State.LOST, reason)
        if not is_relaunched:
            return
        if record.deaths.is_too_many(time.monotonic()):
            self._now(record, State.LOST, f"{reason}; it died {MOST_DEATHS} times in {WITHIN:g} s: start it yourself")
            return
        record.coming = asyncio.create_task(self._launch_again(record.shown.enclave, record))

    def _death(self, record: EnclaveRecord) -> Callable[[str], None]:
        def lost(reason: str) -> None:
            if record.shown.state is State.RUNNING and not record.is_ending:
                self._lose(record, reason)

        return lost

    def _console(self, record: EnclaveRecord) -> Callable[[str], None]:
        number = record.shown.enclave

        def printed(text: str) -> None:
            _log.info("enclave %d prints: %s", number, text)
            self.events.log.add(LogSource.CONSOLE, number, text)

        return printed

    async def _read_log(self, asked: ReadLog) -> LogIs:
        return self.events.log.after(asked.after)

    async def _want(self, record: EnclaveRecord, wanted: Wanted) -> None:
        if record.lasting:
            await self._images.run(self._catalogue.want, record.shown.enclave, wanted)

    def _check_share(self, launcher: str) -> None:
        """Refuses an enclave beyond a token's share."""
        mine = [number for number, record in self._records.items() if record.launcher == launcher]
        count = len(mine) + self._launching[launcher]
        if launcher and count >= max(1, MAX_ENCLAVES // SHARE):
            named = ", ".join(str(number) for number in mine[:8])
            raise refuse(Code.BUSY, f"token {launcher} has {count} enclaves already, its share: destroy one of {named}")


def _check_owner(owner: bytes | None) -> None:
    if owner is not None and has_small_order(owner):
        raise refuse(Code.MALFORMED, "anybody can sign with that owner's key: make one with `casemate keygen`")


def _shown(deployment: Deployment, about: ImageIs) -> EnclaveIs:
    """A deployment before the chip has loaded it, as its SIGSTRUCT describes it."""
    state, reason = AT_START[deployment.wanted]
    return EnclaveIs(
        enclave=deployment.number,
        name=deployment.name,
        mr_enclave=about.mr_enclave,
        mr_signer=about.mr_signer,
        isv_prod_id=about.isv_prod_id,
        isv_svn=about.isv_svn,
        debug=about.debug,
        state=state,
        reason=reason,
        image=about.image,
        tee=deployment.tee,
        owner=deployment.owner,
    )
