"""The host's Unix socket: the requests of its clients, each answered by the orchestrator or the hypervisor."""

import itertools
import socket
from functools import partial

from casemate.host.entry_queue import CALLER
from casemate.host.handlers import Handlers
from casemate.host.orchestrator import Orchestrator
from casemate.host.vm.vm_table import VmTable
from casemate.link.call_server import CallServer
from casemate.link.calls import Reply
from casemate.wire.encodings.message import parse_message, tag_of
from casemate.wire.messages import host
from casemate.wire.messages.verbs import ENCLAVE_VERBS
from casemate.wire.messages.vm.verbs import PLATFORM_VERBS, VM_VERBS

MAX_CLIENTS = 512
"""Most clients at a time."""

CALLS_AT_ONCE = 32
"""Most calls under way for one client."""


_REQUESTS = tuple(verb.request for verb in (*ENCLAVE_VERBS, *VM_VERBS, *PLATFORM_VERBS))
_ABOUT_ENCLAVES = frozenset(verb.request for verb in ENCLAVE_VERBS)
_ABOUT_VMS = frozenset(verb.request for verb in (*VM_VERBS, *PLATFORM_VERBS))
_ENTRIES = tuple(map(tag_of, (host.Call, host.GetEvidence)))
"""Requests that an enclave answers, and that change nothing but what it has already answered."""


class HostServer:
    """Answers requests from ``orchestrator`` and, about confidential VMs, from ``vms``."""

    def __init__(self, orchestrator: Orchestrator, vms: VmTable) -> None:
        check_complete(orchestrator.handlers, vms.handlers)
        self._orchestrator = orchestrator
        self._vms = vms
        self._clients = itertools.count(1)

    def server(self, listener: socket.socket) -> CallServer:
        """Answers calls at ``listener``. What waits for an enclave's sake alone is dropped when its client leaves."""
        return CallServer(
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
        request = parse_message(message, *_REQUESTS)
        owner = self._vms if type(request) in _ABOUT_VMS else self._orchestrator
        return await owner.answer(request)


def check_complete(enclaves: Handlers, vms: Handlers) -> None:
    """Refuses to serve with a verb that nothing answers, or with a handler of a verb that is in no table."""
    for table, handlers in ((_ABOUT_ENCLAVES, enclaves), (_ABOUT_VMS, vms)):
        if table != handlers.requests:
            differing = ", ".join(sorted(request.__name__ for request in table ^ handlers.requests))
            raise TypeError(f"table of verbs and handlers differ: {differing}")
