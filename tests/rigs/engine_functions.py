"""A guest of either engine with one function, given by its body."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.rigs.engine import engine as javascript_engine
from tests.rigs.engine import main
from tests.rigs.engine_talk import EngineTalk
from tests.rigs.python_guests import ALL
from tests.rigs.python_guests import body as python_body
from tests.rigs.python_guests import function as python_function

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
        source = python_body(body).replace("def main", f"{keyword}def main", 1)
        with python_function(source, errors=errors, permissions=ALL) as talk:
            yield talk
    else:
        source = f"export {keyword}function main(input, context) {{ const {{state}} = context; {body} }}"
        with javascript_engine() as javascript:
            assert javascript.load(main(source), errors=errors) == Loaded()
            yield javascript
