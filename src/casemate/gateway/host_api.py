"""What the gateway asks of the host behind it: :class:`casemate.host.orchestrator.Orchestrator` answers this."""

from typing import Protocol

from casemate.host.events import Events
from casemate.host.vm.console import Console
from casemate.wire.messages.host import (
    Answer,
    Call,
    EnclaveIs,
    EvidenceIs,
    GetEvidence,
    ImageIs,
    Launch,
    Launched,
    PutImage,
)
from casemate.wire.protocol.tee import Tee


class House(Protocol):
    """Every refusal is a :class:`casemate.wire.protocol.faults.FaultError`; what each method does is told there."""

    events: Events

    async def put_image(self, request: PutImage, *, keeper: str = "") -> ImageIs: ...  # noqa: D102
    async def images(self) -> tuple[ImageIs, ...]: ...  # noqa: D102
    async def image(self, image: bytes) -> ImageIs: ...  # noqa: D102
    async def remove_image(self, image: bytes) -> None: ...  # noqa: D102
    def enclaves(self) -> tuple[EnclaveIs, ...]: ...  # noqa: D102
    def enclave(self, number: int) -> EnclaveIs: ...  # noqa: D102
    async def deploy(  # noqa: D102
        self, image: bytes, name: str | None = None, tee: Tee = Tee.SGX, *, launcher: str = ""
    ) -> EnclaveIs: ...
    async def launch(self, request: Launch) -> Launched: ...  # noqa: D102
    async def start(self, number: int) -> EnclaveIs: ...  # noqa: D102
    async def stop(self, number: int) -> EnclaveIs: ...  # noqa: D102
    async def destroy(self, number: int) -> EnclaveIs: ...  # noqa: D102
    async def evidence(self, request: GetEvidence) -> EvidenceIs: ...  # noqa: D102
    async def call(self, request: Call) -> Answer: ...  # noqa: D102
    async def plain_call(self, number: int, name: str, arguments: bytes) -> bytes: ...  # noqa: D102
    def collateral(self) -> bytes: ...  # noqa: D102


class VmHouse(Protocol):
    """What it asks of the hypervisor: :class:`casemate.host.vm.vms.Vms` answers this, and refuses alike."""

    async def answer(self, request: object) -> object: ...  # noqa: D102
    def console(self, number: int) -> Console: ...  # noqa: D102
