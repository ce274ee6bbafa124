from casemate.supervisor.process import FIRST_PAUSE, MAX_DEATHS, WINDOW, Deaths


def test_a_first_death_is_made_good_at_once() -> None:
    deaths = Deaths()
    deaths.note(100.0)
    assert deaths.pause(100.0) == 0
    assert not deaths.too_many(100.0)


def test_each_further_one_waits_twice_as_long_and_the_last_one_ends_the_machine() -> None:
    deaths = Deaths()
    pauses = []
    for second in range(MAX_DEATHS):
        deaths.note(float(second))
        pauses.append(deaths.pause(float(second)))
    assert pauses == [0, FIRST_PAUSE, FIRST_PAUSE * 2, FIRST_PAUSE * 4, FIRST_PAUSE * 8]
    assert deaths.too_many(MAX_DEATHS - 1.0)


def test_deaths_of_long_ago_do_not_count() -> None:
    deaths = Deaths()
    for minute in range(10 * MAX_DEATHS):
        now = minute * WINDOW / (MAX_DEATHS - 1)
        deaths.note(now)
        assert not deaths.too_many(now)
