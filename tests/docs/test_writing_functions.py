"""The reference in docs/writing-functions.md says what the manifest's parser, the schemas and the engine do."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.rigs.docs.markdown import ROOT, table

import casemate
from casemate.images.schemas.schemas import FILTERABLE_KEYWORDS
from casemate.wire.protocol.isolation import Isolation
from casemate.wire.protocol.manifest import Manifest, ManifestError
from casemate.wire.protocol.manifest_text import KEYS as TABLES
from casemate.wire.protocol.manifest_text import parse_manifest

FUNCTIONS = (ROOT / "docs" / "writing-functions.md").read_text()
KEYS = {row[0].strip("`"): row[1] for row in table(FUNCTIONS, "key")}
MAIN = b"export function add() {}"


def _manifest() -> dict[str, Any]:
    """A manifest with every key."""
    schemas = {"input": {"type": "null"}, "output": {"type": "null"}}
    return {
        "enclave": {
            "name": "test",
            "product_id": 1,
            "security_version": 1,
            "debug": False,
            "engine": "javascript",
            "main": "guest/main.js",
            "isolation": "caller",
        },
        "limits": {"memory_mib": 64, "time_ms": 100, "output_kib": 4, "concurrent": 8, "guests": 4},
        "callers": {"NAME": "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="},
        "entry": {"NAME": {**schemas, "callers": "anyone", "plain": False, "stream": False}},
        "ra_tls": {"enabled": False},
        "state": {"policy": "mrsigner", "recovery": "never", "max_kib": 64},
        "ocall": {"NAME": dict(schemas)},
    }


def _parsed(manifest: dict[str, Any]) -> Manifest:
    def inline(value: Any) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{json.dumps(name)} = {inline(member)}" for name, member in value.items()) + "}"
        return json.dumps(value)

    text = "\n".join(f"{name} = {inline(value)}" for name, value in manifest.items())
    return parse_manifest(text.encode(), {"guest/main.js": MAIN}.get)


def _changed(key: str, value: object) -> dict[str, Any]:
    """The manifest with another value for a key, or without it where the value is None."""
    manifest = _manifest()
    *path, last = key.split(".")
    inner = manifest
    for name in path:
        inner = inner[name]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return manifest


def test_the_reference_has_every_key_and_no_other() -> None:
    tables = {name: keys for name, keys in TABLES.items() if name}
    keys = {f"{name}.{key}" for name, keys in tables.items() for key in keys} | {"callers.NAME"}
    assert set(KEYS) == keys
    assert set(_leaves(_manifest())) == keys


def _leaves(manifest: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in manifest.items():
        if isinstance(value, dict) and name not in ("input", "output"):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


@pytest.mark.parametrize("key", KEYS)
def test_a_key_may_be_missing_where_the_reference_says_optional(key: str) -> None:
    row = next(row for row in table(FUNCTIONS, "key") if row[0].strip("`") == key)
    if any("optional" in cell for cell in row):
        _parsed(_changed(key, None))
    else:
        with pytest.raises(ManifestError, match=re.escape(key)):
            _parsed(_changed(key, None))


@pytest.mark.parametrize("key", [key for key, value in KEYS.items() if value.startswith("integer")])
def test_an_integer_may_be_within_the_bounds_of_the_reference(key: str) -> None:
    least, most = map(int, re.findall(r"\d+", KEYS[key]))
    for value in (least, most):
        _parsed(_changed(key, value))
    for value in (least - 1, most + 1):
        with pytest.raises(ManifestError, match=re.escape(key)):
            _parsed(_changed(key, value))


def test_the_reference_says_what_each_isolation_means() -> None:
    assert [row[0].strip('`"') for row in table(FUNCTIONS, "isolation")] == [str(each) for each in Isolation]


def test_the_defaults_of_the_reference_are_those_of_a_manifest_without_these_keys() -> None:
    manifest = _manifest()
    del manifest["enclave"]["isolation"], manifest["limits"]["concurrent"], manifest["limits"]["guests"]
    parsed = _parsed(manifest)
    meanings = {row[0].strip("`"): " ".join(row[1:]) for row in table(FUNCTIONS, "key")}
    assert f'optional, `"{parsed.isolation}"`' in meanings["enclave.isolation"]
    assert f"optional, {parsed.limits.concurrent}:" in meanings["limits.concurrent"]
    assert f"optional, {parsed.limits.guests}:" in meanings["limits.guests"]


def test_the_keywords_for_results_are_those_that_can_be_filtered_by() -> None:
    listed = FUNCTIONS.split("only these keywords may be used:")[1].split("Each place")[0]
    assert set(re.findall(r"`([$\w]+)`", listed)) == FILTERABLE_KEYWORDS


def test_the_names_in_an_enclave_are_those_that_the_bootstrap_keeps() -> None:
    source = (Path(casemate.__file__).parent / "engines" / "javascript" / "bootstrap" / "lockdown.js").read_text()
    kept = re.search(r"const KEPT = \[(.*?)\];", source, flags=re.DOTALL)
    assert kept is not None
    listed = FUNCTIONS.split("these names exist:")[1].split("A function should")[0]
    assert sorted(re.findall(r"`(\w+)`", listed)) == sorted(re.findall(r'"(\w+)"', kept[1]))
