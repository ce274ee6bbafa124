export async function* back(_input, _context, chunks) {
  yield* chunks;
}

export async function* into(_input, _context, chunks) {
  let size = 0;
  for await (const chunk of chunks) {
    size += chunk.length;
    yield ".";
  }
  return size;
}
