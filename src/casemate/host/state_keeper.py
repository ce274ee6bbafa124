"""Answers enclaves' requests about their sealed states, in a thread, since a slow disk must not delay other clients."""

import logging
from pathlib import Path

from casemate.host.records import RecordRefusedError, Records, RecordsError
from casemate.process.brief_work import BriefWork
from casemate.wire.errors import WireError
from casemate.wire.messages.host import EnclaveIs
from casemate.wire.messages.state import (
    StateAppend,
    StateForget,
    StateRead,
    StateRecords,
    StateRefused,
    StateStored,
    StoredState,
)
from casemate.wire.protocol.faults import Code, FaultError, fault, refuse
from casemate.wire.protocol.seal_binding import SealBinding, state_namespace
from casemate.wire.protocol.sealed_record import SealedRecord
from casemate.wire.protocol.tee import Identity

StateQuestion = StateRead | StateAppend | StateForget
STATE_QUESTIONS = (StateRead, StateAppend, StateForget)
StateAnswer = StateRecords | StateStored | StateRefused

SHORT = 64 * 1024
"""Records up to this (bytes) may be written on the spot, where the disk is quick."""

_log = logging.getLogger(__name__)


def namespaces_of(enclave: EnclaveIs) -> frozenset[bytes]:
    """The states that this enclave may have: no other's records are shown, overwritten or forgotten for it."""
    who = Identity(
        tee=enclave.tee,
        measurement=enclave.launch_digest or enclave.mr_enclave,
        mr_signer=enclave.mr_signer,
        isv_prod_id=enclave.isv_prod_id,
        isv_svn=enclave.isv_svn,
        debug=enclave.debug,
        deployment=enclave.deployment,
    )
    return frozenset(state_namespace(policy, who) for policy in SealBinding)


class StateKeeper:
    """The records of all sealed states, for use in the event loop."""

    def __init__(self, path: Path) -> None:
        """``path`` is the database's, which is made when it is first needed."""
        self._records = Records(path)
        self._work = BriefWork("records")

    async def answer(self, question: StateQuestion, namespaces: frozenset[bytes]) -> StateAnswer | None:
        """The answer to an enclave that may have these states; None to what has no answer."""
        try:
            return await self._answer(question, namespaces)
        except FaultError as error:
            refused = error.fault
        except (RecordsError, RecordRefusedError, WireError) as error:
            refused = fault(Code.UNAVAILABLE, str(error))
        _log.error("%s: %s", type(question).__name__, refused.reason)
        return None if isinstance(question, StateForget) else StateRefused(question.number, refused)

    async def states(self) -> tuple[StoredState, ...]:
        """All states that there are records of; refused as ``unavailable`` where the database fails."""
        try:
            return await self._work.run_apart(self._records.states)
        except RecordsError as error:
            raise refuse(Code.UNAVAILABLE, str(error)) from None

    async def close(self) -> None:
        """Closes the database after the work that is under way."""
        await self._work.run_apart(self._records.close)
        self._work.close()

    async def _answer(self, question: StateQuestion, namespaces: frozenset[bytes]) -> StateAnswer | None:
        match question:
            case StateRead():
                return StateRecords(question.number, await self._read(question, namespaces))
            case StateAppend():
                await self._append(question, namespaces)
                return StateStored(question.number)
            case StateForget(namespace, head):
                _check(namespace, namespaces)
                await self._work.run_apart(lambda: self._records.forget(namespace, head))
                return None

    async def _read(self, question: StateRead, namespaces: frozenset[bytes]) -> tuple[bytes, ...]:
        namespace, head = question.namespace, question.head
        _check(namespace, namespaces)
        if head is None:
            head = await self._work.run_apart(lambda: self._records.newest(namespace))
        if head is None:
            return ()
        wanted = head
        return await self._work.run_apart(lambda: self._records.read(namespace, wanted))

    async def _append(self, question: StateAppend, namespaces: frozenset[bytes]) -> None:
        record = SealedRecord.parse(question.record)
        _check(record.header.namespace, namespaces)
        run = self._work.run if len(question.record) <= SHORT else self._work.run_apart
        await run(lambda: self._records.append(record, question.record))


def _check(namespace: bytes, namespaces: frozenset[bytes]) -> None:
    if namespace not in namespaces:
        raise refuse(Code.STATE_REFUSED, "that state is another enclave's")
