"""What one call may ask for while its guest works on it: OCALLs, and what its image's capabilities answer."""

import math
import os
from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from casemate.enclave.guest.guest import Guest
from casemate.enclave.guest.meter import Meter
from casemate.enclave.guest.monitor import Monitor
from casemate.enclave.store.store import Store
from casemate.engines.frames import Asked, Wanted
from casemate.wire.encodings.json_text import Json
from casemate.wire.protocol.call import Refusal, StateMark
from casemate.wire.protocol.faults import Code, Fault, FaultError, refuse
from casemate.wire.protocol.inner_receipts import InnerReceipts
from casemate.wire.protocol.peers import TRACE_SIZE

if TYPE_CHECKING:
    from casemate.enclave.store.transaction import Transaction

Ocalls = Callable[[str, bytes, float], Awaitable[bytes]]
"""Asks the host: the OCALL's name, its arguments (JSON), the deadline (monotonic clock); the answer, JSON."""

NO_STATE = "this function keeps no state: add [state] with policy, recovery and max_kib to casemate.toml"
"""What a guest hears that uses its state without having one."""

A_QUERY = 'a query changes nothing: make it kind = "command" in casemate.toml, or do not write'
"""What a service's query hears that would change something."""

_HARMLESS = (Code.STATE_LIMIT, Code.GUEST_ERROR)
"""Refusals that a function can react to. After any other refusal of its state it would go on without knowing the state,
so its call fails whatever it returns."""


class Capability(Protocol):
    """Answers the questions of one capability: a module of :mod:`casemate.enclave.capabilities` each.

    One object serves all calls of an enclave.
    """

    async def answer(self, question: Any, call: "CallServices", deadline: float) -> bytes:
        """What the guest gets: JSON, or nothing where there is no value, or bytes where its question wants bytes.

        Args:
            question: of one of the classes that it is registered for.
            call: the call that it was asked in.
            deadline: of the call or the step, on the monotonic clock.

        Raises:
            FaultError: for the guest to see as an exception.
        """


@dataclass(frozen=True, slots=True)
class Course:
    """Where a call stands among those that one client's call has led to."""

    trace: bytes
    """16 bytes, the same in all of them."""
    depth: int
    """0 in a client's call."""
    until: float
    """When its caller gives it up, on the monotonic clock; infinite for a client's."""

    def about(self, time_limit: float) -> dict[str, Json]:
        """What ``context`` tells of it.

        Args:
            time_limit: what the call was given as it came (seconds). The function hears no less where it has waited for
                its guest: the difference would be a clock, which needs a permission.
        """
        return {"trace": self.trace.hex(), "timeMs": round(time_limit * 1000)}


def course_of_client() -> Course:
    """That of a call that no other has led to."""
    return Course(os.urandom(TRACE_SIZE), 0, math.inf)


class Services:
    """What all calls of one enclave share.

    Args:
        ocalls: asks the host.
        monitor: told what calls do.
        store: the sealed state; None where the manifest has none.
        capabilities: by the class of question that they answer.
    """

    def __init__(
        self, ocalls: Ocalls, monitor: Monitor, store: Store | None, capabilities: Mapping[type, Capability]
    ) -> None:
        self.ocalls = ocalls
        self.monitor = monitor
        self.store = store
        self.capabilities = capabilities


class CallServices:
    """The services of one call, or of all steps of a stream: one transaction, begun when the state is first used.

    A guest asks one question at a time.

    Args:
        services: the enclave's.
        caller: ``context.caller``, as the guest sees it.
        course: where it stands among the calls that led to it.
        party: whose call it is: the same in all calls of one caller, as far as anybody can tell.
        may_write: whether it may change the state; a service's query may not.
    """

    def __init__(
        self, services: Services, caller: Json, course: Course, party: Hashable, *, may_write: bool = True
    ) -> None:
        self._services = services
        self._may_write = may_write
        self._transaction: Transaction | None = None
        self._doom: Fault | None = None
        self.caller = caller
        self.course = course
        self.party = party
        self.calls = 0
        """Calls of other enclaves that it has made."""
        self.inner = InnerReceipts()
        """Their receipts, where the manifest hands them on."""
        self.meter = Meter(services.monitor)
        """What the call uses."""
        self.runs = 0
        """How often it has had code run that its caller brought."""
        self.appraisals = 0
        """Pieces of evidence that it has had appraised."""
        self.attested_keys: list[bytes | None] = []
        """The HPKE keys of those that were accepted; None where the evidence binds none."""
        self._to_end: list[Callable[[], None]] = []

    @contextmanager
    def working(self, guest: Guest) -> Iterator[None]:
        """While the guest works on the call, or on a step of it: it is measured, and what it has begun ends with it."""
        try:
            with self.meter.working(guest):
                yield
        finally:
            for end in list(self._to_end):
                end()

    @contextmanager
    def ends_with(self, end: Callable[[], None]) -> Iterator[None]:
        """Has ``end`` called if the guest's work is over before the block is: by its death, or by the deadline."""
        self._to_end.append(end)
        try:
            yield
        finally:
            self._to_end.remove(end)

    async def answer(self, asked: Asked | Wanted, deadline: float) -> bytes:
        """The answer for the guest: see :meth:`Capability.answer`."""
        if isinstance(asked, Asked):
            self.meter.ask()
            return await self._services.ocalls(asked.name, asked.arguments, deadline)
        return await self._services.capabilities[type(asked.question)].answer(asked.question, self, deadline)

    def check_may_write(self) -> None:
        """Refuses to change what outlives the call, where it is a service's query.

        Raises:
            FaultError: ``guest-error``.
        """
        if not self._may_write:
            raise refuse(Code.GUEST_ERROR, A_QUERY)

    @contextmanager
    def using_state(self) -> Iterator[None]:
        """While the state is asked or changed: a refusal that leaves the function without knowing it dooms the call.

        Raises:
            FaultError: there is no state.
        """
        if self._services.store is None:
            raise refuse(Code.STATE_REFUSED, NO_STATE)
        try:
            if self._doom is not None:
                raise FaultError(self._doom)
            yield
        except FaultError as error:
            if error.fault.code not in _HARMLESS:
                self._doom = error.fault
            raise

    async def transaction(self, deadline: float) -> "Transaction":
        """The call's transaction, begun when it is first used. To be used inside of :meth:`using_state`.

        Raises:
            FaultError: as :meth:`Store.begin` raises it.
        """
        store = self._services.store
        if store is None:
            raise refuse(Code.STATE_REFUSED, NO_STATE)
        if self._transaction is None:
            self._transaction = await store.begin(deadline)
        return self._transaction

    async def conclude(self, said: bytes | Refusal, deadline: float) -> StateMark | None:
        """Makes what the call changed durable, if it has a result; a call that the function refuses changes nothing.

        To be called once, at the call's end.

        Returns:
            Where the state stood; None where the call did not touch it.

        Raises:
            FaultError: nothing was kept.
        """
        if self._doom is not None:
            raise FaultError(self._doom)
        if self._transaction is None:
            return None
        if isinstance(said, Refusal):
            return self._transaction.abandon()
        return await self._transaction.commit(deadline)
