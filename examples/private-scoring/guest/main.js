/**
 * Scores one person's measurements with a logistic regression that train.py has made.
 *
 * The model is measured with this code: everybody can read it, and a receipt says which one judged. The measurements are
 * the caller's, and are kept nowhere.
 */

import model from "./model.json" with { type: "json" };
import { contributionsOf, logistic } from "./logistic.js";

/** Decimals that are shown: what differs behind them from machine to machine is not. */
const DECIMALS = 6;

/**
 * The probability, and what each measurement adds to it, the most telling first.
 *
 * @param {Record<string, number>} measurements one for each feature of the model, as the schema demands
 */
export function score(measurements) {
  const contributions = contributionsOf(model, measurements);
  const logOdds = contributions.reduce((sum, { contribution }) => sum + contribution, model.intercept);
  const probability = logistic(logOdds);
  contributions.sort((a, b) => Math.abs(b.contribution) - Math.abs(a.contribution) || (a.feature < b.feature ? -1 : 1));
  return {
    model: { name: model.name, version: model.version, accuracy: model.held_out.accuracy },
    verdict: probability > 0.5 ? model.positive : model.negative,
    probability: rounded(probability),
    log_odds: rounded(logOdds),
    baseline: rounded(model.intercept),
    contributions: contributions.map(({ feature, value, contribution }) => ({
      feature,
      value,
      contribution: rounded(contribution),
    })),
  };
}

const rounded = (number) => Number(number.toFixed(DECIMALS));
