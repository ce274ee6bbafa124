"""A guest of either engine with one function, given by its body."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.rigs import python_guests
from tests.rigs.engine import engine as javascript_engine
from tests.rigs.engine import main
from tests.rigs.engine_talk import EngineTalk

from casemate.engines.frames import Loaded
from casemate.wire.protocol.manifest import Engine


@contextmanager
def function(
    engine: Engine, body: str, *, errors: tuple[str, ...] = (), is_async: bool = False
) -> Iterator[EngineTalk]:
    """A guest with a function of that body, which finds ``input``, ``context`` and ``state``.

    Its code may use all that a permission can grant.
    """
    keyword = "async " if is_async else ""
    if engine is Engine.PYTHON:
        source = python_guests.body(body).replace("def main", f"{keyword}def main", 1)
        with python_guests.function(source, errors=errors, permissions=python_guests.ALL) as talk:
            yield talk
    else:
        source = f"export {keyword}function main(input, context) {{ const {{state}} = context; {body} }}"
        with javascript_engine() as javascript:
            assert javascript.load(main(source), errors=errors) == Loaded()
            yield javascript
