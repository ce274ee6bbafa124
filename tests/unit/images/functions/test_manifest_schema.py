"""The schema for editors and the parser say the same of a manifest, but for what no schema can say."""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from tests.rigs.docs.markdown import ROOT, blocks
from tests.rigs.manifest_cases import ALICE, BILLING, EVIDENCE, FILES, PYTHON, REFUSED, TEXT, TOLD

from casemate.images.functions.manifest_schema import manifest_schema
from casemate.images.functions.starter import Template, write_starter
from casemate.wire.protocol.capabilities.uses import DEMANDS
from casemate.wire.protocol.manifest import Engine
from casemate.wire.protocol.manifest_table import ManifestError
from casemate.wire.protocol.manifest_text import KEYS, parse_manifest

SCHEMA = manifest_schema()
VALIDATOR = jsonschema_rs.validator_for(SCHEMA)
MANIFESTS = sorted(
    path
    for folder in ("examples", "bench", "src", "tests")
    for path in (ROOT / folder).rglob("casemate.toml")
    if "starter_files" not in path.parts  # which are none before they are written
)
ON_PAGES = [
    block.text
    for page in sorted((ROOT / "docs").glob("*.md"))
    for block in blocks(page.read_text())
    if block.language == "toml" and "[enclave]" in block.text and "[entry." in block.text
]
ONLY_PARSED = {
    "product_id = 1.0": "to a schema, 1.0 is an integer",
    "guests = 4.0": "to a schema, 1.0 is an integer",
    'main = "guest/none.js"': "which files there are",
    "schemas/none.json": "which files there are",
    "schemas/broken.json": "what is in a file",
    "schemas/twice.json": "what is in a file",
    'callers = ["bob"]': "which names are in [callers]",
    'callers = ["anyone"]': "which names are in [callers]",
    'bob = "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="\n[entry.search]': "one key under two names",
    "input = { type = 2024-01-01 }": "values inside of schemas",
    "input = { const = nan }": "values inside of schemas",
    "input = { type = 'null', maximum = 9007199254740993 }": "values inside of schemas",
    f'budget-spent = "{"é" * 513}" #': "bytes of UTF-8",
}
"""Mistakes that the parser alone finds, by what is written, with what a schema cannot know."""
TOO_LONG = 100_000
"""A manifest that is too long as a text (characters) is not for a schema, either."""


def _accepts(text: str) -> bool:
    return VALIDATOR.is_valid(json.loads(json.dumps(tomllib.loads(text), default=str)))


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_manifest_of_ours_is_accepted(path: Path) -> None:
    assert _accepts(path.read_text())


@pytest.mark.parametrize("text", [TEXT, PYTHON, *ON_PAGES])
def test_every_manifest_that_is_shown_is_accepted(text: str) -> None:
    assert _accepts(text)


@pytest.mark.parametrize("engine", Engine)
@pytest.mark.parametrize("template", Template)
def test_every_starter_is_accepted_and_brings_the_schema_along(
    tmp_path: Path, engine: Engine, template: Template
) -> None:
    write_starter(tmp_path, engine=engine, template=template)
    text = (tmp_path / "casemate.toml").read_text()
    assert _accepts(text)
    directive, _, place = text.partition("\n")[0].partition(" ")
    assert directive == "#:schema"
    assert json.loads((tmp_path / place).read_text()) == SCHEMA


def test_there_are_manifests_to_compare() -> None:
    assert len(MANIFESTS) >= 9
    assert len(ON_PAGES) >= 2


@pytest.mark.parametrize(("old", "new"), [case[:2] for case in (*REFUSED, *TOLD)])
def test_what_the_parser_refuses_the_schema_refuses_unless_no_schema_could(old: str, new: str) -> None:
    text = TEXT.replace(old, new, 1)
    with pytest.raises(ManifestError):
        parse_manifest(text.encode(), FILES.get)
    try:
        accepted = _accepts(text)
    except (ValueError, RecursionError):  # it is not TOML, which editors see without a schema
        return
    assert accepted == (new in ONLY_PARSED or len(new) > TOO_LONG)


