"""Records that the enclave's own keys have sealed, in an order that no enclave writes: refused all the same."""

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.rigs.store_lab import RULES, Answer, Lab, LabHost, contents, finish, secs

from casemate.chip.anchors import asker
from casemate.chip.sgx.attester import SgxAttester
from casemate.wire.encodings.message import encode_fields
from casemate.wire.messages.state import StateRead, StateRecords
from casemate.wire.protocol.faults import Code, FaultError
from casemate.wire.protocol.manifest import Recovery
from casemate.wire.protocol.seal_binding import SealBinding
from casemate.wire.protocol.sealed_record import NO_RECORD, SealedKind, record_digest
from casemate.wire.protocol.state_changes import Change, Changes

if TYPE_CHECKING:
    from casemate.enclave.chip.sealing_keys import SealingKeys

CHANGES, CHECKPOINT = SealedKind.CHANGES, SealedKind.CHECKPOINT


class Forger:
    """Seals records one upon the other, and has the anchor name the last one."""

    def __init__(self, machine: Lab, host: LabHost) -> None:
        self.machine = machine
        self.host = host
        self.records: deque[bytes] = deque()
        self.keys: dict[int, SealingKeys] = {}

    def seal(self, kind: SealedKind, epoch: int, *, svn: int = 2, text: bytes | None = None, **place: Any) -> None:
        """One more record; where its place is not given, it follows the one before."""
        if svn not in self.keys:
            self.keys[svn] = self.machine.leaf(secs(isv_svn=svn)).sealing_keys()
        text = encode_fields(Changes((Change("a", str(epoch).encode()),))) if text is None else text
        previous = record_digest(self.records[0]) if self.records else NO_RECORD
        given: dict[str, Any] = {"binding": SealBinding.MRSIGNER, "previous": previous, "epoch": epoch} | place
        self.records.appendleft(finish(self.keys[svn].seal(kind, text=text, **given)))

    def opens(self, epoch: int) -> dict[str, bytes]:
        """What an enclave makes of them, if the anchor is at that epoch."""
        who = asker(SgxAttester(self.machine.silicon, secs(isv_svn=0)).identity, SealBinding.MRSIGNER)
        for now in range(epoch):
            self.machine.anchors.advance(who, epoch=now, head=record_digest(self.records[0]))

        def show(asked: object, answer: Answer) -> list[Answer]:
            assert isinstance(asked, StateRead)
            return [StateRecords(answer.number, tuple(self.records))]

        self.host.lie = show
        return contents(self.machine.launch(self.host, rules=replace(RULES, recovery=Recovery.NEVER)))


@pytest.fixture
def forger(machine: Lab, host: LabHost) -> Forger:
    return Forger(machine, host)


def refused(code: Code = Code.STATE_REFUSED) -> pytest.RaisesExc[FaultError]:
    return pytest.RaisesExc(FaultError, check=lambda error: error.fault.code is code)


def test_good_order_opens(forger: Forger) -> None:
    forger.seal(CHANGES, 1, svn=1)
    forger.seal(CHANGES, 2, part=0, parts=2, svn=1)
    forger.seal(CHANGES, 2, part=1, parts=2, svn=1)
    forger.seal(CHECKPOINT, 3, part=0, parts=2)
    forger.seal(CHECKPOINT, 3, part=1, parts=2)
    forger.seal(CHANGES, 4)
    assert forger.opens(4) == {"a": b"4"}


def test_versions_that_fall_are_refused(forger: Forger) -> None:
    forger.seal(CHANGES, 1, svn=2)
    forger.seal(CHANGES, 2, svn=1)
    with refused():
        forger.opens(2)


def test_record_of_a_higher_version_is_refused(forger: Forger) -> None:
    forger.seal(CHANGES, 1, svn=3)
    with refused():
        forger.opens(1)


def test_head_of_another_epoch_than_the_anchors_is_a_rollback(forger: Forger) -> None:
    forger.seal(CHANGES, 1)
    with refused(Code.STATE_ROLLED_BACK):
        forger.opens(2)


@pytest.mark.parametrize(
    "records",
    [
        [(CHANGES, 1, {}), (CHANGES, 3, {})],
        [(CHANGES, 1, {}), (CHANGES, 1, {})],
        [(CHANGES, 2, {}), (CHANGES, 1, {})],
        [(CHANGES, 2, {})],
        [(CHANGES, 1, {"part": 0, "parts": 2})],
        [(CHANGES, 1, {"part": 1, "parts": 2})],
        [(CHANGES, 1, {"part": 0, "parts": 2}), (CHANGES, 2, {})],
        [(CHANGES, 1, {"part": 0, "parts": 3}), (CHANGES, 1, {"part": 2, "parts": 3})],
        [(CHANGES, 1, {"part": 0, "parts": 2}), (CHANGES, 1, {"part": 1, "parts": 3}), (CHANGES, 2, {})],
        [(CHECKPOINT, 1, {"part": 0, "parts": 2}), (CHANGES, 1, {"part": 1, "parts": 2})],
        [(CHANGES, 1, {}), (CHECKPOINT, 2, {"part": 1, "parts": 2})],
        [(CHANGES, 1, {"binding": SealBinding.MRENCLAVE})],
        [(CHANGES, 1, {"text": b""})],
        [(CHANGES, 1, {"text": b"\xff" * 40})],
        [(SealedKind.BLOB, 0, {"previous": NO_RECORD})],
        [(SealedKind.BLOB, 0, {"previous": NO_RECORD}), (CHANGES, 1, {})],
    ],
)
def test_any_other_order_is_refused(forger: Forger, records: list[tuple[SealedKind, int, dict[str, Any]]]) -> None:
    for kind, epoch, place in records:
        forger.seal(kind, epoch, **place)
    with refused():
        forger.opens(max(1, records[-1][1]))
