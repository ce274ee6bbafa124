/** What each line of an order costs, and all of it. The bare engine of the baseline runs this very file. */
export function price({ lines }) {
  const priced = lines.map(({ name, count, cents }) => ({ name, cents: count * cents }));
  return { lines: priced, cents: priced.reduce((sum, line) => sum + line.cents, 0) };
}
