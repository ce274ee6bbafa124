"""ENCLU on behalf of one enclave: what comes over its private socket, which is all that identifies it."""

import asyncio

from casemate.chip.counters import Counters, owner_of
from casemate.chip.errors import CounterError, LeafError, StateError, Status
from casemate.chip.secs import Secs
from casemate.chip.silicon import Silicon
from casemate.wire.errors import WireError
from casemate.wire.faults import Code, Fault, fault
from casemate.wire.messages.leaf import (
    CounterCreate,
    CounterIncrement,
    CounterIs,
    CounterRead,
    EGetKey,
    EReport,
    KeyIs,
    ReportMade,
)
from casemate.wire.sgx.keyrequest import KeyRequest
from casemate.wire.sgx.report import TargetInfo

LeafQuestion = EReport | EGetKey | CounterCreate | CounterRead | CounterIncrement
LEAF_QUESTIONS = (EReport, EGetKey, CounterCreate, CounterRead, CounterIncrement)


class LeafFunctions:
    """Answers enclaves; the identity comes from the caller, who knows which socket asked."""

    def __init__(self, silicon: Silicon, counters: Counters) -> None:
        self._silicon = silicon
        self._counters = counters
        self._writing = asyncio.Lock()

    async def answer(self, secs: Secs, question: LeafQuestion) -> object:
        """The reply to one question of the enclave ``secs``; a refusal is a ``Fault``, never an exception."""
        try:
            match question:
                case EReport():
                    return self._ereport(secs, question)
                case EGetKey():
                    return self._egetkey(secs, question)
                case _:
                    return await self._counter(secs, question)
        except LeafError as error:
            return fault(Code.REPORT_REFUSED, str(error))
        except CounterError as error:
            return fault(Code.COUNTER_REFUSED, str(error))
        except StateError as error:
            return fault(Code.UNAVAILABLE, str(error))

    def _ereport(self, secs: Secs, question: EReport) -> ReportMade | Fault:
        try:
            target = TargetInfo.parse(question.target_info)
        except WireError as error:
            raise LeafError(Status.GENERAL_PROTECTION, str(error)) from None
        return ReportMade(self._silicon.ereport(secs, target, question.report_data).encode())

    def _egetkey(self, secs: Secs, question: EGetKey) -> KeyIs:
        try:
            request = KeyRequest.parse(question.key_request)
        except WireError as error:
            unknown = error.field.endswith(".key_name")
            status = Status.INVALID_KEYNAME if unknown else Status.GENERAL_PROTECTION
            raise LeafError(status, str(error)) from None
        return KeyIs(self._silicon.keys.egetkey(secs, request).reveal())

    async def _counter(self, secs: Secs, question: CounterCreate | CounterRead | CounterIncrement) -> CounterIs:
        """One at a time, and the disk's time is spent in a thread: other enclaves' leaf functions go on."""
        owner = owner_of(secs)
        async with self._writing:
            match question:
                case CounterCreate():
                    return CounterIs(await asyncio.to_thread(self._counters.create, owner), 0)
                case CounterRead(counter):
                    return CounterIs(counter, self._counters.read(owner, counter))
                case CounterIncrement(counter):
                    return CounterIs(counter, await asyncio.to_thread(self._counters.increment, owner, counter))
