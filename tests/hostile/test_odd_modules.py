"""Odd modules through the builder and through V8: what the builder accepts imports what its links say, and no more."""

import base64
import itertools
import json
import subprocess
from pathlib import Path

import pytest

from casemate.images.errors import SourceError
from casemate.images.functions.javascript.links import link_modules
from casemate.testing.lone_spawner import shared_engine

SCRIPT = Path(__file__).with_name("module_requests.js")
FILES = {f"guest/{name}.js": b"export const a = 1; export default 1;" for name in "pqr"} | {"guest/d.json": b"{}"}

PAYLOADS = ('import("./p.js");', 'import "./p.js";', 'import/**/("./p.js")', "`${import('./p.js')}`")
LINE_ENDS = ("\n", "\r\n", "\r", "\u2028", "\u2029", "\x0b", "\x0c", "\x85", "\ufeff", "\0", "\u200b")

AROUND = (
    *((f"#!x{end}", "") for end in LINE_ENDS),
    *((f"\ufeff#!x{end}", "") for end in LINE_ENDS),
    *((f" #!x{end}", "") for end in LINE_ENDS),
    *((f"// x{end}", "") for end in LINE_ENDS),
    *((f"x = '\\{end}", "'") for end in LINE_ENDS),
    *((f"'{end}", "'") for end in LINE_ENDS),
    *((f"/x{end}", "/") for end in LINE_ENDS),
    *((f"`{end}", "`") for end in LINE_ENDS),
    *((f"x{end}<!-- ", "") for end in LINE_ENDS),
    *((f"let x{end}--> ", "") for end in LINE_ENDS),
    *((f"/*{end}*/ --> ", "") for end in LINE_ENDS),
    *((f"await 0{end}", "") for end in LINE_ENDS),
    *((f"throw{end}", "") for end in LINE_ENDS),
    ("", ""),
    ("\ufeff", ""),
    ("\ufeff\ufeff", ""),
    ("/* ", " */"),
    ("/* * / ", " */"),
    ("/*/ ", " /*/"),
    ("let a = 1, b = 2; a = b / 2; /* / ", " */"),
    ("let a = 1, g = 1; a++ / 2; ", " / g"),
    ("let a = 1, g = 1; a /", "/ g"),
    ("if (1) /'/.test(''); ", " /'/"),
    ("if (1) / ", " /.test('')"),
    ("let x = {} / 1; /", "/"),
    ("{} /", "/.test('')"),
    ("(function () {} / 1); /[/]'/; ", " //'"),
    ("function f() {} /", "/.test('')"),
    ("let x = a => {}\n/", "/.test('')"),
    ("for (let of of []) /", "/.test('')"),
    ("let yield_ = 1; yield_ /", "/ 1"),
    ("let a = `}`; /`/; ", " /`/"),
    ("/[`]/; ", " /[`]/"),
    ("/[/*]/; ", " /[*/]/"),
    ("/\\/*/; ", " /*/"),
    ("let a = 4, i = 1; a++\n/ ", "/i"),
    ("typeof /", "/"),
    ("let x = 1 ? /", "/ : 2"),
    ("`${`", "`}`"),
    ("`${`${'}'}`}`; ", ""),
    ("`${{a: `", "`}.a}`"),
    ("`\\${", "}`"),
    ("`$\\{", "}`"),
    ("`\\`", "`"),
    ("'\\'", "'"),
    ('"\\\\"; ', ' "'),
    ("let o = {import() {}, set import(x) {}}; o.", ""),
    ("let o = {import: (x) => x}; o.", ""),
    ("let o = {import: (x) => x}; o?.", ""),
    ("let o = {import: (x) => x}; o. // x\n", ""),
    ("class A { static import(x) {} } A.", ""),
    ("class A { static #import(x) {} static { A.#", " } }"),
    ("new ", ""),
    ("x: ", ""),
    ("with (x) ", ""),
    ("if (0) ", ""),
    ("(() => { ", " })()"),
    ("(async () => { await ", " })()"),
    ("(function* () { yield ", " })().next()"),
    ("class A { [", "] = 1 }"),
    ("class A { static { ", " } }"),
    ("class A { x = ", " } new A()"),
    ("let {x = ", "} = {}"),
    ("export default ", ""),
    ("export const x = ", ""),
    ("let x = <a>{", "}</a>"),
    ("let x = <a>", "</a>"),
    ("let x = <a b='", "'/>"),
    ("1..", ""),
    ("1_0; ", ""),
    ("0x; ", ""),
    ("let x = 08; ", ""),
    ("'\\08'; ", ""),
    ("debugger; ", ""),
    ("@", " class A {}"),
    ("let x = /(?<a>.)\\k<a>/v; ", ""),
    ("let x = /[[a]--[b]]/v; ", ""),
    ("let x = /[[/]/v; ", " /]/v"),
    ("let \\u{78} = 1; ", ""),
    ("let x\\u0020; ", ""),
    ("\\u002f\\u002f ", ""),
    ("\\u0022", "\\u0022"),
    ("a\\\n", ""),
    ("let async; async\n", ""),
    ("export * as 'x' from './q.js'; ", ""),
    ("export {a as 'from'} from './q.js'; ", ""),
    ("let from = 1; from\n'./q.js'; ", ""),
    ("import from from './q.js'; ", ""),
    ("import * as from from './q.js'; ", ""),
    ("import {default as from} from './q.js'; ", ""),
    ("import {} from './q.js'; ", ""),
    ("export {} from './q.js'; ", ""),
    ("import './q.js'\nimport './r.js'; ", ""),
    ("import d from './d.json' with {type: 'json'}; ", ""),
    ("import d from './d.json' with {type: 'json', x: 'y'}; ", ""),
    ("import d from './d.json' assert {type: 'json'}; ", ""),
    ("import d, * as e from './q.js'; ", ""),
    ("import d, {a} from './q.js'; ", ""),
)