CHANGES = [
    ('isolation = "caller"', 'isolation = "shared"', False),  # with several guests
    ("concurrent = 8\nguests = 4\n", "concurrent = 8\n", True),
    ('permissions = ["seal", "log"]\n', "", True),
    ('callers = ["alice"]\nplain = false', 'callers = ["alice"]\nplain = true', False),
    ('callers = ["alice"]\nplain = false', 'callers = "anyone"\nplain = true', True),
    ('callers = ["alice"]\nplain = false\nstream = false', 'callers = "anyone"\nplain = true\nstream = true', False),
    ("stream = false", "stream = true", True),
    ("enabled = true", "enabled = false", True),
    ("metrics = true\n", "", True),
    (', details = "schemas/not-yet.json"', ", details = { type = 'null' }", True),
    ('input = "schemas/search.input.json"', "input = { type = 'null' }", True),
    ("[monitor.ocalls]", "[monitor.deaths]", True),
    (BILLING, f'mrenclave = "{"ab" * 32}"\n', True),
    (BILLING, 'service = "casemate:crypto"\n', True),
    (BILLING, f"{BILLING}{EVIDENCE}root = 'INTEL_SGX_ROOT'\n", True),
    (BILLING, f"{BILLING}{EVIDENCE}root.simulated_sha256 = '{'ab' * 32}'\n", True),
    (BILLING, f"{BILLING}owner = 'ed25519:{ALICE}'\ndeployment = 'shop'\n", True),
    (BILLING, f"{BILLING}layers.guest = ['seccomp']\n", True),
]


@pytest.mark.parametrize(("old", "new", "accepted"), CHANGES)
def test_what_one_accepts_the_other_accepts(old: str, new: str, accepted: bool) -> None:
    assert old in TEXT
    text = TEXT.replace(old, new, 1)
    assert _accepts(text) is accepted
    if accepted:
        parse_manifest(text.encode(), FILES.get)
    else:
        with pytest.raises(ManifestError):
            parse_manifest(text.encode(), FILES.get)


@pytest.mark.parametrize("missing", ["random", "now"])
def test_python_wants_what_its_code_cannot_be_kept_from(missing: str) -> None:
    left = next(each for each in ("random", "now") if each != missing)
    assert not _accepts(PYTHON.replace('["random", "now"]', f'["{left}"]'))
    assert not _accepts(PYTHON.replace('permissions = ["random", "now"]\n', ""))


def _tables(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, tuple[str, ...]]]:
    """The keys of each table of the schema, named as the parser names them."""
    yield path, tuple(schema["properties"])
    for name, member in schema["properties"].items():
        inner = f"{path}.{name}" if path else name
        if "properties" in member:
            yield from _tables(member, inner)
        elif isinstance(member.get("additionalProperties"), dict):
            values = member["additionalProperties"]
            for value in values.get("anyOf", [values]):
                if "properties" in value:
                    yield from _tables(value, f"{inner}.NAME")


def test_the_tables_and_keys_are_the_parsers() -> None:
    found = {path.replace("monitor.ocalls", "monitor.NAME"): keys for path, keys in _tables(SCHEMA)}
    assert {path: keys for path, keys in found.items() if path in KEYS} == dict(KEYS)
    demands = {key: keys for key, keys in found.items() if key.startswith("callers.NAME.enclave")}
    assert demands.pop("callers.NAME.enclave") == DEMANDS
    assert demands == {key: KEYS[key.replace("callers.NAME.enclave", "uses.NAME")] for key in demands}
    others = set(found) - set(KEYS) - set(demands) - {"callers.NAME.enclave"}
    assert others == {"monitor", "monitor.cpu_ms", "monitor.memory_mib", "monitor.deaths"}


def test_every_key_is_explained() -> None:
    def unexplained(schema: dict[str, Any], path: str) -> Iterator[str]:
        for name, member in schema.get("properties", {}).items():
            if "description" not in member:
                yield f"{path}.{name}"
            yield from unexplained(member, f"{path}.{name}")

    assert not list(unexplained(SCHEMA, ""))
