"""The operator's own OCALL handlers, as the host sees them: a process of their own, at the other end of a socket.

The supervisor gives each host a link, over which it sends the socket, and a new one whenever the handlers' process was
started anew.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable
from dataclasses import dataclass

from casemate.host.ocall_terms import OcallTerms
from casemate.host.ocalls import Ask, answer_built_in
from casemate.link.async_channel import AsyncChannel
from casemate.link.calls import Caller
from casemate.link.channel import enlarge_send_buffer
from casemate.link.errors import PeerGoneError, TimedOutError
from casemate.wire.encodings.message import parse_message
from casemate.wire.messages.host import EnclaveIs
from casemate.wire.messages.ocalls import AT_ONCE, OCALLS_FRAME, AskHandler, Asking, HandlerAnswer, TakeHandlers
from casemate.wire.protocol.faults import Code, refuse

MARGIN = 0.25
"""Seconds beyond a handler's time after which the host gives up waiting: the process itself is blocked."""

SHARE = AT_ONCE // 2
"""OCALLs of one enclave that are put to the handlers at a time: no enclave keeps all others from them."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Process:
    """A running process of handlers."""

    names: frozenset[str]
    caller: Caller


class OcallHandlers:
    """Asks the operator's handlers. :meth:`run` must be running as a task.

    Args:
        control: the link to the supervisor; owned.
    """

    def __init__(self, control: AsyncChannel) -> None:
        self._control = control
        self._process: _Process | None = None
        self._came = asyncio.Event()
        """Set while there is a process."""
        self._room = asyncio.Semaphore(AT_ONCE)
        self._serving: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Takes each new process of handlers, until the supervisor is gone."""
        try:
            while True:
                frame = await self._control.receive()
                names = frozenset(parse_message(frame.payload, TakeHandlers).names)
                for descriptor in frame.descriptors:
                    serving = asyncio.create_task(self._use(socket.socket(fileno=descriptor), names))
                    self._serving.add(serving)
                    serving.add_done_callback(self._serving.discard)
        except PeerGoneError:
            _log.warning("the supervisor is gone")
        finally:
            self._control.close()
            for serving in self._serving:
                serving.cancel()

    def ask_for(self, enclave: EnclaveIs, terms: OcallTerms) -> Ask:
        """What answers the OCALLs of an enclave: these handlers, and the host itself where they do not."""
        share = asyncio.Semaphore(SHARE)
        asking = Asking(
            enclave=enclave.enclave,
            name=enclave.name,
            mr_enclave=enclave.mr_enclave,
            mr_signer=enclave.mr_signer,
            product_id=enclave.isv_prod_id,
            security_version=enclave.isv_svn,
            debug=enclave.debug,
        )

        async def answer(name: str, arguments: bytes) -> bytes:
            try:
                async with asyncio.timeout(terms.time_ms / 1000) as limit, share, self._room:
                    await self._came.wait()  # one that is being started anew is soon there
                    process = self._process
                    if process is None or name not in process.names:
                        return answer_built_in(name, arguments)
                    left = max(1, int(((limit.when() or 0) - asyncio.get_running_loop().time()) * 1000))
                    limit.reschedule(None)
                    question = AskHandler(name, arguments, asking, terms.schemas[name], left)
                    said, _ = await process.caller.call(question, HandlerAnswer, timeout=left / 1000 + MARGIN)
                    return said.answer
            except (TimeoutError, TimedOutError):
                raise refuse(
                    Code.OCALL_REFUSED, f"the handlers of OCALL {name!r} gave no answer within {terms.time_ms} ms"
                ) from None
            except PeerGoneError:
                raise refuse(Code.OCALL_REFUSED, f"the handlers' process ended over OCALL {name!r}") from None

        def ask(name: str, arguments: bytes) -> bytes | Awaitable[bytes]:
            is_built_in = name not in terms.schemas or (self._process is not None and name not in self._process.names)
            return answer_built_in(name, arguments) if is_built_in else answer(name, arguments)

        return ask

    async def _use(self, link: socket.socket, names: frozenset[str]) -> None:
        """Asks a new process instead of the one before it, until it is gone."""
        enlarge_send_buffer(link)
        channel = AsyncChannel(link, limit=OCALLS_FRAME, descriptors=False)
        process = _Process(names, Caller(channel))
        self._process = process
        self._came.set()
        _log.info("the operator's handlers answer %s", ", ".join(sorted(names)))
        try:
            await process.caller.run()
        finally:
            channel.close()
            if self._process is process:
                self._came.clear()
                _log.warning("the operator's handlers are gone")
