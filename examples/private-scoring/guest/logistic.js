/** Logistic regression: P. McCullagh and J. A. Nelder, "Generalized Linear Models", 1989, section 4.3. */

/** The probability that log odds stand for; without overflow at either end. */
export function logistic(logOdds) {
  if (logOdds >= 0) return 1 / (1 + Math.exp(-logOdds));
  const odds = Math.exp(logOdds);
  return odds / (1 + odds);
}

/**
 * What each feature adds to the log odds: its weight times how many standard deviations the value is from the mean. They
 * and the intercept sum up to the log odds, so nothing about the score is left unexplained.
 *
 * @param {{features: {name: string, mean: number, deviation: number, weight: number}[]}} model
 * @param {Record<string, number>} values
 * @returns {{feature: string, value: number, contribution: number}[]} in the order of the model
 */
export function contributionsOf({ features }, values) {
  return features.map(({ name, mean, deviation, weight }) => {
    if (!Object.hasOwn(values, name)) throw new TypeError(`${name} is missing`);
    return { feature: name, value: values[name], contribution: ((values[name] - mean) / deviation) * weight };
  });
}
