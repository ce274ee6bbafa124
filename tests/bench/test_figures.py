import pytest
from bench.figures import Kind, Row, Stats, Target, interleave
from bench.report import Conditions, as_json, print_table


def stats(median: float) -> Stats:
    return Stats.of([median])


def test_percentiles_are_nearest_ranks() -> None:
    assert Stats.of(range(1, 101)) == Stats(100, 50.5, 11, 91, 100)


@pytest.mark.parametrize(
    ("target", "met"),
    [
        (Target(Kind.VALUE, 10, "≤ 10 ms"), True),
        (Target(Kind.VALUE, 9, "≤ 9 ms"), False),
        (Target(Kind.RATIO, 5, "≤ 5x"), True),
        (Target(Kind.RATIO, 4, "≤ 4x"), False),
        (Target(Kind.OVER, 8, "≤ +8 ms"), True),
        (Target(Kind.OVER, 7, "≤ +7 ms"), False),
        (None, None),
    ],
)
def test_medians_are_held_against_the_target(target: Target | None, met: bool | None) -> None:
    assert Row("a", "row", "ms", stats(10), "something", stats(2), target).met is met


def test_what_was_not_measured_meets_nothing() -> None:
    row = Row("a", "row", "MiB", None, target=Target(Kind.VALUE, 1, "≤ 1 MiB"), note="why")
    assert row.met is None
    assert row.ratio is None
    assert row.document()["figure"] is None


def test_target_over_a_baseline_needs_one() -> None:
    with pytest.raises(TypeError, match="without its baseline"):
        _ = Row("a", "row", "ms", stats(1), target=Target(Kind.RATIO, 1, "≤ 1x")).met


def test_arms_take_turns_in_both_directions() -> None:
    done: list[str] = []

    def arm(name: str, seconds: float) -> float:
        done.append(name)
        return seconds

    samples = interleave(2, lambda: arm("a", 1.0), lambda: arm("b", 2.0), warm_up=1)
    assert done == ["a", "b", "a", "b", "b", "a"]
    assert samples == [[1.0, 1.0], [2.0, 2.0]]


def test_table_and_document_hold_the_same_rows(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        Row("launch", "cold", "ms", stats(123), "bare", stats(10), Target(Kind.VALUE, 100, "≤ 100 ms")),
        Row("memory", "chip", "MiB", None, note="readable by root alone"),
    ]
    conditions = Conditions(quick=True, real_time=False, seconds=1.0, load_before=0.5, load_after=0.6)
    print_table(rows, conditions)
    shown = capsys.readouterr().out
    for text in ("cold", "123 ms", "not met", "12.30", "bare", "not measured", "readable by root alone", "--quick"):
        assert text in shown
    assert '"met": false' in as_json(rows, conditions)
