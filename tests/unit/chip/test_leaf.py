import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.chip.counters import Counters
from casemate.chip.fuses import seeded_fuses
from casemate.chip.leaf import LeafFunctions
from casemate.chip.secs import Secs
from casemate.chip.silicon import Silicon
from casemate.chip.tcb import FIRST_TCB
from casemate.wire.faults import Code, Fault
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
    return LeafFunctions(Silicon(folder, fuses, FIRST_TCB), Counters(folder, fuses))


def ask(leaf: LeafFunctions, question: object) -> object:
    return asyncio.run(leaf.answer(PLAIN, question))  # type: ignore[arg-type] # hostile


@given(raw=st.binary(min_size=512, max_size=512))
def test_arbitrary_key_request_gets_key_or_fault(leaf: LeafFunctions, raw: bytes) -> None:
    assert isinstance(ask(leaf, EGetKey(raw)), KeyIs | Fault)


@given(head=st.binary(min_size=78, max_size=78), name=st.integers(0, 6))
def test_key_request_with_arbitrary_fields_gets_key_or_fault(leaf: LeafFunctions, head: bytes, name: int) -> None:
    policy = bytes((head[2] & 0x3F, 0))
    request = bytes((name, 0)) + policy + head[4:7] + b"\x00" + head[8:]
    assert isinstance(ask(leaf, EGetKey(request.ljust(512, b"\x00"))), KeyIs | Fault)


@given(raw=st.binary(min_size=128, max_size=128), data=st.binary(min_size=64, max_size=64))
def test_arbitrary_target_gets_report_or_fault(leaf: LeafFunctions, raw: bytes, data: bytes) -> None:
    assert isinstance(ask(leaf, EReport(raw.ljust(512, b"\x00"), data)), ReportMade | Fault)


@given(counter=st.binary(min_size=16, max_size=16))
def test_arbitrary_counter_is_a_fault(leaf: LeafFunctions, counter: bytes) -> None:
    for question in (CounterRead(counter), CounterIncrement(counter)):
        answer = ask(leaf, question)
        assert isinstance(answer, Fault)
        assert answer.code is Code.COUNTER_REFUSED


def test_increments_at_the_same_time_each_count(leaf: LeafFunctions) -> None:
    async def work() -> list[object]:
        made = await leaf.answer(PLAIN, CounterCreate())
        assert isinstance(made, CounterIs)
        return await asyncio.gather(*(leaf.answer(PLAIN, CounterIncrement(made.counter)) for _ in range(20)))

    values = [answer.value for answer in asyncio.run(work()) if isinstance(answer, CounterIs)]
    assert values == list(range(1, 21))


def test_full_disk_is_a_fault(leaf: LeafFunctions, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fuses = seeded_fuses("a chip")
    fresh = LeafFunctions(leaf._silicon, Counters(tmp_path, fuses))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("casemate.chip.counters.sync", full)
    answer = ask(fresh, CounterCreate())
    assert isinstance(answer, Fault)
    assert answer.code is Code.UNAVAILABLE
