"""Hostile Python streams, and functions that abuse their state, as ``hostile_guests`` has them of JavaScript."""

import textwrap

from casemate.testing.hostile_guests import OK, HostileGuest
from casemate.wire.protocol.faults import Code

_TIME = (Code.TIME_LIMIT,)
_MEMORY = (Code.MEMORY_LIMIT, Code.GUEST_ERROR, Code.TIME_LIMIT)
_THREW = (Code.GUEST_ERROR,)
_CRASHED = (Code.GUEST_CRASHED,)


def _stream(name: str, body: str, outcomes: tuple[str, ...], *, define: str = "async def") -> HostileGuest:
    body = textwrap.indent(textwrap.dedent(body).strip(), "    ")
    return HostileGuest(
        name,
        f"import asyncio\nimport time\n\nkept = []\n\n\n{define} main(input, context, chunks):\n{body}\n\n\n"
        "def other(input, context):\n    return 1\n",
        outcomes,
    )


def _state(name: str, body: str, outcomes: tuple[str, ...], *, head: str = "", **rest: object) -> HostileGuest:
    body = textwrap.indent(textwrap.dedent(body).strip(), "    ")
    source = f"{textwrap.dedent(head)}\n\ndef main(input, context):\n    state = context.state\n{body}\n"
    return HostileGuest(name, source, outcomes, **rest)  # type: ignore[arg-type]


HOSTILE_PYTHON_STREAMS = (
    _stream("never yields", "while True: pass\nyield", _TIME, define="def"),
    _stream("never yields, politely", "while True: await asyncio.sleep(0)\nyield", _TIME),
    _stream("yields garbage", "yield {'length': 5}", (Code.RESULT_REFUSED,)),
    _stream("yields garbage after bytes", "yield 'x'\nyield object()", (Code.RESULT_REFUSED,), define="def"),
    _stream("yields a gibibyte at once", "yield bytes(1 << 30)", (Code.OUTPUT_LIMIT, *_MEMORY, *_CRASHED)),
    _stream("yields a gibibyte in pieces", "for _ in range(1024): yield bytes(1 << 20)", (OK,), define="def"),
    _stream("yields for ever", "while True: yield bytes(1 << 16)", (OK,)),
    _stream(
        "yields views of a buffer that is gone",
        "view = memoryview(bytearray(9))\nview.release()\nyield view",
        (Code.RESULT_REFUSED, *_THREW),
        define="def",
    ),
    _stream(
        "keeps all that it is sent",
        """
        async for chunk in chunks:
            kept.append(chunk)
            yield chunk
        """,
        (OK, *_MEMORY, *_CRASHED),
    ),
    _stream(
        "asks for a million pieces at once",
        """
        for _ in range(10**6):
            kept.append(asyncio.ensure_future(anext(chunks)))
        yield "x"
        await asyncio.sleep(1)
        """,
        (OK, *_MEMORY, *_CRASHED),
    ),
    _stream(
        "asks for pieces without end",
        "while True: kept.append(asyncio.ensure_future(anext(chunks)))\nyield",
        (*_MEMORY, *_CRASHED),
    ),
    _stream("takes pieces without end", "while True: next(chunks)\nyield", _THREW, define="def"),
    _stream(
        "works on behind its pauses",
        """
        async def works():
            while True:
                await asyncio.sleep(0.001)
                end = time.monotonic() + 0.05
                while time.monotonic() < end: pass
        kept.append(asyncio.ensure_future(works()))
        async for chunk in chunks: yield chunk
        """,
        (OK, *_TIME),
    ),
    _stream(
        "a future that is settled in the turn of another",
        "kept.append(asyncio.get_running_loop().create_future())\nyield 'x'\nawait kept[0]",
        _THREW,
    ),
    _stream("throws its own input", "async for chunk in chunks: raise ValueError(chunk)\nyield", _THREW),
    _stream(
        "returns without an end",
        """
        class Endless(dict):
            def items(self):
                while True: pass
        yield "x"
        return Endless(a=1)
        """,
        _TIME,
        define="def",
    ),
    _stream(
        "goes on when it is closed",
        """
        while True:
            try: yield bytes(1 << 16)
            except BaseException: pass
        """,
        (OK,),
        define="def",
    ),
    _stream(
        "stops the event loop",
        "loop = asyncio.get_running_loop()\nasync for chunk in chunks:\n    loop.stop()\n    yield chunk",
        (OK, *_THREW, *_CRASHED),
    ),
    _stream(
        "another stream's context",
        """
        kept.append(context)
        async for chunk in chunks:
            try: kept[0].ocall("time", None)
            except Exception: pass
            yield chunk
        """,
        (OK,),
    ),
)
"""Stepped through as :data:`casemate.testing.hostile_guests.HOSTILE_STREAMS` are.

A generator that is given up runs its ``finally``, so one that never ends there is left out: it costs the next call of
its guest the time limit.
"""

HOSTILE_PYTHON_STATES = (
    _state("reads without end", "while True: state.get('k')", _TIME),
    _state(
        "writes without end",
        "number = 0\nwhile True:\n    state.put(f'k{number}', 'x' * 1000)\n    number += 1",
        (Code.STATE_LIMIT,),
    ),
    _state("writes one key without end", "while True: state.put('k', 1)", _TIME),
    _state("seals without end", "while True: context.seal('x' * 10**6, 'mrenclave')", _TIME),
    _state(
        "a value that asks while it is looked at",
        """
        class Asks(dict):
            def items(self): return [("a", state.get("k") or 1)]
        state.put("k", Asks(a=1))
        return 1
        """,
        (OK,),
        result=1,
    ),
    _state(
        "a value too deep for anybody",
        "value = 1\nfor _ in range(1000): value = [value]\nstate.put('k', value)",
        _THREW,
    ),
    _state("a lone surrogate in a value", "state.put('k', ['\\ud800'])", _THREW),
    _state("a lone surrogate in a seal", "context.seal({'\\udfff': 1}, 'mrenclave')", _THREW),
    _state("a lone surrogate to compare", "state.compare_and_set('k', '\\ud800', 1)", _THREW),
    _state(
        "what is not JSON, caught",
        """
        from casemate.guest import ABSENT
        deep = 1
        for _ in range(65): deep = [deep]
        refused = []
        for value in ("\\ud800", deep, 2**53, {1}, float("nan")):
            for use in (
                lambda: state.put("k", value),
                lambda: context.seal(value, "mrenclave"),
                lambda: state.compare_and_set("k", value, 1),
                lambda: state.compare_and_set("k", ABSENT, value),
            ):
                try: use()
                except TypeError as error: refused.append("is not JSON: " in str(error))
        return [all(refused), len(refused)]
        """,
        (OK,),
        result=[True, 20],
    ),
    _state("a value of too many members", "state.put('k', [1] * 600_000)", (*_THREW, *_TIME)),
    _state(
        "a special name as a key",
        """
        state.put("__class__", {"a": 1})
        state.put("__proto__", 2)
        return [state.get("__class__"), state.get("__proto__"), state.get("__dict__", 0), state.list("_")]
        """,
        (OK,),
        result=[{"a": 1}, 2, 0, ["__class__", "__proto__"]],
    ),
    _state(
        "another call's state",
        """
        global kept
        if kept is None:
            kept = state
            return 0
        try: kept.put("k", 1)
        except RuntimeError as error: return str(error)
        return "kept"
        """,
        (OK,),
        head="kept = None",
        result=0,
        then=(OK,),
    ),
)
"""Functions with a state of 16 KiB."""
