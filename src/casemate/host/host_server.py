"""The host's door: what clients may ask, and who answers."""

import itertools
import socket
from functools import partial

from casemate.host.entry_queue import CALLER
from casemate.host.orchestrator import Orchestrator
from casemate.host.vm.vms import PLATFORM_COMMANDS, REQUESTS, Vms
from casemate.link.calls import Reply
from casemate.link.door import Door
from casemate.wire.encodings.message import parse_message, tag_of
from casemate.wire.messages import host, state

MAX_CLIENTS = 512
"""Most clients at a time."""

CALLS_AT_ONCE = 32
"""Most calls under way for one client."""


_ENTRIES = tuple(map(tag_of, (host.Call, host.GetEvidence)))
"""Questions that an enclave answers, and that change nothing but what it has already answered."""


class HostServer:
    """Answers clients from ``orchestrator`` and, about confidential VMs, from ``vms``."""

    def __init__(self, orchestrator: Orchestrator, vms: Vms) -> None:
        self._orchestrator = orchestrator
        self._vms = vms
        self._clients = itertools.count(1)

    def door(self, listener: socket.socket) -> Door:
        """The door at ``listener``. What waits for an enclave's sake alone is dropped when its client leaves."""
        return Door(
            listener,
            lambda: partial(self._answer, f"client {next(self._clients)}"),
            most=MAX_CLIENTS,
            at_once=CALLS_AT_ONCE,
            abandons=lambda message: message[:1] in _ENTRIES,
        )

    async def _answer(self, caller: str, message: bytes) -> Reply:
        CALLER.set(caller)  # in the task that answers this question alone
        said = await self._dispatch(message)
        if isinstance(said, host.Launched):  # for a client that is gone, it would run with nobody to end it
            return Reply(said, undelivered=partial(self._orchestrator.destroy, said.enclave))
        return Reply(said)

    async def _dispatch(self, message: bytes) -> object:
        request: object = parse_message(
            message,
            host.Call,
            host.GetEvidence,
            host.Launch,
            host.StartEnclave,
            host.StopEnclave,
            host.DestroyEnclave,
            host.ListEnclaves,
            state.ListStates,
            *REQUESTS,
            *PLATFORM_COMMANDS,
        )
        orchestrator = self._orchestrator
        match request:
            case host.Call():
                return await orchestrator.call(request)
            case host.GetEvidence():
                return await orchestrator.evidence(request)
            case host.Launch():
                return await orchestrator.launch(request)
            case host.StartEnclave(number):
                return await orchestrator.start(number)
            case host.StopEnclave(number):
                return await orchestrator.stop(number)
            case host.DestroyEnclave(number):
                return await orchestrator.destroy(number)
            case state.ListStates():
                return state.StatesAre(await orchestrator.states())
            case host.ListEnclaves():
                return host.EnclavesAre(orchestrator.enclaves())
            case _:
                return await self._vms.answer(request)
