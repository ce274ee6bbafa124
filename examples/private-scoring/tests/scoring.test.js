/** Tests of the function without an enclave: `deno test --no-prompt --allow-read=. tests/` in this folder. */

import assert from "node:assert/strict";
import test from "node:test";
import input from "../input.json" with { type: "json" };
import expected from "../expected.json" with { type: "json" };
import model from "../guest/model.json" with { type: "json" };
import { contributionsOf, logistic } from "../guest/logistic.js";
import { score } from "../guest/main.js";

const average = Object.fromEntries(model.features.map(({ name, mean }) => [name, mean]));

test("the example's result is the committed one", () => {
  assert.deepEqual(score(input), expected);
});

test("somebody with average measurements has the baseline's probability", () => {
  const { log_odds, baseline, probability, contributions } = score(average);
  assert.equal(log_odds, baseline);
  assert.ok(Math.abs(probability - 1 / (1 + Math.exp(-model.intercept))) < 1e-6);
  assert.ok(contributions.every(({ contribution }) => contribution === 0));
});

test("contributions sum up to the log odds, the most telling first", () => {
  const { log_odds, baseline, contributions } = score(input);
  const sum = contributions.reduce((total, { contribution }) => total + contribution, baseline);
  assert.ok(Math.abs(sum - log_odds) < 1e-4);
  const sizes = contributions.map(({ contribution }) => Math.abs(contribution));
  assert.deepEqual(sizes, sizes.toSorted((a, b) => b - a));
  assert.equal(contributions.length, model.features.length);
});

test("a measurement above the mean adds what its weight says", () => {
  for (const { name, deviation, weight } of model.features) {
    const [first] = score({ ...average, [name]: average[name] + deviation }).contributions;
    assert.equal(first.feature, name);
    assert.ok(Math.abs(first.contribution - weight) < 1e-5);
  }
});

test("extremes give certainty, not infinity", () => {
  assert.equal(logistic(1000), 1);
  assert.equal(logistic(-1000), 0);
  assert.equal(logistic(0), 0.5);
  assert.equal(logistic(-700) > 0, true);
});

test("a feature is never taken from an object's prototype", () => {
  const odd = { features: [{ name: "toString", mean: 0, deviation: 1, weight: 1 }] };
  assert.throws(() => contributionsOf(odd, {}), /toString is missing/);
});
