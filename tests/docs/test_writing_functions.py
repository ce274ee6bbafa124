"""The reference in docs/writing-functions.md says what the manifest's parser, the schemas and the engine do."""

import json
import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from tests.rigs.docs.markdown import ROOT, table

import casemate
from casemate.images.schemas.schemas import FILTERABLE_KEYWORDS
from casemate.wire.protocol.capabilities.keys import Algorithm, Purpose
from casemate.wire.protocol.capabilities.service import Family, Hook, Kind
from casemate.wire.protocol.isolation import Isolation
from casemate.wire.protocol.manifest import Engine, Manifest, Monitored, Permission, Reaction, Recovery
from casemate.wire.protocol.manifest_table import ManifestError
from casemate.wire.protocol.manifest_text import KEYS as TABLES
from casemate.wire.protocol.manifest_text import MAIN_FILES, NEEDED_PERMISSIONS, parse_manifest
from casemate.wire.protocol.seal_binding import SealBinding

FUNCTIONS = (ROOT / "docs" / "writing-functions.md").read_text()
KEYS = {row[0].strip("`"): row[1] for row in table(FUNCTIONS, "key")}
MAIN = b"export function add() {}"
POLICY = "schemas/partner.policy.toml"


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
            "permissions": ["seal"],
        },
        "limits": {"memory_mib": 64, "time_ms": 100, "output_kib": 4, "concurrent": 8, "guests": 4},
        "callers": {
            "NAME": "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
            "shop": {"enclave": {"mrenclave": "ab" * 32}},
        },
        "entry": {
            "NAME": {
                **schemas,
                "callers": "anyone",
                "plain": False,
                "stream": False,
                "kind": "query",
                "idempotent": True,
            }
        },
        "ra_tls": {"enabled": False},
        "state": {"policy": "mrsigner", "recovery": "never", "max_kib": 64},
        "ocall": {"NAME": dict(schemas)},
        "errors": {"name": {"reason": "Words.", "details": {"type": "null"}}},
        "receipt": {"metrics": True, "inner": True},
        "uses": {
            "signed": {
                "mrsigner": "same",
                "product_id": 1,
                "min_security_version": 1,
                "operations": ["charge"],
                "repeatable": ["charge"],
                "layers": {"enclave": ["seccomp"], "guest": []},
                "owner": "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
                "deployment": "billing",
                "evidence": {
                    "root": "INTEL_SGX_ROOT",
                    "tcb_statuses": ["UpToDate"],
                    "min_evaluation_number": 1,
                    "max_age_days": 30,
                },
            },
            "built": {"mrenclave": "ab" * 32, "operations": ["charge"]},
            "bundled": {"service": "casemate:crypto", "operations": ["charge"]},
        },
        "run": {
            "engines": ["javascript"],
            "memory_mib": 64,
            "time_ms": 100,
            "output_kib": 4,
            "code_kib": 4,
            "at_once": 1,
            "per_call": 1,
        },
        "appraise": {"built": "2026-12-01", "unsafe": False, "policies": {"partner": POLICY}},
        "keys": {"register": {"purpose": "sign", "algorithm": "ed25519"}},
        "service": {
            "version": "1.4.0",
            "family": "crypto",
            "description": "Signs.",
            "configuration": {"type": "object"},
            "hooks": ["start"],
        },
        "monitor": {subject: {"most": 10, "then": "warn"} for subject in Monitored},
    }


def _parsed(manifest: dict[str, Any], main: str = "guest/main.js") -> Manifest:
    def inline(value: Any) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{json.dumps(name)} = {inline(member)}" for name, member in value.items()) + "}"
        return json.dumps(value)

    text = "\n".join(f"{name} = {inline(value)}" for name, value in manifest.items())
    return parse_manifest(text.encode(), {main: MAIN, POLICY: b"policy"}.get)


