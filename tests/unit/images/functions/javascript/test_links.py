import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.images.errors import SourceError
from casemate.images.functions.javascript.links import MAX_SOURCE, link_modules

FILES = {
    "guest/main.js": b"",
    "guest/a.js": b"export const a = 1;",
    "guest/lib/b.mjs": b'import { a } from "../a.js"; export { a };',
    "guest/data.json": b"{}",
    "guest/notes.txt": b"",
    "guest/old.ts": b"",
    "schemas/in.json": b"{}",
}


def _link(main: str | bytes) -> list[tuple[str, str]]:
    """Specifier, as it stands in the source, and target of the main module's links."""
    source = main if isinstance(main, bytes) else main.encode()
    links = [link for link in link_modules(FILES | {"guest/main.js": source}).links if link.importer == "guest/main.js"]
    assert all(source[link.start : link.end][1:-1].decode() == link.specifier for link in links)
    return [(source[link.start : link.end].decode(), link.target) for link in links]


@pytest.mark.parametrize(
    ("source", "links"),
    [
        ('import "./a.js"', [('"./a.js"', "guest/a.js")]),
        ("import x from './a.js';", [("'./a.js'", "guest/a.js")]),
        ('import * as x from "./lib/b.mjs"', [('"./lib/b.mjs"', "guest/lib/b.mjs")]),
        ('import x, {y as z} from "./lib/../a.js"', [('"./lib/../a.js"', "guest/a.js")]),
        ('export * from "./a.js"', [('"./a.js"', "guest/a.js")]),
        ('export * as ns from "./a.js"', [('"./a.js"', "guest/a.js")]),
        ('export { a } from "./a.js"', [('"./a.js"', "guest/a.js")]),
        ('import d from "./data.json" with { type: "json" }', [('"./data.json"', "guest/data.json")]),
        ("import d from './data.json' with {'type': 'json',};", [("'./data.json'", "guest/data.json")]),
        (
            '"é"; import "./a.js"; import "./lib/b.mjs";',
            [('"./a.js"', "guest/a.js"), ('"./lib/b.mjs"', "guest/lib/b.mjs")],
        ),
        ('import "./a.js"; import {a} from "./a.js"', [('"./a.js"', "guest/a.js")] * 2),
        ('// import "./none.js"\nconst s = \'import "./none.js"\'; `${"./a.js"}`;', []),
        ("export const url = import.meta.url;", []),
        ('let a = "\u2028\u2029";\r\nimport "./a.js"', [('"./a.js"', "guest/a.js")]),
        ("", []),
    ],
)
def test_links_stand_where_their_specifiers_stand(source: str, links: list[tuple[str, str]]) -> None:
    assert _link(source) == links


@pytest.mark.parametrize(
    ("source", "place", "reason"),
    [
        ('import "fs"', "1:8", "'fs' is not relative"),
        ('\n  import x from "https://example.com/x.js"', "2:17", "is not relative"),
        ('import "/a.js"', "1:8", "is not relative"),
        ('"é"; import "node:fs"', "1:13", "is not relative"),
        ('import "./none.js"', "1:8", r"would be guest/none\.js"),
        ('import "./a"', "1:8", "not a measured file"),
        ('import "../schemas/in.json"', "1:8", "not a measured file under guest/"),
        ('import "../../x.js"', "1:8", "not a measured file"),
        (r'import "./\u0061.js"', "1:8", "without escapes"),
        (f'import "./{"a" * 200}.js"', "1:8", "at most 128 characters"),
        ('import d from "./data.json"', "1:15", "JSON is imported as"),
        ('import d from "./data.json" with { type: "text" }', "1:15", "JSON is imported as"),
        ('import d from "./a.js" with { type: "json" }', "1:15", r"neither a \.js"),
        ('import d from "./notes.txt" with { type: "json" }', "1:15", r"neither a \.js"),
        ('import "./notes.txt"', "1:8", r"neither a \.js"),
        ('import "./old.ts"', "1:8", r"neither a \.js"),
        ('const x = await import("./a.js")', "1:17", r"import\(\) is not available"),
        ("function f() { return import(name) }", "1:23", r"import\(\) is not available"),
        ('import "./main.js"', "1:8", r"guest/main\.js -> guest/main\.js"),
        ("let a;\nconst = 1", "2:1", "not a valid JavaScript module"),
        ("function f( {", "1:1", "not a valid JavaScript module"),
        ("let a;\nlet b = `${", "2:1", "not a valid JavaScript module"),
        ("[(" * 50_000, "1:1", "not a valid JavaScript module"),
        (b"let a;\n\xff", "2:1", "not valid UTF-8"),
        (b" " * (MAX_SOURCE + 1), "1:1", f"at most {MAX_SOURCE}"),
        ("#!/usr/bin/env deno\nlet a;", "1:1", "no #! line"),
        ('\ufeff#!x\rimport("data:,")', "1:2", "no #! line"),
        ("#!x\u2028", "1:1", "no #! line"),
        (" #!x", "1:2", "no #! line"),
        ('let a;\r// b\rimport("x")', "1:7", "a lone CR ends a line"),
        ("let a; // b\u2028let c;", "1:12", r"U\+2028 ends a line"),
        ("let a;\n/* b\u2029 */", "2:5", r"U\+2029 ends a line"),
        ("let a = `\u2028`;", "1:10", r"U\+2028 ends a line"),
        ("let a = '\u2028'; //\u2028", "1:16", r"U\+2028 ends a line"),
        ("let a;\n--> b", "2:1", "no comments of HTML's"),
        ("import source x from './a.js'", "1:15", "not a valid JavaScript module"),
        ("import defer * as x from './a.js'", "1:8", "not a valid JavaScript module"),
        ("import.defer('./a.js')", "1:7", "not a valid JavaScript module"),
    ],
)
def test_refuses_with_file_line_and_column(source: str | bytes, place: str, reason: str) -> None:
    with pytest.raises(SourceError, match=rf"^guest/main\.js:{place}: .*{reason}"):
        _link(source)


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ('{"wei": 12345678901234567890}', "1:9", "an integer beyond"),
        ('{"é": 1,\n "id": 9007199254740992}', "2:8", "an integer beyond"),
        ("[" + "9" * 5000 + "]", "1:2", "an endless integer"),
        ('{"huge": 1e400}', "1:10", "a number beyond a double"),
        ('{"twice": 1, "other": {"twice": 2}, "twice": 3}', "1:37", "the same name twice"),
        ('[{"a": 1,\n  "\\u0061": 2}]', "2:3", "the same name twice"),
        ("[0, NaN]", "1:5", "NaN"),
        ("[-Infinity]", "1:2", "-Infinity"),
        (r'["a", "\ud800"]', "1:7", "no Unicode"),
        ("[" * 65 + "]" * 65, "1:65", "deeper nesting, want at most 64 levels"),
        ("[" * 100_000, "1:65", "deeper nesting"),
        ("not json", "1:1", "not valid JSON"),
        ("[1,\n]", "2:1", "not valid JSON"),
        ("", "1:1", "not valid JSON"),
        ("\ufeff{}", "1:1", "not valid JSON"),
        (b"[1,\n\xff]", "2:1", "no Unicode"),
        ("[" + "0," * 2**19 + "0]", "1:1", "more members"),
    ],
)
def test_json_that_is_imported_has_one_meaning(text: str | bytes, place: str, reason: str) -> None:
    source = text if isinstance(text, bytes) else text.encode()
    importing = {"guest/main.js": b'import d from "./data.json" with { type: "json" };'}
    with pytest.raises(SourceError, match=rf"^guest/data\.json:{place}: this is .*{reason}"):
        link_modules(FILES | importing | {"guest/data.json": source})
    link_modules(FILES | {"guest/data.json": source})  # nobody imports it
    link_modules(FILES | importing | {"guest/data.json": b'{"a": [-0, 0.1, 9007199254740991, "\xf0\x9f\x98\x80"]}'})


