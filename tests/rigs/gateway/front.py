"""A gateway in front of a host that remembers what it was asked, without sockets or enclaves."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, cast

import httpx
from tests.rigs.gateway.fake_vms import FIRMWARE, FakeVms

from casemate.gateway.app import Gateway
from casemate.gateway.http.request_log import RequestLog
from casemate.gateway.http.settings import Settings
from casemate.gateway.http.tokens import TokenStore
from casemate.gateway.v1.machine import MachineFile
from casemate.host.events import Events
from casemate.wire.messages.entry import EntryUsage
from casemate.wire.messages.functions import FunctionIs, FunctionsAre, GetFunction, ListFunctions, SwitchFunction
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
from casemate.wire.messages.machine_log import ReadLog
from casemate.wire.messages.request import Request
from casemate.wire.messages.services import GetService, ListServices, ServicesAre, StartService, StopService
from casemate.wire.protocol.access_tokens import AccessToken, AccessTokens, Role, token_digest, token_text
from casemate.wire.protocol.call import Envelope, Refusal
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.protocol.lifecycle import Event, State, after
from casemate.wire.protocol.sandbox_layers import Layer, LayerName, LayerState, SandboxLayers
from casemate.wire.protocol.tee import Tee

TOKENS = {role: token_text(hashlib.sha256(role.encode()).digest()) for role in Role}
"""One token for each role, named for it."""
COLLATERAL = b'{"tcb_info": "signed"}'
ROOT = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
LAYER = Layer(LayerName.SECCOMP, LayerState.APPLIED, "")

PlainAnswer = Callable[[str, Any], Any]
A = TypeVar("A")
_LOGS: list[RequestLog] = []


@dataclass
class FakeHost:
    """Holds images and enclaves in memory; ``trouble`` is raised by whatever would go to an enclave."""

    events: Events = field(default_factory=Events)
    kept: dict[bytes, ImageIs] = field(default_factory=dict)
    there: dict[int, EnclaveIs] = field(default_factory=dict)
    launches: int = 0
    switched: dict[str, list[int]] = field(default_factory=dict)
    """The enclaves that have answered to each name, the current one last."""
    candidates: list[bool] = field(default_factory=list)
    """Of each launch, whether it was to replace another."""
    calls: list[Call] = field(default_factory=list)
    trouble: Exception | None = None
    slow: Callable[[], Awaitable[None]] | None = None
    plain: PlainAnswer = lambda name, arguments: {"entry": name, "arguments": arguments}
    used: dict[int, tuple[EntryUsage, ...]] = field(default_factory=dict)
    quote: bytes = b"quote"
    tee: Tee = Tee.SGX
    launcher: str | None = None
    keepers: list[str] = field(default_factory=list)

    async def put_image(self, request: PutImage, *, keeper: str = "") -> ImageIs:
        await self._pass()
        self.keepers.append(keeper)
        about = image_of(request)
        return self.kept.setdefault(about.image, about)

    async def images(self) -> tuple[ImageIs, ...]:
        return tuple(self.kept.values())

    async def image(self, image: bytes) -> ImageIs:
        try:
            return self.kept[image]
        except KeyError:
            raise refuse(Code.UNKNOWN_IMAGE, "no such image") from None

    async def remove_image(self, image: bytes) -> None:
        await self.image(image)
        del self.kept[image]

    async def answer(self, request: Request[A]) -> A:
        asked: object = request
        said: object
        match asked:
            case ListEnclaves():
                said = EnclavesAre(self.enclaves())
            case ReadLog(after):
                said = self.events.log.after(after)
            case StartEnclave(number):
                said = self._step(number, Event.START)
            case StopEnclave(number):
                said = self._step(number, Event.STOP)
            case DestroyEnclave(number):
                said = await self.destroy(number)
            case GetFunction(name):
                said = self.function(name)
            case ListFunctions():
                said = FunctionsAre(tuple(map(self.function, sorted(self.switched))))
            case SwitchFunction(name, number, replaces):
                if self.enclave(number).name != name or replaces != self.switched.get(name, [0])[-1]:
                    raise refuse(Code.WRONG_STATE, "somebody else has deployed it meanwhile")
                self.switched.setdefault(name, []).append(number)
                said = self.function(name)
            case _:
                said = _of_services(asked)
        return cast("A", said)

    def enclaves(self) -> tuple[EnclaveIs, ...]:
        return tuple(self.there.values())

    def enclave(self, number: int) -> EnclaveIs:
        try:
            return self.there[number]
        except KeyError:
            raise refuse(Code.UNKNOWN_ENCLAVE, f"no enclave {number}") from None

    def function(self, name: str) -> FunctionIs:
        if name not in self.switched:
            raise refuse(Code.UNKNOWN_ENCLAVE, f"no function {name}")
        *before, current = self.switched[name]
        return FunctionIs(name, self.enclave(current), self.enclave(before[-1]) if before else None, deployed=True)

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
        self.candidates.append(candidate)
        about = await self.image(image)
        await self._pass()
        self.tee = tee
        self.launcher = launcher
        made = replace(self._new(name or about.name, about), owner=owner)
        self.there[made.enclave] = made
        return made

    async def launch(self, request: Launch) -> Launched:
        await self._pass()
        made = self._new(request.name, image_of(PutImage(request.name, request.sgxs, request.sigstruct)))
        return Launched(made.enclave, made.mr_enclave)

    async def destroy(self, number: int) -> EnclaveIs:
        gone = self._step(number, Event.DESTROY)
        del self.there[number]
        return gone

    async def evidence(self, request: GetEvidence) -> EvidenceIs:
        self.enclave(request.enclave)
        await self._pass()
        layers = SandboxLayers((LAYER,), (LAYER,))
        return EvidenceIs(self.tee, self.quote, bytes(32), request.nonce, layers, 7, COLLATERAL)

    async def call(self, request: Call) -> Answer:
        self.enclave(request.enclave)
        await self._pass()
        self.calls.append(request)
        return Answer(b"sealed " + request.envelope.sealed)

    async def evidence_of(self, name: str, nonce: bytes) -> EvidenceIs:
        return await self.evidence(GetEvidence(self.function(name).current.enclave, nonce))

    async def call_of(self, name: str, envelope: Envelope) -> Answer:
        return await self.call(Call(self.function(name).current.enclave, envelope))

    async def plain_call(self, number: int, name: str, arguments: bytes) -> bytes | Refusal:
        self.enclave(number)
        await self._pass()
        said = self.plain(name, json.loads(arguments))
        return said if isinstance(said, Refusal) else json.dumps(said).encode()

    def usage(self) -> dict[int, tuple[EntryUsage, ...]]:
        return self.used

    def collateral(self) -> bytes:
        if self.trouble is not None:
            raise self.trouble
        return COLLATERAL

    def become(self, number: int, state: State, reason: str = "") -> None:
        """An enclave's state changes by itself."""
        self.there[number] = replace(self.there[number], state=state, reason=reason)
        self.events.publish(self.there[number])

    async def _pass(self) -> None:
        if self.slow is not None:
            await self.slow()
        if self.trouble is not None:
            raise self.trouble

    def _new(self, name: str, about: ImageIs) -> EnclaveIs:
        self.launches += 1
        made = EnclaveIs(
            enclave=self.launches,
            name=name,
            mr_enclave=about.mr_enclave,
            mr_signer=about.mr_signer,
            isv_prod_id=1,
            isv_svn=1,
            debug=False,
            state=State.RUNNING,
            reason="",
            image=about.image,
        )
        self.there[made.enclave] = made
        self.events.publish(made)
        return made

    def _step(self, number: int, event: Event) -> EnclaveIs:
        known = self.enclave(number)
        if known.state is State.LOST and event is Event.START:
            self.become(number, State.RUNNING)
        else:
            self.become(number, after(known.state, event))
        return self.there[number]


