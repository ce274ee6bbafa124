import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.gateway.http import rate_limits as limits
from casemate.gateway.http.problems import ProblemError
from casemate.gateway.http.rate_limits import AtOnce, Rate, RateLimit


def test_a_burst_passes_and_then_the_rate() -> None:
    limit = RateLimit(Rate(2, 3))
    for _ in range(3):
        limit.check("a", 100.0, whose="a")
    with pytest.raises(ProblemError, match="more than 2 times a second") as refused:
        limit.check("a", 100.0, whose="a")
    assert refused.value.headers == {"Retry-After": "1"}
    limit.check("b", 100.0, whose="b")
    limit.check("a", 100.5, whose="a")
    with pytest.raises(ProblemError):
        limit.check("a", 100.5, whose="a")


@given(st.lists(st.floats(min_value=0, max_value=10), max_size=60))
def test_never_lets_more_through_than_burst_and_rate_allow(pauses: list[float]) -> None:
    limit = RateLimit(Rate(1, 5))
    now, passed = 0.0, 0
    for pause in pauses:
        now += pause
        try:
            limit.check("a", now, whose="a")
        except ProblemError:
            continue
        passed += 1
    assert passed <= 5 + now + 1e-6


def test_keeps_account_of_so_many_names_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_BUCKETS", 2)
    limit = RateLimit(Rate(0.001, 1))
    limit.check("a", 0.0, whose="a")
    limit.check("b", 0.0, whose="b")
    limit.check("c", 0.0, whose="c")
    with pytest.raises(ProblemError):
        limit.check("b", 0.0, whose="b")
    limit.check("a", 0.0, whose="a")  # was forgotten
    assert len(limit._buckets) == 2


def test_counts_what_is_under_way_by_name_and_together() -> None:
    room = AtOnce(each=2, together=3)
    with room.room_for("a", "token a"), room.room_for("a", "token a"):
        with pytest.raises(ProblemError, match="2 requests of token a are under way"), room.room_for("a", "token a"):
            pass
        with room.room_for("b", "b"), pytest.raises(ProblemError, match="3 requests of all"), room.room_for("c", "c"):
            pass
    with room.room_for("a", "a"), room.room_for("a", "a"):
        pass
    assert room._counts == {}
    assert room._all == 0
