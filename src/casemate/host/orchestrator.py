"""The host's enclaves: what it has asked the chip for, and what became of it."""

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from casemate.host.collateral import CollateralCache
from casemate.host.entry import EntryGate
from casemate.host.ocalls import Handler
from casemate.link.calls import Caller
from casemate.link.errors import PeerGoneError, TimedOutError
from casemate.wire.faults import Code, refuse
from casemate.wire.lifecycle import Event, State, after
from casemate.wire.message import parse_message
from casemate.wire.messages import chip, entry
from casemate.wire.messages.host import Answer, Call, EnclaveIs, EvidenceIs, GetEvidence, Launch, Launched

CHIP_TIMEOUT = 60.0
"""Longest wait for the chip (seconds): measuring the largest image on a slow machine takes a few."""

MAX_ENCLAVES = 1024
"""Most enclaves the host keeps account of, the destroyed ones left out."""

T = TypeVar("T")


@dataclass(slots=True)
class _Tenant:
    shown: EnclaveIs
    gate: EntryGate | None = None


class Orchestrator:
    """Asks the chip on clients' behalf. Everything it says is the operator's word."""

    def __init__(self, chip_link: Caller, collateral: CollateralCache, ocalls: Mapping[str, Handler]) -> None:
        self._chip = chip_link
        self._collateral = collateral
        self._ocalls = ocalls
        self._tenants: dict[int, _Tenant] = {}

    def enclaves(self) -> tuple[EnclaveIs, ...]:
        """All enclaves, the destroyed ones left out."""
        return tuple(tenant.shown for tenant in self._tenants.values())

    async def launch(self, request: Launch) -> Launched:
        """Loads, initialises and starts an image; what fails on the way is removed again."""
        if len(self._tenants) >= MAX_ENCLAVES:
            raise refuse(Code.BUSY, f"{len(self._tenants)} enclaves are there already, destroy one")
        loaded, _ = await self._ask(chip.Load(request.sgxs), chip.Loaded)
        number = loaded.enclave
        try:
            made, _ = await self._ask(chip.Initialise(number, request.sigstruct), chip.Initialised)
            self._tenants[number] = _Tenant(
                EnclaveIs(
                    enclave=number,
                    name=request.name,
                    mr_enclave=made.mr_enclave,
                    mr_signer=made.mr_signer,
                    isv_prod_id=made.isv_prod_id,
                    isv_svn=made.isv_svn,
                    debug=made.debug,
                    state=State.INITIALISED,
                    reason="",
                )
            )
            await self.start(number)
        except BaseException:
            self._tenants.pop(number, None)
            await self._ask(chip.Destroy(number), chip.StateIs)
            raise
        return Launched(number, loaded.mr_enclave)

    async def start(self, number: int) -> EnclaveIs:
        """Starts an initialised or stopped enclave, with fresh keys."""
        tenant = self._tenant(number)
        _, descriptors = await self._ask(chip.Start(number), chip.Started)
        if len(descriptors) != 1:
            raise refuse(Code.MALFORMED, f"the chip gave {len(descriptors)} descriptors for an enclave, want 1")
        tenant.gate = EntryGate(socket.socket(fileno=descriptors[0]), self._ocalls, self._death(number))
        return self._now(tenant, after(tenant.shown.state, Event.START))

    async def stop(self, number: int) -> EnclaveIs:
        """Ends an enclave's process; its pages stay loaded."""
        tenant = self._tenant(number)
        state, _ = await self._ask(chip.Stop(number), chip.StateIs)
        return self._now(tenant, state.state, state.reason)

    async def destroy(self, number: int) -> EnclaveIs:
        """Ends an enclave and forgets it."""
        tenant = self._tenant(number)
        state, _ = await self._ask(chip.Destroy(number), chip.StateIs)
        del self._tenants[number]
        return self._now(tenant, state.state, state.reason)

    async def evidence(self, request: GetEvidence) -> EvidenceIs:
        """A fresh quote over the challenger's nonce, with collateral."""
        target, _ = await self._ask(chip.QuoteTarget(), chip.QuoteTargetIs)
        challenge = entry.Challenge(request.nonce, target.target_info)
        said = await self._gate(request.enclave).enter(challenge, entry.ChallengeAnswer)
        quoted, _ = await self._ask(chip.GetQuote(said.report), chip.Quoted)
        return EvidenceIs(
            quote=quoted.quote,
            hpke_key=said.hpke_key,
            receipt_key=said.receipt_key,
            layers=said.layers,
            session=said.session,
            collateral=self._collateral.read(),
        )

    async def call(self, request: Call) -> Answer:
        """Relays a sealed call and its sealed response."""
        left = await self._gate(request.enclave).enter(entry.Enter(request.envelope), entry.Left)
        return Answer(left.sealed)

    def on_news(self, message: bytes) -> None:
        """What the chip says unasked: an enclave's state changed."""
        news = parse_message(message, chip.StateIs)
        tenant = self._tenants.get(news.enclave)
        if tenant is not None:
            self._now(tenant, news.state, news.reason)

    def chip_died(self) -> None:
        """Every enclave is lost with its chip, as with power."""
        for tenant in self._tenants.values():
            self._now(tenant, State.LOST, "the chip died")

    async def _ask(self, question: object, wanted: type[T]) -> tuple[T, tuple[int, ...]]:
        try:
            return await self._chip.call(question, wanted, timeout=CHIP_TIMEOUT)
        except PeerGoneError as error:
            raise refuse(Code.LOST, f"the chip is gone: {error}") from None
        except TimedOutError as error:
            raise refuse(Code.TIMED_OUT, f"the chip: {error}") from None

    def _tenant(self, number: int) -> _Tenant:
        try:
            return self._tenants[number]
        except KeyError:
            known = ", ".join(str(known) for known in self._tenants) or "none"
            raise refuse(Code.UNKNOWN_ENCLAVE, f"no enclave {number} here, there are: {known}") from None

    def _gate(self, number: int) -> EntryGate:
        tenant = self._tenant(number)
        if tenant.gate is None:
            shown = tenant.shown
            code = Code.LOST if shown.state is State.LOST else Code.WRONG_STATE
            raise refuse(code, f"enclave {number} is {shown.state}, want running. {shown.reason}".strip())
        return tenant.gate

    def _now(self, tenant: _Tenant, state: State, reason: str = "") -> EnclaveIs:
        if state is not State.RUNNING and tenant.gate is not None:
            gate, tenant.gate = tenant.gate, None
            gate.close()
        tenant.shown = replace(tenant.shown, state=state, reason=reason)
        return tenant.shown

    def _death(self, number: int) -> Callable[[str], None]:
        def lost(reason: str) -> None:
            tenant = self._tenants.get(number)
            if tenant is not None and tenant.shown.state is State.RUNNING:
                self._now(tenant, State.LOST, reason)

        return lost
