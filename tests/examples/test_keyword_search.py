"""The keyword search example without an enclave: its guest code on Deno with no permission, and its committed files."""

import hashlib
import json
import math
import random
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from deno import find_deno_bin
from tests.rigs.examples import EXAMPLES, BuiltExample, committed_manifest, files_of
from tests.rigs.workshop import PolicyFor

from casemate.client import CallerKey, Client, EnclaveRefusedError
from casemate.client.local import LocalMachine
from casemate.images.functions.javascript.author_files import IMPORT_MAP
from casemate.images.schemas.compiled import compile_schemas
from casemate.wire.protocol.faults import Code

REPOSITORY = Path(__file__).parents[2]
EXAMPLE = EXAMPLES / "keyword-search"
TWINS = pytest.mark.parametrize("name", ["keyword-search", "keyword-search-python"])
"""The function in JavaScript and in Python: the same is expected of both."""
MANIFEST = committed_manifest(EXAMPLE)
SCHEMAS = compile_schemas(MANIFEST).entries
SEARCH = SCHEMAS["search"]
QUERY: dict[str, Any] = json.loads((EXAMPLE / "input.json").read_bytes())
PLAIN_DENO = ["--no-prompt", "--no-remote", "--no-npm", "--no-config", "--no-lock", f"--import-map={IMPORT_MAP}"]


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


def make_input(folder: Path = EXAMPLE / "documents") -> dict[str, Any]:
    command = [sys.executable, str(EXAMPLE / "make_input.py"), str(folder)]
    made: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return made


def asked(query: str = QUERY["query"], **more: Any) -> bytes:
    return json.dumps({**make_input(), "query": query, **more}).encode()


def test_result_is_the_committed_one() -> None:
    printed = run_deno("run", "tests/run_locally.js", stdin=asked())
    assert printed == (EXAMPLE / "expected.json").read_bytes()


def test_result_is_the_same_without_just_in_time_compiler_and_with_the_manifests_memory() -> None:
    flags = f"--v8-flags=--jitless,--max-old-space-size={MANIFEST.limits.memory_mib}"
    printed = run_deno("run", flags, "tests/run_locally.js", stdin=asked())
    assert printed == (EXAMPLE / "expected.json").read_bytes()


def test_committed_files_fit_their_schemas() -> None:
    SEARCH.input.check(QUERY)
    SCHEMAS["add"].input.check(make_input())
    expected = json.loads((EXAMPLE / "expected.json").read_bytes())
    assert SEARCH.output.filter(expected) == expected


