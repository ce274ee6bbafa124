"""The chip's answers to one enclave. Its private socket is all that identifies it."""

from functools import partial

from casemate.chip.anchors import Anchors, asker
from casemate.chip.attester import Attester
from casemate.chip.errors import (
    AnchorConflictError,
    AnchorLimitError,
    AnchorRefusedError,
    LeafError,
    StateError,
)
from casemate.chip.snp.errors import FirmwareError
from casemate.process.brief_work import BriefWork
from casemate.wire.errors import CasemateError
from casemate.wire.messages.leaf import (
    AnchorAdvance,
    AnchorIs,
    AnchorRead,
    GetReportKey,
    GetSealingKey,
    KeyIs,
    MakeReport,
    ReportMade,
)
from casemate.wire.protocol.faults import Code, fault

LeafQuestion = MakeReport | GetReportKey | GetSealingKey | AnchorRead | AnchorAdvance
LEAF_QUESTIONS = (MakeReport, GetReportKey, GetSealingKey, AnchorRead, AnchorAdvance)
_CODES: dict[type[CasemateError], Code] = {
    LeafError: Code.REPORT_REFUSED,
    FirmwareError: Code.REPORT_REFUSED,
    AnchorConflictError: Code.STATE_CONFLICT,
    AnchorRefusedError: Code.STATE_REFUSED,
    AnchorLimitError: Code.STATE_LIMIT,
    StateError: Code.UNAVAILABLE,
}


class LeafFunctions:
    """Answers enclaves. The caller, who knows which socket a question came from, says which enclave asks."""

    def __init__(self, anchors: Anchors) -> None:
        self._anchors = anchors
        self._steps = BriefWork("anchors")

    async def answer(self, who: Attester, question: LeafQuestion, launcher: str = "") -> object:
        """The reply to one question of ``who``; a refusal is a ``Fault``, never an exception.

        ``launcher`` is whose share of the anchors a new one counts towards; empty for the machine's owner.
        """
        try:
            match question:
                case MakeReport():
                    return ReportMade(who.report(question))
                case GetReportKey():
                    return KeyIs(who.report_key(question).reveal())
                case GetSealingKey():
                    return KeyIs(who.sealing_key(question).reveal())
                case _:
                    return await self._anchor(who, question, launcher)
        except tuple(_CODES) as error:
            return fault(_CODES[type(error)], str(error))

    async def _anchor(self, who: Attester, question: AnchorRead | AnchorAdvance, launcher: str) -> AnchorIs:
        """A slow disk does not hold up other enclaves' questions: see :mod:`casemate.process.brief_work`."""
        asking = asker(who.identity, question.binding, launcher)
        if isinstance(question, AnchorRead):
            now = self._anchors.read(asking)
        else:
            step = partial(self._anchors.advance, asking, epoch=question.epoch, head=question.head)
            now = await self._steps.run(step)
        return AnchorIs(now.epoch, now.head, now.isv_svn, now.recoveries, now.is_forgiven, now.floor)
