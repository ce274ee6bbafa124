"""The keyword search example without an enclave: its guest code on Deno with no permission, and its committed files."""

import hashlib
import json
import math
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from deno import find_deno_bin

from casemate.images.manifest import parse_manifest

REPOSITORY = Path(__file__).parents[2]
EXAMPLE = REPOSITORY / "examples" / "keyword-search"
MANIFEST = parse_manifest((EXAMPLE / "casemate.toml").read_bytes(), lambda path: (EXAMPLE / path).read_bytes())
(SEARCH,) = MANIFEST.entries
PLAIN_DENO = ["--no-prompt", "--no-remote", "--no-npm", "--no-config", "--no-lock"]


def run_deno(command: str, *arguments: str, stdin: bytes = b"") -> bytes:
    done = subprocess.run(
        [find_deno_bin(), command, *PLAIN_DENO, *arguments],
        input=stdin,
        capture_output=True,
        cwd=EXAMPLE,
        env={"NO_COLOR": "1"},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace")
    return done.stdout


def search(content: bytes) -> Any:
    return json.loads(run_deno("run", "tests/run_locally.js", stdin=content))


def documents() -> dict[str, str]:
    return {path.name: path.read_bytes().decode() for path in sorted((EXAMPLE / "documents").glob("*.txt"))}


def make_input(output: Path, *options: str) -> bytes:
    subprocess.run(
        [sys.executable, str(EXAMPLE / "make_input.py"), "--output", str(output), *options],
        check=True,
        capture_output=True,
    )
    return output.read_bytes()


def test_result_is_the_committed_one() -> None:
    printed = run_deno("run", "tests/run_locally.js", stdin=(EXAMPLE / "input.json").read_bytes())
    assert printed == (EXAMPLE / "expected.json").read_bytes()


def test_result_is_the_same_without_just_in_time_compiler_and_with_the_manifests_memory() -> None:
    flags = f"--v8-flags=--jitless,--max-old-space-size={MANIFEST.limits.memory_mib}"
    printed = run_deno("run", flags, "tests/run_locally.js", stdin=(EXAMPLE / "input.json").read_bytes())
    assert printed == (EXAMPLE / "expected.json").read_bytes()


def test_functions_own_tests_pass() -> None:
    assert b"0 failed" in run_deno("test", "tests/")


def test_committed_input_is_in_step_with_documents(tmp_path: Path) -> None:
    assert make_input(tmp_path / "input.json") == (EXAMPLE / "input.json").read_bytes()


def test_committed_input_and_result_fit_their_schemas() -> None:
    SEARCH.input.check(json.loads((EXAMPLE / "input.json").read_bytes()))
    expected = json.loads((EXAMPLE / "expected.json").read_bytes())
    assert SEARCH.output.filter(expected) == expected


def test_input_is_made_from_any_folder_and_keeps_line_ends(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_bytes("Ægir\r\ncomet".encode())
    (tmp_path / "a.txt").write_bytes(b"no such thing\n")
    (tmp_path / "ignored.md").write_bytes(b"comet")
    content = make_input(
        tmp_path / "made.json", "--documents", str(tmp_path), "--query", "comet -planet", "--limit", "1"
    )
    assert json.loads(content) == {
        "query": "comet -planet",
        "limit": 1,
        "documents": [{"name": "a.txt", "text": "no such thing\n"}, {"name": "b.txt", "text": "Ægir\r\ncomet"}],
    }
    result = search(content)
    assert [hit["document"] for hit in result["hits"]] == ["b.txt"]
    assert result["hits"][0]["snippets"] == [{"line": 2, "text": "comet"}]


def test_input_maker_names_the_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    with pytest.raises(subprocess.CalledProcessError) as refused:
        make_input(tmp_path / "made.json", "--documents", str(tmp_path))
    assert b"latin.txt: byte 3 is not UTF-8" in refused.value.stderr


def test_scores_agree_with_bm25_written_anew(tmp_path: Path) -> None:
    texts = documents()
    lengths = {name: len(re.findall(r"\d{1,3}(?:,\d{3})+|\d+\.\d+|\w+(?:'\w+)*", text)) for name, text in texts.items()}
    mean = sum(lengths.values()) / len(lengths)
    counts = {name: len(re.findall(r"\b(?:treaty|treaties)\b", text, re.IGNORECASE)) for name, text in texts.items()}
    containing = sum(1 for count in counts.values() if count)
    rarity = math.log(1 + (len(texts) - containing + 0.5) / (containing + 0.5))
    want = {
        name: rarity * count * 2.2 / (count + 1.2 * (0.25 + 0.75 * lengths[name] / mean))
        for name, count in counts.items()
        if count
    }
    result = search(make_input(tmp_path / "made.json", "--query", "treaties", "--limit", "50"))
    assert {hit["document"]: hit["score"] for hit in result["hits"]} == pytest.approx(want, abs=1e-4)
    assert result["terms"] == [{"term": "treaties", "documents": containing, "occurrences": sum(counts.values())}]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "the",
        "NOT the",
        '"of the United States"',
        "(" * 16 + "gold",
        "a " * 500,
        "\u0000 \u001b[2J",
        "\ufdfa" * 1000,
        "🜚" * 1000,
        "__proto__",
        '"""' * 333,
    ],
    ids=lambda query: repr(query[:12]),
)
def test_result_fits_schema_and_limit_whatever_the_query(query: str) -> None:
    texts = [*documents().items(), ("\u0000" * 200, "the \u001b[2J \u202e\n" * 1000), ("same", ""), ("same", "the")]
    call = {"query": query, "limit": 50, "documents": [{"name": name, "text": text} for name, text in texts]}
    SEARCH.input.check(call)
    result = search(json.dumps(call).encode())
    assert SEARCH.output.filter(result) == result
    assert len(json.dumps(result).encode()) <= MANIFEST.limits.output_kib * 1024


