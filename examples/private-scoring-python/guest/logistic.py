"""Logistic regression: P. McCullagh and J. A. Nelder, "Generalized Linear Models", 1989, section 4.3."""

import math
from collections.abc import Mapping
from typing import NamedTuple, TypedDict


class Feature(TypedDict):
    """A measurement of the model: its mean and standard deviation in the training data, and its weight."""

    name: str
    mean: float
    deviation: float
    weight: float


class Contribution(NamedTuple):
    """What a feature's value adds to the log odds."""

    feature: str
    value: float
    contribution: float


def logistic(log_odds: float) -> float:
    """The probability that log odds stand for; without overflow at either end."""
    if log_odds >= 0:
        return 1 / (1 + math.exp(-log_odds))
    odds = math.exp(log_odds)
    return odds / (1 + odds)


def contributions_of(features: list[Feature], values: Mapping[str, float]) -> list[Contribution]:
    """What each feature adds: its weight times how many standard deviations the value is from the mean.

    They and the intercept sum up to the log odds, so nothing about the score is left unexplained. A value that is
    missing is a KeyError.
    """
    return [
        Contribution(
            feature["name"],
            values[feature["name"]],
            (values[feature["name"]] - feature["mean"]) / feature["deviation"] * feature["weight"],
        )
        for feature in features
    ]
