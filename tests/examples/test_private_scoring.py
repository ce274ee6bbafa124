"""Private scoring: what train.py makes, and what the enclave says of people whom the model has not seen."""

import hashlib
import json
import runpy
import subprocess
import sys
from typing import Any

import pytest
from tests.rigs.examples import EXAMPLES, BuiltExample, committed_manifest
from tests.rigs.workshop import PolicyFor

from casemate.client import CallerKey, Client, EnclaveRefusedError
from casemate.images.errors import SchemaMismatchError
from casemate.images.schemas.compiled import compile_schemas
from casemate.wire.protocol.faults import Code

EXAMPLE = EXAMPLES / "private-scoring"
TWINS = pytest.mark.parametrize("name", ["private-scoring", "private-scoring-python"])
"""The function in JavaScript and in Python: the same is expected of both."""
(SCORE,) = compile_schemas(committed_manifest(EXAMPLE)).entries.values()
INPUT: dict[str, Any] = json.loads((EXAMPLE / "input.json").read_bytes())
EXPECTED: dict[str, Any] = json.loads((EXAMPLE / "expected.json").read_bytes())
MODEL: dict[str, Any] = json.loads((EXAMPLE / "guest" / "model.json").read_bytes())
ROWS = 40
"""Held-out people who are scored in an enclave."""


def test_training_anew_gives_a_model_that_judges_the_same() -> None:
    done = subprocess.run([sys.executable, str(EXAMPLE / "train.py"), "--check"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout) == MODEL["held_out"]


def test_checksum_is_the_models() -> None:
    digest = hashlib.sha256((EXAMPLE / "guest" / "model.json").read_bytes()).hexdigest()
    assert (EXAMPLE / "model.sha256").read_text() == f"{digest}  guest/model.json\n"


def test_check_notices_another_model() -> None:
    trainer = runpy.run_path(str(EXAMPLE / "train.py"))
    data = trainer["split"]()
    model = trainer["fit"](data)
    assert trainer["check"](data, model) == []
    (problem,) = trainer["check"](data, model | {"intercept": model["intercept"] + 0.001})
    assert "probabilities are" in problem
    (problem,) = trainer["check"](data, model | {"held_out": {}})
    assert "a newly trained model {}" in problem


def test_the_model_is_better_than_always_saying_benign() -> None:
    trainer = runpy.run_path(str(EXAMPLE / "train.py"))
    people = trainer["people"](trainer["split"]())
    benign = sum(person.diagnosis == "benign" for person in people) / len(people)
    assert benign < 0.65
    assert MODEL["held_out"]["accuracy"] >= 0.97


@pytest.mark.parametrize("changed", [{"mean_radius": -1}, {"mean_radius": 1000}, {"mean_radius": "14"}, {"age": 50}])
def test_schema_refuses_measurements_that_cannot_be(changed: dict[str, Any]) -> None:
    SCORE.input.check(INPUT)
    with pytest.raises(SchemaMismatchError, match=next(iter(changed))):
        SCORE.input.check(INPUT | changed)


@pytest.mark.machine
@TWINS
def test_people_are_scored_as_train_py_scores_them(
    name: str, example: BuiltExample, client: Client, policy_for: PolicyFor
) -> None:
    trainer = runpy.run_path(str(EXAMPLE / "train.py"))
    data = trainer["split"]()
    people = trainer["people"](data)[:ROWS]
    chances = trainer["probabilities"](MODEL, data.held_out)[:ROWS]
    scoring = example(name)
    enclave = client.attest(client.launch(scoring.image), policy_for(scoring.image))
    clinic = scoring.callers["clinic"]
    assert enclave.call("score", INPUT, caller=clinic).value == EXPECTED
    right = 0
    for person, chance in zip(people, chances, strict=True):
        judged = enclave.call("score", person.measurements, caller=clinic).value
        assert judged["probability"] == pytest.approx(chance, abs=1e-5)
        summed = judged["baseline"] + sum(part["contribution"] for part in judged["contributions"])
        assert summed == pytest.approx(judged["log_odds"], abs=1e-4)
        right += judged["verdict"] == person.diagnosis
    assert right / ROWS >= 0.95
    client.destroy(enclave.number)


@pytest.mark.machine
@TWINS
def test_only_named_callers_are_told_anything(
    name: str, example: BuiltExample, client: Client, policy_for: PolicyFor
) -> None:
    scoring = example(name)
    enclave = client.attest(client.launch(scoring.image), policy_for(scoring.image))
    for somebody in (None, CallerKey.generate()):
        with pytest.raises(EnclaveRefusedError) as refused:
            enclave.call("score", INPUT, caller=somebody)
        assert refused.value.fault.code is Code.CALLER_REFUSED
    laboratory = scoring.callers["laboratory"]
    for wrong in ({}, INPUT | {"mean_radius": None}, INPUT | {"__proto__": 1}, [INPUT]):
        with pytest.raises(EnclaveRefusedError) as refused:
            enclave.call("score", wrong, caller=laboratory)
        assert refused.value.fault.code is Code.ARGUMENTS_REFUSED
    assert enclave.call("score", INPUT, caller=laboratory).value == EXPECTED
    client.destroy(enclave.number)
