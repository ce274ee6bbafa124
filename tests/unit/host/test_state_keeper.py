import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from tests.rigs.host.records import ALICE, BOB, HEADER

from casemate.host.records import Records, RecordsError
from casemate.host.state_keeper import StateKeeper, namespaces_of
from casemate.wire.messages.host import EnclaveIs
from casemate.wire.messages.state import (
    StateAppend,
    StateForget,
    StateRead,
    StateRecords,
    StateRefused,
    StateStored,
)
from casemate.wire.protocol.faults import Code, FaultError
from casemate.wire.protocol.lifecycle import State
from casemate.wire.protocol.seal_binding import SealBinding, state_namespace
from casemate.wire.protocol.sealed_record import SealedRecord, record_digest
from casemate.wire.protocol.tee import Identity, Tee

T = TypeVar("T")
MINE = frozenset({ALICE})
RECORD = SealedRecord(HEADER, bytes(16)).encode()


def run(path: Path, *questions: Any, namespaces: frozenset[bytes] = MINE) -> list[Any]:
    async def ask() -> list[Any]:
        keeper = StateKeeper(path)
        try:
            return [await keeper.answer(question, namespaces) for question in questions]
        finally:
            await keeper.close()

    return _run(ask())


def _run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(work, 10))


def test_answers_carry_their_questions_numbers(tmp_path: Path) -> None:
    said = run(
        tmp_path / "records.db",
        StateRead(1, ALICE, None),
        StateAppend(7, RECORD),
        StateRead(8, ALICE, record_digest(RECORD)),
        StateRead(9, ALICE, None),
        StateForget(ALICE, record_digest(RECORD)),
    )
    assert said == [
        StateRecords(1, ()),
        StateStored(7),
        StateRecords(8, (RECORD,)),
        StateRecords(9, (RECORD,)),
        None,
    ]


def test_another_enclaves_state_is_neither_shown_nor_touched(tmp_path: Path) -> None:
    path = tmp_path / "records.db"
    assert run(path, StateAppend(1, RECORD)) == [StateStored(1)]
    questions = (
        StateRead(2, ALICE, record_digest(RECORD)),
        StateRead(3, ALICE, None),
        StateAppend(4, RECORD),
        StateForget(ALICE, record_digest(RECORD)),
    )
    *refused, forgotten = run(path, *questions, namespaces=frozenset({BOB}))
    assert [(answer.number, answer.fault.code) for answer in refused] == [(n, Code.STATE_REFUSED) for n in (2, 3, 4)]
    assert forgotten is None
    assert run(path, questions[0]) == [StateRecords(2, (RECORD,))]


@pytest.mark.parametrize("record", [b"", bytes(1000), RECORD[:100]])
def test_what_is_no_record_is_refused(tmp_path: Path, record: bytes) -> None:
    (answer,) = run(tmp_path / "records.db", StateAppend(5, record))
    assert isinstance(answer, StateRefused)
    assert answer.number == 5


def test_a_database_that_fails_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RecordsError("records.db: disk I/O error")

    for name in ("append", "read", "forget", "states"):
        monkeypatch.setattr(Records, name, fail)
    path = tmp_path / "records.db"
    for answer in run(path, StateAppend(1, RECORD), StateRead(2, ALICE, ALICE)):
        assert isinstance(answer, StateRefused)
        assert (answer.fault.code, answer.fault.reason) == (Code.UNAVAILABLE, "records.db: disk I/O error")
    assert run(path, StateForget(ALICE, ALICE)) == [None]
    with pytest.raises(FaultError, match="disk I/O error"):
        _run(StateKeeper(path).states())


def test_an_enclave_has_a_state_for_each_policy() -> None:
    shown = EnclaveIs(
        enclave=1, name="x", mr_enclave=b"e" * 32, mr_signer=b"s" * 32, isv_prod_id=7, isv_svn=2, debug=False,
        image=bytes(32),
        state=State.RUNNING, reason="",
    )  # fmt: skip
    assert namespaces_of(shown) == {
        state_namespace(policy, Identity(Tee.SGX, b"e" * 32, b"s" * 32, 7, 2, debug=False)) for policy in SealBinding
    }
