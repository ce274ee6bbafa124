"""The imports of JavaScript that a caller brings, found at the top of a source."""

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.engines.javascript.brought_imports import MAX_IMPORTS, MAX_TOP, ImportRefusedError, brought_links

FILES = dict.fromkeys(("main.js", "a.js", "sub/b.mjs", "c.json"), b"")


@pytest.mark.parametrize(
    ("source", "targets"),
    [
        ("", []),
        ("export const x = './a.js';", []),
        ("import './a.js'", ["a.js"]),
        ('import"./a.js";import x from"./sub/b.mjs"', ["a.js", "sub/b.mjs"]),
        ("// import './no.js'\n/* import './no.js' **/import {\n x as y,\n} from './a.js'", ["a.js"]),
        ("import d, * as all from './a.js';export * from './sub/b.mjs';export {x} from './a.js';x", ["a.js"]),
        ("import c from './c.json' with { type: 'json' }", ["c.json"]),
        ("let x; import './a.js'", []),
        ("export default 'from'; import './a.js'", []),
        ("import\n(('./a.js'))", []),
        ("/* never closed import './a.js'", []),
    ],
)
def test_imports_at_the_top_are_found(source: str, targets: list[str]) -> None:
    found = brought_links("main.js", source.encode(), FILES)
    assert [link.target for link in found][: len(targets)] == targets
    for link in found:
        assert source.encode()[link.start : link.end][1:-1].decode() == link.specifier


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("\n\nimport './none.js'", "main.js:3: './none.js'"),
        ("import 'a.js'", "none of the modules"),
        ("import '../../a.js'", "none of the modules"),
        ("import 'data:text/javascript,1'", "none of the modules"),
        ("import './c.json'", "none of the modules"),
        ("import './a.js' with { type: 'json' }", "none of the modules"),
        ("import './a.js';" * (MAX_IMPORTS + 1), f"at most {MAX_IMPORTS}"),
    ],
)
def test_others_are_refused_with_their_line(source: str, words: str) -> None:
    with pytest.raises(ImportRefusedError, match=words.replace("(", ".")):
        brought_links("main.js", source.encode(), FILES)


@given(st.text("import expofr{}*,;'\"./a\n\t ajs()").map(str.encode))
def test_any_text_is_read_or_refused(source: bytes) -> None:
    try:
        found = brought_links("main.js", source, FILES)
    except ImportRefusedError:
        return
    assert all(link.target in FILES and link.end <= MAX_TOP for link in found)


@pytest.mark.parametrize("piece", [b"/*", b"//", b" ", b"import ", b"import{", b"/**", b"import './a.js'\n", b"*/"])
def test_the_worst_text_takes_no_time(piece: bytes) -> None:
    source = (piece * (1024 * 1024))[: 1024 * 1024]
    began = time.process_time()
    with contextlib.suppress(ImportRefusedError):
        brought_links("main.js", source, FILES)
    assert time.process_time() - began < 0.5
