from pathlib import PurePath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.rigs.levels import EXAMPLES, PROFILE, level_of


@pytest.mark.parametrize(
    ("test", "level"),
    [
        ("unit/wire/sgx/test_quote.py", "unit"),
        ("channel/test_relay.py", "channel"),
        ("hostile/test_costs.py", "channel"),
        ("e2e/test_gateway.py", "chain"),
        ("docs/test_site.py", "chain"),
    ],
)
def test_a_level_follows_from_the_folder(test: str, level: str) -> None:
    assert level_of(PurePath(test)) == level


@pytest.mark.parametrize("profile", EXAMPLES)
def test_the_higher_a_level_the_fewer_inputs(profile: str) -> None:
    levels = EXAMPLES[profile]
    assert levels["unit"] > levels["channel"] > levels["chain"] > 0


def test_hypothesis_tries_as_many_inputs_as_the_level_of_the_test_says() -> None:
    tried = []

    @given(st.integers())
    def try_one(number: int) -> None:
        tried.append(number)

    try_one()
    assert len(tried) == settings.get_profile(f"{PROFILE} chain").max_examples == EXAMPLES[PROFILE]["chain"]