ALONE = (
    "\\u0069mport('./p.js')",
    "im\\u0070ort './p.js'",
    "import('./p.js', {with: {}})",
    "import(...['./p.js'])",
    "import()",
    "import\n('./p.js')",
    "import\u2028('./p.js')",
    "import\ufeff('./p.js')",
    "import//\n('./p.js')",
    "import.meta.resolve('./p.js')",
    "import.meta",
    "import\n.meta",
    "import.defer('./p.js')",
    "import.source('./p.js')",
    "import defer * as x from './p.js'",
    "import x from './p.js' with {type: 'bytes'}",
    "import x from './p.js' with {}",
    "import './p.j\\\ns'",
    "import '\\u002e/p.js'",
    "import '\\x2e/p.js'",
    "import './p.js\\\u2028'",
    "import './p\u2028.js'",
    "import \"./p.js' + '\"",
    "import `./p.js`",
    "import ('./p.js').then",
    "export * from './p.js'\nexport * from './q.js'",
    "export default from './p.js'",
    "export x from './p.js'",
    "export {a}\nfrom './p.js'",
    "export {a as default, default as b} from './p.js'",
    "export * as default from './p.js'",
    "new Function('import(\"./p.js\")')",
    "eval('import(\"./p.js\")')",
    "setTimeout('import(\"./p.js\")')",
    "(async () => {}).constructor('import(\"./p.js\")')",
    "let import_ = 1",
    "let i = x => import(x); i('./p.js')",
    "for (const x of ['./p.js']) import(x)",
    "import('./p.js'\n)",
    "import.\u006deta",
    "import.\\u006deta",
    "let x = 'a\u2028import(\"./p.js\")'",
    "x\0; import './p.js'",
    "import './p.js\0'",
    "//\rimport('./p.js')",
    "import { a } from './p.js'; { import: a }",
    "await import('./p.js')",
    "using x = import('./p.js')",
    "({ async *import() {} })",
    "super.import('./p.js')",
    "export { a as \"\ud800\" } from './p.js'",
    "`\ud800`; import './p.js'",
    "<!--\nimport './p.js'",
    "-->\nimport './p.js'",
    "import './p.js' /* ; import './q.js'",
    "import './p.js'; return; import './q.js'",
)


def corpus() -> list[bytes]:
    made = [f"{before}{payload}{after}" for (before, after), payload in itertools.product(AROUND, PAYLOADS)]
    texts = [*made, *ALONE]
    odd = [b"\xff\xfe" + 'import("./p.js")'.encode("utf-16-le"), b"import './p.js'\xff", b"\xed\xa0\x80import './p.js'"]
    return [text.encode("utf-8", "surrogatepass") for text in texts] + odd


def linked(source: bytes) -> list[str] | None:
    """The specifiers that the builder finds; None where it refuses the module."""
    try:
        links = link_modules(FILES | {"guest/main.js": source}).links
    except SourceError:
        return None
    return [link.specifier for link in links if link.importer == "guest/main.js"]


@pytest.mark.machine
def test_what_the_builder_accepts_imports_what_its_links_say_and_no_more() -> None:
    sources = corpus()
    asked = json.dumps([base64.b64encode(source).decode() for source in sources])
    flags = (
        "--no-remote",
        "--no-npm",
        "--no-config",
        "--no-lock",
        "--v8-flags=--disallow-code-generation-from-strings",
    )
    script = "data:text/javascript;base64," + base64.b64encode(SCRIPT.read_bytes()).decode()
    ran = subprocess.run(
        [shared_engine(), "run", "--no-prompt", *flags, script],
        input=asked.encode(),
        capture_output=True,
        check=False,
        env={"DENO_DIR": "/dev/null/none"},
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr.decode()
    said = json.loads(ran.stdout)
    accepted = {source: links for source in sources if (links := linked(source)) is not None}
    assert len(accepted) > 50, "the builder refuses nearly everything"
    differ = {}
    for source, engine in zip(sources, said, strict=True):
        links = accepted.get(source)
        if links is None or engine is None:  # whom either refuses cannot be loaded
            continue
        if engine["later"] or list(dict.fromkeys(links)) != list(dict.fromkeys(engine["requests"])):
            differ[source] = (links, engine)
    assert differ == {}