JSON_PIECES = st.sampled_from(
    ['"a"', '"b"', ":", ",", "{", "}", "[", "]", "1", "1e999", "9" * 17, "NaN", r'"\ud800"', "é"]
)


@given(st.lists(JSON_PIECES, max_size=12).map("".join).map(str.encode) | st.binary(max_size=20))
def test_any_text_is_json_of_one_meaning_or_refused(text: bytes) -> None:
    importing = {"guest/main.js": b'import d from "./data.json" with { type: "json" };', "guest/data.json": text}
    try:
        link_modules(importing)
    except SourceError:
        return
    json.loads(text)


def test_refuses_modules_that_import_each_other_and_shows_the_circle() -> None:
    files = {
        "guest/main.js": b'import "./a.js"',
        "guest/a.js": b'\nimport "./b.js"',
        "guest/b.js": b'import "./c.js"',
        "guest/c.js": b'import "./a.js"',
    }
    circle = r"guest/a\.js -> guest/b\.js -> guest/c\.js -> guest/a\.js"
    with pytest.raises(SourceError, match=rf"^guest/a\.js:2:8: modules import each other: {circle}"):
        link_modules(files)


def test_a_module_may_be_imported_from_two_sides() -> None:
    files = {
        "guest/main.js": b'import "./a.js"; import "./b.js"',
        "guest/a.js": b'import "./b.js"',
        "guest/b.js": b"",
    }
    assert len(link_modules(files).links) == 3


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("export function f() {} export async function g() {} export function* h() {}", {"f", "g", "h"}),
        ("export class C {} export const a = 1, b = 2; export let c; export var d;", {"C", "a", "b", "c", "d"}),
        ("const a = 1, b = 2; export { a, b as c };", {"a", "c"}),
        ('export { a as b } from "./a.js"; export * as ns from "./a.js";', {"b", "ns"}),
        ("export default function f() {}", set()),
        ("const g = 1; export { g as \"f\", g as 'h' };", {"f", "h"}),
        ('export { a as "f" } from "./a.js"; export * as "ns" from "./a.js";', {"f", "ns"}),
        (r'const g = 1; export { g as "\x66" };', None),
        ("function f() {}", set()),
        ('export * from "./a.js"; export const b = 1;', None),
        ("export const { a, b } = {};", None),
        ("export const [a] = [];", None),
    ],
)
def test_exported_names_are_found_where_they_are_plain(source: str, names: set[str] | None) -> None:
    assert link_modules(FILES | {"guest/main.js": source.encode()}).exports["guest/main.js"] == names


KEYWORDS = ["import ", "export ", "from ", "* ", "{a} ", "default ", "with {type:'json'}", "as x ", "await ", "import("]
MARKS = [
    "(",
    ")",
    "`",
    "${",
    "}",
    ";",
    "\n",
    '"./a.js"',
    "'./data.json'",
    "/*",
    "//",
    "é",
    "\0",
    "\u2028",
    "'",
    '"',
    "\\",
]
WORDS = st.sampled_from([*KEYWORDS, *MARKS])


@given(st.lists(WORDS, max_size=12).map("".join) | st.text(max_size=40) | st.binary(max_size=40))
def test_any_source_is_linked_or_refused(source: str | bytes) -> None:
    try:
        _link(source if isinstance(source, bytes) else source.encode("utf-8", "surrogatepass"))
    except SourceError:
        return