def test_largest_result_stays_below_the_output_limit() -> None:
    line = '"\\comet' * 40  # characters that JSON writes as two
    call = {
        "query": "comet",
        "limit": 50,
        "documents": [{"name": "\u0001" * 200, "text": "\n".join([line] * 4)}] * 60,
    }
    result = search(json.dumps(call).encode())
    assert SEARCH.output.filter(result) == result
    assert len(result["hits"]) == 50
    assert len(json.dumps(result).encode()) <= MANIFEST.limits.output_kib * 1024


def test_guest_imports_only_its_own_modules_by_relative_path() -> None:
    guest = EXAMPLE / "guest"
    seen = 0
    for module in guest.rglob("*.js"):
        code = module.read_text()
        assert not re.search(r"\bimport\s*\(|\bDeno\b|\bprocess\b|\bfetch\b", code), module
        for specifier in re.findall(r'^import .* from "([^"]+)";$', code, re.MULTILINE):
            assert specifier.startswith("./")
            assert (module.parent / specifier).resolve().is_relative_to(guest)
            assert (module.parent / specifier).is_file()
            seen += 1
    assert seen > 0


def test_every_document_has_an_origin() -> None:
    origin = (EXAMPLE / "documents" / "ORIGIN.md").read_text()
    named = re.findall(r"^\| `([^`]+\.txt)` \| `[^`]+` \| [^|]+\(\d{4}\) \|$", origin, re.MULTILINE)
    assert named == list(documents())


def test_cutting_changes_no_word_and_refuses_other_sources(tmp_path: Path) -> None:
    cutter = runpy.run_path(str(EXAMPLE / "cut_documents.py"))
    source = tmp_path / "1941_franklin_d_roosevelt_d.txt"
    source.write_text('Mr. Speaker, I thank you.  Something else? "Yes." J. Adams said so.\n')
    with pytest.raises(SystemExit, match=f"want {cutter['SOURCES'][source.name]}"):
        cutter["cut"](source)
    cutter["SOURCES"][source.name] = hashlib.sha256(source.read_bytes()).hexdigest()
    assert cutter["cut"](source) == 'Mr. Speaker, I thank you.\nSomething else?\n"Yes."\nJ. Adams said so.\n'


def test_docs_page_shows_the_committed_result_and_names_every_guest_module() -> None:
    page = (REPOSITORY / "docs" / "examples" / "keyword-search.md").read_text()
    (block,) = re.findall(r"^```json\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    shown, expected = json.loads(block), json.loads((EXAMPLE / "expected.json").read_bytes())
    for field in ("documents_matched", "documents_searched", "terms"):
        assert shown[field] == expected[field]
    first = expected["hits"][0]
    assert shown["hits"] == [{**first, "snippets": first["snippets"][:1]}]
    assert json.loads((EXAMPLE / "input.json").read_bytes())["query"] in page
    for module in (EXAMPLE / "guest").glob("*.js"):
        assert module.name in page