def image_of(request: PutImage) -> ImageIs:
    digest = hashlib.sha256(request.sgxs + request.sigstruct).digest()
    return ImageIs(digest, request.name, len(request.sgxs) + 1808, bytes([1]) * 32, bytes([2]) * 32, 1, 1, debug=False)


@dataclass
class Front:
    """A gateway and the way to it."""

    gateway: Gateway
    host: FakeHost
    vms: FakeVms
    folder: Path

    def client(self, role: Role | None = Role.ADMIN, **headers: str) -> httpx.AsyncClient:
        """A client with that role's token, or without any."""
        if role is not None:
            headers = {"Authorization": f"Bearer {TOKENS[role]}"} | headers
        transport = httpx.ASGITransport(self.gateway.edge, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers)

    def log(self) -> list[dict[str, Any]]:
        """What was written down."""
        return [json.loads(line) for line in (self.folder / "gateway.log").read_text().splitlines()]


def _of_services(asked: object) -> ServicesAre:
    """What a host says that has no services."""
    match asked:
        case ListServices():
            return ServicesAre(())
        case GetService(name) | StartService(name) | StopService(name):
            raise refuse(Code.UNKNOWN_ENCLAVE, f"no service {name!r} is installed, there are: none")
    raise AssertionError(asked)


def front(folder: Path, settings: Settings | None = None) -> Front:
    """A gateway with a token for each role, a machine's description and a learner's image."""
    host, vms = FakeHost(), FakeVms()
    created = datetime(2026, 11, 22, tzinfo=UTC)
    known = AccessTokens(tuple(AccessToken(role, role, created, token_digest(TOKENS[role])) for role in Role))
    (folder / "tokens.json").write_bytes(known.encode())
    about = {"platform": "linux-x86_64-cp311", "runtime": {"core": "ab" * 32}, "seeded": True, "root_certificate": ROOT}
    (folder / "machine.json").write_text(json.dumps(about))
    (folder / "learner").mkdir()
    (folder / "learner" / "learner.sgxs").write_bytes(b"pages")
    (folder / "learner" / "learner.sigstruct").write_bytes(bytes(1808))
    (folder / "guests").mkdir()
    (folder / "guests" / "report.fd").write_bytes(FIRMWARE)
    log = RequestLog(folder / "gateway.log")
    _LOGS.append(log)
    gateway = Gateway(
        host,
        vms,
        tokens=TokenStore(folder / "tokens.json", None),
        machine=MachineFile(folder / "machine.json"),
        learner=folder / "learner",
        guests=folder / "guests",
        log=log,
        settings=settings or Settings(),
    )
    return Front(gateway, host, vms, folder)


def close_all() -> None:
    """Lets go of the files of all gateways that were made."""
    while _LOGS:
        _LOGS.pop().close()


def run(work: Awaitable[Any]) -> None:
    """A test's coroutine, in a loop of its own."""

    async def whole() -> None:
        async with asyncio.timeout(30):
            await work

    asyncio.run(whole())
