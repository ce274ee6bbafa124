"""The types that come along for authors' editors, by `deno check`: what they let through, and what they find."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from deno import find_deno_bin
from tests.rigs.engine import Module
from tests.rigs.examples import EXAMPLES

from casemate.engines.javascript.engine import may_import_more
from casemate.images.functions import starter
from casemate.images.functions.javascript.author_files import TYPES

ROOT = Path(starter.__file__).parent
FUNCTIONS = [*sorted(EXAMPLES.glob("*/guest/main.js")), *sorted(ROOT.glob("*_files/guest/main.js"))]


def codes_of(source: str, folder: Path) -> list[str]:
    """The compiler's complaints about a module that refers to the types as an author's does."""
    (folder / "guest").mkdir()
    (folder / "casemate.d.ts").write_bytes(TYPES.read_bytes())
    main = folder / "guest" / "main.js"
    main.write_text(source)
    done = subprocess.run(
        [find_deno_bin(), "check", "--quiet", "--no-config", "--no-lock", str(main)],
        capture_output=True,
        check=False,
        text=True,
        env={"NO_COLOR": "1", "DENO_DIR": str(folder / "cache"), "HOME": str(folder)},
    )
    codes = re.findall(r"^(TS\d+)", done.stderr, re.MULTILINE)
    assert (done.returncode == 0) == (codes == []), done.stderr
    return codes


def function(body: str) -> str:
    return f"""/// <reference path="../casemate.d.ts" />
// @ts-check
/** @param {{{{ by: number }}}} input  @param {{Casemate.Context}} context */
export function main(input, context) {{ {body} }}
"""


USES = """
  const { entry, caller, state, ocall, seal, unseal, refuse } = context;
  state.put("key", { by: input.by, who: caller?.name ?? caller?.key ?? entry });
  const keys = state.list("k", { after: "a", limit: 5 }).map((key) => key.length);
  const was = state.compareAndSet("key", undefined, 1) && state.delete("key");
  if (was) throw refuse("budget-spent", { until: state.get("key") });
  try { throw refuse("other"); } catch (error) { return [unseal(seal(keys, "mrsigner")), ocall("time").unix_ms]; }
"""

STREAM = """/// <reference path="../casemate.d.ts" />
// @ts-check
/**
 * @param {null} input  @param {Casemate.Context} context  @param {Casemate.Chunks} chunks
 * @returns {Casemate.Stream}
 */
export async function* main(input, context, chunks) {
  let size = 0;
  for await (const chunk of chunks) { size += chunk.length; yield chunk; yield "text"; }
  return { size };
}
"""


@pytest.mark.parametrize("source", [function(USES), STREAM], ids=["function", "stream"])
def test_what_an_enclave_gives_is_known(source: str, tmp_path: Path) -> None:
    assert codes_of(source, tmp_path) == []
    assert not may_import_more(Module("guest/main.js", source.encode()))


WRONG = {
    "context.caller.name;": "TS18047",  # it may be null
    "context.stat;": "TS2551",
    "context.state = null;": "TS2540",  # read-only
    "context.state.put('key');": "TS2554",
    "context.state.list(5);": "TS2345",
    "context.seal(1);": "TS2554",
    "context.seal(1, 'me');": "TS2345",
    "context.refuse(5);": "TS2345",
    "context.refuse('a').code = 'b';": "TS2540",
    "context.ocall();": "TS2554",
}


def test_what_it_does_not_give_is_found(tmp_path: Path) -> None:
    assert codes_of(function("\n".join(WRONG)), tmp_path) == list(WRONG.values())


def complaints_about_entries(main: Path, folder: Path) -> str:
    """What the compiler says where the exports of a module are taken for entry points; not of the module's own code."""
    check = folder / "check.ts"
    check.write_text(
        f'import * as main from "{main.as_uri()}";\n'
        "type Entry = (input: any, context: Casemate.Context, chunks: Casemate.Chunks) => unknown;\n"
        "const entries: Record<string, Entry> = { ...main };\n"
        "if (Object.keys(entries).length === 0) throw new Error();\n"
    )
    config = folder / "deno.json"
    config.write_text(json.dumps({"compilerOptions": {"types": [str(TYPES)], "checkJs": True, "noImplicitAny": False}}))
    done = subprocess.run(
        [find_deno_bin(), "check", "--quiet", "--no-lock", "--config", str(config), str(check)],
        capture_output=True,
        check=False,
        text=True,
        env={"NO_COLOR": "1", "DENO_DIR": str(folder / "cache"), "HOME": str(folder)},
    )
    assert done.returncode == 0 or "TS" in done.stderr, done.stderr
    return done.stderr if check.as_uri() in done.stderr else ""


@pytest.mark.parametrize("main", FUNCTIONS, ids=[main.parent.parent.name for main in FUNCTIONS])
def test_examples_and_starter_take_what_the_types_declare(main: Path, tmp_path: Path) -> None:
    assert complaints_about_entries(main, tmp_path) == ""


def test_an_entry_that_wants_something_else_is_found(tmp_path: Path) -> None:
    main = tmp_path / "main.js"
    main.write_text("/** @param {null} input @param {number} context */\nexport function main(input, context) {}\n")
    assert "TS2322" in complaints_about_entries(main, tmp_path)
