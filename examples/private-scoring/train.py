"""Trains the model of this example, and writes all that is made of it; the same each time.

    python3 train.py           # writes guest/model.json, model.sha256, the input's schema, input.json
    python3 train.py --check   # writes nothing; exit code 1 where a newly trained model would judge otherwise

The data are those that scikit-learn ships (`load_breast_cancer`, from the UCI repository: W. Wolberg, O. Mangasarian,
N. Street, W. Street, "Breast Cancer Wisconsin (Diagnostic)", 1993, CC BY 4.0): 569 biopsies, 30 measurements of cell
nuclei each. It needs scikit-learn, which `make setup` installs.
"""

import argparse
import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

HERE = Path(__file__).parent
SEED = 20260101
"""Draws the rows that are held out."""
HELD_OUT = 0.25
"""The part of the rows that the model is not trained on."""
DIGITS = 12
"""Significant digits of the model's numbers: fewer than a different library's last bits change."""
TOLERANCE = 1e-6
"""How far a newly trained model's probabilities may be from the committed one's."""
EVEN = 0.5
"""Above this probability the verdict is malignant."""
RANGE = 3.0
"""Measurements may reach this many times the largest in the data: beyond it somebody has mistaken a unit."""


@dataclass(frozen=True)
class Split:
    """Measurements and diagnoses (1 is malignant), parted."""

    names: list[str]
    highest: list[float]
    train: Any
    train_malignant: Any
    held_out: Any
    held_out_malignant: Any


def split() -> Split:
    """The data as they are trained on and judged by."""
    data = load_breast_cancer()
    malignant = (data.target == list(data.target_names).index("malignant")).astype(int)
    train, held_out, train_malignant, held_out_malignant = train_test_split(
        data.data, malignant, test_size=HELD_OUT, random_state=SEED, stratify=malignant
    )
    return Split(
        [name.replace(" ", "_") for name in data.feature_names],
        data.data.max(axis=0).tolist(),
        train,
        train_malignant,
        held_out,
        held_out_malignant,
    )


def fit(data: Split) -> dict[str, Any]:
    """The model as the function reads it: logistic regression on standardised measurements."""
    scaler = StandardScaler().fit(data.train)
    regression = LogisticRegression(C=0.1, solver="newton-cholesky", tol=1e-10, max_iter=1000)
    regression.fit(scaler.transform(data.train), data.train_malignant)
    features = [
        {"name": name, "mean": _short(mean), "deviation": _short(deviation), "weight": _short(weight)}
        for name, mean, deviation, weight in zip(
            data.names, scaler.mean_, scaler.scale_, regression.coef_[0], strict=True
        )
    ]
    model = {
        "name": "breast-cancer-wisconsin-logistic",
        "version": 1,
        "positive": "malignant",
        "negative": "benign",
        "intercept": _short(regression.intercept_[0]),
        "features": features,
    }
    chances = probabilities(model, data.held_out)
    return model | {
        "held_out": {
            "rows": len(chances),
            "accuracy": round(float(accuracy_score(data.held_out_malignant, chances > EVEN)), 4),
            "roc_auc": round(float(roc_auc_score(data.held_out_malignant, chances)), 4),
            "log_loss": round(float(log_loss(data.held_out_malignant, chances)), 4),
        }
    }


def probabilities(model: dict[str, Any], rows: Any) -> Any:
    """What the model says of rows of measurements, without scikit-learn: as the function computes it."""
    column = {name: np.array([feature[name] for feature in model["features"]]) for name in _NUMBERS}
    log_odds = model["intercept"] + ((rows - column["mean"]) / column["deviation"]) @ column["weight"]
    return 1 / (1 + np.exp(-log_odds))


_NUMBERS = ("mean", "deviation", "weight")


def _short(number: float) -> float:
    return float(f"{number:.{DIGITS}g}")


def input_schema(data: Split) -> dict[str, Any]:
    """What the function takes: each measurement, none below 0, none far above what was ever measured."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The measurements of one biopsy",
        "description": "Made by train.py. Of cell nuclei in a fine needle aspirate: means, standard errors, worst.",
        "type": "object",
        "properties": {
            name: {"type": "number", "minimum": 0, "maximum": _short(float(f"{highest * RANGE:.2g}"))}
            for name, highest in zip(data.names, data.highest, strict=True)
        },
        "required": data.names,
        "additionalProperties": False,
    }


@dataclass(frozen=True)
class Person:
    """One of those whom the model has not seen."""

    measurements: dict[str, float]
    """As the function takes them."""
    diagnosis: str


def people(data: Split) -> list[Person]:
    """The rows that are held out."""
    return [
        Person(dict(zip(data.names, row, strict=True)), "malignant" if malignant else "benign")
        for row, malignant in zip(data.held_out.tolist(), data.held_out_malignant, strict=True)
    ]


def _json(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"


def write(data: Split, model: dict[str, Any]) -> None:
    """All files that are made of the data."""
    text = _json(model)
    (HERE / "guest" / "model.json").write_text(text, encoding="utf-8")
    (HERE / "model.sha256").write_text(f"{hashlib.sha256(text.encode()).hexdigest()}  guest/model.json\n")
    (HERE / "schemas" / "score.input.json").write_text(_json(input_schema(data)), encoding="utf-8")
    (HERE / "input.json").write_text(_json(people(data)[0].measurements), encoding="utf-8")


def check(data: Split, model: dict[str, Any]) -> list[str]:
    """What does not agree with the committed files."""
    text = (HERE / "guest" / "model.json").read_text(encoding="utf-8")
    found = []
    if (HERE / "model.sha256").read_text().split()[0] != hashlib.sha256(text.encode()).hexdigest():
        found.append("model.sha256 is not the checksum of guest/model.json")
    apart = np.abs(probabilities(json.loads(text), data.held_out) - probabilities(model, data.held_out)).max()
    if apart > TOLERANCE:
        found.append(f"a newly trained model's probabilities are {apart:.3g} off, want at most {TOLERANCE:g}")
    if json.loads(text)["held_out"] != model["held_out"]:
        found.append(f"guest/model.json says {json.loads(text)['held_out']}, a newly trained model {model['held_out']}")
    if json.loads((HERE / "schemas" / "score.input.json").read_text()) != input_schema(data):
        found.append("schemas/score.input.json is not made of these data")
    if json.loads((HERE / "input.json").read_text()) != people(data)[0].measurements:
        found.append("input.json is not the first row that was held out")
    return found


def main() -> int:
    """Trains, and writes or checks."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare with the committed files; write nothing")
    options = parser.parse_args()
    data = split()
    model = fit(data)
    if not options.check:
        write(data, model)
    problems = check(data, model)
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    print(json.dumps(model["held_out"]))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
