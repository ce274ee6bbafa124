from pathlib import Path

import pytest

from casemate.images.errors import SourceError
from casemate.images.functions.javascript.links import link_modules
from casemate.images.functions.javascript.load_check import check_loads
from casemate.images.layout import Module, load_order
from casemate.testing.lone_spawner import shared_engine

LIBRARY = {"guest/a.js": b"export const a = 1;\nthrow new Error('a module was run');", "guest/d.json": b'{"x": 1}'}


def check(main: str, engine: Path | None = None, **others: str) -> bool:
    more = {f"guest/{name}.js": text.encode() for name, text in others.items()}
    files = {"guest/main.js": main.encode()} | LIBRARY | more
    links = link_modules(files).links
    order = load_order(links, ["guest/main.js"])
    modules = [Module(path, files[path], tuple(link for link in links if link.importer == path)) for path in order]
    return check_loads(shared_engine() if engine is None else engine, modules)


def test_what_can_be_loaded_is_not_run() -> None:
    assert check(
        'import { a } from "./a.js"; import d from "./d.json" with { type: "json" };\nawait new Promise(() => {});'
        "\nconsole.log(a, d); globalThis.x.y.z; export const url = import.meta.url; export * from './b.js';",
        b='\ufeff"é"; for (;;);',
    )


@pytest.mark.parametrize(
    ("main", "place", "words"),
    [
        ("let a;\n  let a;", "2:7", "already been declared"),
        ('import { a } from "./a.js"; let z; let z;', "1:40", "already been declared"),
        ("export const x = <div/>;", "1:", ""),
        ("@dec class A {}", "1:", ""),
        ("const o = 010;", "1:11", "Octal literals"),
        (r"const s = '\08';", "1:13", "Octal escape"),
        ("const ü = 1; with (ü) {}", "1:14", "with statement"),
        ("'é';\nfunction f() { return /(/; }", "2:23", "regular expression"),
        ("x <!-- y", "1:", "HTML comments"),
        ("export { nope };", "1:10", "not defined"),
        ('\nimport { b } from "./a.js";', "2:10", r"'guest/a\.js' does not provide an export named 'b'"),
        ('import d, { x } from "./d.json" with { type: "json" };', "1:13", "does not provide"),
    ],
)
def test_what_cannot_be_loaded_is_refused_with_file_line_and_column(main: str, place: str, words: str) -> None:
    with pytest.raises(SourceError, match=rf"^guest/main\.js:{place}.*the engine cannot load this: .*{words}"):
        check(main)


def test_the_module_at_fault_is_named() -> None:
    with pytest.raises(SourceError, match=r"^guest/b\.js:2:5: the engine cannot load this"):
        check('import "./a.js"; import "./b.js";', b="let x;\nlet x;")


def test_without_an_engine_nobody_is_asked(tmp_path: Path) -> None:
    assert not check("let a;", engine=tmp_path / "none")
    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\nexit 1\n")
    silent.chmod(0o755)
    assert not check("let a;", engine=silent)
