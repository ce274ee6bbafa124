"""An enclave's time: its host's clock, and never before what is known to be past."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.rigs.store_lab import Lab, begin, contents, lab, put

from casemate.enclave.enclave_time import EnclaveTime, encode_time, host_clock, parse_time
from casemate.wire.protocol.clock import RELEASED
from casemate.wire.protocol.faults import Code, FaultError

NOW = datetime(2027, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
YEAR = timedelta(days=365)


@dataclass
class HostsClock:
    """A clock that is set."""

    says: datetime

    def __call__(self) -> datetime:
        return self.says


def test_the_hosts_clock_counts_while_it_goes_on() -> None:
    clock = HostsClock(NOW)
    known = EnclaveTime(None, clock)
    assert known.now() == NOW
    clock.says += YEAR
    assert known.now() == NOW + YEAR


def test_no_clock_says_a_time_before_the_release_or_the_build() -> None:
    clock = HostsClock(datetime(1970, 1, 1, tzinfo=UTC))
    assert EnclaveTime(None, clock).now() == RELEASED
    assert EnclaveTime(RELEASED - YEAR, clock).now() == RELEASED
    assert EnclaveTime(RELEASED + YEAR, clock).now() == RELEASED + YEAR


def test_a_clock_set_back_a_year_stays_at_what_is_known_to_be_past() -> None:
    clock = HostsClock(NOW)
    known = EnclaveTime(None, clock)
    known.is_after(NOW - timedelta(days=1))
    clock.says -= YEAR
    assert known.now() == NOW - timedelta(days=1)
    known.is_after(NOW - YEAR)
    assert known.now() == NOW - timedelta(days=1)


def test_commits_have_times_that_never_fall() -> None:
    clock = HostsClock(NOW)
    known = EnclaveTime(None, clock)
    first = known.commit_time(None)
    clock.says -= YEAR
    assert parse_time(known.commit_time(first)) == NOW
    later = encode_time(NOW + YEAR)
    assert parse_time(known.commit_time(later)) == NOW + YEAR
    assert known.now() == NOW + YEAR


@pytest.mark.parametrize("text", [b"", b"x", b"1.5", b"9" * 20, b"9" * 5000, b"null"])
def test_other_text_is_no_time(text: bytes) -> None:
    with pytest.raises(FaultError) as raised:
        parse_time(text)
    assert raised.value.fault.code is Code.STATE_REFUSED


@pytest.mark.parametrize("said", [1e30, -1e30, float("nan"), float("inf")])
def test_an_impossible_clock_is_the_earliest(said: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: said)
    assert EnclaveTime().now() == RELEASED
    assert host_clock() < RELEASED


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Lab]:
    with lab(tmp_path) as made:
        yield made


def test_the_next_launch_knows_the_time_of_the_last_commit(machine: Lab) -> None:
    host, clock = machine.host(), HostsClock(NOW)
    put(machine.launch(host, clock=EnclaveTime(None, clock)), a=b"1")
    clock.says -= YEAR
    known = EnclaveTime(None, clock)
    store = machine.launch(host, clock=known)
    begin(store)
    assert known.now() == NOW
    put(store, a=b"2")
    assert contents(store) == {"a": b"2"}
    clock.says = NOW + YEAR
    put(store, a=b"3")
    clock.says = NOW
    begin(machine.launch(host, clock=(later := EnclaveTime(None, clock))))
    assert later.now() == NOW + YEAR


def test_states_of_enclaves_that_judge_by_nothing_have_no_time(machine: Lab) -> None:
    host = machine.host()
    put(machine.launch(host), a=b"1")
    known = EnclaveTime(None, HostsClock(NOW))
    begin(machine.launch(host, clock=known))
    assert known.past == RELEASED


@pytest.mark.parametrize("own", ["\x00time", "\x00", "\x00a"])
def test_functions_neither_see_nor_write_what_is_the_enclaves_own(own: str, machine: Lab) -> None:
    store = machine.launch(machine.host(), clock=EnclaveTime(None, HostsClock(NOW)))
    put(store, a=b"1")
    transaction = begin(store)
    assert transaction.list() == transaction.list(after=own) == ["a"]
    assert transaction.list(own) == []
    for use in (
        lambda: transaction.get(own),
        lambda: transaction.put(own, b"1"),
        lambda: transaction.delete(own),
        lambda: transaction.compare_and_set(own, None, b"1"),
    ):
        with pytest.raises(FaultError) as raised:
            use()
        assert raised.value.fault.code is Code.STATE_LIMIT
    assert transaction.get_own("time") is not None
