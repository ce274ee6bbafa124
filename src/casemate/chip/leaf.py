"""ENCLU on behalf of one enclave: what comes over its private socket, which is all that identifies it."""

from functools import partial

from casemate.chip.anchors import Anchors, asker
from casemate.chip.errors import (
    AnchorConflictError,
    AnchorLimitError,
    AnchorRefusedError,
    LeafError,
    StateError,
    Status,
)
from casemate.chip.secs import Secs
from casemate.chip.silicon import Silicon
from casemate.link.brief_work import BriefWork
from casemate.wire.errors import CasemateError, WireError
from casemate.wire.faults import Code, Fault, fault
from casemate.wire.messages.leaf import AnchorAdvance, AnchorIs, AnchorRead, EGetKey, EReport, KeyIs, ReportMade
from casemate.wire.sgx.keyrequest import KeyRequest
from casemate.wire.sgx.report import TargetInfo

LeafQuestion = EReport | EGetKey | AnchorRead | AnchorAdvance
LEAF_QUESTIONS = (EReport, EGetKey, AnchorRead, AnchorAdvance)
_CODES: dict[type[CasemateError], Code] = {
    LeafError: Code.REPORT_REFUSED,
    AnchorConflictError: Code.STATE_CONFLICT,
    AnchorRefusedError: Code.STATE_REFUSED,
    AnchorLimitError: Code.STATE_LIMIT,
    StateError: Code.UNAVAILABLE,
}


class LeafFunctions:
    """Answers enclaves; the identity comes from the caller, who knows which socket asked."""

    def __init__(self, silicon: Silicon, anchors: Anchors) -> None:
        self._silicon = silicon
        self._anchors = anchors
        self._steps = BriefWork("anchors")

    async def answer(self, secs: Secs, question: LeafQuestion) -> object:
        """The reply to one question of the enclave ``secs``; a refusal is a ``Fault``, never an exception."""
        try:
            match question:
                case EReport():
                    return self._ereport(secs, question)
                case EGetKey():
                    return self._egetkey(secs, question)
                case _:
                    return await self._anchor(secs, question)
        except tuple(_CODES) as error:
            return fault(_CODES[type(error)], str(error))

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

    async def _anchor(self, secs: Secs, question: AnchorRead | AnchorAdvance) -> AnchorIs:
        """Other enclaves' leaf functions do not wait for a slow disk."""
        who = asker(secs, question.policy)
        if isinstance(question, AnchorRead):
            now = self._anchors.read(who)
        else:
            step = partial(self._anchors.advance, who, epoch=question.epoch, head=question.head)
            now = await self._steps.run(step)
        return AnchorIs(now.epoch, now.head, now.isv_svn, now.recoveries, now.is_forgiven)
