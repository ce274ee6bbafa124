"""A function with streams of every kind."""

import hashlib
from collections.abc import Iterator

from tests.rigs.workshop import ANYTHING, ANYTHING_OUT

from casemate.wire.protocol.call import MAX_CHUNK
from casemate.wire.protocol.manifest import Engine

SOURCES = {
    Engine.JAVASCRIPT: """
export async function* through(input, context, chunks) {
  let pieces = 0, size = 0;
  for await (const chunk of chunks) {
    pieces += 1;
    size += chunk.length;
    if (input.echo) yield chunk;
  }
  return { pieces, size, caller: context.caller?.name ?? null };
}

export async function* counts(input) {
  for (let number = 0; number < input.to; number += 1) yield `${number}\\n`;
  return {};
}

export function main(input) {
  return input;
}
""",
    Engine.PYTHON: """
def through(input, context, chunks):
    pieces = size = 0
    for chunk in chunks:
        pieces += len(chunk) > 0
        size += len(chunk)
        yield chunk if input["echo"] else b""
    return {"pieces": pieces, "size": size, "caller": context.caller and context.caller.name}


async def counts(input, context, chunks):
    for number in range(input["to"]):
        yield f"{number}\\n"
    context.finish({})


def main(input, context):
    return input
""",
}

FINISHES = """
async def main(input, context, chunks):
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        yield chunk.upper()
    for _ in range(input):
        context.finish({"size": size})
"""
"""A stream of Python that counts its input, and gives a result as often as it is told."""

STREAM = {"input": ANYTHING, "output": ANYTHING_OUT, "callers": "anyone", "stream": True}
ENTRIES = {"through": STREAM, "counts": STREAM, "main": {**STREAM, "stream": False}}


def chunks(mebibytes: int) -> Iterator[bytes]:
    """Pieces that differ, so that none can stand for another."""
    for number in range(mebibytes):
        yield number.to_bytes(8, "little") * (MAX_CHUNK // 8)


def digest(mebibytes: int) -> str:
    whole = hashlib.sha256()
    for chunk in chunks(mebibytes):
        whole.update(chunk)
    return whole.hexdigest()
