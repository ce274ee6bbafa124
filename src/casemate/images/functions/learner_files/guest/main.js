/** What the learner's enclave computes. Inputs have passed their schemas before they come here. */

export function statistics({ numbers }) {
  const sorted = [...numbers].sort((a, b) => a - b);
  const count = sorted.length;
  const mean = sorted.reduce((sum, each) => sum + each / count, 0); // divided first: the sum could be beyond a double
  const middle = count >> 1;
  const median = count % 2 ? sorted[middle] : sorted[middle - 1] / 2 + sorted[middle] / 2;
  const variance = sorted.reduce((sum, each) => sum + (each - mean) ** 2 / count, 0);
  return { count, minimum: sorted[0], maximum: sorted[count - 1], mean, median, deviation: Math.sqrt(variance) };
}

export function words({ text, most = 10 }) {
  const counts = new Map();
  let words = 0;
  for (const [word] of text.toLowerCase().matchAll(/[\p{L}\p{N}]+(?:['’][\p{L}\p{N}]+)*/gu)) {
    counts.set(word, (counts.get(word) ?? 0) + 1);
    words += 1;
  }
  const ranked = [...counts].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1));
  return {
    characters: [...text].length,
    words,
    distinct: counts.size,
    frequent: ranked.slice(0, most).map(([word, count]) => ({ word, count })),
  };
}

/** Decimal, as text: the hundredth number is beyond what JSON's numbers count exactly. */
export function fibonacci({ n }) {
  let [value, next] = [0n, 1n];
  for (let left = n; left > 0; left -= 1) [value, next] = [next, value + next];
  return { n, value: value.toString() };
}

/** The sieve of Eratosthenes. */
export function primes({ up_to: upTo }) {
  const composite = new Uint8Array(upTo + 1);
  const found = [];
  for (let number = 2; number <= upTo; number += 1) {
    if (composite[number]) continue;
    found.push(number);
    for (let multiple = number * number; multiple <= upTo; multiple += number) composite[multiple] = 1;
  }
  return { count: found.length, primes: found };
}

export async function hash({ text, algorithm = "SHA-256" }) {
  const digest = new Uint8Array(await crypto.subtle.digest(algorithm, new TextEncoder().encode(text)));
  return { algorithm, hex: [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("") };
}

/** Asks the untrusted host, and says what an answer is worth. */
export function ask_host({ question, message }, context) {
  if (question === "time") {
    const { unix_ms: milliseconds } = context.ocall("time", null);
    const said = new Date(milliseconds);
    const when = Number.isNaN(said.getTime()) ? "no time at all" : said.toISOString();
    return {
      asked: null,
      answered: { unix_ms: milliseconds },
      concluded: `The host says it is ${when}. Nothing here can check that.`,
    };
  }
  const answered = context.ocall("echo", { message });
  const verdict = answered.message === message
    ? "The host gave back what it was given; it also read it."
    : "The host gave back something else: so much for its word.";
  return { asked: { message }, answered, concluded: verdict };
}

export function seal({ data, policy }, context) {
  return { sealed: context.seal(data, policy) };
}

/** What does not open is an answer of its own: a thrown error would tell the caller nothing. */
export function unseal({ sealed }, context) {
  try {
    return { json: JSON.stringify(context.unseal(sealed)) };
  } catch (error) {
    return { refused: String(error.name).slice(0, 64) };
  }
}
