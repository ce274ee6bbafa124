"""The function without an enclave: `python -m unittest discover tests` in this folder, or pytest."""

import json
import math
import sys
import unittest
from pathlib import Path

from casemate.testing.fake_enclave import FakeEnclave

FOLDER = Path(__file__).parent.parent
sys.path.insert(0, str(FOLDER / "guest"))  # where imports start inside the enclave

from logistic import contributions_of, logistic  # noqa: E402
from main import MODEL, score  # noqa: E402

INPUT: dict[str, float] = json.loads((FOLDER / "input.json").read_text())
AVERAGE = {feature["name"]: feature["mean"] for feature in MODEL["features"]}


class Scoring(unittest.TestCase):
    def setUp(self) -> None:
        self.enclave = FakeEnclave(max_kib=None)

    def test_the_examples_result_is_the_committed_one(self) -> None:
        expected = json.loads((FOLDER / "expected.json").read_text())
        self.assertEqual(self.enclave.call(score, INPUT, caller="clinic"), expected)

    def test_somebody_with_average_measurements_has_the_baselines_probability(self) -> None:
        scored = self.enclave.call(score, AVERAGE)
        self.assertEqual(scored["log_odds"], scored["baseline"])
        self.assertAlmostEqual(scored["probability"], 1 / (1 + math.exp(-MODEL["intercept"])), delta=1e-6)
        self.assertEqual({part["contribution"] for part in scored["contributions"]}, {0})

    def test_contributions_sum_up_to_the_log_odds_the_most_telling_first(self) -> None:
        scored = self.enclave.call(score, INPUT)
        parts = [part["contribution"] for part in scored["contributions"]]
        self.assertAlmostEqual(scored["baseline"] + sum(parts), scored["log_odds"], delta=1e-4)
        self.assertEqual(parts, sorted(parts, key=abs, reverse=True))
        self.assertEqual(len(parts), len(MODEL["features"]))

    def test_a_measurement_above_the_mean_adds_what_its_weight_says(self) -> None:
        for feature in MODEL["features"]:
            above = AVERAGE | {feature["name"]: feature["mean"] + feature["deviation"]}
            first = self.enclave.call(score, above)["contributions"][0]
            self.assertEqual(first["feature"], feature["name"])
            self.assertAlmostEqual(first["contribution"], feature["weight"], delta=1e-5)

    def test_extremes_give_certainty_not_infinity(self) -> None:
        self.assertEqual([logistic(odds) for odds in (1000, -1000, 0)], [1, 0, 0.5])
        self.assertGreater(logistic(-700), 0)

    def test_a_measurement_that_is_missing_is_an_error(self) -> None:
        with self.assertRaises(KeyError):
            contributions_of([{"name": "keys", "mean": 0, "deviation": 1, "weight": 1}], {})


if __name__ == "__main__":
    unittest.main()