def test_input_is_made_from_any_folder_and_keeps_line_ends(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_bytes("Ægir\r\ncomet".encode())
    (tmp_path / "a.txt").write_bytes(b"no such thing\n")
    (tmp_path / "ignored.md").write_bytes(b"comet")
    made = make_input(tmp_path)
    assert made == {
        "documents": [{"name": "a.txt", "text": "no such thing\n"}, {"name": "b.txt", "text": "Ægir\r\ncomet"}]
    }
    result = search(json.dumps({**made, "query": "comet -planet", "limit": 1}).encode())
    assert [hit["document"] for hit in result["hits"]] == ["b.txt"]
    assert result["hits"][0]["snippets"] == [{"line": 2, "text": "comet"}]


def test_input_maker_names_the_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    with pytest.raises(subprocess.CalledProcessError) as refused:
        make_input(tmp_path)
    assert b"latin.txt: byte 3 is not UTF-8" in refused.value.stderr


def test_input_maker_says_that_a_folder_has_no_documents(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        make_input(tmp_path)
    assert b"no file ends in .txt" in refused.value.stderr


def test_scores_agree_with_bm25_written_anew() -> None:
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
    result = search(asked("treaties", limit=50))
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
    texts = [*documents().items(), ('"' * 200, "the \u001b[2J \u202e\n" * 1000), ("empty", ""), ("the", "the")]
    call = {"query": query, "limit": 50}
    SEARCH.input.check(call)
    named = [{"name": name, "text": text} for name, text in texts]
    SCHEMAS["add"].input.check({"documents": named})
    result = search(json.dumps({**call, "documents": named}).encode())
    assert SEARCH.output.filter(result) == result
    assert len(json.dumps(result).encode()) <= MANIFEST.limits.output_kib * 1024


def test_largest_result_stays_below_the_output_limit() -> None:
    line = '"\\comet' * 40  # characters that JSON writes as two
    call = {
        "query": "comet",
        "limit": 50,
        "documents": [{"name": "\\" * 198 + f"{number:02}", "text": "\n".join([line] * 4)} for number in range(60)],
    }
    result = search(json.dumps(call).encode())
    assert SEARCH.output.filter(result) == result
    assert len(result["hits"]) == 50
    assert len(json.dumps(result).encode()) <= MANIFEST.limits.output_kib * 1024


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


@pytest.mark.machine
@TWINS
def test_uploaded_documents_are_found_by_those_who_are_named_and_outlive_the_enclave(
    name: str, example: BuiltExample, client: Client, policy_for: PolicyFor, machine: LocalMachine
) -> None:
    built = example(name)
    policy = policy_for(built.image)
    owner, ann, ben = (built.callers[name] for name in ("owner", "ann", "ben"))
    enclave = client.attest(client.launch(built.image), policy)
    assert enclave.call("search", QUERY, caller=ann).value["documents_searched"] == 0
    uploaded = make_input()
    assert enclave.call("add", uploaded, caller=owner).value == {"added": 17, "replaced": 0, "documents": 17}
    expected = json.loads((EXAMPLE / "expected.json").read_bytes())
    assert enclave.call("search", QUERY, caller=ann).value == expected
    client.stop(enclave.number)
    client.start(enclave.number)
    enclave = client.attest(enclave.number, policy)
    assert enclave.call("search", QUERY, caller=ben).value == expected
    first = expected["hits"][0]["document"]
    removed = enclave.call("remove", {"names": [first, "nothing"]}, caller=owner).value
    assert removed == {"removed": 1, "unknown": ["nothing"], "documents": 16}
    assert first not in [hit["document"] for hit in enclave.call("search", QUERY, caller=ann).value["hits"]]
    listed = enclave.call("list", None, caller=owner).value["documents"]
    assert [document["name"] for document in listed] == sorted(name for name in documents() if name != first)
    assert any(path.name.startswith("records.db") for path in files_of(machine.state))
    for path, content in files_of(machine.state).items():
        for secret in (QUERY["query"], first, uploaded["documents"][0]["text"][1000:1060]):
            assert secret.encode() not in content, path
    client.destroy(enclave.number)


@pytest.mark.machine
@TWINS
def test_searchers_do_not_upload_and_nobody_else_does_anything(
    name: str, example: BuiltExample, client: Client, policy_for: PolicyFor
) -> None:
    built = example(name)
    enclave = client.attest(client.launch(built.image), policy_for(built.image))
    upload = {"documents": [{"name": "a", "text": "b"}]}
    calls = [("add", upload), ("remove", {"names": ["a"]}), ("list", None)]
    for somebody in (built.callers["ann"], CallerKey.generate(), None):
        for entry, value in calls if somebody is built.callers["ann"] else [*calls, ("search", QUERY)]:
            with pytest.raises(EnclaveRefusedError) as refused:
                enclave.call(entry, value, caller=somebody)
            assert refused.value.fault.code is Code.CALLER_REFUSED
    owner = built.callers["owner"]
    for entry, wrong in (
        ("add", {"documents": []}),
        ("add", {"documents": [{"name": "", "text": ""}]}),
        ("add", {"documents": [{"name": "a\n", "text": ""}]}),
        ("remove", {"names": ["a", "a"]}),
        ("search", {"query": "x" * 1001}),
        ("search", {"query": "x", "documents": []}),
    ):
        with pytest.raises(EnclaveRefusedError) as refused:
            enclave.call(entry, wrong, caller=owner)
        assert refused.value.fault.code is Code.ARGUMENTS_REFUSED
    twice = {"documents": upload["documents"] * 2}
    assert enclave.call("add", twice, caller=owner).value["refused"]["code"] == "same-name"
    assert enclave.call("search", {"query": "(" * 17 + "x"}, caller=owner).value["refused"]["code"] == "bad-query"
    client.destroy(enclave.number)


@pytest.mark.machine
@TWINS
def test_the_owners_next_version_has_the_documents_and_another_searcher(
    name: str, example: BuiltExample, client: Client, policy_for: PolicyFor
) -> None:
    built = example(name)
    owner, cleo = built.callers["owner"], CallerKey.generate()
    first = client.attest(client.launch(built.image), policy_for(built.image))
    first.call("add", make_input(), caller=owner)
    with pytest.raises(EnclaveRefusedError):
        first.call("search", QUERY, caller=cleo)
    image = built.next_version(
        lambda manifest: (
            manifest.replace("security_version = 1", "security_version = 2").replace('"ben"]', '"ben", "cleo"]')
            + f'cleo = "{cleo.manifest_value}"\n'
        )
    )
    second = client.attest(client.launch(image), policy_for(image))
    assert second.call("search", QUERY, caller=cleo).value == json.loads((EXAMPLE / "expected.json").read_bytes())
    second.call("remove", {"names": [next(iter(documents()))]}, caller=owner)
    with pytest.raises(EnclaveRefusedError) as refused:  # what version 2 has written, version 1 cannot read
        first.call("search", QUERY, caller=owner)
    assert refused.value.fault.code is Code.STATE_REFUSED
    for enclave in (first, second):
        client.destroy(enclave.number)


@pytest.mark.machine
@TWINS
def test_as_much_as_may_be_uploaded_can_be_searched(
    name: str, example: BuiltExample, client: Client, policy_for: PolicyFor
) -> None:
    built = example(name)
    owner = built.callers["owner"]
    enclave = client.attest(client.launch(built.image), policy_for(built.image))
    dice = random.Random(7)
    for part in range(5):
        words = [f"{dice.getrandbits(24):x}" for _ in range(99_990)]
        texts = [" ".join([*words[start : start + 9_999], "comet"]) for start in range(0, 99_990, 9_999)]
        upload = [{"name": f"{part}-{number}", "text": text} for number, text in enumerate(texts)]
        assert enclave.call("add", {"documents": upload}, caller=owner).value["documents"] == 10 * (part + 1)
    more = {"documents": [{"name": "more", "text": "word"}]}
    assert enclave.call("add", more, caller=owner).value["refused"]["code"] == "too-long"
    found = enclave.call("search", {"query": "comet", "limit": 50}, caller=owner).value
    assert found["documents_matched"] == 50
    client.destroy(enclave.number)