_NAMED = {
    f"{table}.NAME.{key}": f"{table}.{name}.{key}"
    for table, name in (("errors", "name"), ("monitor", "ocalls"))
    for key in TABLES[f"{table}.NAME"]
}
_NAMED |= {
    f"{path}.{key}": f"{path}.{key}".replace("uses.NAME", "uses.signed")
    for path, keys in TABLES.items()
    if path.startswith("uses.NAME")
    for key in keys
}
_NAMED |= {"uses.NAME.mrenclave": "uses.built.mrenclave", "uses.NAME.service": "uses.bundled.service"}
_NAMED |= {"callers.NAME.enclave": "callers.shop.enclave"}
_NAMED |= {f"keys.NAME.{key}": f"keys.register.{key}" for key in TABLES["keys.NAME"]}
_ONE_OF = {"uses.NAME.mrsigner", "uses.NAME.mrenclave", "uses.NAME.service"}
"""Keys of which one must be there."""
"""Keys in tables whose names are not the author's alone to choose, with a name that may stand there."""


def _changed(key: str, value: object) -> dict[str, Any]:
    """The manifest with another value for a key, or without it where the value is None."""
    manifest = _manifest()
    *path, last = _NAMED.get(key, key).split(".")
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
    keys -= {f"uses.NAME.{table}" for table in ("layers", "evidence")}  # which have rows for their own keys
    assert set(KEYS) == keys
    spelled = {_NAMED.get(key, key) for key in keys}
    written = {key for key in _leaves(_manifest()) if not key.startswith(("monitor.", "callers.shop."))}
    assert written - {"uses.built.operations", "uses.bundled.operations"} == {
        key for key in spelled if not key.startswith(("monitor.", "callers.shop."))
    }


def _leaves(manifest: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in manifest.items():
        if isinstance(value, dict) and name not in ("input", "output", "details", "configuration", "policies"):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


@pytest.mark.parametrize("key", [key for key in KEYS if key not in _ONE_OF])
def test_a_key_may_be_missing_where_the_reference_says_optional(key: str) -> None:
    row = next(row for row in table(FUNCTIONS, "key") if row[0].strip("`") == key)
    if any("optional" in cell for cell in row):
        _parsed(_changed(key, None))
    else:
        with pytest.raises(ManifestError, match=re.escape(_NAMED.get(key, key))):
            _parsed(_changed(key, None))


@pytest.mark.parametrize("key", [key for key, value in KEYS.items() if value.startswith("integer")])
def test_an_integer_may_be_within_the_bounds_of_the_reference(key: str) -> None:
    least, most = map(int, re.findall(r"\d+", KEYS[key]))
    for value in (least, most):
        _parsed(_changed(key, value))
    for value in (least - 1, most + 1):
        with pytest.raises(ManifestError, match=re.escape(_NAMED.get(key, key))):
            _parsed(_changed(key, value))


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("enclave.engine", Engine),
        ("enclave.permissions", Permission),
        ("state.policy", SealBinding),
        ("state.recovery", Recovery),
        ("service.family", Family),
        ("service.hooks", Hook),
        ("entry.NAME.kind", Kind),
        ("keys.NAME.purpose", Purpose),
        ("keys.NAME.algorithm", Algorithm),
        ("monitor.NAME.then", Reaction),
    ],
)
def test_the_reference_has_every_word_of_a_choice(key: str, words: type[StrEnum]) -> None:
    assert re.findall(r'"([\w-]+)"', KEYS[key]) == [str(word) for word in words]


def test_the_reference_says_what_the_monitor_counts_and_what_a_permission_grants() -> None:
    assert [row[0].strip("`") for row in table(FUNCTIONS, "monitor")] == [f"monitor.{each}" for each in Monitored]
    assert [row[0].strip('`"') for row in table(FUNCTIONS, "permission")] == [str(each) for each in Permission]


def test_the_reference_says_what_an_engine_cannot_be_kept_from() -> None:
    for engine, needed in NEEDED_PERMISSIONS.items():
        manifest = _manifest()
        main = f"guest/main{MAIN_FILES[engine][1][0]}"
        manifest["enclave"] |= {"engine": str(engine), "main": main, "permissions": [str(each) for each in needed]}
        _parsed(manifest, main)
        row = next(row for row in table(FUNCTIONS, "key") if row[0] == "`enclave.permissions`")
        for each in needed:
            manifest["enclave"]["permissions"] = [str(other) for other in needed if other is not each]
            with pytest.raises(ManifestError, match="permissions"):
                _parsed(manifest, main)
            assert f'`"{each}"`' in row[2].partition("Python")[2]


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
