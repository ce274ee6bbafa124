"""One enclave of the chip: its pages, its identity once EINIT has fixed it, its state, and its process if it runs."""

import asyncio
from typing import TYPE_CHECKING

from casemate.chip.epc import Loaded
from casemate.chip.secs import Secs
from casemate.wire.faults import Code, refuse
from casemate.wire.lifecycle import Event, State, after
from casemate.wire.messages.leaf import Boot

if TYPE_CHECKING:
    from casemate.chip.enclave_process import EnclaveProcess


class Enclave:
    """What the chip keeps of an enclave. Whoever changes it holds :attr:`turn`."""

    def __init__(self, number: int, loaded: Loaded) -> None:
        self.number = number
        self.loaded = loaded
        self.secs: Secs | None = None
        self.state = State.LOADED
        self.reason = ""
        """Why it is in its state, for a person."""
        self.process: EnclaveProcess | None = None
        self.turn = asyncio.Lock()

    @property
    def identity(self) -> Secs:
        """What EINIT fixed; refused before EINIT."""
        if self.secs is None:
            raise refuse(Code.WRONG_STATE, f"enclave {self.number} is {self.state}, want EINIT first")
        return self.secs

    def step(self, event: Event, reason: str = "") -> None:
        """Moves on in the lifecycle; :class:`WrongStateError` where there is no such step."""
        self.state = after(self.state, event)
        self.reason = reason

    def boot_message(self) -> Boot:
        """What a new process of this enclave is handed."""
        secs = self.identity
        return Boot(
            mr_enclave=secs.mr_enclave,
            mr_signer=secs.mr_signer,
            isv_prod_id=secs.isv_prod_id,
            isv_svn=secs.isv_svn,
            debug=secs.attributes.debug,
            pages=self.loaded.pages,
        )
