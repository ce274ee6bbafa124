"""Answers the guest's questions in the middle of a call: OCALLs, the sealed state, seals."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from casemate.enclave.boot import Program
from casemate.enclave.chip.leaf import Leaf
from casemate.enclave.chip.sealing_keys import SealingKeys
from casemate.enclave.guest.meter import Meter
from casemate.enclave.guest.monitor import Monitor
from casemate.enclave.io.host_link import HostLink
from casemate.enclave.store.answers import answer_of
from casemate.enclave.store.host_line import HostRecords
from casemate.enclave.store.sealer import MAX_SEALED_VALUE, Sealer
from casemate.enclave.store.store import Store
from casemate.engines.frames import Asked, Wanted
from casemate.engines.questions import InsideQuestion
from casemate.engines.questions.seals import Seal, Unseal
from casemate.engines.questions.state import StateQuestion
from casemate.wire.encodings.json_text import encode_json, parse_json
from casemate.wire.errors import WireError
from casemate.wire.protocol.call import Refusal, StateMark
from casemate.wire.protocol.faults import Code, Fault, FaultError, refuse
from casemate.wire.protocol.manifest import Permission

if TYPE_CHECKING:
    from casemate.enclave.store.transaction import Transaction

Ocalls = Callable[[str, bytes, float], Awaitable[bytes]]
"""Asks the host: the OCALL's name, its arguments (JSON), the deadline (monotonic clock); the answer, JSON."""

NO_SEAL = 'this needs the permission "seal": add permissions = ["seal", ...] to [enclave] in casemate.toml'
"""What a guest hears that seals without the permission; the bootstraps say the same by themselves."""

_HARMLESS = (Code.STATE_LIMIT, Code.GUEST_ERROR)
"""Refusals that a function can react to. After any other refusal of its state it would go on without knowing the state,
so its call fails whatever it returns."""


class Services:
    """The services of one enclave, which last beyond a call."""

    def __init__(self, program: Program, leaf: Leaf, host: HostLink, ocalls: Ocalls) -> None:
        manifest = program.image.manifest
        self.ocalls = ocalls
        self.monitor = Monitor(manifest.monitor, host.tell)
        keys = SealingKeys(leaf, program.identity, program.tcb)
        self.sealer = Sealer(keys)
        self.may_seal = Permission.SEAL in manifest.permissions
        self.store = None if manifest.state is None else Store(leaf, HostRecords(host), keys, manifest.state)


class CallServices:
    """The services of one call, or of all steps of a stream: one transaction, begun when the state is first used.

    A guest asks one question at a time.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._transaction: Transaction | None = None
        self._doom: Fault | None = None
        self.meter = Meter(services.monitor)
        """What the call uses."""

    async def answer(self, asked: Asked | Wanted, deadline: float) -> bytes:
        """JSON for the guest, or nothing where there is no value.

        Args:
            asked: the question.
            deadline: of the call or the step, on the monotonic clock.

        Raises:
            FaultError: for the guest to see as an exception.
        """
        if isinstance(asked, Asked):
            self.meter.ask()
            return await self._services.ocalls(asked.name, asked.arguments, deadline)
        return await self._inside(asked.question, deadline)

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

    async def _inside(self, question: InsideQuestion, deadline: float) -> bytes:
        if isinstance(question, Seal | Unseal) and not self._services.may_seal:
            raise refuse(Code.GUEST_ERROR, NO_SEAL)
        match question:
            case Seal(binding, value):
                return encode_json(await self._services.sealer.seal(_one_meaning(value), binding))
            case Unseal(text):
                return await self._services.sealer.unseal(text)
            case _:
                return await self._of_state(question, deadline)

    async def _of_state(self, question: StateQuestion, deadline: float) -> bytes:
        store = self._services.store
        if store is None:
            raise refuse(
                Code.STATE_REFUSED,
                "this function keeps no state: add [state] with policy, recovery and max_kib to casemate.toml",
            )
        try:
            if self._doom is not None:
                raise FaultError(self._doom)
            if self._transaction is None:
                self._transaction = await store.begin(deadline)
            return answer_of(self._transaction, question)
        except FaultError as error:
            if error.fault.code not in _HARMLESS:
                self._doom = error.fault
            raise


def _one_meaning(value: bytes) -> bytes:
    """A value as it is sealed: JSON that all parsers read in the same way."""
    try:
        return encode_json(parse_json("value to seal", value, limit=MAX_SEALED_VALUE, round_integers=True))
    except WireError as error:
        raise refuse(Code.GUEST_ERROR, f"the value is not JSON: {error.got}, want {error.want}") from None
