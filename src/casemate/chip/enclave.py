"""One enclave of the chip: its pages, its identity once EINIT has fixed it, its state, and its process if it runs."""

import asyncio
from typing import TYPE_CHECKING

from casemate.chip.attester import Attester
from casemate.chip.sgx.epc import Loaded
from casemate.wire.messages.leaf import Boot
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.protocol.lifecycle import Event, State, after
from casemate.wire.protocol.tee import Tee

if TYPE_CHECKING:
    from casemate.chip.enclave_process import EnclaveProcess


class Enclave:
    """What the chip keeps of an enclave. Whoever changes it holds :attr:`turn`."""

    def __init__(self, number: int, loaded: Loaded, tee: Tee, launcher: str, deployment: bytes) -> None:
        self.number = number
        self.loaded = loaded
        self.tee = tee
        self.launcher = launcher
        """The launcher's name as the host states it: new anchors count towards that launcher's share."""
        self.deployment = deployment
        """Its deployment's identity, 32 bytes, as the host states it."""
        self.launched: Attester | None = None
        """Serves and proves it; None before EINIT."""
        self.state = State.LOADED
        self.reason = ""
        """Why it is in its state, for a person."""
        self.process: EnclaveProcess | None = None
        self.turn = asyncio.Lock()

    @property
    def attester(self) -> Attester:
        """The attester of this enclave; :class:`FaultError` before EINIT."""
        if self.launched is None:
            raise refuse(Code.WRONG_STATE, f"enclave {self.number} is {self.state}, want EINIT first")
        return self.launched

    def step(self, event: Event, reason: str = "") -> None:
        """Moves on in the lifecycle; :class:`WrongStateError` where there is no such step."""
        self.state = after(self.state, event)
        self.reason = reason

    def boot_message(self) -> Boot:
        """What a new process of this enclave is handed."""
        return Boot(self.attester.identity, self.attester.tcb, self.loaded.pages)
