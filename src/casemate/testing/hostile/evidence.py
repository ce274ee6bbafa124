"""Attacks on the evidence that a guest's owner gets: of another guest, of an old platform, an old report."""

import secrets

from casemate.images.vm.builtin import firmware
from casemate.testing.hostile.outcome import AttackOutcome, AttackResult
from casemate.testing.hostile.owner import identity, judge
from casemate.testing.hostile.prover import Prover, measured
from casemate.verifier import SnpEvidence
from casemate.wire.protocol.faults import FaultError
from casemate.wire.snp.report import SnpReport
from casemate.wire.snp.tcb import Product, TcbVersion

IMAGE = firmware("report")
_SAYS, _LIES = b"handed out a report", b"handed out a secret"
REPORT_DATA_SIZE = 64


class HonestRefusedError(Exception):
    """The owner refuses the honest guest as well, so a refusal of the attack means nothing."""


def other_measurement(prover: Prover) -> AttackResult:
    """Launches a guest that differs from its owner's in a few bytes."""
    honest, other = (_proved(prover, image) for image in (IMAGE, changed_image()))
    if honest is None and other is None:
        return AttackResult(AttackOutcome.SUCCESS, "", "the other guest runs, and its owner cannot tell them apart")
    _insist(prover, honest)
    return _judged(prover, other)


def other_than_identified(prover: Prover) -> AttackResult:
    """Launches that guest under the ID block that the owner has signed for another one."""
    own = identity(measured(IMAGE, prover.mode))
    prover.prove(IMAGE, secrets.token_bytes(REPORT_DATA_SIZE), own)
    try:
        prover.prove(changed_image(), secrets.token_bytes(REPORT_DATA_SIZE), own)
    except FaultError as error:
        return AttackResult(AttackOutcome.REFUSAL, error.fault.reason.partition(":")[0], error.fault.reason)
    return AttackResult(AttackOutcome.SUCCESS, "", "the other guest runs under the owner's identity")


def old_tcb(prover: Prover) -> AttackResult:
    """Presents evidence of the platform before its maker fixed a vulnerability."""
    old = _proved(prover, IMAGE)
    if old is None:
        return _no_reports()
    _insist(prover, old)
    endorsed = prover.endorsements()
    prover.recover()
    new = _proved(prover, IMAGE)
    if new is None:
        raise HonestRefusedError("the guest hands out no report any more")
    _insist(prover, new)
    floor = _reported_tcb(new[0])
    measurement = measured(IMAGE, prover.mode)
    evidence, report_data = old
    return judge(prover, evidence, endorsed, measurement=measurement, report_data=report_data, floor=floor)


def replayed_report(prover: Prover) -> AttackResult:
    """Answers the owner's challenge with the report of an earlier challenge."""
    proved = _proved(prover, IMAGE)
    if proved is None:
        return _no_reports()
    _insist(prover, proved)
    return _judged(prover, (proved[0], secrets.token_bytes(REPORT_DATA_SIZE)))


def changed_image() -> bytes:
    """The owner's guest with another greeting."""
    assert IMAGE.count(_SAYS) == 1  # noqa: S101 - of this very package
    return IMAGE.replace(_SAYS, _LIES)


Proved = tuple[SnpEvidence, bytes]
"""A report, and the 64 bytes that it was asked for with."""


def _proved(prover: Prover, image: bytes) -> Proved | None:
    report_data = secrets.token_bytes(REPORT_DATA_SIZE)
    evidence = prover.prove(image, report_data)
    return None if evidence is None else (evidence, report_data)


def _judged(prover: Prover, proved: Proved | None) -> AttackResult:
    if proved is None:
        return AttackResult(AttackOutcome.REFUSAL, "no evidence", "it hands out no report")
    evidence, report_data = proved
    measurement = measured(IMAGE, prover.mode)
    return judge(prover, evidence, prover.endorsements(), measurement=measurement, report_data=report_data)


def _insist(prover: Prover, honest: Proved | None) -> None:
    """Checks that the same owner accepts the honest guest, by the same policy."""
    result = _judged(prover, honest)
    if result.outcome is not AttackOutcome.SUCCESS:
        raise HonestRefusedError(result.words)


def _no_reports() -> AttackResult:
    return AttackResult(AttackOutcome.NOTHING, "no evidence", "there are no reports in this mode")


def _reported_tcb(evidence: SnpEvidence) -> TcbVersion:
    report = SnpReport.parse(evidence.report)
    return TcbVersion.parse(Product.MILAN, report.reported_tcb)
