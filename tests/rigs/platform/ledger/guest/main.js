export function write({ key, value }, context) {
  const writes = (context.state.get(key)?.writes ?? 0) + 1;
  context.state.put(key, { value, writes });
  return writes;
}

export function read({ after, limit }, context) {
  const keys = context.state.list("", { after: after ?? undefined, limit });
  return keys.map((key) => ({ key, ...context.state.get(key) }));
}

export function turn(text) {
  return [...text].reverse().join("");
}

export async function tell(text, context) {
  return await context.ocall("echo", text);
}

export function open(text) {
  return turn(text);
}

export function sum(numbers) {
  return numbers.reduce((sum, number) => sum + number, 0);
}

export async function* reverse(_input, _context, chunks) {
  let size = 0;
  for await (const chunk of chunks) {
    size += chunk.length;
    yield chunk.toReversed();
  }
  return size;
}
