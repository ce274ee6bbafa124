"""Scores one person's measurements with a logistic regression that train.py has made.

The model is measured with this code: everybody can read it, and a receipt says which one judged. The measurements are
the caller's, and are kept nowhere.
"""

import json
import math
import pkgutil
from typing import Any

from logistic import contributions_of, logistic

from casemate.guest import Context

DECIMALS = 6
"""Decimals that are shown: what differs behind them from machine to machine is not."""

EVEN = 0.5
"""Above this probability the verdict is the model's ``positive``."""

MODEL: dict[str, Any] = json.loads(pkgutil.get_data(__name__, "model.json") or b"")


def score(measurements: dict[str, float], _context: Context) -> dict[str, Any]:
    """The probability, and what each measurement adds to it, the most telling first.

    Args:
        measurements: one for each feature of the model, as the schema demands.
    """
    contributions = contributions_of(MODEL["features"], measurements)
    # fsum: the same last bits under each version of Python, which `sum` does not have
    log_odds = math.fsum([MODEL["intercept"], *(part.contribution for part in contributions)])
    probability = logistic(log_odds)
    contributions.sort(key=lambda part: (-abs(part.contribution), part.feature))
    return {
        "model": {"name": MODEL["name"], "version": MODEL["version"], "accuracy": MODEL["held_out"]["accuracy"]},
        "verdict": MODEL["positive"] if probability > EVEN else MODEL["negative"],
        "probability": round(probability, DECIMALS),
        "log_odds": round(log_odds, DECIMALS),
        "baseline": round(MODEL["intercept"], DECIMALS),
        "contributions": [
            {"feature": part.feature, "value": part.value, "contribution": round(part.contribution, DECIMALS)}
            for part in contributions
        ],
    }
