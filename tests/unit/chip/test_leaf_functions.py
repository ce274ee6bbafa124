import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.chip.anchors import Anchors
from casemate.chip.fuses import seeded_fuses
from casemate.chip.leaf_functions import LeafFunctions
from casemate.chip.sgx.attester import SgxAttester
from casemate.chip.sgx.platform import SgxPlatform
from casemate.chip.sgx.secs import Secs
from casemate.chip.sgx.tcb import FIRST_TCB
from casemate.wire.messages.leaf import (
    AnchorAdvance,
    AnchorIs,
    AnchorRead,
    GetSealingKey,
    KeyIs,
    MakeReport,
    ReportMade,
)
from casemate.wire.protocol.faults import Code, Fault
from casemate.wire.protocol.seal_binding import SealBinding
from casemate.wire.sgx.attributes import AttributeFlag, Attributes, CetAttributes, MiscSelect

PLAIN = Secs(
    attributes=Attributes(AttributeFlag.INIT | AttributeFlag.MODE64BIT, 3), misc_select=MiscSelect(0),
    cet_attributes=CetAttributes(0), mr_enclave=bytes(32), mr_signer=bytes(32), isv_prod_id=0, isv_svn=0xFFFF,
    isv_ext_prod_id=bytes(16), isv_family_id=bytes(16), config_id=bytes(64), config_svn=0,
)  # fmt: skip


@pytest.fixture(scope="module")
def leaf(tmp_path_factory: pytest.TempPathFactory) -> LeafFunctions:
    fuses = seeded_fuses("a chip")
    folder = tmp_path_factory.mktemp("chip")
    return LeafFunctions(Anchors(folder, fuses))


def attester(secs: Secs = PLAIN) -> SgxAttester:
    """An enclave of that chip."""
    return SgxAttester(SgxPlatform(Path("/nonexistent"), seeded_fuses("a chip"), FIRST_TCB), secs)


def ask(leaf: LeafFunctions, question: object) -> object:
    return asyncio.run(leaf.answer(attester(), question))  # type: ignore[arg-type] # hostile


@given(
    policy=st.sampled_from(SealBinding),
    svn=st.integers(0, 0xFFFF),
    tcb=st.binary(min_size=16, max_size=16),
    key_id=st.binary(min_size=32, max_size=32),
)
def test_arbitrary_sealing_key_is_given_or_refused(
    leaf: LeafFunctions, policy: SealBinding, svn: int, tcb: bytes, key_id: bytes
) -> None:
    assert isinstance(ask(leaf, GetSealingKey(policy, svn, tcb, key_id)), KeyIs | Fault)


@given(raw=st.binary(min_size=128, max_size=128), data=st.binary(min_size=64, max_size=64))
def test_arbitrary_target_gets_report_or_fault(leaf: LeafFunctions, raw: bytes, data: bytes) -> None:
    assert isinstance(ask(leaf, MakeReport(raw.ljust(512, b"\x00"), data)), ReportMade | Fault)


@given(epoch=st.integers(1, 2**64 - 1), head=st.binary(min_size=32, max_size=32))
def test_arbitrary_step_is_a_conflict(leaf: LeafFunctions, epoch: int, head: bytes) -> None:
    answer = ask(leaf, AnchorAdvance(SealBinding.MRENCLAVE, epoch, head))
    assert isinstance(answer, Fault)
    assert answer.code is Code.STATE_CONFLICT


def test_of_steps_at_the_same_time_one_is_taken(leaf: LeafFunctions) -> None:
    async def work() -> list[object]:
        steps = [AnchorAdvance(SealBinding.MRSIGNER, 0, bytes([number]) * 32) for number in range(20)]
        return await asyncio.gather(*(leaf.answer(attester(), step) for step in steps))

    answers = asyncio.run(work())
    taken = [answer for answer in answers if isinstance(answer, AnchorIs)]
    assert [anchor.epoch for anchor in taken] == [1]
    assert {answer.code for answer in answers if isinstance(answer, Fault)} == {Code.STATE_CONFLICT}
    assert ask(leaf, AnchorRead(SealBinding.MRSIGNER)) == taken[0]


def test_lower_version_is_refused_for_reading_as_well(leaf: LeafFunctions) -> None:
    older = attester(replace(PLAIN, mr_signer=b"o" * 32, isv_svn=2))
    newer = attester(replace(older.secs, isv_svn=3))

    async def work() -> list[object]:
        first = await leaf.answer(older, AnchorAdvance(SealBinding.MRSIGNER, 0, b"1" * 32))
        second = await leaf.answer(newer, AnchorAdvance(SealBinding.MRSIGNER, 1, b"2" * 32))
        refused = [
            await leaf.answer(older, AnchorRead(SealBinding.MRSIGNER)),
            await leaf.answer(older, AnchorAdvance(SealBinding.MRSIGNER, 2, b"3" * 32)),
        ]
        return [first, second, *refused]

    first, second, *refused = asyncio.run(work())
    assert isinstance(first, AnchorIs)
    assert isinstance(second, AnchorIs)
    assert (first.isv_svn, second.isv_svn) == (2, 3)
    assert [answer.code for answer in refused if isinstance(answer, Fault)] == [Code.STATE_REFUSED] * 2


def test_full_disk_is_a_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fuses = seeded_fuses("a chip")
    fresh = LeafFunctions(Anchors(tmp_path, fuses))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("casemate.chip.anchors.sync_content", full)
    answer = ask(fresh, AnchorAdvance(SealBinding.MRENCLAVE, 0, bytes(32)))
    assert isinstance(answer, Fault)
    assert answer.code is Code.UNAVAILABLE
